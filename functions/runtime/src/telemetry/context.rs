//! W3C Trace Context: read strictly, and told to the run.

use std::future::Future;
use std::str::FromStr;

use http::HeaderMap;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

tokio::task_local! {
    /// What the sender of the request said about its trace.
    static SENDER: Option<TraceParent>;
}

/// Length of `tracestate` that the standard asks everybody to pass on.
const STATE_LENGTH: usize = 512;

/// The header `traceparent` of version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace: TraceId,
    span: SpanId,
    flags: TraceFlags,
}

/// A header that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct NotATraceParent;

impl FromStr for TraceParent {
    type Err = NotATraceParent;

    /// Reads exactly what the standard allows; later versions may go on after the fields that are known.
    /// ```
    /// use runtime::telemetry::TraceParent;
    /// let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    /// assert_eq!(text.parse::<TraceParent>().unwrap().to_string(), text);
    /// assert!("00-00000000000000000000000000000000-b7ad6b7169203331-01".parse::<TraceParent>().is_err());
    /// assert!("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01".parse::<TraceParent>().is_err());
    /// assert!("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse::<TraceParent>().is_err());
    /// ```
    fn from_str(text: &str) -> Result<Self, NotATraceParent> {
        let mut fields = text.splitn(5, '-');
        let mut hex = |length: usize| {
            let field = fields.next().filter(|field| field.len() == length)?;
            field
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
                .then_some(field)
        };
        let parsed = (|| {
            let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
            let trace = TraceId::from_hex(trace)
                .ok()
                .filter(|id| *id != TraceId::INVALID)?;
            let span = SpanId::from_hex(span)
                .ok()
                .filter(|id| *id != SpanId::INVALID)?;
            let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
            Some((version, Self { trace, span, flags }))
        })();
        match (parsed, fields.next()) {
            (Some(("ff", _)), _) | (None, _) | (Some(("00", _)), Some(_)) => Err(NotATraceParent),
            (Some((_, parent)), _) => Ok(parent),
        }
    }
}

impl std::fmt::Display for TraceParent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "00-{}-{}-{:02x}",
            self.trace,
            self.span,
            self.flags.to_u8()
        )
    }
}

/// What a request says about the trace that it belongs to.
#[derive(Clone, Debug, Default)]
pub struct Incoming {
    parent: Option<TraceParent>,
    state: TraceState,
}

impl Incoming {
    /// Reads the headers. What is not valid is as if it were not there, as the standard asks.
    pub fn read(headers: &HeaderMap) -> Self {
        let mut parents = headers.get_all("traceparent").iter();
        let parent = match (parents.next(), parents.next()) {
            (Some(value), None) => value.to_str().ok().and_then(|text| text.parse().ok()),
            _ => None,
        };
        let state = parent.and_then(|_: TraceParent| {
            let values: Option<Vec<&str>> = headers
                .get_all("tracestate")
                .iter()
                .map(|value| value.to_str().ok())
                .collect();
            let joined = values?.join(",");
            TraceState::from_str(&joined)
                .ok()
                .filter(|_| joined.len() <= STATE_LENGTH)
        });
        Self {
            parent,
            state: state.unwrap_or_default(),
        }
    }

    /// Makes the sender's span the parent of ours.
    pub(super) fn attach(&self, span: &Span) {
        let Some(parent) = self.parent else { return };
        let context = SpanContext::new(
            parent.trace,
            parent.span,
            parent.flags,
            true,
            self.state.clone(),
        );
        // Without an exporter there is nothing to attach to.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(context));
    }

    /// Keeps it at hand for [`current_traceparent`] while the future runs.
    pub(crate) fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        SENDER.scope(self.parent, future)
    }
}

/// The `traceparent` for what is started now: of our own span where it is exported, else what the sender said, so
/// that its trace does not end here. `None` where neither is.
pub fn current_traceparent() -> Option<String> {
    let context = Span::current().context();
    let own = context.span().span_context().clone();
    if own.is_valid() {
        let parent = TraceParent {
            trace: own.trace_id(),
            span: own.span_id(),
            flags: own.trace_flags(),
        };
        return Some(parent.to_string());
    }
    SENDER
        .try_with(|parent| *parent)
        .ok()
        .flatten()
        .map(|parent| parent.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_valid_parents_are_read() {
        assert!(PARENT.parse::<TraceParent>().is_ok());
        let later = PARENT.replacen("00", "01", 1);
        assert_eq!(
            format!("{later}-more")
                .parse::<TraceParent>()
                .unwrap()
                .to_string(),
            PARENT
        );
        for wrong in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c8031-b7ad6b7169203331-01",
            "0g-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-é",
        ] {
            assert!(wrong.parse::<TraceParent>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn two_parents_are_none() {
        let mut headers = HeaderMap::new();
        headers.append("traceparent", HeaderValue::from_static(PARENT));
        assert!(Incoming::read(&headers).parent.is_some());
        headers.append("traceparent", HeaderValue::from_static(PARENT));
        assert!(Incoming::read(&headers).parent.is_none());
    }

    #[tokio::test]
    async fn without_an_exporter_the_trace_of_the_sender_goes_on() {
        assert_eq!(current_traceparent(), None);
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_static(PARENT));
        let incoming = Incoming::read(&headers);
        assert_eq!(
            incoming
                .scope(async { current_traceparent() })
                .await
                .as_deref(),
            Some(PARENT)
        );
    }
}
