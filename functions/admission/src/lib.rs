//! The admission webhook for Hooks: the API server asks before it stores one, and whoever wrote it is told at once what is
//! wrong with it.
//!
//! `POST /admit/hooks` takes an AdmissionReview (`admission.k8s.io/v1`). [`review`] decides, [`router`] speaks HTTP.
//!
//! It is a convenience and never the only check: the sweep and the first event check a Hook as well, since one can be
//! older than this webhook or be stored while it does not answer. So it says nothing about what only the cluster knows
//! (Secrets, Pipelines, rights): that may change after the answer, and this function has no right to look.

pub mod review;

use std::sync::Arc;

use http::StatusCode;
use runtime::{
    Call, Response, Router,
    metrics::Metrics,
    problem::{Kind, Problem},
    response, telemetry,
};

use review::{Decision, Refusal};

/// What can be configured of the function.
#[derive(Debug, clap::Args)]
#[group(skip)] // its name would be that of the shell's options
pub struct Options {
    /// The HTTP shell.
    #[command(flatten)]
    pub server: runtime::Options,

    /// The certificate that the API server is shown.
    #[command(flatten)]
    pub tls: runtime::serve::TlsOptions,
}

/// The only path.
pub const PATH: &str = "/admit/hooks";

/// What came is no question about a Hook.
pub const NO_REVIEW: Kind = Kind {
    slug: "admission-review-invalid",
    status: StatusCode::BAD_REQUEST,
    title: "The request is no AdmissionReview of a Hook",
};

/// All kinds of problems that only this function answers with.
pub const KINDS: &[Kind] = &[NO_REVIEW];

/// The route. Anybody who reaches it may ask: the answer says nothing that the question does not hold.
pub fn router(metrics: Arc<Metrics>) -> Router {
    Router::new().post(PATH, move |call| answer(call, Arc::clone(&metrics)))
}

async fn answer(mut call: Call, metrics: Arc<Metrics>) -> Response {
    let payload = match call.read().await {
        Ok(payload) => payload,
        Err(rejection) => return rejection.response(),
    };
    let (outcome, answer) = match review::review(&payload) {
        Ok(review) => {
            telemetry::record("namespace", review.namespace());
            let outcome = match review.decision {
                Decision::Allowed => "allowed",
                Decision::Denied(_) => "denied",
            };
            (outcome, response::json(StatusCode::OK, &review.answer()))
        }
        Err(Refusal(reason)) => ("refused", Problem::new(NO_REVIEW, reason).response()),
    };
    telemetry::record("outcome", outcome);
    metrics.event("admission", outcome);
    answer
}

#[cfg(test)]
mod tests;
