//! The store of payloads that no Secret can hold: a real S3-compatible server in a pod, which functions, the sweep and steps
//! of runs all reach by one name, since a presigned URL is good for that name only.

use anyhow::Result;

use crate::world::{RUNS, World};

/// Its pod, and the Service in front of it.
const NAME: &str = "payload-store";

/// The bucket, made when it starts.
const BUCKET: &str = "payloads";

/// Whoever has the password may do everything.
const USER: &str = "e2e";

/// The variables by which Hookrun finds it, as entries of a Secret.
pub(crate) fn environment(password: &str) -> Vec<String> {
    vec![
        format!("HOOKRUN_PAYLOAD_STORE=s3://{BUCKET}/e2e"),
        format!("AWS_ENDPOINT=http://{NAME}.{RUNS}.svc.cluster.local:8080"),
        "AWS_ALLOW_HTTP=true".to_owned(),
        "AWS_REGION=us-east-1".to_owned(),
        format!("AWS_ACCESS_KEY_ID={USER}"),
        format!("AWS_SECRET_ACCESS_KEY={password}"),
    ]
}

/// Starts it.
///
/// # Errors
/// It does not get ready.
pub(crate) async fn serve(world: &World) -> Result<()> {
    let script = format!(
        "mkdir -p /tmp/objects/{BUCKET} /tmp/metadata\n\
         exec versitygw --port :8080 --access {USER} --secret {} posix --sidecar /tmp/metadata /tmp/objects\n",
        world.main.password
    );
    world.serve(NAME, RUNS, &script).await
}
