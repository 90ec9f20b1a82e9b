//! Hookrun against the real API server, real Tekton, real HTTP.
fn main() {}
