//! A proxy between the function and the API server that records every request, and fails where it is told to.
//!
//! The function speaks plain HTTP to it and the proxy speaks TLS to the API server, with the function's own token, so
//! that rights are still those of the function.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use control_plane::{Cluster, Killer};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;

use crate::server::{Body, Close, Server, answer};

/// A request that came to the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its method.
    pub method: Method,
    /// Path and query, not decoded.
    pub target: String,
    /// What the API server answered; `None` if it was not asked, or has not answered yet.
    pub status: Option<StatusCode>,
}

impl Seen {
    /// Whether it asks for a change.
    #[must_use]
    pub fn is_write(&self) -> bool {
        ![Method::GET, Method::HEAD, Method::OPTIONS].contains(&self.method)
    }

    /// Whether the API server has executed it.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.is_success())
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target)?;
        match self.status {
            Some(status) => write!(f, " -> {}", status.as_u16()),
            None => write!(f, " -> nothing"),
        }
    }
}

/// What happens to a request.
#[derive(Clone)]
pub enum Action {
    /// An answer in the API server's words; 429 and 503 with `Retry-After` where seconds are given.
    Answer(StatusCode, Option<u32>),
    /// No answer, ever.
    Hang,
    /// The connection is closed.
    Close,
    /// The API server executes the request, and the connection is closed in the middle of its answer.
    Truncate,
    /// A pause, then all goes on.
    Delay(Duration),
    /// A call, then all goes on.
    Call(Arc<dyn Fn() + Send + Sync>),
    /// SIGKILL for a process, and the connection is closed.
    Kill(Killer),
}

/// Which requests are treated how.
pub struct Rule {
    method: Option<Method>,
    part: String,
    skip: usize,
    times: usize,
    forward_first: bool,
    action: Action,
}

impl Rule {
    /// For requests whose path or query contains `part`; with every method.
    #[must_use]
    pub fn of(part: &str, action: Action) -> Self {
        Self {
            method: None,
            part: part.to_owned(),
            skip: 0,
            times: usize::MAX,
            forward_first: false,
            action,
        }
    }

    /// Only for requests with this method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Lets the first `count` of them pass.
    #[must_use]
    pub fn skip(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// Ends after so many of them.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.times = count;
        self
    }

    /// Acts when the API server has executed the request and answered: what the function does not learn has happened all the same.
    #[must_use]
    pub fn after(mut self) -> Self {
        self.forward_first = true;
        self
    }

    fn matches(&self, seen: &Seen) -> bool {
        self.times > 0
            && self
                .method
                .as_ref()
                .is_none_or(|method| *method == seen.method)
            && seen.target.contains(&self.part)
    }
}

struct State {
    upstream: String,
    client: reqwest::Client,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
}

/// The running proxy; it ends when dropped.
pub struct Faults {
    server: Server,
    state: Arc<State>,
}

impl Faults {
    /// Starts a proxy in front of the cluster's API server; without rules everything passes.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start(cluster: &Cluster) -> Result<Self> {
        let ca = reqwest::Certificate::from_pem(cluster.ca().as_bytes())?;
        let state = Arc::new(State {
            upstream: cluster.url().to_owned(),
            client: reqwest::Client::builder()
                .tls_certs_only([ca])
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .build()?,
            rules: Mutex::default(),
            seen: Mutex::default(),
        });
        let server = Server::start(None, {
            let state = Arc::clone(&state);
            move |request| handle(Arc::clone(&state), request)
        })
        .await?;
        Ok(Self { server, state })
    }

    /// The server of a kubeconfig.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Adds a rule. The first that matches a request counts.
    pub fn add(&self, rule: Rule) {
        self.state.rules.lock().unwrap().push(rule);
    }

    /// Removes all rules.
    pub fn heal(&self) {
        self.state.rules.lock().unwrap().clear();
    }

    /// All requests so far, in the order in which they came.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// Those that asked for a change.
    #[must_use]
    pub fn writes(&self) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(Seen::is_write);
        seen
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.state.seen.lock().unwrap().clear();
    }
}

async fn handle(state: Arc<State>, request: Request<Bytes>) -> Result<Response<Body>, Close> {
    let seen = Seen {
        method: request.method().clone(),
        target: request.uri().to_string(),
        status: None,
    };
    let fault = decide(&state, &seen);
    let index = {
        let mut all = state.seen.lock().unwrap();
        all.push(seen);
        all.len() - 1
    };
    match fault {
        None => forward(&state, index, request).await,
        Some((_, Action::Truncate)) => truncate(forward(&state, index, request).await?).await,
        Some((false, action)) => match act(action).await? {
            Some(answer) => Ok(answer),
            None => forward(&state, index, request).await,
        },
        Some((true, action)) => {
            let forwarded = forward(&state, index, request).await?;
            Ok(act(action).await?.unwrap_or(forwarded))
        }
    }
}

/// The action for a request, and whether the API server sees it first.
fn decide(state: &State, seen: &Seen) -> Option<(bool, Action)> {
    let mut rules = state.rules.lock().unwrap();
    let rule = rules.iter_mut().find(|rule| rule.matches(seen))?;
    if rule.skip > 0 {
        rule.skip -= 1;
        return None;
    }
    rule.times = rule
        .times
        .saturating_sub(usize::from(rule.times != usize::MAX));
    Some((rule.forward_first, rule.action.clone()))
}

/// Does it; `None` if all is to go on.
async fn act(action: Action) -> Result<Option<Response<Body>>, Close> {
    match action {
        Action::Answer(status, retry_after) => Ok(Some(refusal(status, retry_after))),
        Action::Hang => std::future::pending().await,
        // What is cut off is an answer, and there is none yet.
        Action::Close | Action::Truncate => Err(Close),
        Action::Delay(time) => {
            tokio::time::sleep(time).await;
            Ok(None)
        }
        Action::Call(call) => {
            call();
            Ok(None)
        }
        Action::Kill(killer) => {
            killer.kill();
            Err(Close)
        }
    }
}

/// The first half of an answer; its announced length stays.
async fn truncate(response: Response<Body>) -> Result<Response<Body>, Close> {
    let (parts, body) = response.into_parts();
    let whole = body.collect().await.map_err(|_| Close)?.to_bytes();
    let half = whole.slice(..whole.len() / 2);
    let frames = [Ok(Frame::data(half)), Err(Close.into())];
    let body = StreamBody::new(futures_util::stream::iter(frames));
    Ok(Response::from_parts(parts, body.boxed_unsync()))
}

fn refusal(status: StatusCode, retry_after: Option<u32>) -> Response<Body> {
    let reason = match status {
        StatusCode::CONFLICT => "Conflict",
        StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::UNPROCESSABLE_ENTITY => "Invalid",
        _ => "InternalError",
    };
    let body = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "refused by the test",
        "reason": reason,
        "details": {"retryAfterSeconds": retry_after.unwrap_or_default()},
        "code": status.as_u16(),
    });
    let mut response = answer(status, "application/json", body.to_string());
    if let Some(seconds) = retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

async fn forward(
    state: &State,
    index: usize,
    request: Request<Bytes>,
) -> Result<Response<Body>, Close> {
    let (mut parts, body) = request.into_parts();
    parts.uri = format!("{}{}", state.upstream, parts.uri)
        .parse()
        .map_err(|_| Close)?;
    // It names the proxy.
    parts.headers.remove(header::HOST);
    let request = Request::from_parts(parts, body)
        .try_into()
        .map_err(|_| Close)?;
    // A request that the API server does not answer is one that the function gets no answer to.
    let response = state.client.execute(request).await.map_err(|_| Close)?;
    if let Some(seen) = state.seen.lock().unwrap().get_mut(index) {
        seen.status = Some(response.status());
    }
    let (mut parts, body) = Response::<reqwest::Body>::from(response).into_parts();
    // They concern the other connection; a length stays, since bytes pass as they are.
    parts.headers.remove(header::CONNECTION);
    parts.headers.remove(header::TRANSFER_ENCODING);
    parts.version = http::Version::HTTP_11;
    Ok(Response::from_parts(
        parts,
        body.map_err(anyhow::Error::from).boxed_unsync(),
    ))
}
