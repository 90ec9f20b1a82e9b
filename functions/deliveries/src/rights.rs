//! Whether a Hook's ServiceAccount may start runs: whoever may write Hooks gains nothing by it.
//!
//! The API server is asked (LocalSubjectAccessReview), and its answer counts for a short time. It is asked when runs are
//! started, not when they are decided on: what a Delivery has stored is carried out with the rights of that moment.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use cluster::{Cluster, Fault};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::resource::ACCESS_REVIEWS;

/// How long a right counts that was granted.
const GRANTED: Duration = Duration::from_secs(10);

/// How long a right counts as denied: whoever grants it now does not want to wait.
const DENIED: Duration = Duration::from_secs(1);

/// Answers that are remembered at most.
const MOST: usize = 1024;

/// Answers of the last seconds, by namespace and ServiceAccount.
#[derive(Default)]
pub struct Rights(Mutex<HashMap<(String, String), (Instant, bool)>>);

#[derive(Deserialize)]
struct Review {
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    allowed: bool,
}

impl Rights {
    /// Whether the ServiceAccount may create PipelineRuns in its namespace.
    ///
    /// # Errors
    /// The API server could not be asked, or does not let us ask.
    pub async fn may_start(
        &self,
        cluster: &Cluster,
        namespace: &str,
        account: &str,
    ) -> Result<bool, Fault> {
        let key = (namespace.to_owned(), account.to_owned());
        if let Some(allowed) = self.remembered(&key) {
            return Ok(allowed);
        }
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "LocalSubjectAccessReview",
            "metadata": {"namespace": namespace},
            "spec": {
                "user": format!("system:serviceaccount:{namespace}:{account}"),
                "groups": [
                    "system:serviceaccounts",
                    format!("system:serviceaccounts:{namespace}"),
                    "system:authenticated",
                ],
                "resourceAttributes": {
                    "namespace": namespace, "verb": "create", "group": "tekton.dev", "resource": "pipelineruns",
                },
            },
        });
        let Review { status } = cluster
            .create(ACCESS_REVIEWS, Some(namespace), &review)
            .await?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key, (Instant::now(), status.allowed));
        Ok(status.allowed)
    }

    fn remembered(&self, key: &(String, String)) -> Option<bool> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, allowed) = known.get(key)?;
        let age = if *allowed { GRANTED } else { DENIED };
        (at.elapsed() < age).then_some(*allowed)
    }
}

/// What is said of a right that is lacking.
pub fn lacking(namespace: &str, account: &str) -> String {
    format!(
        "ServiceAccount {account:?} of namespace {namespace:?} may not create PipelineRuns: give it a Role with verb `create` \
         on `pipelineruns` of API group `tekton.dev`"
    )
}
