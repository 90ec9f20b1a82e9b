//! Turns events into pipeline runs.
fn main() {}
