use std::sync::Arc;

use http::StatusCode;
use runtime::auth::{AuthOptions, Gate};
use runtime::{Body, Router, response};

use crate::support::{Server, limits, status};

fn gate() -> Arc<Gate> {
    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        auth: AuthOptions,
    }
    let program = <Program as clap::Parser>::parse_from(["program", "--http-password", "secret"]);
    Arc::new(program.auth.gate(None).unwrap())
}

fn router() -> Router {
    let open = Router::new()
        .get("/", |_| async { response::text(StatusCode::OK, "OK") })
        .post("/flow/key/{key}/ns/{namespace}", |call| async move {
            response::text(
                StatusCode::OK,
                format!("{}|{}", call.param("key"), call.param("namespace")),
            )
        });
    let closed = Router::new()
        .get("/closed", |_| async {
            response::text(StatusCode::OK, "welcome")
        })
        .guarded(gate());
    open.merge(closed)
}

#[tokio::test]
async fn unknown_paths_are_404_and_other_methods_405() {
    let server = Server::start(router(), limits()).await;
    let answer = server.get("/nothing").await;
    assert_eq!(status(&answer), 404);
    assert!(
        answer.contains("content-type: text/plain; charset=utf-8\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\n404 page not found\n"));

    let wrong = server.ask("DELETE / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(
        wrong.starts_with("HTTP/1.1 405") && wrong.ends_with("content-length: 0\r\n\r\n")
            || !wrong.contains("content-type"),
        "{wrong}"
    );
    assert_eq!(
        status(
            &server
                .ask("HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                .await
        ),
        405
    );
    assert_eq!(status(&server.get("/closed/").await), 404);
    // Neither tells anything about credentials.
    assert_eq!(
        status(
            &server
                .ask("POST /closed HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
                .await
        ),
        405
    );
}

#[tokio::test]
async fn paths_with_two_spellings_are_refused() {
    let server = Server::start(router(), limits()).await;
    for path in [
        "//",
        "/flow/key/a%2Fb/ns/c",
        "/flow/key/../ns/c",
        "/%2e%2e",
        "/flow/key/%00/ns/c",
        "/flow/key/%ff/ns/c",
        "/flow/key//ns/c",
    ] {
        let answer = server.get(path).await;
        assert_eq!(status(&answer), 400, "{path}");
        assert!(
            answer.contains("https://hookrun.dev/problems/path-not-canonical"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn variables_are_decoded_once() {
    let server = Server::start(router(), limits()).await;
    let request = "POST /flow/key/gr%C3%BCn%2520x/ns/a+b?key=other HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
    assert!(server.ask(request).await.ends_with("\r\n\r\ngrün%20x|a+b"));
}

#[tokio::test]
async fn health_needs_no_credentials_and_the_rest_does() {
    let server = Server::start(router(), limits()).await;
    assert_eq!(status(&server.get("/healthz").await), 200);
    assert_eq!(status(&server.get("/readyz").await), 200);
    let missing = server.get("/closed").await;
    assert_eq!(status(&missing), 401);
    assert!(
        missing.contains("www-authenticate: Basic realm=\"hookrun\", charset=\"UTF-8\"\r\n"),
        "{missing}"
    );
    let with = |token| format!("GET /closed HTTP/1.1\r\nHost: h\r\nAuthorization: {token}\r\n\r\n");
    let strip = |answer: String| {
        answer
            .lines()
            .filter(|line| !line.starts_with("date:") && !line.starts_with("connection:"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    // admin:wrong
    assert_eq!(
        strip(server.ask(&with("Basic YWRtaW46d3Jvbmc=")).await),
        strip(missing),
        "one neutral answer"
    );
    // admin:secret
    assert!(
        server
            .ask(&with("basic YWRtaW46c2VjcmV0"))
            .await
            .ends_with("welcome")
    );
}

#[tokio::test]
async fn a_panic_is_one_answer_and_nothing_more() {
    let router = Router::new().get("/panic", |_| async { panic!("on purpose") });
    let server = Server::start(router, limits()).await;
    let mut peer = server.connect().await;
    for _ in 0..2 {
        peer.say("GET /panic HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let answer = peer.answer().await;
        assert_eq!(status(&answer), 500);
        assert!(
            answer.contains("problems/internal-error") && !answer.contains("on purpose"),
            "{answer}"
        );
    }
    assert_eq!(status(&server.get("/healthz").await), 200);
}

#[tokio::test]
async fn a_cloud_event_gets_codes_that_a_broker_understands_and_no_body() {
    let router = Router::new().post("/panic", |_| async { panic!("on purpose") });
    let server = Server::start(router, limits()).await;
    let event = |path| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nCe-Specversion: 1.0\r\nContent-Length: 0\r\n\r\n"
        )
    };
    for path in ["/nothing", "/panic"] {
        let answer = server.ask(&event(path)).await;
        assert_eq!(status(&answer), 422, "{path}");
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_mounted_service_gets_everything_below_its_prefix_and_may_stream() {
    let service = tower::service_fn(|request: http::Request<Body>| async move {
        let (sender, body) = http_body_util::channel::Channel::<bytes::Bytes>::new(4);
        let mut sender = sender;
        tokio::spawn(async move {
            for part in ["one ", request.uri().path()] {
                sender
                    .send_data(bytes::Bytes::from(part.to_owned()))
                    .await
                    .unwrap();
            }
        });
        Ok::<_, std::convert::Infallible>(http::Response::new(body))
    });
    let router = router().mount("/apis", service);
    let server = Server::start(router, limits()).await;
    let answer = server.connect().await;
    let mut peer = answer;
    peer.say("GET /apis/tekton.dev/v1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        .await;
    let answer = peer.rest().await;
    assert_eq!(status(&answer), 200);
    assert!(
        answer.contains("one ") && answer.contains("/apis/tekton.dev/v1"),
        "{answer}"
    );
    assert_eq!(status(&server.get("/apisx").await), 404);
}

#[tokio::test]
async fn two_equal_routes_are_found_at_the_start() {
    let twice = Router::new()
        .get("/a/{b}", |_| async { response::empty(StatusCode::OK) })
        .get("/a/{b}", |_| async { response::empty(StatusCode::OK) });
    let error = runtime::Shell::new(twice, limits())
        .unwrap_err()
        .to_string();
    assert_eq!(error, "route /a/{b}: is there twice");
}
