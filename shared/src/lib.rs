//! Pure conversion of flow formats to Tekton objects.

pub mod flow;
