//! Payloads: what no Secret holds goes through a bucket and arrives as the very bytes that were sent.

use std::{fs, process::Command};

use anyhow::{Context, ensure};

use crate::{
    case::{Case, case},
    function::executable,
    onix::Onix,
    s3::{BUCKET, S3},
    support::{
        Scene, ask,
        objects::{named, steps},
    },
};

/// What a Secret holds at most.
const SECRET_BYTES: usize = 1 << 20;

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    vec![
        case(
            "payload::a_large_payload_is_fetched_by_the_run_and_verified",
            async |cluster| {
                let s3 = S3::start(&cluster).await?;
                let onix = Onix::start().await?;
                let scene = Scene::with(&cluster, |setup, _| {
                    let setup = setup
                        .onix(&onix)
                        .env("HOOKRUN_PAYLOAD_STORE", &format!("s3://{BUCKET}/pay"));
                    let setup = setup.env("HOOKRUN_FETCH_IMAGE", "dev.local/hookrun:1");
                    s3.environment()
                        .iter()
                        .fold(setup, |setup, (name, value)| setup.env(name, value))
                })
                .await?;
                onix.put("ART_FLOW_x", scene.secret_flow("x", "t"));
                let payload = bytes(SECRET_BYTES + 1);
                let answer = ask(scene
                    .function
                    .post(&scene.key("ART_FLOW_x"))
                    .body(payload.clone()))
                .await?;
                let run = scene.objects.get("PipelineRun", answer.run()?).await?;

                // The run's first step fetches, with what only the run's own Secret says; no step gets the bucket's credentials.
                let fetch = named(steps(&run), "fetch");
                ensure!(fetch["image"] == "dev.local/hookrun:1", "{fetch}");
                let secret = scene
                    .objects
                    .secret(&format!("{}-context-secret", answer.run()?))
                    .await?;
                ensure!(
                    secret["size"] == payload.len().to_string(),
                    "{:?}",
                    secret["size"]
                );
                let all = format!("{run}{secret:?}");
                for (name, value) in s3.environment() {
                    ensure!(
                        !name.contains("SECRET") || !all.contains(&value),
                        "the run knows {name}"
                    );
                }

                // What that step does, done here: there is no node that runs it.
                let folder = tempfile::tempdir()?;
                let files = folder.path().join("files");
                fs::create_dir(&files)?;
                fs::write(files.join("beside.txt"), "beside")?;
                let target = folder.path().join("out");
                fs::create_dir(&target)?;
                let fetch = |digest: &str| {
                    Command::new(executable())
                        .args(["fetch", "--to"])
                        .arg(target.join("context"))
                        .arg("--files")
                        .arg(&files)
                        .env("HOOKRUN_FETCH_URL", &secret["url"])
                        .env("HOOKRUN_FETCH_DIGEST", digest)
                        .env("HOOKRUN_FETCH_SIZE", &secret["size"])
                        .output()
                };
                let wrong = fetch(&format!("sha256:{}", "0".repeat(64)))?;
                ensure!(
                    !wrong.status.success() && !target.join("context").exists(),
                    "{wrong:?}"
                );
                ensure!(
                    !String::from_utf8_lossy(&wrong.stderr).contains("X-Amz-Signature"),
                    "{wrong:?}"
                );
                let right = fetch(&secret["digest"])?;
                ensure!(right.status.success(), "{right:?}");
                ensure!(fs::read(target.join("context"))? == payload, "other bytes");
                ensure!(fs::read_to_string(target.join("beside.txt"))? == "beside");
                Ok(())
            },
        ),
        case(
            "payload::one_mebibyte_travels_in_a_secret_and_one_byte_more_needs_a_store",
            async |cluster| {
                let onix = Onix::start().await?;
                let scene = Scene::with(&cluster, |setup, _| setup.onix(&onix)).await?;
                onix.put("ART_FLOW_x", scene.plain_flow("x"));
                let largest = bytes(SECRET_BYTES);
                let answer = ask(scene
                    .function
                    .post(&scene.key("ART_FLOW_x"))
                    .body(largest.clone()))
                .await?;
                let secret = scene
                    .objects
                    .get("Secret", &format!("{}-context-secret", answer.run()?))
                    .await?;
                let entries = crate::support::objects::entries(&secret);
                ensure!(
                    entries.get("context").context("no entry context")? == &largest,
                    "other bytes"
                );

                let answer = ask(scene
                    .function
                    .post(&scene.key("ART_FLOW_x"))
                    .body(bytes(SECRET_BYTES + 1)))
                .await?;
                answer.refused(413, "cannot apply K8S resources: ")?;
                ensure!(answer.text.contains("HOOKRUN_PAYLOAD_STORE"), "{answer:?}");
                ensure!(scene.objects.names("PipelineRun").await?.len() == 1);
                Ok(())
            },
        ),
        case(
            "payload::a_bucket_that_is_down_starts_nothing_and_says_later",
            async |cluster| {
                let onix = Onix::start().await?;
                let scene = Scene::with(&cluster, |setup, _| {
                    setup
                        .onix(&onix)
                        .env("HOOKRUN_PAYLOAD_STORE", "s3://payloads/pay")
                        .env("HOOKRUN_PAYLOAD_STORE_TIMEOUT", "2s")
                        .env("AWS_ENDPOINT", "http://127.0.0.1:1")
                        .env("AWS_ALLOW_HTTP", "true")
                        .env("AWS_REGION", "us-east-1")
                        .env("AWS_ACCESS_KEY_ID", "none")
                        .env("AWS_SECRET_ACCESS_KEY", "none")
                })
                .await?;
                onix.put("ART_FLOW_x", scene.plain_flow("x"));
                let answer = ask(scene
                    .function
                    .post(&scene.key("ART_FLOW_x"))
                    .body(bytes(SECRET_BYTES + 1)))
                .await?;
                ensure!(
                    [502, 504].contains(&answer.status) && !answer.header("retry-after").is_empty(),
                    "{answer:?}"
                );
                scene.objects.ensure_none().await
            },
        ),
    ]
}

/// Bytes that no text format would survive.
fn bytes(length: usize) -> Vec<u8> {
    (0..length as u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3])
        .collect()
}
