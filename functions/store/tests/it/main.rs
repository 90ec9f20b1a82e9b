//! The stores against real HTTP servers on ports that the system picks, a played API server, and folders.

#![allow(missing_docs, unreachable_pub, reason = "a test binary has no users")]
#![allow(clippy::unwrap_used, reason = "helpers of tests end loudly, too")]

mod fetch;
mod kubernetes;
mod objects;
mod onix;
mod server;

use std::{sync::Arc, time::Duration};

use clap::Parser;
use store::{Credentials, FlowStore, FlowStoreOptions};

/// The limit where none comes.
const IMPATIENCE: Duration = Duration::from_millis(400);

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: FlowStoreOptions,
}

/// A flow store as the command line configures it, with no cluster behind it.
fn flow_store(arguments: &[&str]) -> Arc<dyn FlowStore> {
    flow_store_with(&Credentials::default(), arguments)
}

/// The same with settings of an object store.
fn flow_store_with(credentials: &Credentials, arguments: &[&str]) -> Arc<dyn FlowStore> {
    let Command { options } = Command::try_parse_from(["hookrun"].iter().chain(arguments)).unwrap();
    options.open(
        credentials,
        Arc::new(|| Box::pin(async { Err("no cluster".to_owned()) })),
    )
}
