//! Where it ends: what is refused, what is not done, and what is bounded.

use super::{api, ask};
use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tower::ServiceExt;

fn post(path: &str) -> http::request::Builder {
    Request::post(path).header(header::CONTENT_TYPE, "application/json")
}

fn create(name: &str, label: &str) -> Result<Request<Full<Bytes>>> {
    let body = json!({"metadata": {"name": name, "labels": {"l": label}}});
    Ok(post("/api/v1/namespaces/default/configmaps").body(Full::from(body.to_string()))?)
}

#[tokio::test]
async fn what_is_not_done_is_answered_501() -> Result<()> {
    let (_home, api) = api()?;
    for (method, path) in [
        ("GET", "/api/v1/namespaces/default/pods"),
        ("GET", "/apis/apps/v1/deployments"),
        ("GET", "/apis/apps/v1"),
        ("GET", "/openapi/v2"),
        ("GET", "/api/v1/namespaces/default/secrets/a/status"),
        (
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        ),
        ("DELETE", "/api/v1/namespaces/default/secrets"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Full::default())?;
        let (code, status) = ask(&api, request).await?;
        assert_eq!(code, StatusCode::NOT_IMPLEMENTED, "{path}");
        assert_eq!(
            (&status["kind"], &status["reason"]),
            (&json!("Status"), &json!("NotImplemented"))
        );
    }
    let request = Request::get("/nothing/of/kubernetes").body(Full::default())?;
    assert_eq!(ask(&api, request).await?.0, StatusCode::NOT_FOUND);
    let request = Request::put("/api/v1/namespaces/default/secrets").body(Full::default())?;
    assert_eq!(ask(&api, request).await?.0, StatusCode::METHOD_NOT_ALLOWED);
    Ok(())
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() -> Result<()> {
    let (_home, api) = api()?;
    let request =
        post("/api/v1/namespaces/default/secrets")
            .body(Full::from(vec![b' '; 3 * 1024 * 1024 + 1]))?;
    let (code, status) = ask(&api, request).await?;
    assert_eq!(code, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(status["reason"], "RequestEntityTooLarge");
    Ok(())
}

#[tokio::test]
async fn hostile_bodies_are_refused_and_the_api_lives() -> Result<()> {
    let (_home, api) = api()?;
    let deep = "[".repeat(100_000);
    let nested = "a: ".to_owned() + &"[".repeat(50_000);
    for (kind, body) in [
        ("application/json", deep.as_str()),
        ("application/yaml", nested.as_str()),
        (
            "application/yaml",
            "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: *c",
        ),
        (
            "application/json",
            "{\"metadata\":{\"name\":\"a\",\"labels\":[]}}",
        ),
        ("application/json", "{\"metadata\":1}"),
        ("application/json", "\u{feff}{}"),
        ("application/vnd.kubernetes.protobuf", "k8s\0\n\u{7f}"),
    ] {
        let request = Request::post("/api/v1/namespaces/default/secrets")
            .header(header::CONTENT_TYPE, kind)
            .body(Full::from(body.to_owned()))?;
        let (code, _) = ask(&api, request).await?;
        assert!(
            code.is_client_error(),
            "{kind} {code}: {}",
            &body[..body.len().min(60)]
        );
    }
    assert_eq!(
        ask(&api, create("alive", "x")?).await?.0,
        StatusCode::CREATED
    );
    Ok(())
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() -> Result<()> {
    let (_home, api) = api()?;
    for (origin, code) in [
        ("http://evil.example", StatusCode::FORBIDDEN),
        ("null", StatusCode::FORBIDDEN),
        ("http://127.0.0.1:8080", StatusCode::OK),
    ] {
        let request = Request::get("/api/v1/namespaces/default/secrets")
            .header(header::HOST, "127.0.0.1:8080")
            .header(header::ORIGIN, origin)
            .body(Full::default())?;
        assert_eq!(ask(&api, request).await?.0, code, "{origin}");
    }
    Ok(())
}

#[tokio::test]
async fn a_watch_that_is_too_far_behind_is_told() -> Result<()> {
    let (_home, api) = api()?;
    ask(&api, create("a", "0")?).await?;
    for n in 1..=1_100 {
        let body = json!({"metadata": {"labels": {"l": n.to_string()}}});
        let request = Request::patch("/api/v1/namespaces/default/configmaps/a")
            .header(header::CONTENT_TYPE, "application/merge-patch+json")
            .body(Full::from(body.to_string()))?;
        assert_eq!(ask(&api, request).await?.0, StatusCode::OK);
    }
    let (_, list) = ask(
        &api,
        Request::get("/api/v1/configmaps").body(Full::default())?,
    )
    .await?;
    let now: u64 = list["metadata"]["resourceVersion"]
        .as_str()
        .context("no version")?
        .parse()?;
    let path = format!("/api/v1/configmaps?watch=1&resourceVersion={}", now - 1_100);
    let (code, event) = ask(&api, Request::get(path).body(Full::default())?).await?;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(
        (&event["type"], &event["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    assert_eq!(event["object"]["reason"], "Expired");
    Ok(())
}

#[tokio::test]
async fn watches_end_when_the_api_closes() -> Result<()> {
    let (_home, api) = api()?;
    let request = Request::get("/api/v1/secrets?watch=1").body(Full::<Bytes>::default())?;
    let response = api.clone().oneshot(request).await?;
    let rest = tokio::spawn(response.into_body().collect());
    api.close();
    assert_eq!(rest.await??.to_bytes(), Bytes::new());
    let request = Request::get("/api/v1/secrets?watch=1").body(Full::default())?;
    assert_eq!(ask(&api, request).await?.0, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn unknown_fields_are_warned_of() -> Result<()> {
    let (_home, api) = api()?;
    let body = json!({"metadata": {"name": "a"}, "foo": 1});
    let request = post("/api/v1/namespaces/default/configmaps")
        .body(Full::<Bytes>::from(body.to_string()))?;
    let response = api.clone().oneshot(request).await?;
    assert_eq!(
        response.headers()[header::WARNING],
        "299 - \"unknown field \\\"foo\\\"\""
    );
    Ok(())
}
