//! Who may have which runs: namespaces, privileged steps, credentials.

use std::{fs, time::Duration};

use anyhow::ensure;
use control_plane::until;
use http::Method;
use serde_json::json;

use crate::{
    case::{Case, case},
    faults::Faults,
    onix::Onix,
    support::{Scene, ask, flow, objects::Objects, step},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "runs::namespace_that_is_not_allowed_gets_nothing",
            async |cluster| {
                let onix = Onix::start().await?;
                let faults = Faults::start(&cluster).await?;
                let scene =
                    Scene::with(&cluster, |setup, _| setup.onix(&onix).through(&faults)).await?;
                let other = cluster.namespace("other").await?;
                onix.put("ART_FLOW_x", scene.plain_flow("x"));
                faults.forget();
                for (path, body) in [
                    (
                        "/flow".to_owned(),
                        flow("x", &other, json!([step("s")])).to_string(),
                    ),
                    (format!("/flow/key/ART_FLOW_x/ns/{other}"), String::new()),
                    (format!("/flow/name/x/ns/{other}"), String::new()),
                ] {
                    let answer = ask(scene.function.post(&path).body(body)).await?;
                    answer.refused(403, "cannot ")?;
                    ensure!(
                        answer.text.contains(&other) && answer.text.contains("HOOKRUN_NAMESPACES"),
                        "{answer:?}"
                    );
                }
                ensure!(faults.seen().is_empty(), "{:?}", faults.seen());
                Objects::of(cluster.admin(), &other).ensure_none().await?;
                scene.objects.ensure_none().await
            },
        ),
        case(
            "runs::namespace_that_cannot_exist_is_a_bad_request",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                for namespace in ["Team%20Blue", "-", &"x".repeat(64), "%C3%A4"] {
                    let answer =
                        ask(scene.function.post(&format!("/flow/name/x/ns/{namespace}"))).await?;
                    answer.refused(400, "cannot create pipelinerun: ")?;
                }
                Ok(())
            },
        ),
        case(
            "runs::namespace_that_is_allowed_but_grants_no_rights_is_something_for_the_operator",
            async |cluster| {
                let other = cluster.namespace("rightless").await?;
                let scene = Scene::with(&cluster, |setup, namespace| {
                    setup.env("HOOKRUN_NAMESPACES", &format!("{namespace},{other}"))
                })
                .await?;
                let answer = scene.post(&flow("x", &other, json!([step("s")]))).await?;
                answer.refused(503, "cannot apply kubernetes resources: ")?;
                ensure!(answer.text.contains("forbidden"), "{answer:?}");
                ensure!(answer.header("retry-after") == "30", "{answer:?}");
                Objects::of(cluster.admin(), &other).ensure_none().await
            },
        ),
        case(
            "runs::privileged_steps_run_only_where_configuration_allows_the_namespace",
            async |cluster| {
                let mut root = step("root");
                root["privileged"] = json!(true);
                let refusing = Scene::new(&cluster).await?;
                let answer = refusing
                    .post(&refusing.flow("x", json!([step("plain"), root])))
                    .await?;
                answer.refused(403, "cannot apply kubernetes resources: ")?;
                ensure!(
                    answer.text.contains("root")
                        && answer.text.contains("HOOKRUN_PRIVILEGED_NAMESPACES"),
                    "{answer:?}"
                );
                refusing.objects.ensure_none().await?;

                let allowing = Scene::with(&cluster, |setup, namespace| {
                    setup.env("HOOKRUN_PRIVILEGED_NAMESPACES", namespace)
                })
                .await?;
                allowing
                    .post(&allowing.flow("x", json!([root])))
                    .await?
                    .run()?;
                Ok(())
            },
        ),
        case(
            "runs::privileged_steps_of_a_stored_pipeline_are_refused_by_name_too",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let privileged =
                    json!({"name": "root", "image": "i", "securityContext": {"privileged": true}});
                for (name, field, value) in [
                    ("shop-step", "steps", json!([privileged])),
                    ("shop-sidecar", "sidecars", json!([privileged])),
                    (
                        "shop-template",
                        "stepTemplate",
                        json!({"securityContext": {"privileged": true}}),
                    ),
                ] {
                    let mut spec = json!({"steps": [{"name": "plain", "image": "i"}]});
                    spec[field] = value;
                    let task = json!({"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": name}, "spec": spec});
                    let pipeline = json!({
                        "apiVersion": "tekton.dev/v1", "kind": "Pipeline", "metadata": {"name": format!("{name}-pl")},
                        "spec": {"tasks": [{"name": "one", "taskRef": {"name": name}}]},
                    });
                    scene.objects.create(&task).await?;
                    scene.objects.create(&pipeline).await?;
                    let answer = ask(scene.function.post(&scene.name(name))).await?;
                    answer.refused(403, "cannot create pipelinerun: ")?;
                }
                ensure!(scene.objects.names("PipelineRun").await?.is_empty());
                Ok(())
            },
        ),
        case(
            "runs::credentials_in_mounted_files_change_without_a_restart",
            async |cluster| {
                let folder = cluster.folder().join("credentials");
                let write = |password: &str| {
                    // As a mounted Secret does: everything new at once, by one rename.
                    let new = cluster.folder().join("credentials.new");
                    fs::create_dir_all(&new)?;
                    fs::write(new.join("username"), "rotated")?;
                    fs::write(new.join("password"), format!("{password}\n"))?;
                    fs::remove_dir_all(&folder).ok();
                    fs::rename(new, &folder)
                };
                write("first")?;
                let scene = Scene::with(&cluster, |setup, _| {
                    setup
                        .without("OX_HTTP_UNAME")
                        .without("OX_HTTP_PWD")
                        .env("HOOKRUN_CREDENTIALS", &folder.display().to_string())
                })
                .await?;
                let status = async |password: &str| {
                    let request = scene.function.anonymous(Method::GET, "/metrics");
                    Ok::<_, anyhow::Error>(
                        ask(request.basic_auth("rotated", Some(password)))
                            .await?
                            .status,
                    )
                };
                ensure!(status("first").await? == 200 && status("second").await? == 401);
                write("second")?;
                until(
                    "the new password counts",
                    Duration::from_secs(30),
                    async || Ok(status("second").await? == 200),
                )
                .await?;
                ensure!(status("first").await? == 401);
                let log = scene.function.log();
                ensure!(!log.contains("first") && !log.contains("second"), "{log}");
                Ok(())
            },
        ),
    ]
}
