//! A function on an API of its own, and a sender that signs as GitHub does.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use clap::Parser as _;
use cluster::{Patience, PolicyOptions, RunOptions};
use embedded::Api;
use hook::{HookOptions, Service, Surroundings, Takeover};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use kube::client::Body as KubeBody;
use providers::sign::{Outgoing, sign};
use runtime::{Body, Limits, Shell, auth::KeySource, metrics::Metrics, router::BoxFuture};
use serde_json::{Value, json};
use store::FlowStore;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tower::ServiceExt as _;

/// The namespace of all tests.
pub(crate) const NAMESPACE: &str = "default";

/// The secret of the Hook, unless a test says otherwise.
pub(crate) const SECRET: &str = "a secret that nobody guesses";

/// What a push to the main branch looks like, as far as rules care.
pub(crate) const PUSH: &str = r#"{"ref": "refs/heads/main", "after": "0123456789012345678901234567890123456789", "repository": {"full_name": "acme/app"}}"#;

/// What happens to the requests to the API server.
#[derive(Default)]
pub(crate) struct Line {
    /// All of them, as `METHOD path`.
    pub(crate) seen: Mutex<Vec<String>>,
    count: AtomicUsize,
    fault: Mutex<Option<Fault>>,
    meanwhile: Mutex<Option<Meanwhile>>,
}

/// What another process does right before a request.
pub(crate) struct Meanwhile {
    /// How that request begins, as `METHOD path`.
    pub(crate) before: String,
    /// The path of the object that is changed.
    pub(crate) path: String,
    /// The merge patch.
    pub(crate) patch: Value,
}

/// One request that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is cut before the API server has the request with this number.
    Before(usize),
    /// It is cut after the request was done, so that its answer is lost.
    After(usize),
    /// All requests from this number on are cut: the process is dead.
    DeadFrom(usize),
    /// Nothing is answered from this number on.
    MuteFrom(usize),
    /// Nobody may do anything, whoever asks about whom.
    Denied,
    /// No run may be created: the quota of the namespace is used up.
    Full,
    /// The function has no rights in this namespace.
    Closed(&'static str),
    /// No Secret may be created: the quota of the namespace is used up.
    NoSecrets,
    /// Nothing is answered that creates something of this kind.
    Silent(&'static str),
    /// Of what is selected by labels, nobody sees more than a first page.
    LaterPages,
    /// The object in the request with this number is larger than the API server takes.
    TooLarge(usize),
    /// As [`Self::Full`]; and a Delivery that says what is to be started is as large as the API server takes.
    Brimful,
    /// The function has no rights to objects of this kind.
    Hidden(&'static str),
    /// An admission webhook refuses this kind.
    Vetoed(&'static str),
}

/// What the flow store does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// It answers.
    Up,
    /// It says that it cannot answer now.
    Down,
    /// It never answers.
    Hangs,
    /// There is none.
    Undefined,
}

/// A function, its API, and the line between them.
pub(crate) struct World {
    pub(crate) api: Api,
    pub(crate) line: Arc<Line>,
    pub(crate) service: Arc<Service>,
    pub(crate) shell: Shell,
    metrics: Arc<Metrics>,
    limits: Limits,
    _home: Arc<TempDir>,
}

/// How a world is made.
pub(crate) struct Settings {
    pub(crate) namespaces: Vec<String>,
    pub(crate) takeover: Duration,
    pub(crate) deadline: Duration,
    pub(crate) limits: Limits,
    pub(crate) keys: Published,
    pub(crate) clock: fn() -> Timestamp,
    pub(crate) flow_store: Store,
}

/// A store with one flow, which has a secret, and takes the payload.
struct Flow {
    state: Store,
}

#[derive(clap::Parser)]
struct Runs {
    #[command(flatten)]
    run: RunOptions,
}

/// The key of that flow.
pub(crate) const FLOW: &str = "ART_FLOW_scan";

/// How the key of a flow begins that names its namespace, which is the rest of the key.
pub(crate) const OF_NAMESPACE: &str = "ART_FLOW_of_";

impl FlowStore for Flow {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bytes::Bytes, store::Error>> {
        let mut document = flow();
        // Any other key ends with the namespace that its flow names.
        let of_namespace = key.strip_prefix(OF_NAMESPACE);
        if let Some(namespace) = of_namespace {
            document["labels"] = json!({"namespace": namespace});
        }
        let found = key == FLOW || of_namespace.is_some();
        let found = found.then(|| document.to_string().into());
        let state = self.state;
        Box::pin(async move {
            match state {
                Store::Up => {}
                Store::Down => {
                    return Err(store::Error::Timeout {
                        place: store::Place::Objects,
                        limit: Duration::from_secs(1),
                    });
                }
                Store::Hangs => std::future::pending().await,
                Store::Undefined => return Err(store::Error::Undefined("OX_WAPI_URI")),
            }
            found.ok_or_else(|| store::Error::Settings {
                place: store::Place::Objects,
                reason: "of the test".to_owned(),
            })
        })
    }
}

/// A flow of one step.
pub(crate) fn flow() -> Value {
    json!({
        "name": "scan",
        "steps": [{
            "name": "s", "runtime": "example.org/i:1", "package": "p", "function": "f",
            "input": {"secret": [{"name": "TOKEN", "value": "not to be seen"}]},
        }],
    })
}

/// Keys that somebody publishes, and how often they were asked for.
#[derive(Clone, Default)]
pub(crate) struct Published {
    pub(crate) keys: Option<Value>,
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

impl KeySource for Published {
    fn fetch<'a>(&'a self, place: &'a str) -> BoxFuture<'a, Result<bytes::Bytes, String>> {
        self.asked.lock().unwrap().push(place.to_owned());
        let keys = self.keys.as_ref().map(|keys| keys.to_string().into());
        Box::pin(async move { keys.ok_or_else(|| "nobody is there".to_owned()) })
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespaces: vec![NAMESPACE.to_owned()],
            takeover: Duration::from_secs(60),
            deadline: Duration::from_secs(20),
            limits: Limits::default(),
            keys: Published::default(),
            clock: Timestamp::now,
            flow_store: Store::Up,
        }
    }
}

impl Settings {
    /// A function on an empty API.
    pub(crate) fn start(self) -> World {
        let home = Arc::new(tempfile::tempdir().unwrap());
        let api = Api::open(home.path()).unwrap();
        self.start_on(api, home)
    }

    fn start_on(self, api: Api, home: Arc<TempDir>) -> World {
        let line = Arc::new(Line::default());
        let client = client(api.clone(), Arc::clone(&line));
        let options = HookOptions {
            hook_body_bytes: 25 << 20,
            address: hook::Address::default(),
            takeover: Takeover {
                hook_takeover: self.takeover,
            },
        };
        let policy = PolicyOptions {
            namespaces: self.namespaces,
            privileged_namespaces: Vec::new(),
        };
        let metrics = Arc::new(Metrics::new().unwrap());
        let surroundings = Surroundings {
            client,
            patience: Patience {
                attempt: self.deadline.min(Duration::from_secs(5)),
                event: self.deadline,
            },
            policy: policy.policy(NAMESPACE),
            payloads: None,
            flows: Some((
                Arc::new(Flow {
                    state: self.flow_store,
                }),
                Runs::parse_from(["test"]).run,
            )),
            cluster_keys: Arc::new(self.keys.clone()),
            web_keys: Arc::new(self.keys),
            clock: self.clock,
            limits: self.limits.clone(),
            metrics: Arc::clone(&metrics),
        };
        let service = Arc::new(hook::service(&options, surroundings).unwrap());
        let router = hook::router(Arc::clone(&service)).metrics(Arc::clone(&metrics));
        World {
            api,
            line,
            shell: Shell::new(router, self.limits.clone()).unwrap(),
            metrics,
            limits: self.limits,
            service,
            _home: home,
        }
    }
}

/// A refusal of the API server.
fn forbidden(message: &str) -> http::Response<embedded::Body> {
    refusal(StatusCode::FORBIDDEN, message)
}

fn refusal(code: StatusCode, message: &str) -> http::Response<embedded::Body> {
    let status = json!({
        "kind": "Status", "status": "Failure", "code": code.as_u16(), "message": message,
    });
    let body = http_body_util::Full::from(status.to_string()).boxed();
    let mut answer = http::Response::new(body);
    *answer.status_mut() = code;
    answer
}

/// A request, and whether it writes what is to be started.
async fn added(request: Request<KubeBody>) -> Result<(Request<KubeBody>, bool), tower::BoxError> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await?.to_bytes();
    let is_addition = serde_json::from_slice::<Value>(&bytes)?["rules"]
        .as_array()
        .is_some_and(|rules| rules.iter().any(|rule| !rule["pipelineRun"].is_null()));
    let request = Request::from_parts(parts, KubeBody::from(bytes.to_vec()));
    Ok((request, is_addition))
}

/// A client whose requests are written down, and go wrong as told.
fn client(api: Api, line: Arc<Line>) -> kube::Client {
    let service = tower::service_fn(move |request: Request<KubeBody>| {
        let number = line.count.fetch_add(1, Ordering::SeqCst);
        let told = format!("{} {}", request.method(), request.uri().path());
        let query = request.uri().query().unwrap_or_default();
        let is_later_page = query.contains("labelSelector=") && query.contains("continue=");
        line.seen.lock().unwrap().push(told.clone());
        let fault = *line.fault.lock().unwrap();
        let api = api.clone();
        let meanwhile = {
            let mut meanwhile = line.meanwhile.lock().unwrap();
            meanwhile.take_if(|meanwhile| told.starts_with(&meanwhile.before))
        };
        async move {
            let (request, is_addition) = match fault {
                Some(Fault::Brimful) if told.starts_with("PATCH") => added(request).await?,
                _ => (request, false),
            };
            if let Some(Meanwhile { path, patch, .. }) = meanwhile {
                let request = Request::patch(path)
                    .header("content-type", "application/merge-patch+json")
                    .body(KubeBody::from(patch.to_string().into_bytes()));
                let Ok(answer): Result<_, Infallible> = api.clone().oneshot(request?).await;
                assert!(answer.status().is_success(), "{}", answer.status());
            }
            let cut = || Err::<_, tower::BoxError>("the connection was cut".into());
            match fault {
                Some(Fault::MuteFrom(first)) if number >= first => std::future::pending().await,
                Some(Fault::DeadFrom(first)) if number >= first => return cut(),
                Some(Fault::Before(at)) if number == at => return cut(),
                Some(Fault::Silent(plural))
                    if told.starts_with("POST") && told.ends_with(plural) =>
                {
                    std::future::pending().await
                }
                Some(Fault::TooLarge(at)) if number == at => {
                    let code = StatusCode::PAYLOAD_TOO_LARGE;
                    return Ok(refusal(code, "Request entity too large"));
                }
                Some(Fault::Brimful) if is_addition => {
                    let code = StatusCode::PAYLOAD_TOO_LARGE;
                    return Ok(refusal(code, "Request entity too large"));
                }
                Some(Fault::Hidden(plural)) if told.contains(plural) => {
                    return Ok(forbidden("forbidden"));
                }
                Some(Fault::Vetoed(plural))
                    if told.starts_with("POST") && told.ends_with(plural) =>
                {
                    return Ok(forbidden(
                        "admission webhook \"house.rules\" denied the request",
                    ));
                }
                Some(Fault::LaterPages) if is_later_page => return Ok(forbidden("forbidden")),
                Some(Fault::NoSecrets)
                    if told.starts_with("POST") && told.ends_with("/secrets") =>
                {
                    return Ok(forbidden("exceeded quota: secrets, used: secrets=9"));
                }
                Some(Fault::Closed(name)) if told.contains(&format!("/namespaces/{name}/")) => {
                    return Ok(forbidden("forbidden"));
                }
                Some(Fault::Full | Fault::Brimful)
                    if told.starts_with("POST") && told.ends_with("/pipelineruns") =>
                {
                    return Ok(forbidden(
                        "exceeded quota: runs, used: count/pipelineruns.tekton.dev=0",
                    ));
                }
                _ => {}
            }
            let Ok(answer): Result<_, Infallible> = api.oneshot(request).await;
            match fault {
                Some(Fault::After(at)) if number == at => cut(),
                Some(Fault::Denied) if told.contains("accessreviews") => {
                    let review = r#"{"status": {"allowed": false}}"#;
                    Ok(answer.map(|_| http_body_util::Full::from(review).boxed()))
                }
                _ => Ok(answer),
            }
        }
    });
    kube::Client::new(service, NAMESPACE)
}

impl World {
    /// Another function on the same API, as another replica or after a restart.
    pub(crate) fn again(&self, settings: Settings) -> Self {
        settings.start_on(self.api.clone(), Arc::clone(&self._home))
    }

    /// The same function over sockets, for as long as the test takes.
    pub(crate) async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = hook::router(Arc::clone(&self.service)).metrics(Arc::clone(&self.metrics));
        let forever = std::future::pending();
        tokio::spawn(runtime::serve(
            listener,
            router,
            self.limits.clone(),
            forever,
        ));
        address
    }

    /// Waits until so many bytes of bodies have arrived.
    pub(crate) async fn received(&self, bytes: usize) {
        let arrived = || {
            let text = self.metrics.text();
            let mut lines = text.lines();
            let line =
                lines.find_map(|line| line.strip_prefix("hookrun_http_request_body_bytes_total "));
            line.map_or(0, |count| count.parse::<usize>().unwrap())
        };
        let enough = async {
            while arrived() < bytes {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let enough = tokio::time::timeout(Duration::from_secs(30), enough).await;
        assert!(enough.is_ok(), "{} bytes arrived, not {bytes}", arrived());
    }

    /// Lets something go wrong from now on; requests are counted anew.
    pub(crate) fn fail(&self, fault: Option<Fault>) {
        self.line.count.store(0, Ordering::SeqCst);
        self.line.seen.lock().unwrap().clear();
        *self.line.fault.lock().unwrap() = fault;
    }

    /// Lets another process do something once.
    pub(crate) fn meanwhile(&self, meanwhile: Meanwhile) {
        *self.line.meanwhile.lock().unwrap() = Some(meanwhile);
    }

    /// Requests since the last call of [`Self::fail`].
    pub(crate) fn seen(&self) -> Vec<String> {
        self.line.seen.lock().unwrap().clone()
    }

    /// Writes among them, without those of a status and of Events.
    pub(crate) fn writes(&self) -> Vec<String> {
        let mut seen = self.seen();
        seen.retain(|request| !request.starts_with("GET ") && !request.ends_with("/status"));
        seen.retain(|request| !request.contains("subjectaccessreviews"));
        seen.retain(|request| !request.ends_with("/events"));
        seen
    }

    /// A request to the API behind the function's back.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> (StatusCode, Value) {
        let content_type = if method == Method::PATCH {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type)
            .body(KubeBody::from(body.to_string().into_bytes()))
            .unwrap();
        let Ok(answer): Result<_, Infallible> = self.api.clone().oneshot(request).await;
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap();
        let json = serde_json::from_slice(&bytes.to_bytes()).unwrap_or_default();
        (parts.status, json)
    }

    async fn create(&self, path: &str, object: &Value) -> Value {
        let (status, created) = self.call(Method::POST, path, object).await;
        assert!(status.is_success(), "{created}");
        created
    }

    /// Creates a Secret with one entry, `secret`.
    pub(crate) async fn secret(&self, name: &str, text: &str) {
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "stringData": {"secret": text},
        });
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
        self.create(&path, &object).await;
    }

    /// Creates a Hook of GitHub with these rules, and its Secret.
    pub(crate) async fn hook(&self, name: &str, rules: Value) -> Value {
        self.secret(name, SECRET).await;
        self.hook_of(
            name,
            json!({
                "provider": "github",
                "verification": {"secretRefs": [{"name": name}]},
                "rules": rules,
            }),
        )
        .await
    }

    /// Creates a Hook.
    pub(crate) async fn hook_of(&self, name: &str, spec: Value) -> Value {
        let object = json!({
            "apiVersion": "hookrun.dev/v1alpha1", "kind": "Hook", "metadata": {"name": name}, "spec": spec,
        });
        self.create(&hooks_path(), &object).await
    }

    /// Changes the spec of a Hook.
    pub(crate) async fn edit(&self, name: &str, spec: Value) {
        let path = format!("{}/{name}", hooks_path());
        let (status, told) = self
            .call(Method::PATCH, &path, &json!({ "spec": spec }))
            .await;
        assert!(status.is_success(), "{told}");
        // What was read before counts for a second.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }

    /// The Hook.
    pub(crate) async fn read_hook(&self, name: &str) -> Value {
        self.call(
            Method::GET,
            &format!("{}/{name}", hooks_path()),
            &Value::Null,
        )
        .await
        .1
    }

    /// All Deliveries.
    pub(crate) async fn deliveries(&self) -> Vec<Value> {
        self.list("/apis/hookrun.dev/v1alpha1", "deliveries").await
    }

    /// All runs.
    pub(crate) async fn runs(&self) -> Vec<Value> {
        self.list("/apis/tekton.dev/v1", "pipelineruns").await
    }

    /// All Secrets.
    pub(crate) async fn secrets(&self) -> Vec<Value> {
        self.list("/api/v1", "secrets").await
    }

    async fn list(&self, group: &str, plural: &str) -> Vec<Value> {
        let path = format!("{group}/namespaces/{NAMESPACE}/{plural}");
        let (_, list) = self.call(Method::GET, &path, &Value::Null).await;
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Sends a signed push to a Hook.
    pub(crate) async fn push(&self, hook: &str, id: &str) -> (StatusCode, Value) {
        self.send(hook, &headers(id, PUSH, SECRET), PUSH).await
    }

    /// Sends a request to a Hook.
    pub(crate) async fn send(
        &self,
        hook: &str,
        headers: &HeaderMap,
        body: &str,
    ) -> (StatusCode, Value) {
        let mut request = Request::post(format!("/hooks/{NAMESPACE}/{hook}"))
            .body(Body::full(body.as_bytes().to_vec()))
            .unwrap();
        request.headers_mut().clone_from(headers);
        let answer = self.shell.answer(request).await;
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap();
        let json = serde_json::from_slice(&bytes.to_bytes()).unwrap_or_default();
        (parts.status, json)
    }
}

/// Headers of a push as GitHub signs it.
pub(crate) fn headers(id: &str, body: &str, secret: &str) -> HeaderMap {
    let event = Outgoing {
        event_type: "push",
        id,
        body: body.as_bytes(),
    };
    let github = providers::provider("github").unwrap();
    let settings = providers::Settings::default();
    let now = Timestamp::now().as_second();
    let mut headers = sign(github, &settings, secret.as_bytes(), &event, now)
        .unwrap()
        .headers;
    headers.insert("content-type", "application/json".parse().unwrap());
    headers
}

fn hooks_path() -> String {
    format!("/apis/hookrun.dev/v1alpha1/namespaces/{NAMESPACE}/hooks")
}

/// A rule that starts a Pipeline for each push to the main branch.
pub(crate) fn build() -> Value {
    json!({
        "name": "build",
        "events": ["push"],
        "filter": "event.branch == \"main\"",
        "pipelineRef": {"name": "build"},
        "params": [{"name": "revision", "expression": "event.revision"}],
    })
}
