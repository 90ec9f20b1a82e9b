//! Onix, well and badly.

use std::{process::Command, sync::Arc};

use store::{Class, Error, FlowStore};

use crate::{
    IMPATIENCE, flow_store,
    server::{Answer, Authority, Server, nobody},
};

const ITEM: &str =
    r#"{"key":"ART_FLOW_x","type":"ART_FLOW","meta":{"Name":"x", "steps":[]},"version":3}"#;

/// The store for a server, with further arguments.
fn store(uri: &str, more: &[&str]) -> Arc<dyn FlowStore> {
    let arguments = [
        "--onix-uri",
        uri,
        "--onix-user",
        "bob",
        "--onix-password",
        "s3cret",
    ];
    flow_store(&[&arguments, more].concat())
}

/// What comes of one answer.
async fn failure(answer: Answer, more: &[&str]) -> Error {
    let onix = Server::start([answer]).await;
    let error = store(&onix.url(""), more)
        .get("ART_FLOW_x")
        .await
        .unwrap_err();
    let text = format!("{error} {error:?}");
    for secret in ["s3cret", "bob", "Ym9iOnMzY3JldA", "127.0.0.1"] {
        assert!(!text.contains(secret), "{text}");
    }
    error
}

#[tokio::test]
async fn a_flow_is_the_meta_of_its_item() {
    let onix = Server::start([Answer::ok(ITEM)]).await;
    let flow = store(&onix.url(""), &[]).get("ART_FLOW_x").await.unwrap();
    assert_eq!(flow, r#"{"Name":"x", "steps":[]}"#);
    let [request] = onix.seen().try_into().unwrap();
    assert_eq!(request.uri.path(), "/item/ART_FLOW_x");
    assert_eq!(request.headers["authorization"], "Basic Ym9iOnMzY3JldA==");
    assert_eq!(request.headers["content-type"], "application/json");
}

#[tokio::test]
async fn the_key_is_one_segment_below_the_base() {
    let onix = Server::start([Answer::ok(ITEM)]).await;
    store(&onix.url("/wapi/"), &[])
        .get("a b/../c?d#e%2f")
        .await
        .unwrap();
    let address = onix.url("/wapi");
    store(address.trim_start_matches("http://"), &[])
        .get("x")
        .await
        .unwrap();
    let paths: Vec<_> = onix
        .seen()
        .iter()
        .map(|seen| seen.uri.to_string())
        .collect();
    assert_eq!(
        paths,
        ["/wapi/item/a%20b%2F..%2Fc%3Fd%23e%252f", "/wapi/item/x"]
    );
    // No request is made for a key that would leave its folder.
    assert_eq!(
        store(&address, &[]).get("..").await.unwrap_err().class(),
        Class::NotFound
    );
    assert_eq!(onix.seen().len(), 2);
}

#[tokio::test]
async fn missing_variables_are_reported_in_order_when_asked() {
    let mut arguments = vec![];
    for (variable, flag) in [
        ("OX_WAPI_URI", "--onix-uri"),
        ("OX_WAPI_UNAME", "--onix-user"),
        ("OX_WAPI_PWD", "--onix-password"),
    ] {
        // An empty one is as good as none.
        for arguments in [
            arguments.clone(),
            [arguments.clone(), vec![flag, ""]].concat(),
        ] {
            let error = flow_store(&arguments).get("x").await.unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("configuration variable '{variable}' is undefined")
            );
            assert_eq!(error.class(), Class::Undefined);
        }
        arguments.extend([flag, "http://onix"]);
    }
}

#[tokio::test]
async fn statuses_are_told_apart() {
    for (status, slug, class) in [
        (404, "flow-not-found", Class::NotFound),
        (401, "store-refused", Class::Upstream),
        (403, "store-refused", Class::Upstream),
        (500, "store-failed", Class::Upstream),
        (503, "store-failed", Class::Upstream),
        (204, "store-failed", Class::Upstream),
    ] {
        let error = failure(Answer::status(status), &[]).await;
        assert_eq!((error.slug(), error.class()), (slug, class), "{error}");
        let begin = format!(
            "cannot retrieve flow specification from Onix: error: response returned status: {status} "
        );
        assert!(error.to_string().starts_with(&begin), "{error}");
        assert!(
            error.to_string().contains("resource: /item/ART_FLOW_x"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::start([Answer::ok(ITEM)]).await;
    let error = failure(Answer::Redirect(elsewhere.url("/item/ART_FLOW_x")), &[]).await;
    assert_eq!(error.slug(), "store-failed");
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn silence_ends_in_time() {
    let limit = format!("{IMPATIENCE:?}");
    for answer in [Answer::Hang, Answer::Drip] {
        let error = failure(answer, &["--flow-store-timeout", &limit]).await;
        assert_eq!(error.class(), Class::Timeout, "{error}");
    }
}

#[tokio::test]
async fn a_broken_connection_tells_its_cause() {
    let error = failure(Answer::Cut(ITEM.into()), &[]).await;
    assert_eq!(error.slug(), "store-unreachable", "{error}");
    let address = nobody().await.to_string();
    let error = store(&address, &[]).get("x").await.unwrap_err();
    assert_eq!(error.slug(), "store-unreachable");
    assert!(error.to_string().contains("Connection refused"), "{error}");
    assert!(!error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn an_answer_beyond_the_cap_is_refused() {
    for answer in [Answer::ok(vec![b' '; 70_000]), Answer::Stream(70_000)] {
        let error = failure(answer, &["--flow-store-max-bytes", "64KiB"]).await;
        assert_eq!(
            (error.slug(), error.class()),
            ("flow-too-large", Class::Malformed),
            "{error}"
        );
    }
}

#[tokio::test]
async fn garbage_is_named_as_such() {
    for body in ["", "<html>", "[]", r#"{"meta":[]}"#, "\u{0}"] {
        let error = failure(Answer::ok(body), &[]).await;
        assert_eq!(
            (error.slug(), error.class()),
            ("flow-unreadable", Class::Malformed),
            "{error}"
        );
    }
}

#[tokio::test]
async fn rotated_credentials_count_at_once() {
    let onix = Server::start([Answer::ok(ITEM)]).await;
    let folder = tempfile::tempdir().unwrap();
    let (user, password) = (folder.path().join("user"), folder.path().join("password"));
    let store = store(
        &onix.url(""),
        &[
            "--onix-user-file",
            user.to_str().unwrap(),
            "--onix-password-file",
            password.to_str().unwrap(),
        ],
    );
    let error = store.get("x").await.unwrap_err();
    assert_eq!(error.slug(), "store-settings");
    for (name, secret) in [("ann", "one\n"), ("eve", "two")] {
        std::fs::write(&user, name).unwrap();
        std::fs::write(&password, secret).unwrap();
        store.get("x").await.unwrap();
    }
    let sent: Vec<_> = onix
        .seen()
        .iter()
        .map(|seen| seen.headers["authorization"].clone())
        .collect();
    assert_eq!(sent, ["Basic YW5uOm9uZQ==", "Basic ZXZlOnR3bw=="]);
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_configured() {
    let (ours, other) = (Authority::new(), Authority::new());
    let onix = Server::start_tls([Answer::ok(ITEM)], &ours).await;
    let (ours, other) = (ours.file(), other.file());
    let with =
        |file: &std::path::Path| store(&onix.url(""), &["--flow-store-ca", file.to_str().unwrap()]);
    with(&ours).get("x").await.unwrap();
    let error = with(&other).get("x").await.unwrap_err();
    assert_eq!(error.slug(), "store-unreachable");
    assert!(error.to_string().contains("certificate"), "{error}");
    assert_eq!(onix.seen().len(), 1);
    std::fs::write(&other, "no certificate").unwrap();
    let error = with(&other).get("x").await.unwrap_err();
    assert_eq!(error.slug(), "store-settings", "{error}");
}

#[tokio::test]
async fn proxy_variables_are_honoured() {
    // Variables belong to a process, so another one is started: this very binary, with the next test.
    let proxy = Server::start([Answer::ok(ITEM)]).await;
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["onix::asks_through_a_proxy", "--exact", "--ignored"]);
    child
        .env("HTTP_PROXY", proxy.url(""))
        .env("http_proxy", proxy.url(""))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy");
    let status = tokio::task::spawn_blocking(move || child.output())
        .await
        .unwrap()
        .unwrap();
    assert!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stdout)
    );
    assert_eq!(proxy.seen()[0].uri, "http://onix.invalid/item/x");
}

#[tokio::test]
#[ignore = "proxy_variables_are_honoured starts it with the variables set"]
async fn asks_through_a_proxy() {
    store("onix.invalid", &[]).get("x").await.unwrap();
}
