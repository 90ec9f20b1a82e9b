use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message as _;
use runtime::auth::AuthOptions;
use runtime::metrics::{Metrics, PushOptions};
use runtime::telemetry::{self, TelemetryOptions};
use runtime::{Router, response};

use crate::support::{Server, alone, limits, status};

type Received = Arc<Mutex<Vec<(String, Bytes)>>>;

/// A collector that keeps what it gets.
async fn collector() -> (Server, Received) {
    let received = Received::default();
    let keep = Arc::clone(&received);
    let router = Router::new().post("/v1/{signal}", move |mut call| {
        let keep = Arc::clone(&keep);
        async move {
            let payload = call.read().await.unwrap();
            keep.lock()
                .unwrap()
                .push((call.param("signal").to_owned(), payload.bytes().clone()));
            response::empty(StatusCode::OK)
        }
    });
    (Server::start(router, limits()).await, received)
}

#[tokio::test]
async fn what_no_scrape_has_seen_is_pushed_once() {
    let (collector, received) = collector().await;
    let metrics = Arc::new(Metrics::new().unwrap());
    let options = PushOptions {
        url: format!("http://{}/v1/metrics", collector.address),
        service: "test".to_owned(),
        time: Duration::from_secs(20),
    };
    assert!(
        !metrics.push_unscraped(&options).await.unwrap(),
        "nothing has happened"
    );

    let router = Router::new().get("/", |_| async { response::empty(StatusCode::OK) });
    let server = Server::start(router.metrics(Arc::clone(&metrics)), limits()).await;
    server.get("/").await;
    metrics.text();
    assert!(
        !metrics.push_unscraped(&options).await.unwrap(),
        "the scrape has seen it"
    );

    server.get("/").await;
    assert!(metrics.push_unscraped(&options).await.unwrap());
    let received = received.lock().unwrap();
    let [(signal, bytes)] = received.as_slice() else {
        panic!("{} requests", received.len())
    };
    assert_eq!(signal, "metrics");
    let request = ExportMetricsServiceRequest::decode(bytes.clone()).unwrap();
    let resource = &request.resource_metrics[0];
    let families = &resource.scope_metrics[0].metrics;
    let family = |name: &str| {
        families
            .iter()
            .find(|family| family.name == name)
            .unwrap()
            .data
            .as_ref()
            .unwrap()
    };
    let Data::Sum(sum) = family("hookrun_http_requests_total") else {
        panic!("not a sum")
    };
    assert!(sum.is_monotonic);
    assert_eq!(
        format!("{:?}", sum.data_points[0].value),
        "Some(AsDouble(2.0))"
    );
    let Data::Histogram(times) = family("hookrun_http_request_duration_seconds") else {
        panic!("not a histogram")
    };
    let point = &times.data_points[0];
    assert_eq!(
        (point.count, point.bucket_counts.iter().sum::<u64>()),
        (2, 2)
    );
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
}

#[tokio::test]
async fn a_collector_that_hangs_does_not_hold_up_the_end() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let metrics = Metrics::new().unwrap();
    metrics.event("artisan", "created");
    let options = PushOptions {
        url: format!("http://{}/v1/metrics", silent.local_addr().unwrap()),
        service: "test".to_owned(),
        time: Duration::from_millis(50),
    };
    assert!(metrics.push_unscraped(&options).await.is_err());
}

#[derive(clap::Parser)]
struct Program {
    #[command(flatten)]
    telemetry: TelemetryOptions,

    #[command(flatten)]
    auth: AuthOptions,
}

/// Sets up telemetry, which a process can do once.
#[tokio::test]
#[ignore = "started by one_span_per_event_reaches_the_collector, in a process of its own"]
async fn traced() {
    if std::env::var("TRACED").is_err() {
        return;
    }
    let (collector, received) = collector().await;
    let endpoint = format!("http://{}", collector.address);
    let program = <Program as clap::Parser>::parse_from([
        "program",
        "--otlp-endpoint",
        &endpoint,
        "--cluster-local",
    ]);
    let guard = telemetry::init(&program.telemetry, "test").unwrap();
    let router = Router::new().post("/event/{key}", |mut call| async move {
        let payload = call.read().await.unwrap();
        let runtime::event::Incoming::CloudEvent(event) =
            runtime::event::read_events(&call.parts, &payload).unwrap()
        else {
            panic!("not an event")
        };
        telemetry::identify(&event);
        telemetry::record("run", "some-run");
        tracing::info!("inside");
        response::text(StatusCode::OK, telemetry::current_traceparent().unwrap())
    });
    let gate = program.auth.gate(None).unwrap();
    let router = router.guarded(Arc::new(gate)).get("/panic", |_| async {
        let secret = "sesame";
        panic!("{secret}")
    });
    let server = Server::start(router, limits()).await;
    let answer = server
        .ask(
            "POST /event/secret-key HTTP/1.1\r\nHost: h\r\nCe-Specversion: 1.0\r\nCe-Id: 7\r\nCe-Source: /s\r\nCe-Type: t\r\n\
             Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nTracestate: a=b\r\n\
             Content-Length: 5\r\n\r\nhello",
        )
        .await;
    assert_eq!(status(&answer), 200);
    assert_eq!(status(&server.get("/panic").await), 500);
    server.get("/healthz").await;
    guard.flush(Duration::from_secs(20)).await;

    let received = received.lock().unwrap();
    let spans: Vec<_> = received
        .iter()
        .filter(|(signal, _)| signal == "traces")
        .flat_map(|(_, bytes)| {
            ExportTraceServiceRequest::decode(bytes.clone())
                .unwrap()
                .resource_spans
        })
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans)
        .collect();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    // The collector is served by the same process, which sees its own exports.
    let span = spans
        .iter()
        .find(|span| span.name == "POST /event/{key}")
        .unwrap_or_else(|| panic!("{names:?}"));
    assert_eq!(
        spans.iter().filter(|other| other.name == span.name).count(),
        1,
        "{names:?}"
    );
    assert!(!names.contains(&"GET /healthz"));
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert_eq!(hex(&span.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&span.parent_span_id), "b7ad6b7169203331");
    assert!(
        answer.ends_with(&format!(
            "00-{}-{}-01",
            hex(&span.trace_id),
            hex(&span.span_id)
        )),
        "{answer}"
    );
    let attribute = |name: &str| {
        format!(
            "{:?}",
            span.attributes
                .iter()
                .find(|attribute| attribute.key == name)
        )
    };
    assert!(
        attribute("event.id").contains("cloudevent /s 7"),
        "{:?}",
        span.attributes
    );
    assert!(attribute("caller").contains("anyone"));
    assert!(attribute("run").contains("some-run"));
    assert!(attribute("http.response.status_code").contains("200"));
}

#[test]
fn one_span_per_event_reaches_the_collector() {
    let output = alone("telemetry::traced", 256)
        .env("TRACED", "1")
        .output()
        .unwrap();
    let (text, log) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{log}"
    );
    let line = log
        .lines()
        .find(|line| line.contains("\"inside\""))
        .unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["span"]["event.id"], "cloudevent /s 7");
    assert!(
        log.contains("\"panic\"") && !log.contains("sesame"),
        "{log}"
    );
    assert!(
        !log.contains("hello") && !log.contains("secret-key"),
        "{log}"
    );
}
