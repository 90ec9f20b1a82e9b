//! The flow store of Artisan's users: `GET /item/<key>` with Basic credentials, the flow in the item's `meta`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use anyhow::Result;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use control_plane::Cluster;
use http::{Request, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::server::{Body, Certificate, Close, Server, answer};

/// The user that it knows.
pub const USER: &str = "reader";
/// The user's password.
pub const PASSWORD: &str = "no default, and never one: 7f";

/// How it behaves.
#[derive(Clone, Debug, Default)]
pub enum Mode {
    /// As the real one.
    #[default]
    Normal,
    /// Answers every call with this status and an empty body.
    Status(StatusCode),
    /// Answers every call with 200 and these bytes.
    Bytes(Bytes),
    /// Redirects every call.
    Redirect(String),
    /// Never answers.
    Hang,
    /// Closes the connection.
    Close,
}

/// One call, as it came.
#[derive(Clone, Debug)]
pub struct Call {
    /// Path and query, not decoded.
    pub target: String,
    /// All headers.
    pub headers: http::HeaderMap,
}

#[derive(Default)]
struct State {
    items: Mutex<BTreeMap<String, Value>>,
    mode: Mutex<Mode>,
    calls: Mutex<Vec<Call>>,
}

/// A running Onix; it ends when dropped.
pub struct Onix {
    server: Server,
    state: Arc<State>,
}

impl Onix {
    /// Starts it on plain HTTP.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start() -> Result<Self> {
        Self::serve(None).await
    }

    /// Starts it with a certificate of the cluster's authority, [`Cluster::ca`].
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start_tls(cluster: &Cluster) -> Result<Self> {
        let (certificate, key) = cluster.certificate(&["localhost"])?;
        Self::serve(Some(Certificate { certificate, key })).await
    }

    async fn serve(tls: Option<Certificate>) -> Result<Self> {
        let state = Arc::new(State::default());
        let server = Server::start(tls, {
            let state = Arc::clone(&state);
            move |request| handle(Arc::clone(&state), request)
        })
        .await?;
        Ok(Self { server, state })
    }

    /// The value of `OX_WAPI_URI`.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// What a process needs to look flows up here.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("OX_WAPI_URI", self.url()),
            ("OX_WAPI_UNAME", USER.to_owned()),
            ("OX_WAPI_PWD", PASSWORD.to_owned()),
        ]
    }

    /// Stores a flow under a key.
    pub fn put(&self, key: &str, flow: Value) {
        self.state
            .items
            .lock()
            .unwrap()
            .insert(key.to_owned(), flow);
    }

    /// Changes how it behaves from now on.
    pub fn behave(&self, mode: Mode) {
        *self.state.mode.lock().unwrap() = mode;
    }

    /// All calls so far, refused ones too.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state.calls.lock().unwrap().clone()
    }
}

async fn handle(state: Arc<State>, request: Request<Bytes>) -> Result<Response<Body>, Close> {
    state.calls.lock().unwrap().push(Call {
        target: request.uri().to_string(),
        headers: request.headers().clone(),
    });
    let mode = state.mode.lock().unwrap().clone();
    match mode {
        Mode::Normal => Ok(item(&state, &request)),
        Mode::Status(status) => Ok(empty(status)),
        Mode::Bytes(bytes) => Ok(answer(StatusCode::OK, "application/json", bytes)),
        Mode::Redirect(location) => {
            let mut response = empty(StatusCode::FOUND);
            let location = location.parse().expect("a legal location");
            response.headers_mut().insert(header::LOCATION, location);
            Ok(response)
        }
        Mode::Hang => std::future::pending().await,
        Mode::Close => Err(Close),
    }
}

fn item(state: &State, request: &Request<Bytes>) -> Response<Body> {
    let right = format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"))
    );
    if request
        .headers()
        .get(header::AUTHORIZATION)
        .map(|value| value.as_bytes())
        != Some(right.as_bytes())
    {
        return empty(StatusCode::UNAUTHORIZED);
    }
    let items = state.items.lock().unwrap();
    let Some((key, flow)) = request
        .uri()
        .path()
        .strip_prefix("/item/")
        .and_then(|key| items.get_key_value(key))
    else {
        return empty(StatusCode::NOT_FOUND);
    };
    let item = json!({
        "key": key,
        "name": flow["name"],
        "description": "",
        "type": "ART_FLOW",
        "status": 0,
        "meta": flow,
        "txt": "",
        "tag": [],
        "attribute": {},
        "partition": "INS",
        "version": 1,
        "created": "",
        "updated": "",
        "encKeyIx": 0,
        "changedBy": USER,
    });
    answer(StatusCode::OK, "application/json", item.to_string())
}

fn empty(status: StatusCode) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", "")
}
