//! Whether the number of flows matters to one event: it should not.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use control_plane::Cluster;
use futures_util::{StreamExt, TryStreamExt, stream};
use k8s_openapi::{
    api::{
        core::v1::ConfigMap,
        rbac::v1::{ClusterRole, PolicyRule, RoleBinding, RoleRef, Subject},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, api::PostParams};
use system_tests::{
    function::Function,
    samples::{payload, plain},
};

use crate::{
    Arguments,
    events::{Side, credentials},
    table::{Table, median, time},
    wire::Target,
};

/// Flows with which it begins.
const FEW: usize = 10;

/// Events of each measurement.
const SAMPLES: usize = 200;

pub(crate) async fn measure(
    table: &mut Table,
    arguments: &Arguments,
    cluster: &Cluster,
) -> Result<()> {
    let namespace = cluster.namespace("bench").await?;
    let function = Function::on(cluster)
        .run_in(&namespace)
        .env("HOOKRUN_FLOW_STORE", "kubernetes")
        .env("HOOKRUN_FLOW_STORE_NAMESPACE", &namespace)
        .start()
        .await?;
    may_read_flows(cluster, &namespace, &function).await?;
    store(cluster, &namespace, 0..FEW).await?;
    let side = Side::Hookrun {
        target: Target::plain(function.address(), &credentials())?,
        path: format!("/flow/key/flow-3/ns/{namespace}"),
        body: payload(1),
    };
    let few = event(&side).await?;
    store(cluster, &namespace, FEW..arguments.flows).await?;
    let many = event(&side).await?;
    table.row(
        format!(
            "one event with {} flows stored in ConfigMaps",
            arguments.flows
        ),
        time(many),
        format!("{} with {FEW}", time(few)),
        format!("{:.2}", many.as_secs_f64() / few.as_secs_f64()),
        "flat: about 1",
    );
    Ok(())
}

async fn event(side: &Side) -> Result<Duration> {
    let mut connection = side.connect().await?;
    let mut times = Vec::new();
    for _ in 0..SAMPLES {
        let began = Instant::now();
        side.event(&mut connection).await?;
        times.push(began.elapsed());
    }
    Ok(median(&mut times))
}

/// Stores flows, each in a ConfigMap that is named after its key.
async fn store(cluster: &Cluster, namespace: &str, numbers: std::ops::Range<usize>) -> Result<()> {
    let configs: Api<ConfigMap> = Api::namespaced(cluster.admin(), namespace);
    stream::iter(numbers)
        .map(|number| {
            let key = format!("flow-{number}");
            let config = ConfigMap {
                metadata: ObjectMeta {
                    labels: Some([("hookrun.dev/flow-key".to_owned(), key.clone())].into()),
                    name: Some(key.clone()),
                    ..Default::default()
                },
                data: Some([("flow.json".to_owned(), plain(&key, namespace).to_string())].into()),
                ..Default::default()
            };
            let configs = configs.clone();
            async move {
                configs
                    .create(&PostParams::default(), &config)
                    .await
                    .map(drop)
            }
        })
        .buffer_unordered(32)
        .try_collect::<()>()
        .await
        .context("storing flows")
}

/// The right to read ConfigMaps, which the manifests leave to those who keep flows there.
async fn may_read_flows(cluster: &Cluster, namespace: &str, function: &Function) -> Result<()> {
    let name = ObjectMeta {
        name: Some("bench-flows".to_owned()),
        ..Default::default()
    };
    let role = ClusterRole {
        metadata: name.clone(),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["configmaps".to_owned(), "secrets".to_owned()]),
            verbs: vec!["get".to_owned(), "list".to_owned()],
            ..Default::default()
        }]),
        ..Default::default()
    };
    Api::all(cluster.admin())
        .create(&PostParams::default(), &role)
        .await?;
    let binding = RoleBinding {
        metadata: name,
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "ClusterRole".to_owned(),
            name: "bench-flows".to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: function.account().name.clone(),
            namespace: Some(function.account().namespace.clone()),
            ..Default::default()
        }]),
    };
    Api::<RoleBinding>::namespaced(cluster.admin(), namespace)
        .create(&PostParams::default(), &binding)
        .await?;
    Ok(())
}
