//! A real Kubernetes control plane on this machine: etcd, kube-apiserver with RBAC, kube-controller-manager, and
//! Tekton's webhook and controller, all as plain processes on loopback ports.
//!
//! Tests, benchmarks and `cargo xtask` start the same control plane from here, so that what is measured is what is tested.
//! Everything is built from the Go modules pinned in this folder (one `go.mod` per system), and everything that runs
//! belongs to the process that started it: when that process ends, however it ends, nothing stays behind.
//!
//! Never here: root rights, fixed ports, containers, anything outside the repository's `target` folder.

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
pub use programs::{PROGRAMS, Program, Programs, Tier};
pub use standing::Standing;
pub use wait::{eventually, until};
