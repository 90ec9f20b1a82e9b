//! The service itself: runs by name, routes, credentials, switches.

use anyhow::{Context, ensure};
use control_plane::Cluster;
use http::Method;
use serde_json::json;

use super::documents::is_run_of;
use crate::{
    case::{Case, case},
    faults::Faults,
    function::{PASSWORD, USER},
    onix::Onix,
    support::{
        Scene, ask,
        objects::{named, steps},
    },
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "acceptance_15_a_flow_runs_by_its_name_and_the_body_is_not_read",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                scene
                    .post_as("first", &scene.secret_flow("shop-ci", "hunter2"))
                    .await?
                    .run()?;
                let request = scene
                    .function
                    .post(&scene.name("shop-ci"))
                    .header("idempotency-key", "by name");
                let answer = ask(request.body(vec![b'x'; 5 << 20])).await?;
                let run = answer.run()?.to_owned();
                ensure!(is_run_of("shop-ci", &run), "{run}");
                ensure!(scene.objects.names("PipelineRun").await?.len() == 2);
                scene.objects.expect("acceptance_15").await?;

                let run = scene.objects.get("PipelineRun", &run).await?;
                let template = &run["spec"]["taskRunTemplate"];
                let pod =
                    json!({"fsGroup": 100_000_000, "runAsNonRoot": true, "runAsUser": 100_000_000});
                ensure!(
                    template["serviceAccountName"] == "pipeline"
                        && template["podTemplate"]["securityContext"] == pod,
                    "{run:#}"
                );
                ensure!(
                    named(&run["spec"]["params"], "deployment-name")["value"] == "shop-ci",
                    "{run:#}"
                );
                ensure!(steps(&run)[0]["name"] == "scan", "{run:#}");
                Ok(())
            },
        ),
        case(
            "acceptance_15_names_are_written_as_in_the_flow",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                scene.post(&scene.plain_flow("Nightly Scan")).await?.run()?;
                let run = ask(scene.function.post(&scene.name("Nightly%20Scan")))
                    .await?
                    .run()?
                    .to_owned();
                ensure!(is_run_of("nightly-scan", &run), "{run}");
                Ok(())
            },
        ),
        case(
            "acceptance_15_a_name_that_the_cluster_does_not_know_is_not_found",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let answer = ask(scene.function.post(&scene.name("shop-ci"))).await?;
                answer.refused(404, "cannot create pipelinerun: ")?;
                ensure!(answer.text.contains("shop-ci-pl"), "{answer:?}");
                scene.objects.ensure_none().await
            },
        ),
        case(
            "acceptance_16_without_right_credentials_nobody_is_asked_and_nothing_is_written",
            async |cluster| {
                let onix = Onix::start().await?;
                let faults = Faults::start(&cluster).await?;
                let scene =
                    Scene::with(&cluster, |setup, _| setup.onix(&onix).through(&faults)).await?;
                onix.put("ART_FLOW_x", scene.plain_flow("x"));
                let before = faults.seen().len();

                let (key, name) = (scene.key("ART_FLOW_x"), scene.name("x"));
                for (method, path) in [
                    (Method::POST, "/flow"),
                    (Method::POST, key.as_str()),
                    (Method::POST, name.as_str()),
                    (Method::GET, "/flow/key/ART_FLOW_x"),
                    (Method::GET, "/"),
                    (Method::GET, "/metrics"),
                    (Method::GET, "/api/index.html"),
                    (Method::GET, "/api/doc.json"),
                ] {
                    let request = || {
                        let body = scene.plain_flow("x").to_string();
                        scene.function.anonymous(method.clone(), path).body(body)
                    };
                    let bearer = format!("Bearer {}", scene.function.account().token);
                    for (what, request) in [
                        ("nothing", request()),
                        (
                            "the original's default",
                            request().basic_auth("admin", Some("adm1n")),
                        ),
                        (
                            "a wrong password",
                            request().basic_auth(USER, Some("open sesame")),
                        ),
                        (
                            "a longer password",
                            request().basic_auth(USER, Some(format!("{PASSWORD}!"))),
                        ),
                        ("an empty password", request().basic_auth(USER, Some(""))),
                        (
                            "a wrong user",
                            request().basic_auth("Tester", Some(PASSWORD)),
                        ),
                        ("no base64", request().header("authorization", "Basic %%%")),
                        ("another scheme", request().header("authorization", bearer)),
                    ] {
                        let answer = ask(request).await?;
                        ensure!(
                            answer.status == 401,
                            "{method} {path} with {what}: {answer:?}"
                        );
                        let challenge = answer.header("www-authenticate");
                        ensure!(
                            challenge.starts_with("Basic realm="),
                            "{method} {path} with {what}: {answer:?}"
                        );
                    }
                }
                ensure!(onix.calls().is_empty(), "{:?}", onix.calls());
                ensure!(faults.seen().len() == before, "{:?}", faults.seen());
                scene.objects.ensure_none().await
            },
        ),
        case(
            "acceptance_16_there_is_no_default_password",
            async |cluster| {
                for setup in [
                    bare(&cluster),
                    bare(&cluster).env("OX_HTTP_UNAME", "admin"),
                    bare(&cluster).env("OX_HTTP_PWD", ""),
                ] {
                    let (status, log) = setup.start_and_end().await?;
                    ensure!(
                        !status.success() && log.contains("OX_HTTP_PWD"),
                        "{status}: {log}"
                    );
                }
                let published = bare(&cluster).env("OX_HTTP_PWD", "adm1n");
                let (status, log) = published.start_and_end().await?;
                ensure!(
                    !status.success() && log.contains("choose another"),
                    "{status}: {log}"
                );
                let open = bare(&cluster).arg("--insecure-no-password").start().await?;
                ensure!(ask(open.anonymous(Method::GET, "/")).await?.text == "OK");
                Ok(())
            },
        ),
        case(
            "acceptance_17_other_methods_and_paths_are_refused_and_the_server_stays_healthy",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                for (method, path, status) in [
                    (Method::GET, "/flow", 405),
                    (Method::DELETE, "/flow/key/a/ns/b", 405),
                    (Method::POST, "/flow/", 404),
                    (Method::GET, "/nothing", 404),
                    (Method::HEAD, "/flow/key/a", 405),
                    (Method::PUT, "/flow/name/a/ns/b", 405),
                    (Method::POST, "/flow/key/a/ns/b/c", 404),
                ] {
                    // Before anybody is asked for credentials, as in the original.
                    for request in [
                        scene.function.request(method.clone(), path),
                        scene.function.anonymous(method.clone(), path),
                    ] {
                        let answer = ask(request).await?;
                        ensure!(answer.status == status, "{method} {path}: {answer:?}");
                        if status == 404 {
                            ensure!(
                                answer.text == "404 page not found\n",
                                "{method} {path}: {answer:?}"
                            );
                        } else {
                            ensure!(answer.text.is_empty(), "{method} {path}: {answer:?}");
                        }
                    }
                }
                ensure!(ask(scene.function.get("/")).await?.text == "OK");
                Ok(())
            },
        ),
        case(
            "acceptance_18_switches_are_read_as_the_original_read_them",
            async |cluster| {
                let scene = Scene::with(&cluster, |setup, _| {
                    setup
                        .env("OX_METRICS_ENABLED", "F")
                        .env("OX_SWAGGER_ENABLED", "maybe")
                })
                .await?;
                let get = async |path: &str| ask(scene.function.get(path)).await;
                ensure!(get("/metrics").await?.status == 404);
                ensure!(get("/api/index.html").await?.status == 200);
                let root = get("/").await?;
                ensure!((root.status, root.text.as_str()) == (200, "OK"), "{root:?}");

                let scene = Scene::with(&cluster, |setup, _| {
                    setup.env("OX_SWAGGER_ENABLED", "false")
                })
                .await?;
                let get = async |path: &str| ask(scene.function.get(path)).await;
                let metrics = get("/metrics").await?;
                ensure!(
                    metrics.status == 200 && metrics.text.contains("# TYPE"),
                    "{metrics:?}"
                );
                for path in ["/api", "/api/", "/api/index.html", "/api/doc.json"] {
                    ensure!(get(path).await?.status == 404, "{path}");
                }
                Ok(())
            },
        ),
        case(
            "acceptance_18_the_api_page_needs_no_other_host_and_its_document_describes_all_routes",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let moved = ask(scene.function.get("/api/")).await?;
                ensure!(
                    (moved.status, moved.header("location")) == (301, "/api/index.html"),
                    "{moved:?}"
                );
                let page = ask(scene.function.get("/api/index.html")).await?;
                ensure!(
                    page.header("content-type") == "text/html; charset=utf-8",
                    "{page:?}"
                );
                ensure!(
                    !page.text.contains("src=\"http") && !page.text.contains("href=\"http"),
                    "{}",
                    page.text
                );
                let document = ask(scene.function.get("/api/doc.json")).await?;
                let document: serde_json::Value =
                    serde_json::from_str(&document.text).context("the OpenAPI document")?;
                ensure!(document["openapi"] == "3.1.0");
                for path in [
                    "/",
                    "/flow",
                    "/flow/key/{flow-key}",
                    "/flow/key/{flow-key}/ns/{namespace}",
                    "/flow/name/{flow-name}/ns/{namespace}",
                    "/metrics",
                ] {
                    ensure!(document["paths"][path].is_object(), "{path}");
                }
                Ok(())
            },
        ),
    ]
}

/// A function without credentials.
fn bare(cluster: &Cluster) -> crate::function::Setup<'_> {
    crate::function::Function::on(cluster)
        .without("OX_HTTP_UNAME")
        .without("OX_HTTP_PWD")
}
