//! Every vector of `shared/providers/tests/vectors.json` as real HTTP, to a Hook of its provider.
//!
//! The times that are signed in them are long over. Such a request is signed anew, as far from now as the vector's time
//! is from its clock; everything else of it stays as it is, other signatures in a list included.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use control_plane::Cluster;
use ed25519_dalek::{Signer, SigningKey};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use providers::sign::{Outgoing, sign};
use serde_json::{Value, json};

use super::scene::{Scene, now, rule};
use crate::{
    case::Case,
    cases,
    function::{Function, repository},
    support::ask,
};

/// The time that is signed in all vectors.
const SIGNED: i64 = 1_700_000_000;

/// Seconds.
const MINUTE: i64 = 60;

/// Vectors whose proof is a token: only its issuer can make a new one, and its keys cannot be had here. None may be let
/// in; a token of the cluster itself is tried apart from them.
const TOKENS: [&str; 5] = [
    "gar-pubsub",
    "gar-pubsub-other-account",
    "knative-broker-token",
    "token-alg-none",
    "token-alg-hs256",
];

/// The one that is signed with a private key, which is a key of this test then.
const BY_KEY: &str = "standard-webhooks-v1a";

pub(super) fn cases() -> Vec<Case> {
    cases![
        every_vector_gets_its_answer_and_only_accepted_ones_become_one_delivery,
        a_token_of_the_cluster_lets_its_account_in_and_nobody_else,
    ]
    .into_iter()
    .map(|case| case.within(std::time::Duration::from_secs(300)))
    .collect()
}

/// One request of the file.
struct Vector<'a> {
    id: &'a str,
    value: &'a Value,
}

async fn every_vector_gets_its_answer_and_only_accepted_ones_become_one_delivery(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let path = repository().join("shared/providers/tests/vectors.json");
    let vectors: Vec<Value> = serde_json::from_slice(&std::fs::read(path)?)?;
    ensure!(vectors.len() >= 44, "{} vectors", vectors.len());
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let counts: Vec<(&str, usize)> = stream::iter(&vectors)
        .map(async |value| {
            let id = value["id"].as_str().context("a vector without id")?;
            let vector = Vector { id, value };
            vector
                .play(&scene, &function)
                .await
                .with_context(|| format!("vector {id}"))?;
            Ok::<_, anyhow::Error>((value["expect"].as_str().unwrap_or_default(), 1))
        })
        .buffer_unordered(4)
        .try_collect()
        .await?;
    for expect in ["accept", "reject", "ping"] {
        let count = counts.iter().filter(|(kind, _)| *kind == expect).count();
        ensure!(count > 2, "only {count} vectors say {expect}");
    }
    crate::aftermath::discreet(&function)
}

impl Vector<'_> {
    async fn play(&self, scene: &Scene, function: &Function) -> Result<()> {
        self.hook(scene).await?;
        let answer = ask(self.request(scene, function, self.id)?).await?;
        let unknown = ask(self.request(scene, function, "unknown")?).await?;
        let deliveries = scene.deliveries(self.id).await?;
        let refused = || {
            ensure!(
                answer.status == 401 && unknown.status == 401 && answer.text == unknown.text,
                "expected {unknown:?}, got {answer:?}"
            );
            ensure!(deliveries.is_empty(), "stored: {deliveries:#?}");
            Ok(())
        };
        match self.value["expect"].as_str() {
            _ if TOKENS.contains(&self.id) => refused()?,
            Some("accept") => {
                ensure!(answer.status == 202, "not accepted: {answer:?}");
                ensure!(deliveries.len() == 1, "{} Deliveries", deliveries.len());
                self.is_recorded(&deliveries[0])?;
                let runs = scene.runs(self.id).await?;
                ensure!(runs.len() == 1, "{} runs", runs.len());
                self.again(scene, function).await?;
            }
            Some("ping") => {
                ensure!(answer.status == 200, "the answer to a ping: {answer:?}");
                ensure!(deliveries.is_empty(), "stored: {deliveries:#?}");
            }
            Some("reject") => refused()?,
            other => bail!("what is to be expected? {other:?}"),
        }
        Ok(())
    }

    /// The same request once more changes nothing, where its provider says what is the same.
    async fn again(&self, scene: &Scene, function: &Function) -> Result<()> {
        let answer = ask(self.request(scene, function, self.id)?).await?;
        ensure!(answer.status == 202, "repeated: {answer:?}");
        let expected = if self.has_identity() { 1 } else { 2 };
        let (deliveries, runs) = (
            scene.deliveries(self.id).await?.len(),
            scene.runs(self.id).await?.len(),
        );
        ensure!(
            deliveries == expected && runs == expected,
            "repeated, there are {deliveries} Deliveries and {runs} runs"
        );
        Ok(())
    }

    /// Whether its sender has an identity for an event; without one each request is an event.
    fn has_identity(&self) -> bool {
        self.value["facts"]["key"] != ""
    }

    /// What the vector says of the event is what the Delivery says.
    fn is_recorded(&self, delivery: &Value) -> Result<()> {
        ensure!(
            delivery["outcome"] == "Created",
            "outcome {}: {}",
            delivery["outcome"],
            delivery["reason"]
        );
        let facts = self.value["facts"].as_object().context("no facts")?;
        for (field, expected) in facts {
            // An event without identity has one of its own.
            let made_up = field == "key" && !self.has_identity();
            // Where a body is its own name, it is one for a while.
            let begins = |text: &str| {
                let found = delivery[field].as_str().unwrap_or_default();
                field == "key"
                    && found
                        .strip_prefix(text)
                        .is_some_and(|rest| rest.starts_with(" from "))
            };
            let same = &delivery[field] == expected || expected.as_str().is_some_and(begins);
            ensure!(
                made_up || same,
                "{field} is {} and not {expected}",
                delivery[field]
            );
        }
        let secrets = self.secrets()?;
        let text = delivery.to_string();
        for secret in secrets {
            ensure!(!text.contains(&secret), "the Delivery tells a secret");
        }
        let at = self.value["secret"].as_u64().unwrap_or_default();
        ensure!(
            delivery["secret"] == format!("{}/s{at}", self.id),
            "proven by {}",
            delivery["secret"]
        );
        Ok(())
    }

    async fn hook(&self, scene: &Scene) -> Result<()> {
        let secrets = self.secrets()?;
        let mut refs = Vec::new();
        let mut entries = serde_json::Map::new();
        for (at, secret) in secrets.into_iter().enumerate() {
            refs.push(json!({"name": self.id, "key": format!("s{at}")}));
            entries.insert(format!("s{at}"), secret.into());
        }
        if !entries.is_empty() {
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": self.id}, "stringData": entries,
            });
            scene.objects.create(&secret).await?;
        }
        let mut verification = json!({"secretRefs": refs});
        for (field, value) in self.value["settings"].as_object().into_iter().flatten() {
            verification[field] = value.clone();
        }
        let spec = json!({
            "provider": self.value["provider"],
            "verification": verification,
            "rules": [rule("all")],
        });
        scene.hook(self.id, spec).await?;
        Ok(())
    }

    fn secrets(&self) -> Result<Vec<String>> {
        if self.id == BY_KEY {
            let public = BASE64_STANDARD.encode(key().verifying_key().as_bytes());
            return Ok(vec![format!("whpk_{public}")]);
        }
        let text = |value: &Value| value.as_str().map(str::to_owned).context("no text");
        match (&self.value["secret_utf8"], &self.value["secret_b64"]) {
            (Value::Array(several), _) => several.iter().map(text).collect(),
            (Value::String(one), _) => Ok(vec![one.clone()]),
            (_, Value::String(bytes)) => Ok(vec![format!("whsec_{bytes}")]),
            _ => Ok(Vec::new()),
        }
    }

    /// The request, to the Hook of this name.
    fn request(
        &self,
        scene: &Scene,
        function: &Function,
        hook: &str,
    ) -> Result<reqwest::RequestBuilder> {
        let body = self.value["body"].as_str().context("no body")?;
        let mut headers = HeaderMap::new();
        for (name, value) in self.value["headers"].as_object().context("no headers")? {
            let value = value.as_str().context("no text")?;
            headers.insert(
                HeaderName::try_from(name.as_str())?,
                HeaderValue::from_str(value)?,
            );
        }
        if let Some(clock) = self.value["clock_unix"].as_i64()
            && !TOKENS.contains(&self.id)
        {
            // What is too far ahead comes nearer until it is read; the very second is for the tests that stop the clock.
            let on_its_way = if clock < SIGNED { MINUTE } else { 0 };
            let time = now()? + SIGNED - clock + on_its_way;
            self.sign_anew(&mut headers, body.as_bytes(), time)?;
        }
        let token = self.value["path"].as_str();
        let token = token.and_then(|path| path.rsplit('/').next());
        let mut path = format!("/hooks/{}/{hook}", scene.namespace);
        if let Some(token) = token {
            path = format!("{path}/{token}");
        }
        let request = function.anonymous(Method::POST, &path);
        Ok(request.headers(headers).body(body.to_owned()))
    }

    fn sign_anew(&self, headers: &mut HeaderMap, body: &[u8], time: i64) -> Result<()> {
        let name = self.value["provider"].as_str().unwrap_or_default();
        let provider = providers::provider(name).context("an unknown provider")?;
        if self.id == BY_KEY {
            let id = headers.get("webhook-id").context("no id")?.to_str()?;
            let message = [format!("{id}.{time}.").as_bytes(), body].concat();
            let signature = BASE64_STANDARD.encode(key().sign(&message).to_bytes());
            headers.insert("webhook-timestamp", time.into());
            headers.insert("webhook-signature", format!("v1a,{signature}").parse()?);
            return Ok(());
        }
        let verification = serde_json::from_value(self.value["settings"].clone());
        let verification = verification.unwrap_or_default();
        let settings =
            hooks::settings(&verification).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        let id = match headers.get("webhook-id") {
            Some(id) => id.to_str()?,
            None => self.value["facts"]["deliveryId"]
                .as_str()
                .unwrap_or_default(),
        };
        let id = id.to_owned();
        let outgoing = Outgoing {
            event_type: "",
            id: &id,
            body,
        };
        let before = headers.clone();
        for secret in self.secrets()? {
            let sent = |time| sign(provider, &settings, secret.as_bytes(), &outgoing, time);
            let (old, new) = (sent(SIGNED)?.headers, sent(time)?.headers);
            for (name, old) in &old {
                let (Some(header), Some(new)) = (headers.get(name), new.get(name)) else {
                    continue;
                };
                let renewed = renewed(header.to_str()?, old.to_str()?, new.to_str()?);
                headers.insert(name, renewed.parse()?);
            }
        }
        ensure!(*headers != before, "no signature of the vector is known");
        Ok(())
    }
}

/// A header with the signature and the time of `new` in the places of those of `old`; what else is in its list stays.
fn renewed(header: &str, old: &str, new: &str) -> String {
    let separators = [',', ' '];
    let pairs = old.split(separators).zip(new.split(separators));
    pairs.fold(header.to_owned(), |header, (old, new)| {
        header.replace(old, new)
    })
}

async fn a_token_of_the_cluster_lets_its_account_in_and_nobody_else(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let (broker, other) = (
        cluster.account("broker").await?,
        cluster.account("other").await?,
    );
    let account = format!("system:serviceaccount:{}:{}", broker.namespace, broker.name);
    let token = json!({"audience": "hookrun", "account": account, "issuer": cluster.issuer()});
    let spec = json!({
        "provider": "knative-broker", "verification": {"token": token}, "rules": [rule("all")],
    });
    scene.hook("broker", spec).await?;
    let path = format!("/hooks/{}/broker", scene.namespace);
    let send = async |token: &str, id: &str| {
        let request = function
            .anonymous(Method::POST, &path)
            .header("ce-specversion", "1.0")
            .header("ce-type", "dev.example.built")
            .header("ce-source", "/test/broker")
            .header("ce-id", id)
            .header("content-type", "application/json")
            .bearer_auth(token);
        ask(request.body("{\"ref\":\"refs/heads/main\"}")).await
    };
    let good = cluster
        .token(&broker.namespace, &broker.name, &["hookrun"])
        .await?;
    let mut forged = good.clone();
    let last = forged.pop().context("an empty token")?;
    forged.push(if last == 'A' { 'B' } else { 'A' });
    let bad = [
        (
            "another audience",
            cluster
                .token(&broker.namespace, &broker.name, &["others"])
                .await?,
        ),
        (
            "another account",
            cluster
                .token(&other.namespace, &other.name, &["hookrun"])
                .await?,
        ),
        ("a token for the API server", broker.token.clone()),
        (
            "no signature",
            format!("{}.", good.rsplit_once('.').context("no token")?.0),
        ),
        ("a wrong signature", forged),
        ("no token", String::new()),
    ];
    for (what, token) in bad {
        let answer = send(&token, "1").await?;
        ensure!(answer.status == 401, "{what}: {answer:?}");
    }
    ensure!(
        scene.deliveries("broker").await?.is_empty(),
        "something is stored"
    );
    for repetition in ["first", "again"] {
        let answer = send(&good, "1").await?;
        ensure!(answer.status == 202, "{repetition}: {answer:?}");
    }
    let (deliveries, runs) = (
        scene.deliveries("broker").await?,
        scene.runs("broker").await?,
    );
    ensure!(
        deliveries.len() == 1
            && runs.len() == 1
            && deliveries[0]["eventType"] == "dev.example.built",
        "{} runs, {deliveries:#?}",
        runs.len()
    );
    Ok(())
}

/// The private key of the one vector that needs one.
fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}
