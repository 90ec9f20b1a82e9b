//! The tables: for each provider, what its payloads say where.
//!
//! Every place is one that the provider documents, or that its source shows; the modules say where they differ from
//! what their names promise.

pub(crate) mod bitbucket;
pub(crate) mod gitea;
pub(crate) mod github;
pub(crate) mod gitlab;
pub(crate) mod images;
pub(crate) mod others;
