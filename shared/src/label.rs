//! The labels and annotations that tie objects to their flow, event and run.
//!
//! People select by them, a repeated event recognises its run by them, and they keep the texts that names had to
//! shorten. They are public: renaming one breaks what users have written down.

/// Label of everything we write; its value is [`HOOKRUN`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The value of [`MANAGED_BY`].
pub const HOOKRUN: &str = "hookrun";

/// Label: the flow's name as its object names begin (see [`crate::name::object_name`]).
pub const FLOW: &str = "hookrun.dev/flow";

/// Label: the run that an object belongs to; on the run itself and on the copies that it owns.
pub const RUN: &str = "hookrun.dev/run";

/// Annotation: the flow's name as its author wrote it.
pub const FLOW_NAME: &str = "hookrun.dev/flow-name";

/// Annotation: the key by which a stored flow was asked for.
pub const KEY: &str = "hookrun.dev/key";

/// Annotation: the identity of the event that started the run.
pub const EVENT: &str = "hookrun.dev/event";

/// Annotation: digest of what the run executes and of the copies that it owns.
pub const SNAPSHOT: &str = "hookrun.dev/snapshot";

/// Annotation that Tekton reads: the trace context under which it reports the run's spans.
pub const SPAN_CONTEXT: &str = "tekton.dev/pipelinerunSpanContext";
