//! What nobody from outside gets: Services of the cluster alone, other namespaces, anything without credentials, too much.

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::json;
use system_tests::{
    case::Case,
    support::{ask, flow, step},
};

use crate::{
    install::{EVENTS, FLOW, MAIN, STORM, USER},
    world::{CLOSED, RUNS, World, case},
};

pub(crate) fn cases() -> Vec<Case<World>> {
    vec![
        case(
            "refused::service_of_the_cluster_alone_is_not_found_from_outside",
            120,
            MAIN,
            cluster_local,
        ),
        case(
            "refused::namespace_that_is_not_configured_is_forbidden",
            120,
            MAIN,
            namespace,
        ),
        case(
            "refused::nobody_without_the_password_gets_anything",
            120,
            MAIN,
            credentials,
        ),
        case(
            "refused::body_beyond_the_limit_is_too_large",
            120,
            MAIN,
            oversized,
        ),
        case(
            "refused::plain_http_is_led_to_tls_where_the_name_has_it",
            120,
            MAIN,
            redirected,
        ),
    ]
}

/// A flow that would be accepted.
fn good() -> String {
    flow("e2e-refused", RUNS, json!([step("scan")])).to_string()
}

async fn cluster_local(world: Arc<World>) -> Result<()> {
    // <service>.<namespace>.<domain>
    let domain = world
        .storm
        .host
        .split_once('.')
        .map_or("", |(_, rest)| rest)
        .replacen(STORM, MAIN, 1);
    let names = [
        format!("{EVENTS}.{MAIN}.svc.cluster.local"),
        format!("{EVENTS}.{MAIN}.svc"),
        format!("{EVENTS}.{MAIN}"),
        format!("{EVENTS}.{domain}"),
        // Outside, the function has its own name only.
        format!("{FLOW}.{domain}"),
        format!("{FLOW}.{MAIN}.svc.cluster.local"),
    ];
    for name in names {
        let gateway = world.to(&name, None, &world.main.password)?;
        let event = gateway
            .post("/flow")
            .header("ce-specversion", "1.0")
            .header("ce-id", "1")
            .header("ce-source", "/outside")
            .header("ce-type", "e2e")
            .body(good());
        let answer = ask(event).await?;
        ensure!(answer.status == 404, "{name}: {answer:?}");
    }
    Ok(())
}

async fn namespace(world: Arc<World>) -> Result<()> {
    let gateway = world.reach(&world.main)?;
    for namespace in [CLOSED, "default", "kube-system"] {
        let body = flow("e2e-refused", namespace, json!([step("scan")])).to_string();
        let answer = ask(gateway.post("/flow").body(body)).await?;
        ensure!(answer.status == 403, "{namespace}: {answer:?}");
        // The address goes before the document.
        let answer = ask(gateway.post(&format!("/flow/name/any/ns/{namespace}"))).await?;
        ensure!(answer.status == 403, "{namespace}: {answer:?}");
        let runs = world
            .objects(namespace)
            .selected("PipelineRun", "hookrun.dev/flow=e2e-refused")
            .await?;
        ensure!(runs.is_empty(), "{namespace}: {} runs", runs.len());
    }
    Ok(())
}

async fn credentials(world: Arc<World>) -> Result<()> {
    for gateway in [world.reach(&world.storm)?, world.reach(&world.main)?] {
        for request in [
            gateway.anonymous("/flow"),
            gateway.anonymous("/flow").basic_auth(USER, Some("wrong")),
            gateway
                .anonymous("/flow")
                .basic_auth("somebody", Some(&world.main.password)),
            gateway.anonymous("/flow").bearer_auth(&world.main.password),
            // An event needs no password where only the cluster is, which is not here.
            gateway
                .anonymous("/flow")
                .header("ce-specversion", "1.0")
                .header("ce-id", "1")
                .header("ce-source", "/outside")
                .header("ce-type", "e2e"),
        ] {
            let answer = ask(request.body(good())).await?;
            ensure!(answer.status == 401, "{answer:?}");
        }
    }
    let answer = ask(world.reach(&world.main)?.get("/")).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

async fn oversized(world: Arc<World>) -> Result<()> {
    let gateway = world.reach(&world.main)?;
    let body = vec![b' '; 10 * 1024 * 1024 + 1];
    let answer = ask(gateway.post("/flow").body(body)).await?;
    ensure!(answer.status == 413, "{answer:?}");
    Ok(())
}

async fn redirected(world: Arc<World>) -> Result<()> {
    let name = &world.main.host;
    let gateway = world.to(name, None, &world.main.password)?;
    let answer = ask(gateway.get("/")).await?;
    ensure!(
        [301, 307, 308].contains(&answer.status)
            && answer
                .header("location")
                .starts_with(&format!("https://{name}")),
        "{answer:?}"
    );
    Ok(())
}
