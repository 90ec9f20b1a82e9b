//! Real clusters on this machine, of three [`Tier`]s: a control plane with Tekton, a node on which steps run, Knative.
//!
//! Tests and benchmarks start a control plane in their own process ([`Cluster`]): plain processes on loopback ports, without
//! root, any number side by side. `cargo xtask cluster` starts one that stands until it is told to go ([`Standing`]), of any tier.
//! Both come from the same code, so that what is tried, tested and measured is one thing.
//!
//! Everything is built from the Go modules pinned in this folder (one `go.mod` per system), and whatever runs belongs to the
//! process that started it: when that process ends, however it ends, nothing stays behind.
//!
//! Never here: anything outside the repository's `target` folder that is not put back, or a way from a node to the world.

#![allow(
    clippy::print_stderr,
    reason = "builds take minutes, and whoever waits wants to see progress"
)]

mod access;
mod cluster;
mod daemon;
mod image;
mod node;
mod pki;
mod platform;
mod ports;
mod process;
mod programs;
mod sandbox;
mod standing;
mod tekton;
mod wait;

pub use access::Account;
pub use cluster::{Cluster, Options};
pub use image::Image;
pub use ports::free as free_ports;
pub use process::{Killer, Process};
pub use programs::{Origin, PROGRAMS, Program, Programs, Tier};
pub use sandbox::find_program;
pub use standing::Standing;
pub use wait::{eventually, until};
