//! What a step is given: secrets, keys and files, and what the cluster keeps of them.

use anyhow::ensure;
use serde_json::{Value, json};

use super::documents::mount_paths;
use crate::{
    case::{Case, case},
    support::{
        Scene,
        objects::{name, named, names, steps},
        step,
    },
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "acceptance_06_registry_credentials_get_the_name_that_the_runtime_knows",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let flow = scene.flow(
                    "scan",
                    json!([with(
                        "scan",
                        json!({"secret": [{"name": "A_B_OXART_REG_USER", "value": "robot"}]})
                    )]),
                );
                let run = scene.post(&flow).await?.run()?.to_owned();

                ensure!(
                    scene.objects.secret("scan-creds-secret").await?["A_B_OXART_REG_USER"]
                        == "robot"
                );
                for (holder, secret) in [
                    (
                        scene.objects.get("Task", "scan-build-task").await?["spec"]["steps"][0]
                            .clone(),
                        "scan-creds-secret".to_owned(),
                    ),
                    (
                        steps(&scene.objects.get("PipelineRun", &run).await?)[0].clone(),
                        format!("{run}-creds-secret"),
                    ),
                ] {
                    let expected = json!({"name": "OXART_REG_USER", "valueFrom": {"secretKeyRef": {"name": secret, "key": "A_B_OXART_REG_USER"}}});
                    ensure!(
                        *named(&holder["env"], "OXART_REG_USER") == expected,
                        "{holder:#}"
                    );
                    ensure!(
                        !names(&holder["env"]).contains(&"A_B_OXART_REG_USER"),
                        "{holder:#}"
                    );
                }
                Ok(())
            },
        ),
        case(
            "acceptance_07_keys_are_files_named_by_group_and_package",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let keys = json!({"key": [
                    {"name": "PRIVATE", "private": true, "package_group": "acme", "package_name": "shop", "path": "/acme/shop", "value": "private text"},
                    {"name": "PUBLIC", "private": false, "path": "/", "value": "public text"},
                ]});
                let flow = scene.flow("sign", json!([step("plain"), with("sign", keys)]));
                let run = scene.post_as("keys", &flow).await?.run()?.to_owned();
                scene.objects.expect("acceptance_07").await?;

                let entries = [
                    ("acme_shop_rsa_key.pgp", "private text"),
                    ("root_rsa_pub.pgp", "public text"),
                ];
                for secret in ["sign-keys-secret", &format!("{run}-keys-secret")] {
                    let secret = scene.objects.secret(secret).await?;
                    ensure!(
                        secret
                            .iter()
                            .map(|(k, v)| (k.as_str(), v.as_str()))
                            .eq(entries),
                        "{secret:?}"
                    );
                }
                let run = scene.objects.get("PipelineRun", &run).await?;
                let sign = named(steps(&run), "sign");
                ensure!(
                    named(&sign["env"], "PRIVATE")["value"] == "/acme/shop"
                        && named(&sign["env"], "PUBLIC")["value"] == "/",
                    "{sign:#}"
                );
                ensure!(
                    mount_paths(sign) == ["/keys"]
                        && mount_paths(named(steps(&run), "plain")).is_empty(),
                    "{run:#}"
                );
                Ok(())
            },
        ),
        case(
            "acceptance_20_a_file_that_no_secret_can_hold_is_refused_and_nothing_runs",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let flow = scene.flow(
                    "conf",
                    json!([with(
                        "s",
                        json!({"file": [{"path": "conf/app.ini", "content": "x"}]})
                    )]),
                );
                let answer = scene.post(&flow).await?;
                answer.refused(422, "cannot apply kubernetes resources: ")?;
                ensure!(answer.text.contains("conf/app.ini"), "{answer:?}");
                scene.objects.ensure_none().await
            },
        ),
        case(
            "acceptance_20_what_the_api_server_refuses_does_not_run",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                // Somebody made the flow's Secret immutable: a refusal that only the API server can know.
                scene
                    .objects
                    .create(&json!({
                        "apiVersion": "v1", "kind": "Secret", "immutable": true,
                        "metadata": {"name": "conf-files-secret"}, "stringData": {"app.ini": "old"},
                    }))
                    .await?;
                let flow = scene.flow(
                    "conf",
                    json!([with(
                        "s",
                        json!({"file": [{"path": "app.ini", "content": "new"}]})
                    )]),
                );
                let answer = scene.post(&flow).await?;
                answer.refused(422, "cannot apply kubernetes resources: ")?;
                ensure!(
                    answer.text.contains("conf-files-secret") && answer.text.contains("immutable"),
                    "{answer:?}"
                );
                ensure!(scene.objects.names("PipelineRun").await?.is_empty());
                Ok(())
            },
        ),
        case(
            "acceptance_21_posting_again_keeps_the_latest_content_and_removes_what_was_removed",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let flow = |secrets: Value, tag: &str| {
                    let input = json!({"secret": secrets, "var": [{"name": "TAG", "value": tag}]});
                    scene.flow("scan", json!([with("scan", input)]))
                };
                let both = json!([{"name": "ONE", "value": "1"}, {"name": "TWO", "value": "2"}]);
                let first = scene.post(&flow(both, "a")).await?.run()?.to_owned();
                let second = scene
                    .post(&flow(json!([{"name": "ONE", "value": "one"}]), "b"))
                    .await?
                    .run()?
                    .to_owned();

                ensure!(first != second);
                for kind in ["Task", "Pipeline"] {
                    ensure!(scene.objects.names(kind).await?.len() == 1);
                }
                let latest = scene.objects.secret("scan-creds-secret").await?;
                ensure!(
                    latest
                        .iter()
                        .map(|(k, v)| (k.as_str(), v.as_str()))
                        .eq([("ONE", "one")]),
                    "{latest:?}"
                );
                let task = scene.objects.get("Task", "scan-build-task").await?;
                ensure!(
                    named(&task["spec"]["steps"][0]["env"], "TAG")["value"] == "b",
                    "{task:#}"
                );
                ensure!(
                    names(&task["spec"]["steps"][0]["env"])
                        == ["TAG", "ONE", "OXART_FX_NAME", "OXART_PACKAGE_NAME"],
                    "{task:#}"
                );

                // The first run keeps what it was made of.
                let copies = scene
                    .objects
                    .secret(&format!("{first}-creds-secret"))
                    .await?;
                ensure!(copies["ONE"] == "1" && copies["TWO"] == "2", "{copies:?}");
                let run = scene.objects.get("PipelineRun", &first).await?;
                ensure!(
                    named(&steps(&run)[0]["env"], "TAG")["value"] == "a",
                    "{run:#}"
                );
                Ok(())
            },
        ),
        case(
            "acceptance_23_secrets_of_the_flow_are_stored_beside_those_of_steps_and_dropped_without_them",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let mut flow = scene.flow(
                    "both",
                    json!([with(
                        "s",
                        json!({"secret": [{"name": "Y", "value": "why"}]})
                    )]),
                );
                flow["input"] = json!({"secret": [{"name": "X", "value": "ex"}]});
                let run = scene.post(&flow).await?.run()?.to_owned();
                for secret in ["both-creds-secret", &format!("{run}-creds-secret")] {
                    let secret = scene.objects.secret(secret).await?;
                    ensure!(
                        secret
                            .iter()
                            .map(|(k, v)| (k.as_str(), v.as_str()))
                            .eq([("X", "ex"), ("Y", "why")]),
                        "{secret:?}"
                    );
                }
                let run = scene.objects.get("PipelineRun", &run).await?;
                ensure!(
                    names(&steps(&run)[0]["env"]) == ["Y", "OXART_FX_NAME", "OXART_PACKAGE_NAME"],
                    "{run:#}"
                );

                let mut flow = scene.plain_flow("alone");
                flow["input"] = json!({"secret": [{"name": "X", "value": "ex"}]});
                let run = scene.post(&flow).await?.run()?.to_owned();
                let secrets = scene.objects.of_flows("Secret").await?;
                ensure!(
                    secrets
                        .iter()
                        .all(|secret| !name(secret).starts_with("alone-")),
                    "{secrets:?}"
                );
                ensure!(
                    names(&steps(&scene.objects.get("PipelineRun", &run).await?)[0]["env"])
                        == ["OXART_FX_NAME", "OXART_PACKAGE_NAME"]
                );
                Ok(())
            },
        ),
    ]
}

/// A step with inputs.
fn with(name: &str, input: Value) -> Value {
    let mut step = step(name);
    step["input"] = input;
    step
}
