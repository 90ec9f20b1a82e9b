//! Who may send CloudEvents: whoever has the password, a token of Knative Eventing, or everybody in the cluster where
//! that was asked for.

use std::{fs, time::SystemTime};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use control_plane::Cluster;
use http::Method;
use rcgen::SigningKey;
use serde_json::{Value, json};

use super::{batch, binary, event, structured};
use crate::{
    case::{Case, case},
    function::Setup,
    support::{Scene, ask},
};

const AUDIENCE: &str = "serving.knative.dev/service/hookrun/hookrun-flow-events";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "events::token_of_a_service_account_for_this_audience_admits_events_in_every_mode",
            async |cluster| {
                let scene = Scene::with(&cluster, |setup, _| oidc(setup, &cluster)).await?;
                let token = token(&cluster, &scene, &[AUDIENCE]).await?;
                let flow = scene.plain_flow("scan");
                let post = || {
                    scene
                        .function
                        .anonymous(Method::POST, "/flow")
                        .bearer_auth(&token)
                };
                for request in [
                    binary(post(), "1", flow.to_string()),
                    structured(post(), "2", &flow),
                    batch(post(), &[event("3", &flow)]),
                ] {
                    ask(request).await?.told_to_broker(200)?;
                }
                ensure!(scene.objects.names("PipelineRun").await?.len() == 3);
                // The token is for events: it opens nothing else.
                for request in [
                    post().body(flow.to_string()),
                    scene
                        .function
                        .anonymous(Method::GET, "/metrics")
                        .bearer_auth(&token),
                    scene
                        .function
                        .anonymous(Method::GET, "/flow/key/x")
                        .bearer_auth(&token),
                ] {
                    ensure!(ask(request).await?.status == 401);
                }
                ensure!(
                    !scene.function.log().contains(&token),
                    "the token is in the log"
                );
                Ok(())
            },
        ),
        case(
            "events::token_that_is_not_for_this_function_admits_nothing",
            async |cluster| {
                let scene = Scene::with(&cluster, |setup, _| oidc(setup, &cluster)).await?;
                let good = token(&cluster, &scene, &[AUDIENCE]).await?;
                let forge =
                    |change: &dyn Fn(&mut Value, &mut Value)| forge(&cluster, &good, change);
                let [header, claims, signature] = parts(&good)?;
                let bare = encode(&json!({"alg": "none"}));
                let refused = [
                    // First, while no keys are cached: later, a key that is not known yet may be a new one.
                    (
                        "an unknown key",
                        forge(&|header, _| header["kid"] = "unknown".into())?,
                    ),
                    (
                        "another audience",
                        token(&cluster, &scene, &["another"]).await?,
                    ),
                    (
                        "the API server's audience",
                        scene.function.account().token.clone(),
                    ),
                    (
                        "expired",
                        forge(&|_, claims| claims["exp"] = (now() - 3600).into())?,
                    ),
                    (
                        "not yet valid",
                        forge(&|_, claims| claims["nbf"] = (now() + 3600).into())?,
                    ),
                    (
                        "without end",
                        forge(&|_, claims| {
                            drop(claims.as_object_mut().map(|claims| claims.remove("exp")))
                        })?,
                    ),
                    (
                        "another issuer",
                        forge(&|_, claims| claims["iss"] = "https://elsewhere.example.org".into())?,
                    ),
                    ("alg none", format!("{bare}.{claims}.")),
                    ("alg none, signed", format!("{bare}.{claims}.{signature}")),
                    ("no signature", format!("{header}.{claims}.")),
                    (
                        "another one's signature",
                        format!(
                            "{header}.{}.{signature}",
                            encode(&json!({"aud": [AUDIENCE]}))
                        ),
                    ),
                    ("garbage", "garbage".to_owned()),
                    ("dots", "...".to_owned()),
                    ("nothing", String::new()),
                ];
                // What these are made by is not at fault: an unchanged one passes.
                let post = |token: &str| {
                    binary(
                        scene
                            .function
                            .anonymous(Method::POST, "/flow")
                            .bearer_auth(token),
                        "1",
                        scene.plain_flow("scan").to_string(),
                    )
                };
                for (what, token) in &refused {
                    let answer = ask(post(token)).await?;
                    ensure!(answer.status == 401, "{what}: {answer:?}");
                }
                scene.objects.ensure_none().await?;
                ask(post(&forge(&|_, _| {})?)).await?.told_to_broker(200)?;
                Ok(())
            },
        ),
        case(
            "events::token_is_asked_for_beside_no_password_too",
            async |cluster| {
                let scene = Scene::with(&cluster, |setup, _| oidc(setup, &cluster)).await?;
                let flow = scene.plain_flow("scan").to_string();
                let answer = ask(binary(
                    scene.function.anonymous(Method::POST, "/flow"),
                    "1",
                    flow.clone(),
                ))
                .await?;
                ensure!(answer.status == 401, "{answer:?}");
                // Whoever has the password may send events too.
                ask(binary(scene.function.post("/flow"), "1", flow))
                    .await?
                    .told_to_broker(200)?;
                Ok(())
            },
        ),
        case(
            "events::token_s_issuer_is_that_of_the_api_server_unless_configured",
            async |cluster| {
                let scene = Scene::with(&cluster, |setup, _| {
                    setup.env("HOOKRUN_OIDC_AUDIENCE", AUDIENCE)
                })
                .await?;
                let good = token(&cluster, &scene, &[AUDIENCE]).await?;
                let other = forge(&cluster, &good, &|_, claims| {
                    claims["iss"] = "https://elsewhere.example.org".into()
                })?;
                let post = |token: &str| {
                    let request = scene
                        .function
                        .anonymous(Method::POST, "/flow")
                        .bearer_auth(token);
                    binary(request, "1", scene.plain_flow("scan").to_string())
                };
                ensure!(ask(post(&other)).await?.status == 401);
                ask(post(&good)).await?.told_to_broker(200)?;

                let elsewhere = Scene::with(&cluster, |setup, _| {
                    oidc(setup, &cluster)
                        .env("HOOKRUN_OIDC_ISSUER", "https://elsewhere.example.org")
                })
                .await?;
                let request = elsewhere
                    .function
                    .anonymous(Method::POST, "/flow")
                    .bearer_auth(&good);
                let answer = ask(binary(
                    request,
                    "1",
                    elsewhere.plain_flow("scan").to_string(),
                ))
                .await?;
                ensure!(answer.status == 401, "{answer:?}");
                elsewhere.objects.ensure_none().await
            },
        ),
        case(
            "events::token_must_be_of_a_subject_that_is_listed_where_some_are",
            async |cluster| {
                let scene = Scene::with(&cluster, |setup, namespace| {
                    oidc(setup, &cluster).env(
                        "HOOKRUN_OIDC_SUBJECTS",
                        &format!("system:serviceaccount:{namespace}:trigger"),
                    )
                })
                .await?;
                cluster.service_account(&scene.namespace, "trigger").await?;
                let flow = scene.plain_flow("scan").to_string();
                for (account, status) in [("pipeline", 401), ("trigger", 200)] {
                    let token = cluster
                        .token(&scene.namespace, account, &[AUDIENCE])
                        .await?;
                    let request = scene
                        .function
                        .anonymous(Method::POST, "/flow")
                        .bearer_auth(token);
                    ask(binary(request, "1", flow.clone()))
                        .await?
                        .told_to_broker(status)?;
                }
                Ok(())
            },
        ),
        case(
            "events::token_is_of_no_use_where_none_is_configured",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let token = token(&cluster, &scene, &[AUDIENCE]).await?;
                let request = scene
                    .function
                    .anonymous(Method::POST, "/flow")
                    .bearer_auth(token);
                let answer =
                    ask(binary(request, "1", scene.plain_flow("scan").to_string())).await?;
                ensure!(answer.status == 401, "{answer:?}");
                Ok(())
            },
        ),
        case(
            "events::token_is_not_needed_in_a_cluster_local_instance_but_a_password_is",
            async |cluster| {
                let scene = Scene::with(&cluster, |setup, _| {
                    setup.env("HOOKRUN_CLUSTER_LOCAL", "true")
                })
                .await?;
                let flow = scene.plain_flow("scan");
                let post = || scene.function.anonymous(Method::POST, "/flow");
                ask(binary(post(), "1", flow.to_string()))
                    .await?
                    .told_to_broker(200)?;
                ask(structured(post(), "1", &flow))
                    .await?
                    .told_to_broker(200)?;
                ensure!(ask(post().body(flow.to_string())).await?.status == 401);
                ensure!(
                    ask(scene.function.anonymous(Method::GET, "/metrics"))
                        .await?
                        .status
                        == 401
                );
                ensure!(scene.objects.names("PipelineRun").await?.len() == 1);
                Ok(())
            },
        ),
    ]
}

/// As the manifest of the Service for events configures it, but with the issuer of this cluster.
fn oidc<'a>(setup: Setup<'a>, cluster: &Cluster) -> Setup<'a> {
    setup
        .env("HOOKRUN_OIDC_ISSUER", cluster.issuer())
        .env("HOOKRUN_OIDC_AUDIENCE", AUDIENCE)
}

/// A token as Eventing gets one: of a ServiceAccount, through TokenRequest.
async fn token(cluster: &Cluster, scene: &Scene, audiences: &[&str]) -> Result<String> {
    cluster.token(&scene.namespace, "pipeline", audiences).await
}

fn parts(token: &str) -> Result<[&str; 3]> {
    token
        .split('.')
        .collect::<Vec<_>>()
        .try_into()
        .ok()
        .context("three parts")
}

fn encode(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs()
}

/// A token with other claims, signed by the very key of the API server.
fn forge(
    cluster: &Cluster,
    token: &str,
    change: &dyn Fn(&mut Value, &mut Value),
) -> Result<String> {
    let [header, claims, _] = parts(token)?;
    let decode = |part: &str| -> Result<Value> {
        Ok(serde_json::from_slice(
            &BASE64_URL_SAFE_NO_PAD.decode(part)?,
        )?)
    };
    let (mut header, mut claims) = (decode(header)?, decode(claims)?);
    change(&mut header, &mut claims);
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let key = rcgen::KeyPair::from_pem(&fs::read_to_string(
        cluster.folder().join("pki/tokens.key"),
    )?)?;
    let signature = fixed_length(&key.sign(signed.as_bytes())?)?;
    Ok(format!(
        "{signed}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(signature)
    ))
}

/// An ECDSA signature as JWT writes it, two numbers of 32 bytes, from its ASN.1 form.
fn fixed_length(signature: &[u8]) -> Result<Vec<u8>> {
    let mut rest = signature.get(2..).context("a sequence")?;
    let mut fixed = Vec::new();
    for _ in 0..2 {
        let length = usize::from(*rest.get(1).context("a number")?);
        let number = rest.get(2..2 + length).context("a number")?;
        let number = &number[length.saturating_sub(32)..];
        fixed.extend(std::iter::repeat_n(0, 32 - number.len()));
        fixed.extend(number);
        rest = &rest[2 + length..];
    }
    Ok(fixed)
}
