//! An in-process Kubernetes API for trying out and offline tests.
