//! Carrying out what was left `Received`: by a crash, by a quota, or because it could not be started.

use ::hooks::{Delivery, Outcome, object::Metadata};
use deliveries::{record::outcome_text, resource::DELIVERIES, wait};
use futures_util::future::join_all;

use super::{AT_ONCE, Sweep};

/// A Delivery that is due.
pub(super) struct Left {
    namespace: String,
    name: String,
    /// Since when, in milliseconds since 1970.
    due: i64,
}

impl Sweep<'_> {
    /// A Delivery without outcome, if it is due.
    pub(super) fn left(&self, metadata: &Metadata) -> Option<Left> {
        let due = self.due(metadata);
        (due <= self.now.as_millisecond()).then(|| Left {
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            due,
        })
    }

    fn due(&self, metadata: &Metadata) -> i64 {
        let takeover = self.service.deliveries.takeover;
        wait::due(metadata, takeover, self.options.sweep_give_up)
    }

    /// Carries out what was left, what is due for the longest time first: so what came first is started first, and
    /// nothing that is tried in vain keeps others from their turn.
    pub(super) async fn finish(&mut self, mut left: Vec<Left>) {
        left.sort_unstable_by(|one, other| (one.due, &one.name).cmp(&(other.due, &other.name)));
        for group in left.chunks(AT_ONCE) {
            if self.tried >= self.options.sweep_finish || !self.goes_on() {
                self.swept.complete = false;
                return;
            }
            self.tried += group.len();
            let finished = join_all(group.iter().map(|left| self.finish_one(left))).await;
            for result in finished {
                match result {
                    Ok(finished) => self.swept.finished += usize::from(finished),
                    Err(why) => self.note(why),
                }
            }
        }
    }

    /// Reads a Delivery again, and carries it out if it is still to be done.
    async fn finish_one(
        &self,
        Left {
            namespace, name, ..
        }: &Left,
    ) -> Result<bool, String> {
        let cluster = self.cluster();
        let found = cluster.find::<Delivery>(DELIVERIES, namespace, name).await;
        let Some(delivery) = found.map_err(|fault| fault.to_string())? else {
            return Ok(false);
        };
        let waits = delivery.record.outcome == Outcome::Received
            && delivery.metadata.deletion_timestamp.is_none()
            && self.due(&delivery.metadata) <= self.now.as_millisecond();
        if !waits {
            return Ok(false);
        }
        let deliveries = &self.service.deliveries;
        let delivery = deliveries
            .carry_out(&cluster, delivery, None)
            .await
            .delivery;
        let age = self.options.sweep_give_up;
        let delivery = deliveries.give_up(&cluster, delivery, age, self.now).await;
        let record = &delivery.record;
        if record.outcome == Outcome::Received {
            return Err(format!("Delivery {namespace}/{name}: {}", record.reason));
        }
        let outcome = outcome_text(record.outcome);
        tracing::info!(
            namespace,
            delivery = name,
            outcome,
            "finished what was left"
        );
        Ok(true)
    }
}
