//! From an AdmissionReview to the answer to it, without HTTP.
//!
//! Only a change of what is wanted is judged. A Hook that is already stored and wrong, because it is older than this
//! webhook or than a rule that it breaks, can still be labelled and, above all, deleted: that removes a finalizer,
//! which is an update.

use hooks::{API_VERSION, GROUP, Hook, Problem, VERSION};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

/// Group and version of the reviews that are understood.
const REVIEW_VERSION: &str = "admission.k8s.io/v1";

/// The kind of them.
const REVIEW_KIND: &str = "AdmissionReview";

/// The kind of what is judged.
const KIND: &str = "Hook";

/// Problems that are told at once: more than anybody reads. The API server also bounds what it takes for an answer.
const PROBLEMS: usize = 100;

/// Why a request is no question that can be answered, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

/// A question, and what is said to it.
#[derive(Debug)]
pub struct Review<'a> {
    request: Request<'a>,
    /// What is said.
    pub decision: Decision,
}

/// What is said to a change of a Hook.
#[derive(Debug, PartialEq)]
pub enum Decision {
    /// Nothing is wrong with it, or not through this change.
    Allowed,
    /// All that is wrong with it.
    Denied(Vec<Cause>),
}

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Cause {
    /// The place as a JSON path.
    pub place: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// What is read of an AdmissionReview.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document<'a> {
    api_version: String,
    kind: String,
    #[serde(borrow)]
    request: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    uid: String,
    kind: Type,
    operation: String,
    /// Such as `status`; empty for the object itself.
    #[serde(default)]
    sub_resource: String,
    #[serde(default)]
    namespace: String,
    /// Empty where the API server made the name up; then the object has it.
    #[serde(default)]
    name: String,
    /// As it is to be; nothing where it is to vanish. Read in part, since most of it may be what others have noted.
    #[serde(default, borrow)]
    object: Option<&'a RawValue>,
    /// As it was, if it was.
    #[serde(default, borrow)]
    old_object: Option<&'a RawValue>,
}

/// What says whether a Hook is to be judged.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wanted {
    spec: Value,
    metadata: Fate,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Fate {
    deletion_timestamp: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Type {
    group: String,
    version: String,
    kind: String,
}

/// Answers a question about a Hook.
///
/// # Errors
/// It is no AdmissionReview, or one about something else: a mistake in the configuration that sent it here, for which
/// no object should be refused.
pub fn review(bytes: &[u8]) -> Result<Review<'_>, Refusal> {
    let document: Document<'_> = serde_json::from_slice(bytes)
        .map_err(|error| Refusal(format!("the body is no {REVIEW_KIND}: {error}")))?;
    let (kind, version) = (document.kind.as_str(), document.api_version.as_str());
    if (kind, version) != (REVIEW_KIND, REVIEW_VERSION) {
        return Err(Refusal(format!(
            "the body is of kind {kind:?} and version {version:?}; send {REVIEW_KIND} of {REVIEW_VERSION} (`admissionReviewVersions: [v1]`)"
        )));
    }
    let request = document.request.map_or("{}", RawValue::get);
    let request: Request<'_> = serde_json::from_str(request)
        .map_err(|error| Refusal(format!("`request` of the {REVIEW_KIND}: {error}")))?;
    let Type {
        group,
        version,
        kind,
    } = &request.kind;
    if (group.as_str(), version.as_str(), kind.as_str()) != (GROUP, VERSION, KIND) {
        return Err(Refusal(format!(
            "it is asked about {kind:?} of \"{group}/{version}\", and only {KIND} of {API_VERSION} is judged here; correct `rules` of the ValidatingWebhookConfiguration"
        )));
    }
    let decision = request.decide();
    Ok(Review { request, decision })
}

impl Review<'_> {
    /// Where the Hook is.
    pub fn namespace(&self) -> &str {
        &self.request.namespace
    }

    /// The AdmissionReview that answers.
    pub fn answer(&self) -> Value {
        let mut response = json!({
            "uid": self.request.uid,
            "allowed": self.decision == Decision::Allowed,
        });
        if let Decision::Denied(causes) = &self.decision
            && let Some(response) = response.as_object_mut()
        {
            response.insert("status".to_owned(), self.status(causes));
        }
        json!({"apiVersion": REVIEW_VERSION, "kind": REVIEW_KIND, "response": response})
    }

    /// The Status that whoever wrote the Hook gets, in the form of the API server's own for an object that is not valid.
    fn status(&self, causes: &[Cause]) -> Value {
        let told = causes.iter().take(PROBLEMS);
        let mut message: Vec<String> = told
            .clone()
            .map(|cause| format!("{}: {}", cause.place, cause.message))
            .collect();
        if causes.len() > PROBLEMS {
            message.push(format!("and {} more", causes.len() - PROBLEMS));
        }
        let details = told.map(|cause| {
            json!({"reason": "FieldValueInvalid", "field": cause.place, "message": cause.message})
        });
        json!({
            "status": "Failure",
            "code": 422,
            "reason": "Invalid",
            "message": message.join("; "),
            "details": {
                "group": GROUP,
                "kind": KIND,
                "name": self.request.name,
                "causes": details.collect::<Vec<_>>(),
            },
        })
    }
}

impl Request<'_> {
    fn decide(&self) -> Decision {
        if !self.is_to_be_judged() {
            return Decision::Allowed;
        }
        let causes = match read::<Hook>(self.object) {
            Ok(hook) => match hooks::check(&hook) {
                Ok(_) => return Decision::Allowed,
                Err(problems) => problems.into_iter().map(Cause::from).collect(),
            },
            // The definition of the kind lets nothing pass that is no Hook, unless it is not of the same release.
            Err(error) => vec![Cause {
                place: "spec".to_owned(),
                message: format!("the Hook cannot be read: {error}"),
            }],
        };
        Decision::Denied(causes)
    }

    /// Whether something is wanted anew of a Hook that is to stay.
    fn is_to_be_judged(&self) -> bool {
        if !self.sub_resource.is_empty() {
            return false;
        }
        match self.operation.as_str() {
            "CREATE" => true,
            "UPDATE" => {
                // What has not even this shape is judged, and told of there.
                let is = read::<Wanted>(self.object).unwrap_or_default();
                let was = read::<Wanted>(self.old_object).unwrap_or_default();
                is.metadata.deletion_timestamp.is_none()
                    && (is.spec.is_null() || is.spec != was.spec)
            }
            _ => false,
        }
    }
}

fn read<'a, T: Deserialize<'a>>(object: Option<&'a RawValue>) -> Result<T, serde_json::Error> {
    serde_json::from_str(object.map_or("null", RawValue::get))
}

impl From<Problem> for Cause {
    fn from(problem: Problem) -> Self {
        let Problem { place, message, .. } = problem;
        Self { place, message }
    }
}
