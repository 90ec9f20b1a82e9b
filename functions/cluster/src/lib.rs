//! Writing to Kubernetes: apply, and start a run exactly once.
