//! Pure conversion of flow formats to Tekton objects.
//!
//! A compiler in three steps, each with types of its own: [`format::parse`] reads a document of some [`Format`] and
//! checks it, all problems at once; the result is a [`Flow`], the one model that all formats share; [`emit()`] writes
//! it as Tekton objects, which cannot fail.
//!
//! ```
//! use flows::{Format, Lowering, Request, Scope, Settings, emit, parse};
//!
//! let document = br#"{
//!   "name": "Nightly Scan",
//!   "labels": {"namespace": "team-blue"},
//!   "steps": [{"name": "scan", "runtime": "images.example.org/scan:1", "package": "p/scanner", "function": "go"}]
//! }"#;
//! let flow = parse(Format::Artisan, document, &Lowering::default())?;
//! let namespace = flow.namespace.clone().ok_or("no namespace")?;
//! let request = Request { scope: Scope::Document, event: "nightly/1", traceparent: None, payload: None };
//! let emitted = emit(&flow, &namespace, &request, &Settings::default());
//!
//! let names: Vec<_> = emitted.latest.iter().map(|object| object.name()).collect();
//! assert_eq!(names, ["nightly-scan-build-task", "nightly-scan-pl"]);
//! assert!(emitted.run.name.as_str().starts_with("nightly-scan-pr-"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! There is no async, no I/O, no clock, no randomness, no environment and no logging in here: the same document and
//! arguments give the same bytes, for ever.

pub mod format;
pub use format::{Format, Lowering, parse};

pub mod flow;
pub use flow::Flow;

pub mod emit;
pub use emit::{Emitted, Payload, PayloadCopy, Request, Run, Scope, Settings, emit};

pub mod stored;
pub mod tekton;

pub mod image;
pub mod label;
pub mod name;
pub use name::Label;

pub mod problem;
pub use problem::{Problem, Problems};

#[cfg(feature = "arbitrary")]
pub mod arbitrary;
