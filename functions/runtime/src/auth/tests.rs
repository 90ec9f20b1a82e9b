use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use clap::Parser as _;
use http::{Method, Request, StatusCode};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;

#[derive(clap::Parser)]
struct Program {
    #[command(flatten)]
    auth: AuthOptions,
}

fn options(args: &[&str]) -> AuthOptions {
    Program::parse_from([&["program"], args].concat()).auth
}

const EVENT: (&str, &str) = ("ce-specversion", "1.0");

async fn ask(gate: &Gate, headers: &[(&str, &str)]) -> Result<Caller, Response> {
    let mut request = Request::builder().method(Method::POST);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut parts = request.body(()).unwrap().into_parts().0;
    gate.check(&mut parts).await?;
    Ok(gate
        .caller(&parts)
        .await
        .unwrap_or_else(|_| panic!("it was let in")))
}

fn basic(user: &str, password: &str) -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{user}:{password}"))
    )
}

async fn knows(gate: &Gate, password: &str) -> bool {
    ask(gate, &[("authorization", &basic("admin", password))])
        .await
        .is_ok()
}

#[test]
fn nothing_starts_without_credentials_or_with_those_everybody_knows() {
    let refused = |args: &[&str]| options(args).gate(None).unwrap_err().to_string();
    assert!(refused(&[]).contains("no credentials are configured"));
    assert!(refused(&["--http-password", ""]).contains("no credentials are configured"));
    assert!(refused(&["--http-password", "adm1n"]).contains("published default"));
    assert!(refused(&["--http-password", "x", "--http-user", "a:b"]).contains("colon"));
    assert!(refused(&["--credentials", "/nowhere"]).contains("/nowhere"));
    assert!(refused(&["--oidc-audience", "us"]).contains("API server"));
    assert!(options(&["--insecure-no-password"]).gate(None).is_ok());
}

#[test]
fn options_never_show_the_password() {
    assert!(!format!("{:?}", options(&["--http-password", "sesame"])).contains("sesame"));
}

#[tokio::test]
async fn only_the_right_pair_gets_in() {
    let gate = options(&["--http-user", "gate", "--http-password", "se:same"])
        .gate(None)
        .unwrap();
    let right = basic("gate", "se:same");
    assert_eq!(
        ask(&gate, &[("authorization", &right)]).await.unwrap(),
        Caller::Basic
    );
    assert_eq!(
        ask(&gate, &[("authorization", &right), EVENT])
            .await
            .unwrap(),
        Caller::Basic
    );
    for wrong in [
        basic("gate", "other"),
        basic("Gate", "se:same"),
        basic("", ""),
        "Basic".to_owned(),
        right.replace("Basic", "Bearer"),
    ] {
        let answer = ask(&gate, &[("authorization", &wrong)]).await.unwrap_err();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{wrong}");
        assert_eq!(
            answer.headers()["www-authenticate"],
            r#"Basic realm="hookrun", charset="UTF-8""#
        );
    }
    assert!(
        ask(
            &gate,
            &[("authorization", &right), ("authorization", &right)]
        )
        .await
        .is_err()
    );
}

#[tokio::test]
async fn an_instance_for_events_alone_lets_nothing_else_in() {
    let gate = options(&["--cluster-local"]).gate(None).unwrap();
    assert_eq!(ask(&gate, &[EVENT]).await.unwrap(), Caller::Anyone);
    assert!(ask(&gate, &[]).await.is_err());
    let mut parts = Request::get("/")
        .header(EVENT.0, EVENT.1)
        .body(())
        .unwrap()
        .into_parts()
        .0;
    assert!(
        gate.check(&mut parts).await.is_err(),
        "a header does not turn reading into an event"
    );
    let both = options(&["--cluster-local", "--http-password", "x"])
        .gate(None)
        .unwrap();
    assert!(ask(&both, &[]).await.is_err());
    assert!(knows(&both, "x").await);
}

#[tokio::test]
async fn a_browser_does_not_lend_its_credentials_to_other_pages() {
    let closed = options(&["--http-password", "x"]).gate(None).unwrap();
    let open = options(&["--insecure-no-password"]).gate(None).unwrap();
    let events = options(&["--cluster-local"]).gate(None).unwrap();
    let right = basic("admin", "x");
    let (host, credentials) = (("host", "localhost:8080"), ("authorization", &*right));
    for foreign in [
        ("origin", "http://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ] {
        for gate in [&closed, &open] {
            let answer = ask(gate, &[host, credentials, foreign]).await.unwrap_err();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{foreign:?}");
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            assert!(!answer.headers().contains_key("www-authenticate"));
        }
        let answer = ask(&events, &[host, EVENT, foreign]).await.unwrap_err();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{foreign:?}");
    }
    let own = ("origin", "http://localhost:8080");
    assert!(ask(&closed, &[host, credentials, own]).await.is_ok());
    assert!(ask(&open, &[host, own]).await.is_ok());
}

#[tokio::test]
async fn without_a_password_only_names_that_point_here_are_answered() {
    let open = options(&["--insecure-no-password"]).gate(None).unwrap();
    let answer = ask(&open, &[("host", "evil.example:8080")]).await;
    assert_eq!(answer.unwrap_err().status(), StatusCode::FORBIDDEN);
    assert!(ask(&open, &[("host", "127.0.0.1:8080")]).await.is_ok());
    let closed = options(&["--http-password", "x"]).gate(None).unwrap();
    let right = basic("admin", "x");
    let named = [("host", "hooks.example"), ("authorization", &*right)];
    assert!(
        ask(&closed, &named).await.is_ok(),
        "a password tells enough"
    );
}

/// As the kubelet mounts a Secret: files are links into `..data`, which is a link to the version.
fn mount(folder: &std::path::Path, version: &str, files: &[(&str, &str)]) {
    use std::os::unix::fs::symlink;
    let target = folder.join(version);
    std::fs::create_dir(&target).unwrap();
    for (name, text) in files {
        std::fs::write(target.join(name), text).unwrap();
        let _ = symlink(format!("..data/{name}"), folder.join(name));
    }
    symlink(version, folder.join("..data_tmp")).unwrap();
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

#[tokio::test]
async fn a_mounted_secret_may_change_and_two_passwords_may_overlap() {
    let folder = tempfile::tempdir().unwrap();
    mount(
        folder.path(),
        "..1",
        &[("username", "admin\n"), ("password", "old\n")],
    );
    let gate = options(&["--credentials", folder.path().to_str().unwrap()])
        .gate(None)
        .unwrap();
    assert!(knows(&gate, "old").await && !knows(&gate, "new").await);
    mount(
        folder.path(),
        "..2",
        &[("username", "admin"), ("password", "old\nnew\n")],
    );
    let started = std::time::Instant::now();
    while !knows(&gate, "new").await {
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(knows(&gate, "old").await);
    assert!(!knows(&gate, "old\nnew").await && !knows(&gate, "").await);
    // Half a change: what was known stays.
    std::fs::remove_file(folder.path().join("..data/password")).unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(knows(&gate, "new").await);
}

#[tokio::test]
async fn the_keys_of_the_artisan_runners_secret_are_known() {
    let folder = tempfile::tempdir().unwrap();
    mount(
        folder.path(),
        "..1",
        &[("uname", "admin"), ("pwd", "sesame")],
    );
    let path = folder.path().to_str().unwrap();
    assert!(
        knows(
            &options(&["--credentials", path]).gate(None).unwrap(),
            "sesame"
        )
        .await
    );
    mount(folder.path(), "..2", &[("uname", "admin"), ("pwd", "\n")]);
    assert!(
        options(&["--credentials", path])
            .gate(None)
            .unwrap_err()
            .to_string()
            .contains("password is empty")
    );
}

/// An issuer whose keys can be exchanged.
struct Issuer {
    keys: Mutex<Vec<(String, EcdsaKeyPair)>>,
    fetches: AtomicUsize,
    broken: std::sync::atomic::AtomicBool,
}

impl Issuer {
    fn new(ids: &[&str]) -> Arc<Self> {
        let issuer = Self {
            keys: Mutex::default(),
            fetches: AtomicUsize::new(0),
            broken: false.into(),
        };
        issuer.publish(ids);
        Arc::new(issuer)
    }

    fn publish(&self, ids: &[&str]) {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let keys = ids.iter().map(|id| {
            let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            (
                (*id).to_owned(),
                EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap(),
            )
        });
        *self.keys.lock().unwrap() = keys.collect();
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(header), encode(claims));
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let signature = keys[0]
            .1
            .sign(&SystemRandom::new(), message.as_bytes())
            .unwrap();
        format!(
            "{message}.{}",
            BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref())
        )
    }

    fn token(&self, changed: &[(&str, Value)]) -> String {
        let mut claims = claims();
        for (name, value) in changed {
            claims[*name] = value.clone();
        }
        let id = self.keys.lock().unwrap()[0].0.clone();
        self.sign(&json!({"alg": "ES256", "kid": id}), &claims)
    }
}

fn claims() -> Value {
    json!({"iss": "https://issuer", "aud": ["us", "others"], "sub": "system:serviceaccount:team:trigger", "exp": now() + 600})
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

impl KeySource for Issuer {
    fn fetch<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Bytes, String>> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let keys = self.keys.lock().unwrap();
        let keys: Vec<_> = keys
            .iter()
            .map(|(id, key)| {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
                json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": id, "x": encode(x), "y": encode(y)})
            })
            .chain([json!({"kty": "of tomorrow"}), json!(7)])
            .collect();
        let document = match path {
            "/openid/v1/jwks" => json!({ "keys": keys }),
            _ => json!({"issuer": "https://issuer"}),
        };
        let broken = self.broken.load(Ordering::SeqCst);
        Box::pin(async move {
            if broken {
                Err("refused".to_owned())
            } else {
                Ok(document.to_string().into())
            }
        })
    }
}

async fn bearer(gate: &Gate, token: &str) -> Result<Caller, Response> {
    ask(
        gate,
        &[EVENT, ("authorization", &format!("Bearer {token}"))],
    )
    .await
}

#[tokio::test]
async fn a_token_of_the_cluster_lets_an_event_in_and_nothing_else() {
    let issuer = Issuer::new(&["one"]);
    let gate = options(&["--oidc-audience", "us"])
        .gate(Some(issuer.clone()))
        .unwrap();
    let token = issuer.token(&[]);
    let trigger = Caller::Subject("system:serviceaccount:team:trigger".to_owned());
    assert_eq!(bearer(&gate, &token).await.unwrap(), trigger);
    assert_eq!(
        bearer(&gate, &issuer.token(&[("aud", json!("us"))]))
            .await
            .unwrap(),
        trigger
    );
    assert!(
        ask(&gate, &[("authorization", &format!("Bearer {token}"))])
            .await
            .is_err(),
        "not an event"
    );
    let missing = ask(&gate, &[EVENT]).await.unwrap_err();
    assert_eq!(
        (missing.status(), &missing.headers()["www-authenticate"]),
        (
            StatusCode::UNAUTHORIZED,
            &HeaderValue::from_static(r#"Bearer realm="hookrun""#)
        )
    );
    for changed in [
        ("aud", json!("them")),
        ("aud", Value::Null),
        ("iss", json!("https://other")),
        ("exp", json!(now() - 60)),
        ("exp", Value::Null),
        ("exp", json!("tomorrow")),
        ("nbf", json!(now() + 60)),
        ("sub", Value::Null),
    ] {
        let token = issuer.token(std::slice::from_ref(&changed));
        let answer = bearer(&gate, &token).await.unwrap_err();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{changed:?}");
    }
    let header = |alg: &str| json!({"alg": alg, "kid": "one"});
    for token in [
        issuer.sign(&header("RS256"), &claims()),
        issuer.sign(&header("HS256"), &claims()),
        issuer.sign(&header("none"), &claims()),
        issuer.sign(&json!({"alg": "ES256"}), &claims()),
        token.rsplit_once('.').unwrap().0.to_owned() + ".",
        token.replacen('.', "x.", 1),
        String::new(),
        "..".to_owned(),
        "a".repeat(20_000),
    ] {
        assert!(bearer(&gate, &token).await.is_err(), "{token}");
    }
    assert_eq!(
        issuer.fetches.load(Ordering::SeqCst),
        2,
        "issuer and keys, once"
    );
}

#[tokio::test]
async fn only_the_subjects_that_are_named_get_in() {
    let issuer = Issuer::new(&["one"]);
    let args = [
        "--oidc-audience",
        "us",
        "--oidc-issuer",
        "https://issuer",
        "--oidc-subjects",
        "a,system:serviceaccount:team:trigger",
    ];
    let gate = options(&args).gate(Some(issuer.clone())).unwrap();
    assert!(bearer(&gate, &issuer.token(&[])).await.is_ok());
    assert!(
        bearer(&gate, &issuer.token(&[("sub", json!("b"))]))
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_fetched_and_an_event_is_never_refused_for_it_in_vain() {
    let issuer = Issuer::new(&["one"]);
    let gate = options(&["--oidc-audience", "us", "--oidc-issuer", "https://issuer"])
        .gate(Some(issuer.clone()))
        .unwrap();
    let old = issuer.token(&[]);
    assert!(bearer(&gate, &old).await.is_ok());
    issuer.publish(&["two"]);
    let later = bearer(&gate, &issuer.token(&[])).await.unwrap_err();
    assert_eq!(
        later.status(),
        StatusCode::SERVICE_UNAVAILABLE,
        "asked a moment ago"
    );
    assert!(later.headers().contains_key("retry-after"));
    tokio::time::advance(Duration::from_secs(11)).await;
    assert!(bearer(&gate, &issuer.token(&[])).await.is_ok());
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(
        bearer(&gate, &old).await.unwrap_err().status(),
        StatusCode::UNAUTHORIZED,
        "withdrawn"
    );
    assert_eq!(issuer.fetches.load(Ordering::SeqCst), 3);

    issuer.broken.store(true, Ordering::SeqCst);
    tokio::time::advance(Duration::from_secs(7200)).await;
    assert!(
        bearer(&gate, &issuer.token(&[])).await.is_ok(),
        "the set known before stays valid"
    );
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_no_reason_to_lose_an_event() {
    let issuer = Issuer::new(&["one"]);
    issuer.broken.store(true, Ordering::SeqCst);
    let gate = options(&["--oidc-audience", "us"])
        .gate(Some(issuer.clone()))
        .unwrap();
    let answer = bearer(&gate, &issuer.token(&[])).await.unwrap_err();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_nobody_knows_yet_is_no_reason_to_lose_an_event_either() {
    let issuer = Issuer::new(&["one"]);
    let keys = KeySet::of_cluster(issuer.clone());
    let old = issuer.token(&[]);
    assert!(keys.claims(&old).await.is_ok());
    let forged = issuer.token(&[]).replacen('.', ".e30", 1);
    assert!(matches!(
        keys.claims(&forged).await,
        Err(TokenError::Invalid(_))
    ));
    issuer.publish(&["two"]);
    let later = keys.claims(&issuer.token(&[])).await;
    let Err(TokenError::Keys { retry_after, .. }) = later else {
        panic!("asked a moment ago: {later:?}");
    };
    tokio::time::advance(Duration::from_secs(retry_after.into())).await;
    assert!(keys.claims(&issuer.token(&[])).await.is_ok());
    // Whoever invents a key comes again, and then learns that there is none.
    tokio::time::advance(Duration::from_secs(11)).await;
    assert!(matches!(
        keys.claims(&old).await,
        Err(TokenError::Invalid(_))
    ));
    issuer.publish(&["three"]);
    issuer.broken.store(true, Ordering::SeqCst);
    tokio::time::advance(Duration::from_secs(11)).await;
    assert!(matches!(
        keys.claims(&issuer.token(&[])).await,
        Err(TokenError::Keys { .. })
    ));
}

/// A token that another program signed, with a key that was thrown away. Valid until the year 2100.
struct Elsewhere;

impl KeySource for Elsewhere {
    fn fetch<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Bytes, String>> {
        Box::pin(async {
            Ok(Bytes::from_static(include_bytes!(
                "../../tests/rs256/jwks.json"
            )))
        })
    }
}

#[tokio::test]
async fn rsa_signatures_are_checked() {
    let args = ["--oidc-audience", "us", "--oidc-issuer", "https://issuer"];
    let gate = options(&args).gate(Some(Arc::new(Elsewhere))).unwrap();
    let token = include_str!("../../tests/rs256/token.txt").trim();
    assert!(bearer(&gate, token).await.is_ok());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{message}.{}", signature.chars().rev().collect::<String>());
    assert_eq!(
        bearer(&gate, &forged).await.unwrap_err().status(),
        StatusCode::UNAUTHORIZED
    );
}
