//! Our own kinds, which a cluster knows from their definitions, and the question that we ask about rights.

use super::{api, ask};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use embedded::Api;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

const GROUP: &str = "/apis/hookrun.dev/v1alpha1";
const HOOKS: &str = "/apis/hookrun.dev/v1alpha1/namespaces/default/hooks";
const DELIVERIES: &str = "/apis/hookrun.dev/v1alpha1/namespaces/default/deliveries";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

async fn send(
    api: &Api,
    method: Method,
    path: &str,
    media_type: &str,
    body: &Value,
) -> Result<(StatusCode, Value)> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, media_type)
        .body(Full::<Bytes>::from(body.to_string()))?;
    ask(api, request).await
}

async fn post(api: &Api, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
    send(api, Method::POST, path, "application/json", body).await
}

async fn get(api: &Api, path: &str, accept: &str) -> Result<Value> {
    let request = Request::get(path)
        .header(header::ACCEPT, accept)
        .body(Full::default())?;
    let (code, answer) = ask(api, request).await?;
    ensure!(code == StatusCode::OK, "{path}: {answer}");
    Ok(answer)
}

fn hook() -> Value {
    json!({
        "apiVersion": "hookrun.dev/v1alpha1", "kind": "Hook", "metadata": {"name": "app"},
        "spec": {"provider": "github", "rules": [{"name": "build", "pipelineRef": {"name": "build"}}]},
    })
}

fn delivery(name: &str, outcome: &str) -> Value {
    json!({
        "apiVersion": "hookrun.dev/v1alpha1", "kind": "Delivery", "metadata": {"name": name},
        "hook": {"name": "app", "uid": "1", "generation": 1}, "provider": "github", "eventType": "push",
        "deliveryId": "d1", "key": "k1", "receivedTime": "2026-01-02T03:04:05.000Z",
        "payload": {"size": 2, "digest": "sha256:00"}, "outcome": outcome, "reason": "one rule matched",
        "rules": [
            {"name": "docs", "outcome": "Filtered", "reason": "the filter says no"},
            {"name": "build", "outcome": "Created", "run": "app-build-0123456789"},
        ],
        "attempts": 1, "duplicates": 2,
    })
}

/// Columns, names and fields are written down twice, since nothing reads the definitions at run time: here is what keeps
/// both the same.
#[tokio::test]
async fn our_kinds_are_as_they_are_defined() -> Result<()> {
    let (_home, api) = api()?;
    let known = get(&api, GROUP, "application/json").await?;
    for definition in hooks::crds() {
        let spec = &definition["spec"];
        let (names, version) = (&spec["names"], &spec["versions"][0]);
        let plural = names["plural"].as_str().context("no plural")?;
        let resources = known["resources"].as_array().context("no resources")?;
        let named = |name: &str| resources.iter().find(|r| r["name"] == name);
        let own = named(plural).context("it is not known")?;
        for (field, expected) in [
            ("kind", &names["kind"]),
            ("singularName", &names["singular"]),
            ("shortNames", &names["shortNames"]),
            ("categories", &names["categories"]),
        ] {
            assert_eq!(own[field], *expected, "{plural} {field}");
        }
        let status = version["subresources"]["status"].is_object();
        let part = format!("{plural}/status");
        assert_eq!(named(&part).is_some(), status, "{plural}");

        let path = format!("{GROUP}/namespaces/default/{plural}");
        let table = get(&api, &path, TABLE).await?;
        let column = |c: &Value| (c["name"].clone(), c["type"].clone(), c["priority"].as_i64());
        let columns = table["columnDefinitions"]
            .as_array()
            .context("no columns")?;
        let mut expected = vec![(json!("Name"), json!("string"), Some(0))];
        for defined in version["additionalPrinterColumns"]
            .as_array()
            .context("none")?
        {
            let (name, kind, priority) = column(defined);
            expected.push((name, kind, priority.or(Some(0))));
        }
        assert_eq!(columns.iter().map(column).collect::<Vec<_>>(), expected);

        let fields = version["selectableFields"].as_array();
        for field in fields.into_iter().flatten() {
            let field = field["jsonPath"].as_str().context("no path")?;
            let path = format!("{path}?fieldSelector={}=x", field.trim_start_matches('.'));
            get(&api, &path, "application/json").await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_status_of_a_hook_is_written_apart() -> Result<()> {
    let (_home, api) = api()?;
    let mut sent = hook();
    sent["status"] = json!({"path": "/hooks/default/app"});
    let (code, made) = post(&api, HOOKS, &sent).await?;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    assert_eq!(
        (&made["status"], &made["metadata"]["generation"]),
        (&Value::Null, &json!(1))
    );

    let condition = |kind: &str, manager: &str| {
        let apply = json!({
            "apiVersion": "hookrun.dev/v1alpha1", "kind": "Hook", "metadata": {"name": "app"},
            "status": {"conditions": [{
                "type": kind, "status": "True", "reason": "Checked", "message": "",
                "lastTransitionTime": "2026-01-02T03:04:05Z", "observedGeneration": 1,
            }]},
        });
        (format!("{HOOKS}/app/status?fieldManager={manager}"), apply)
    };
    for (kind, manager) in [("Ready", "one"), ("Seen", "other")] {
        let (path, apply) = condition(kind, manager);
        let media_type = "application/apply-patch+yaml";
        let (code, answer) = send(&api, Method::PATCH, &path, media_type, &apply).await?;
        assert_eq!(code, StatusCode::OK, "{answer}");
    }
    let stored = get(&api, &format!("{HOOKS}/app"), "application/json").await?;
    let conditions = stored["status"]["conditions"].as_array().context("none")?;
    // Conditions are merged by their type: one writer does not take another one's away.
    let kinds: Vec<_> = conditions.iter().map(|c| c["type"].clone()).collect();
    assert_eq!(kinds, [json!("Ready"), json!("Seen")]);
    assert_eq!(stored["metadata"]["generation"], 1);
    let table = get(&api, HOOKS, TABLE).await?;
    let cells = &table["rows"][0]["cells"];
    let shown = json!(["app", "github", "True", "Checked", null]);
    assert_eq!(
        cells.as_array().context("no cells")?[..5],
        *shown.as_array().context("none")?
    );
    Ok(())
}

#[tokio::test]
async fn deliveries_read_like_a_log() -> Result<()> {
    let (_home, api) = api()?;
    for (name, outcome) in [("app-1", "Created"), ("app-2", "Filtered")] {
        let (code, made) = post(&api, DELIVERIES, &delivery(name, outcome)).await?;
        assert_eq!(code, StatusCode::CREATED, "{made}");
        assert_eq!(made["outcome"], outcome);
    }
    let (code, _) = post(&api, DELIVERIES, &delivery("app-1", "Created")).await?;
    assert_eq!(code, StatusCode::CONFLICT);

    for (selector, expected) in [
        ("outcome=Filtered", vec!["app-2"]),
        ("hook.name=app,eventType=push", vec!["app-1", "app-2"]),
        ("hook.name=other", vec![]),
    ] {
        let path = format!(
            "{DELIVERIES}?fieldSelector={}",
            selector.replace('=', "%3D")
        );
        let list = get(&api, &path, "application/json").await?;
        let items = list["items"].as_array().context("no items")?;
        let names: Vec<_> = items
            .iter()
            .map(|i| i["metadata"]["name"].clone())
            .collect();
        assert_eq!(names, expected, "{selector}");
    }
    let table = get(&api, DELIVERIES, TABLE).await?;
    let mut cells = table["rows"][0]["cells"]
        .as_array()
        .context("no cells")?
        .clone();
    ensure!(cells[5].is_string(), "the age: {}", cells[5]);
    cells.remove(5);
    let shown = json!([
        "app-1",
        "app",
        "push",
        "Created",
        "app-build-0123456789",
        "one rule matched",
        "github",
        "d1",
        2
    ]);
    assert_eq!(Value::Array(cells), shown);
    // A record has no status that is written apart.
    let path = format!("{DELIVERIES}/app-1/status");
    let (code, _) = send(&api, Method::PUT, &path, "application/json", &json!({})).await?;
    assert_eq!(code, StatusCode::NOT_IMPLEMENTED);
    Ok(())
}

#[tokio::test]
async fn everybody_may_do_everything() -> Result<()> {
    let (_home, api) = api()?;
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {
            "user": "system:serviceaccount:default:hookrun", "groups": ["system:authenticated"],
            "resourceAttributes": {
                "namespace": "default", "verb": "create", "group": "tekton.dev", "resource": "pipelineruns",
            },
        },
    });
    let (code, answer) = post(&api, REVIEWS, &review).await?;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
    assert_eq!(
        (&answer["spec"], &answer["status"]["allowed"]),
        (&review["spec"], &json!(true))
    );

    for (field, value) in [
        ("spec", json!({"user": "a"})),
        ("spec", json!({"resourceAttributes": {"verb": "get"}})),
        (
            "spec",
            json!({"user": "a", "resourceAttributes": {}, "nonResourceAttributes": {}}),
        ),
    ] {
        let mut wrong = review.clone();
        wrong[field] = value;
        let (code, answer) = post(&api, REVIEWS, &wrong).await?;
        assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    }
    let (code, answer) = post(&api, REVIEWS, &json!({"spec": {"user": 1}})).await?;
    assert_eq!(code, StatusCode::BAD_REQUEST, "{answer}");

    // The same question about one namespace, which a Role of that namespace lets somebody ask.
    let local = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews";
    let mut question = review.clone();
    question["kind"] = "LocalSubjectAccessReview".into();
    let (code, answer) = post(&api, local, &question).await?;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
    assert_eq!(answer["status"]["allowed"], true);
    question["spec"] = json!({"user": "a", "nonResourceAttributes": {"path": "/", "verb": "get"}});
    let (code, answer) = post(&api, local, &question).await?;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    Ok(())
}

/// A question is answered and forgotten: there is nothing to be read, changed or found again.
#[tokio::test]
async fn a_question_is_not_kept() -> Result<()> {
    let (home, api) = api()?;
    let review = json!({
        "metadata": {"name": "a"}, "spec": {"user": "a", "nonResourceAttributes": {"path": "/", "verb": "get"}},
    });
    let (code, answer) = post(&api, REVIEWS, &review).await?;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
    ensure!(
        !home.path().join("authorization.k8s.io").exists(),
        "it is in the folder"
    );
    let refused = StatusCode::METHOD_NOT_ALLOWED;
    let unknown = StatusCode::NOT_IMPLEMENTED;
    for (method, path, expected) in [
        (Method::GET, REVIEWS.to_owned(), refused),
        (Method::GET, format!("{REVIEWS}?watch=1"), refused),
        (Method::DELETE, REVIEWS.to_owned(), refused),
        (Method::GET, format!("{REVIEWS}/a"), unknown),
        (Method::PUT, format!("{REVIEWS}/a"), unknown),
        (
            Method::PATCH,
            format!("{REVIEWS}/a?fieldManager=a"),
            unknown,
        ),
    ] {
        let (code, _) = send(&api, method.clone(), &path, "application/json", &review).await?;
        assert_eq!(code, expected, "{method} {path}");
    }
    let known = get(&api, "/apis/authorization.k8s.io/v1", "application/json").await?;
    assert_eq!(known["resources"][0]["verbs"], json!(["create"]));
    Ok(())
}
