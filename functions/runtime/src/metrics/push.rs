//! The last push: what no scrape has seen, sent by OTLP before the process ends.
//!
//! A function that scales to zero lives for minutes; a scraper that comes every 30 seconds misses the end of every
//! life. So where an endpoint is configured, the counters are sent there once, as cumulative sums since the start.

use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prometheus::proto::{LabelPair, MetricFamily, MetricType};
use prost::Message as _;

use super::Metrics;
use crate::telemetry;

/// Where the last push goes.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// The whole URL.
    pub url: String,
    /// Who sends: `service.name`, unless OTEL_SERVICE_NAME says otherwise.
    pub service: String,
    /// Time for all of it.
    pub time: Duration,
}

/// A push that did not arrive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not in time.
    #[error("the collector did not answer in time")]
    Time,
    /// Not at all.
    #[error("the collector cannot be reached")]
    Send(#[source] reqwest::Error),
    /// Not wanted.
    #[error("the collector answered {0}")]
    Status(u16),
}

impl Metrics {
    /// Sends all counters if any has changed since the last scrape; whether it did.
    ///
    /// # Errors
    /// The collector cannot be reached, does not answer in time, or refuses.
    pub async fn push_unscraped(&self, options: &PushOptions) -> Result<bool, Error> {
        if !self.unscraped() {
            return Ok(false);
        }
        let body = self.otlp(&options.service).encode_to_vec();
        let send = async {
            // The client's TLS takes the process-wide provider; somebody else may have set it.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let client = reqwest::Client::builder().build().map_err(Error::Send)?;
            let request = client.post(&options.url).headers(headers()).body(body);
            let response = request.send().await.map_err(Error::Send)?;
            if response.status().is_success() {
                Ok(true)
            } else {
                Err(Error::Status(response.status().as_u16()))
            }
        };
        tokio::time::timeout(options.time, send)
            .await
            .unwrap_or(Err(Error::Time))
    }

    fn otlp(&self, service: &str) -> ExportMetricsServiceRequest {
        let start = nanoseconds(self.started);
        let now = nanoseconds(SystemTime::now());
        let metrics = self
            .registry
            .gather()
            .iter()
            .filter_map(|family| converted(family, start, now))
            .collect();
        let attributes = telemetry::resource(service)
            .iter()
            .map(|(key, value)| attribute(key.as_str(), &value.as_str()))
            .collect();
        let scope = InstrumentationScope {
            name: "hookrun".to_owned(),
            ..Default::default()
        };
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(Resource {
                    attributes,
                    ..Default::default()
                }),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope),
                    metrics,
                    ..Default::default()
                }],
                ..Default::default()
            }],
        }
    }
}

/// Headers that the collector asks for, such as a token: `name=value`, separated by commas, as OpenTelemetry has it.
fn headers() -> HeaderMap {
    let variables = [
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
        "OTEL_EXPORTER_OTLP_HEADERS",
    ];
    let text = variables
        .iter()
        .find_map(|name| std::env::var(name).ok())
        .unwrap_or_default();
    let mut headers: HeaderMap = text
        .split(',')
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let value = percent_encoding::percent_decode_str(value.trim())
                .decode_utf8()
                .ok()?;
            Some((
                name.trim().parse::<HeaderName>().ok()?,
                HeaderValue::from_str(&value).ok()?,
            ))
        })
        .collect();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-protobuf"),
    );
    headers
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue {
        value: Some(any_value::Value::StringValue(value.to_owned())),
    };
    KeyValue {
        key: key.to_owned(),
        value: Some(value),
        ..Default::default()
    }
}

fn attributes(labels: &[LabelPair]) -> Vec<KeyValue> {
    labels
        .iter()
        .map(|label| attribute(label.name(), label.value()))
        .collect()
}

fn converted(family: &MetricFamily, start: u64, now: u64) -> Option<Metric> {
    let number = |value: f64, labels: &[LabelPair]| NumberDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: start,
        time_unix_nano: now,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..Default::default()
    };
    let metrics = family.get_metric();
    let data = match family.get_field_type() {
        MetricType::COUNTER => metric::Data::Sum(Sum {
            data_points: metrics
                .iter()
                .map(|m| number(m.get_counter().get_value(), m.get_label()))
                .collect(),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        }),
        MetricType::GAUGE => metric::Data::Gauge(Gauge {
            data_points: metrics
                .iter()
                .map(|m| number(m.get_gauge().get_value(), m.get_label()))
                .collect(),
        }),
        MetricType::HISTOGRAM => metric::Data::Histogram(Histogram {
            data_points: metrics
                .iter()
                .map(|m| histogram(m.get_histogram(), m.get_label(), start, now))
                .collect(),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
        }),
        // Nobody here makes these.
        MetricType::SUMMARY | MetricType::UNTYPED => return None,
    };
    Some(Metric {
        name: family.name().to_owned(),
        description: family.help().to_owned(),
        data: Some(data),
        ..Default::default()
    })
}

/// Prometheus counts what is below each bound, OTLP what is between two, and what is beyond the last.
fn histogram(
    histogram: &prometheus::proto::Histogram,
    labels: &[LabelPair],
    start: u64,
    now: u64,
) -> HistogramDataPoint {
    let finite = || {
        histogram
            .get_bucket()
            .iter()
            .filter(|bucket| bucket.upper_bound().is_finite())
    };
    let count = histogram.get_sample_count();
    let mut below = 0;
    let mut counts: Vec<u64> = Vec::new();
    for total in finite()
        .map(|bucket| bucket.cumulative_count())
        .chain([count])
    {
        counts.push(total.saturating_sub(below));
        below = total;
    }
    HistogramDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: start,
        time_unix_nano: now,
        count,
        sum: Some(histogram.get_sample_sum()),
        bucket_counts: counts,
        explicit_bounds: finite().map(|bucket| bucket.upper_bound()).collect(),
        ..Default::default()
    }
}
