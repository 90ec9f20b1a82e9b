//! Flows in Kubernetes, with an API server that answers from a table.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use clap::Parser;
use http::{Request, Response};
use kube::client::Body;
use store::{Class, Credentials, Error, connected};

/// Answers by path (with the label selector, if any); everything else is 404 or an empty list.
#[derive(Clone, Default)]
struct Api {
    answers: BTreeMap<String, (u16, String)>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Api {
    fn with(mut self, path: &str, status: u16, body: &str) -> Self {
        self.answers
            .insert(path.to_owned(), (status, body.to_owned()));
        self
    }

    fn answer(&self, request: &Request<Body>) -> Response<Body> {
        let mut place = request
            .uri()
            .path()
            .trim_start_matches("/api/v1/namespaces/flows/")
            .to_owned();
        let selector = request
            .uri()
            .query()
            .unwrap_or_default()
            .split('&')
            .find_map(|part| part.strip_prefix("labelSelector="));
        if let Some(selector) = selector {
            place = format!("{place}?{selector}");
        }
        self.seen.lock().unwrap().push(place.clone());
        let (status, body) =
            self.answers
                .get(&place)
                .cloned()
                .unwrap_or_else(|| match place.contains('?') {
                    true => (200, list("")),
                    false => (404, status(404)),
                });
        Response::builder()
            .status(status)
            .body(Body::from(body.into_bytes()))
            .unwrap()
    }

    async fn get(&self, key: &str) -> Result<String, Error> {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let response = api.answer(&request);
            async move { Ok::<_, Infallible>(response) }
        });
        let client = kube::Client::new(service, "flows");
        let arguments = [
            "hookrun",
            "--flow-store",
            "kubernetes",
            "--flow-store-max-bytes",
            "1KiB",
        ];
        let options = crate::Command::try_parse_from(arguments).unwrap().options;
        let flow = options
            .open(&Credentials::default(), connected(client))
            .get(key)
            .await?;
        Ok(String::from_utf8(flow.to_vec()).unwrap())
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn status(code: u16) -> String {
    let reason = if code == 404 { "NotFound" } else { "Other" };
    format!(
        r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"code {code}","reason":"{reason}","code":{code}}}"#
    )
}

fn list(items: &str) -> String {
    format!(r#"{{"kind":"List","apiVersion":"v1","metadata":{{}},"items":[{items}]}}"#)
}

fn object(name: &str, marks: &str, data: &str) -> String {
    format!(r#"{{"metadata":{{"name":"{name}","namespace":"flows",{marks}}},"data":{{{data}}}}}"#)
}

const MARKED: &str = r#""labels":{"hookrun.dev/flow-key":"ART_FLOW_x"}"#;
const FLOW: &str = r#""flow.json":"{\"name\":\"x\"}""#;
const BY_LABEL: &str = "configmaps?hookrun.dev%2Fflow-key%3DART_FLOW_x";

#[tokio::test]
async fn one_get_per_kind_finds_an_object_by_its_name() {
    let api = Api::default().with(
        "configmaps/art-flow-x",
        200,
        &object("art-flow-x", MARKED, FLOW),
    );
    assert_eq!(api.get("ART_FLOW_x").await.unwrap(), r#"{"name":"x"}"#);
    assert_eq!(api.seen(), ["configmaps/art-flow-x", "secrets/art-flow-x"]);
}

#[tokio::test]
async fn a_secret_s_data_is_decoded() {
    let secret = object("art-flow-x", MARKED, r#""any":"eyJuYW1lIjoieCJ9""#);
    let api = Api::default().with("secrets/art-flow-x", 200, &secret);
    assert_eq!(api.get("ART_FLOW_x").await.unwrap(), r#"{"name":"x"}"#);
}

#[tokio::test]
async fn another_name_is_found_by_label() {
    // The name alone does not make an object a flow.
    let unmarked = object(
        "art-flow-x",
        r#""labels":{"hookrun.dev/flow-key":"ART-FLOW-x"}"#,
        r#""flow.json":"no""#,
    );
    let api = Api::default()
        .with("configmaps/art-flow-x", 200, &unmarked)
        .with(BY_LABEL, 200, &list(&object("nightly", MARKED, FLOW)));
    assert_eq!(api.get("ART_FLOW_x").await.unwrap(), r#"{"name":"x"}"#);
}

#[tokio::test]
async fn a_key_that_no_label_holds_is_found_by_annotation() {
    let marked = r#""annotations":{"hookrun.dev/flow-key":"Nightly Scan"}"#;
    let api = Api::default().with(
        "configmaps/nightly-scan",
        200,
        &object("nightly-scan", marked, FLOW),
    );
    assert_eq!(api.get("Nightly Scan").await.unwrap(), r#"{"name":"x"}"#);
    let error = api.get("Other Scan").await.unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
    assert!(error.to_string().contains("other-scan"), "{error}");
    assert!(!api.seen().iter().any(|place| place.contains('?')));
}

#[tokio::test]
async fn two_objects_with_one_key_are_a_conflict() {
    let secret = object("art-flow-x", MARKED, r#""flow.json":"e30=""#);
    let both = Api::default()
        .with(
            "configmaps/art-flow-x",
            200,
            &object("art-flow-x", MARKED, FLOW),
        )
        .with("secrets/art-flow-x", 200, &secret);
    let labelled = [object("b", MARKED, FLOW), object("a", MARKED, FLOW)].join(",");
    let twice = Api::default().with(BY_LABEL, 200, &list(&labelled));
    for (api, names) in [
        (both, "ConfigMap art-flow-x, Secret art-flow-x"),
        (twice, "ConfigMap a, ConfigMap b"),
    ] {
        let error = api.get("ART_FLOW_x").await.unwrap_err();
        assert_eq!(
            (error.slug(), error.class()),
            ("flow-ambiguous", Class::Conflict)
        );
        assert!(error.to_string().ends_with(names), "{error}");
    }
}

#[tokio::test]
async fn a_kind_that_may_not_be_read_does_not_hide_the_other() {
    let api = Api::default()
        .with("secrets/art-flow-x", 403, &status(403))
        .with(
            "configmaps/art-flow-x",
            200,
            &object("art-flow-x", MARKED, FLOW),
        );
    assert!(api.get("ART_FLOW_x").await.is_ok());
    // Nothing found, but not everything seen: that is no "not found".
    let api = Api::default().with("secrets/art-flow-x", 403, &status(403));
    let error = api.get("ART_FLOW_x").await.unwrap_err();
    assert_eq!(
        (error.slug(), error.class()),
        ("store-refused", Class::Upstream)
    );
}

#[tokio::test]
async fn a_busy_api_server_is_worth_another_try() {
    for code in [429, 500, 503] {
        let api = Api::default().with("configmaps/art-flow-x", code, &status(code));
        assert_eq!(
            api.get("ART_FLOW_x").await.unwrap_err().class(),
            Class::Unavailable
        );
    }
}

#[tokio::test]
async fn an_object_that_holds_no_flow_is_explained() {
    for (data, slug) in [
        ("", "flow-unreadable"),
        (r#""a":"1","b":"2""#, "flow-unreadable"),
        (
            &format!(r#""flow.json":"{}""#, "x".repeat(1025)),
            "flow-too-large",
        ),
    ] {
        let api = Api::default().with(
            "configmaps/art-flow-x",
            200,
            &object("art-flow-x", MARKED, data),
        );
        assert_eq!(api.get("ART_FLOW_x").await.unwrap_err().slug(), slug);
    }
}

#[tokio::test]
async fn a_cluster_that_cannot_be_asked_is_a_matter_of_settings() {
    let error = crate::flow_store(&["--flow-store", "kubernetes"])
        .get("x")
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot create Kubernetes client: no cluster"
    );
}
