//! The parts that the other cases rely on, each shown to be what it claims.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use control_plane::{Account, Cluster, eventually, until};
use http::{Method, Request, StatusCode};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use crate::{
    case::Case,
    cases,
    faults::{Action, Faults, Rule},
    function::{self, Function},
    onix::{self, Mode, Onix},
    s3::{self, S3},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    cases![
        tekton_admission_refuses_both_ref_and_spec,
        tekton_makes_a_pod_of_a_run,
        what_a_run_owns_vanishes_with_it,
        tokens_name_their_audience_and_a_published_key,
        an_account_has_the_rights_of_its_role_and_no_others,
        faults_are_answered_and_recorded,
        a_lost_answer_hides_what_has_happened,
        a_hanging_request_is_never_answered,
        onix_knows_its_reader_and_its_items,
        the_s3_server_keeps_objects_and_secrets,
        a_function_starts_and_ends_as_it_is_told,
    ]
}

/// An API of Tekton, by its kind.
fn tekton(client: Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("tekton.dev", "v1", kind);
    Api::namespaced_with(client, namespace, &ApiResource::from_gvk(&kind))
}

fn object(value: Value) -> Result<DynamicObject> {
    Ok(serde_json::from_value(value)?)
}

fn run(name: &str, spec: Value) -> Result<DynamicObject> {
    object(json!({
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": name},
        "spec": spec,
    }))
}

fn one_step() -> Value {
    json!({"tasks": [{"name": "only", "taskSpec": {
        "steps": [{"name": "only", "image": "images.example.org/only:1", "command": ["true"]}],
    }}]})
}

async fn tekton_admission_refuses_both_ref_and_spec(cluster: Arc<Cluster>) -> Result<()> {
    let namespace = cluster.namespace("admission").await?;
    let runs = tekton(cluster.admin(), &namespace, "PipelineRun");
    let both = run(
        "both",
        json!({"pipelineRef": {"name": "any"}, "pipelineSpec": one_step()}),
    )?;
    let Err(kube::Error::Api(refusal)) = runs.create(&PostParams::default(), &both).await else {
        anyhow::bail!("Tekton did not refuse it");
    };
    ensure!(
        refusal.message.contains("expected exactly one, got both"),
        "{}",
        refusal.message
    );
    Ok(())
}

async fn tekton_makes_a_pod_of_a_run(cluster: Arc<Cluster>) -> Result<()> {
    let namespace = cluster.namespace("controller").await?;
    let runs = tekton(cluster.admin(), &namespace, "PipelineRun");
    let spec =
        json!({"pipelineSpec": one_step(), "taskRunTemplate": {"serviceAccountName": "pipeline"}});
    runs.create(&PostParams::default(), &run("one", spec)?)
        .await?;
    let pods = Api::<Pod>::namespaced(cluster.admin(), &namespace);
    until("the run has a pod", PATIENCE, async || {
        Ok(!pods.list(&Default::default()).await?.items.is_empty())
    })
    .await
}

async fn what_a_run_owns_vanishes_with_it(cluster: Arc<Cluster>) -> Result<()> {
    let namespace = cluster.namespace("owner").await?;
    let runs = tekton(cluster.admin(), &namespace, "PipelineRun");
    let pending = json!({"status": "PipelineRunPending", "pipelineSpec": one_step()});
    let run = runs
        .create(&PostParams::default(), &run("owner", pending)?)
        .await?;
    let secrets = Api::<Secret>::namespaced(cluster.admin(), &namespace);
    let owned: Secret = serde_json::from_value(json!({
        "metadata": {"name": "owned", "ownerReferences": [{
            "apiVersion": "tekton.dev/v1",
            "kind": "PipelineRun",
            "name": run.name_any(),
            "uid": run.uid(),
        }]},
    }))?;
    secrets.create(&PostParams::default(), &owned).await?;
    runs.delete("owner", &DeleteParams::default()).await?;
    until("the Secret has vanished", PATIENCE, async || {
        Ok(secrets.get_opt("owned").await?.is_none())
    })
    .await
}

async fn tokens_name_their_audience_and_a_published_key(cluster: Arc<Cluster>) -> Result<()> {
    let account = cluster.account("sender").await?;
    let token = cluster
        .token(&account.namespace, &account.name, &["hookrun"])
        .await?;
    let mut parts = token.split('.').map(|part| -> Result<Value> {
        Ok(serde_json::from_slice(
            &BASE64_URL_SAFE_NO_PAD.decode(part)?,
        )?)
    });
    let header = parts.next().context("no header")??;
    let claims = parts.next().context("no claims")??;
    ensure!(claims["aud"] == json!(["hookrun"]), "{claims}");
    ensure!(claims["iss"] == cluster.issuer(), "{claims}");
    ensure!(
        claims["sub"]
            == format!(
                "system:serviceaccount:{}:{}",
                account.namespace, account.name
            ),
        "{claims}"
    );

    // Every account may read the keys, as in every cluster.
    let client = cluster.client(&account.token).await?;
    let read = async |path: &str| -> Result<Value> {
        Ok(client.request(Request::get(path).body(Vec::new())?).await?)
    };
    let keys = read("/openid/v1/jwks").await?;
    ensure!(
        keys["keys"]
            .as_array()
            .is_some_and(|keys| keys.iter().any(|key| key["kid"] == header["kid"])),
        "{keys} has no key {}",
        header["kid"]
    );
    let discovery = read("/.well-known/openid-configuration").await?;
    ensure!(discovery["issuer"] == cluster.issuer(), "{discovery}");
    Ok(())
}

async fn an_account_has_the_rights_of_its_role_and_no_others(cluster: Arc<Cluster>) -> Result<()> {
    let namespace = cluster.namespace("rights").await?;
    let account = cluster.account("reader").await?;
    let manifest = cluster.folder().join("reader.yaml");
    std::fs::write(
        &manifest,
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: ignored}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: reader}\n\
         rules: [{apiGroups: [\"\"], resources: [configmaps], verbs: [get]}]\n",
    )?;
    ensure!(cluster.grant(&manifest, &namespace, &account).await? == 1);

    let get = async |name: &str| {
        let client = cluster.client(&account.token).await?;
        let found = Api::<ConfigMap>::namespaced(client, name).get("none").await;
        let Err(kube::Error::Api(answer)) = found else {
            anyhow::bail!("{found:?}");
        };
        Ok(answer.code)
    };
    until("the right is in force", PATIENCE, async || {
        Ok(get(&namespace).await? == 404)
    })
    .await?;
    ensure!(get("kube-system").await? == 403);
    let client = cluster.client(&account.token).await?;
    let listed = Api::<ConfigMap>::namespaced(client, &namespace)
        .list(&Default::default())
        .await;
    ensure!(
        matches!(&listed, Err(kube::Error::Api(answer)) if answer.code == 403),
        "{listed:?}"
    );
    Ok(())
}

/// A plain request through the proxy, with the rights of an administrator.
async fn through(
    cluster: &Cluster,
    faults: &Faults,
    account: &Account,
    name: &str,
) -> Result<reqwest::Response> {
    let url = format!(
        "{}/api/v1/namespaces/{}/configmaps",
        faults.url(),
        account.namespace
    );
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    // The proxy passes the token on, so the account needs the right itself.
    let rights = cluster.folder().join(format!("{}.yaml", account.namespace));
    if !rights.exists() {
        std::fs::write(
            &rights,
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: writer}\n\
             rules: [{apiGroups: [\"\"], resources: [configmaps], verbs: [create]}]\n",
        )?;
        cluster.grant(&rights, &account.namespace, account).await?;
    }
    Ok(function::client()?
        .post(url)
        .bearer_auth(&account.token)
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await?)
}

async fn writer(cluster: &Cluster, faults: &Faults) -> Result<Account> {
    let account = cluster.account("writer").await?;
    let mut number = 0;
    until("the right is in force", PATIENCE, async || {
        number += 1;
        let name = format!("warm-up-{number}");
        Ok(through(cluster, faults, &account, &name).await?.status() == 201)
    })
    .await?;
    faults.forget();
    Ok(account)
}

async fn faults_are_answered_and_recorded(cluster: Arc<Cluster>) -> Result<()> {
    let faults = Faults::start(&cluster).await?;
    let account = writer(&cluster, &faults).await?;
    let called = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&called);
    faults.add(
        Rule::of(
            "/configmaps",
            Action::Answer(StatusCode::TOO_MANY_REQUESTS, Some(7)),
        )
        .method(Method::POST)
        .skip(1)
        .times(1),
    );
    faults.add(Rule::of(
        "/configmaps",
        Action::Call(Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        })),
    ));

    let mut answers = Vec::new();
    for name in ["one", "two", "three"] {
        answers.push(through(&cluster, &faults, &account, name).await?);
    }
    let codes: Vec<u16> = answers
        .iter()
        .map(|answer| answer.status().as_u16())
        .collect();
    ensure!(codes == [201, 429, 201], "{codes:?}");
    ensure!(answers[1].headers()["retry-after"] == "7");
    ensure!(
        called.load(Ordering::Relaxed) == 1,
        "only the third got so far"
    );
    let passed: Vec<bool> = faults
        .writes()
        .iter()
        .map(|seen| seen.succeeded())
        .collect();
    ensure!(passed == [true, false, true], "{:?}", faults.seen());
    Ok(())
}

async fn a_lost_answer_hides_what_has_happened(cluster: Arc<Cluster>) -> Result<()> {
    let faults = Faults::start(&cluster).await?;
    let account = writer(&cluster, &faults).await?;
    faults.add(Rule::of("/configmaps", Action::Close).times(1));
    faults.add(Rule::of("/configmaps", Action::Close).after());
    for name in ["never", "yes"] {
        let lost = through(&cluster, &faults, &account, name).await;
        ensure!(lost.is_err(), "{lost:?}");
    }
    let maps = Api::<ConfigMap>::namespaced(cluster.admin(), &account.namespace);
    ensure!(maps.get_opt("never").await?.is_none());
    ensure!(maps.get_opt("yes").await?.is_some());
    faults.heal();
    ensure!(
        through(&cluster, &faults, &account, "healed")
            .await?
            .status()
            == 201
    );
    Ok(())
}

async fn a_hanging_request_is_never_answered(cluster: Arc<Cluster>) -> Result<()> {
    let faults = Faults::start(&cluster).await?;
    let account = writer(&cluster, &faults).await?;
    faults.add(Rule::of("/configmaps", Action::Hang).times(1));
    let hanging = tokio::time::timeout(
        Duration::from_millis(300),
        through(&cluster, &faults, &account, "hangs"),
    )
    .await;
    ensure!(hanging.is_err(), "it was answered");

    let began = Instant::now();
    let pause = Duration::from_millis(200);
    faults.add(Rule::of("/configmaps", Action::Delay(pause)).after());
    ensure!(through(&cluster, &faults, &account, "late").await?.status() == 201);
    ensure!(began.elapsed() >= pause);
    Ok(())
}

async fn onix_knows_its_reader_and_its_items(cluster: Arc<Cluster>) -> Result<()> {
    let ca = reqwest::Certificate::from_pem(cluster.ca().as_bytes())?;
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([ca])
        .build()?;
    for onix in [Onix::start().await?, Onix::start_tls(&cluster).await?] {
        onix.put("ART_FLOW_x", json!({"name": "x"}));
        let get = async |key: &str, password: &str| -> Result<(u16, String)> {
            let url = format!("{}/item/{key}", onix.url());
            let answer = client
                .get(url)
                .basic_auth(onix::USER, Some(password))
                .send()
                .await?;
            Ok((answer.status().as_u16(), answer.text().await?))
        };
        let (status, body) = get("ART_FLOW_x", onix::PASSWORD).await?;
        ensure!(status == 200, "{status}");
        ensure!(serde_json::from_str::<Value>(&body)?["meta"] == json!({"name": "x"}));
        ensure!(get("ART_FLOW_x", "guessed").await?.0 == 401);
        ensure!(get("ART_FLOW_y", onix::PASSWORD).await?.0 == 404);
        onix.behave(Mode::Close);
        ensure!(get("ART_FLOW_x", onix::PASSWORD).await.is_err());
        onix.behave(Mode::Status(StatusCode::BAD_GATEWAY));
        ensure!(get("ART_FLOW_x", onix::PASSWORD).await?.0 == 502);
        eventually("all calls are counted", PATIENCE, async || {
            // A client may repeat a call on a fresh connection when an old one was closed.
            Ok((onix.calls().len() >= 5).then_some(()))
        })
        .await?;
    }
    Ok(())
}

async fn the_s3_server_keeps_objects_and_secrets(cluster: Arc<Cluster>) -> Result<()> {
    let s3 = S3::start(&cluster).await?;
    ensure!(s3.objects()?.is_empty());
    std::fs::create_dir(s3.bucket().join("a"))?;
    std::fs::write(s3.bucket().join("a/b.json"), "{}")?;
    ensure!(s3.objects()? == ["a/b.json"], "{:?}", s3.objects()?);
    let url = format!("{}/{}/a/b.json", s3.endpoint(), s3::BUCKET);
    let anonymous = function::client()?.get(url).send().await?.status();
    ensure!(anonymous == 403, "{anonymous}");
    Ok(())
}

async fn a_function_starts_and_ends_as_it_is_told(cluster: Arc<Cluster>) -> Result<()> {
    let namespace = cluster.namespace("function").await?;
    let mut killed = Function::on(&cluster).run_in(&namespace).start().await?;
    ensure!(killed.get("/readyz").send().await?.status() == 200);
    ensure!(killed.memory()? > 0);
    // Two processes of one function, as after a roll-out.
    let other = Function::on(&cluster)
        .run_in(&namespace)
        .account(killed.account())
        .start()
        .await?;
    ensure!(killed.address() != other.address());
    killed.killer().kill();
    ensure!(!killed.kill()?.success());
    ensure!(killed.get("/readyz").send().await.is_err());
    let (status, _) = other.terminate().await?;
    ensure!(status.success(), "{status}");

    let without = Function::on(&cluster).without("OX_HTTP_PWD");
    let (status, log) = without.start_and_end().await?;
    ensure!(!status.success(), "it started without a password:\n{log}");
    Ok(())
}
