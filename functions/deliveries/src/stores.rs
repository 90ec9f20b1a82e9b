//! Stores, within the time of an event: they have clocks of their own, which know nothing of the sender's.

use bytes::Bytes;
use cluster::Cluster;
use hooks::Delivery;
use store::{PayloadStore, Place, Reference};
use tokio::time::{Instant, timeout_at};

use crate::{
    Deliveries,
    payload::{self, Packed, Parcel},
};

/// What stores may take of the time that is left for an event, where they can be asked again later; the rest is for the
/// cluster, which has to know the event before its sender gets an answer, and what became of it.
const SHARE: f64 = 0.4;

/// Until when a store is waited for that can be asked again later.
pub(crate) fn stores_until(cluster: &Cluster) -> Instant {
    let now = Instant::now();
    let left = cluster.deadline().saturating_duration_since(now);
    now + left.mul_f64(SHARE)
}

/// A call of the payload store, until then.
async fn until<T, E: From<store::Error>>(
    deadline: Instant,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let limit = deadline.saturating_duration_since(Instant::now());
    timeout_at(deadline, call).await.unwrap_or_else(|_| {
        let place = Place::Payloads;
        Err(store::Error::Timeout { place, limit }.into())
    })
}

impl Deliveries {
    /// Finds a place for the bytes of an event while there is time, and puts them there if that is the object store.
    ///
    /// # Errors
    /// As of [`payload::pack`].
    pub async fn pack(
        &self,
        cluster: &Cluster,
        parcel: Parcel<'_>,
    ) -> Result<Packed, payload::Error> {
        let packing = payload::pack(self.payloads.as_deref(), parcel);
        until(cluster.deadline(), packing).await
    }

    /// The bytes of a stored event, from wherever they are.
    ///
    /// # Errors
    /// One that [is final](payload::Error::is_final) where they are nowhere; otherwise they could not be had now.
    pub(crate) async fn unpack(
        &self,
        cluster: &Cluster,
        delivery: &Delivery,
    ) -> Result<Bytes, payload::Error> {
        let stored = &delivery.record.payload;
        let Some(object) = &stored.object else {
            return payload::unpack(cluster, delivery).await;
        };
        let store = self.payloads.as_ref();
        let store = store.ok_or(store::Error::Undefined("HOOKRUN_PAYLOAD_STORE"))?;
        let namespace = &delivery.metadata.namespace;
        let bytes = store.get(namespace, object, &stored.digest, stored.size);
        Ok(until(stores_until(cluster), bytes).await?)
    }
}

/// Where a run can fetch the payload from that lies in this object, from now on.
pub(crate) async fn sign(
    store: &PayloadStore,
    cluster: &Cluster,
    delivery: &Delivery,
    object: &str,
) -> Result<Reference, store::Error> {
    let stored = &delivery.record.payload;
    let namespace = &delivery.metadata.namespace;
    let signed = store.sign(namespace, object, &stored.digest, stored.size);
    until(stores_until(cluster), signed).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_store_that_never_answers_is_not_waited_for() {
        let deadline = Instant::now() + Duration::from_millis(20);
        let silent = until(deadline, std::future::pending::<Result<(), store::Error>>());
        let error = silent.await.unwrap_err();
        assert_eq!(error.class(), store::Class::Timeout);
    }
}
