//! What one event makes the function ask of the API server: each request and its answer, as they were.
//!
//! The event goes to a second process of the function, with the same account, which reaches the API server through a
//! proxy. The process that is measured reaches it as always.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use control_plane::{Account, Cluster};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use serde_json::Value;
use system_tests::{
    function::Setup,
    server::{Body, Close, Server, answer},
};

use crate::{events::Side, recipe::Recipe, wire::Target};

/// In the paths of what is asked and written now and then, but not for each event: whether a Hook may start runs, and
/// what its status says.
const BESIDE: [&str; 2] = ["/localsubjectaccessreviews", "/hooks/"];

/// A request of the function, and what came back.
pub(crate) struct Exchange {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Those that decide on how it is read and answered.
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    status: StatusCode,
    pub(crate) answer: Value,
}

impl Exchange {
    /// Whether it asks for a change.
    pub(crate) fn is_write(&self) -> bool {
        self.method != Method::GET
    }
}

/// Everything that one event made the function ask, in the order of the answers: none of them needs a later one.
///
/// Two events are recorded, and have to be alike: what the first ones bring about once is no part of it.
pub(crate) async fn one_event(
    cluster: &Cluster,
    function: Setup<'_>,
    account: &Account,
    side: &Side,
) -> Result<Vec<Exchange>> {
    let api_server = Target::api_server(cluster, &account.token)?;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let proxy = Server::start(None, {
        let seen = Arc::clone(&seen);
        move |request| pass(api_server.clone(), Arc::clone(&seen), request)
    })
    .await?;
    let kubeconfig = cluster.kubeconfig(&proxy.url(), &account.token)?;
    let kubeconfig = kubeconfig.to_str().context("a strange folder")?;
    let function = function.account(account).env("KUBECONFIG", kubeconfig);
    let function = function.start().await?;
    let side = side.at(function.address())?;
    let mut connection = side.connect().await?;
    side.event(&mut connection).await?;
    let mut recorded = [Vec::new(), Vec::new()];
    for record in &mut recorded {
        lock(&seen).clear();
        side.event(&mut connection).await?;
        *record = mem::take(&mut *lock(&seen));
        record.retain(|one| !BESIDE.iter().any(|part| one.path.contains(part)));
    }
    let [one, other] = &recorded;
    let (shape, again) = (Recipe::writes(one)?.shape(), Recipe::writes(other)?.shape());
    ensure!(
        shape == again,
        "one event made other writes than the next:\n{shape:#?}\n{again:#?}"
    );
    let [one, _] = recorded;
    for Exchange {
        method,
        path,
        status,
        ..
    } in &one
    {
        ensure!(status.is_success(), "{method} {path} was answered {status}");
    }
    Ok(one)
}

/// Passes a request on and its answer back.
async fn pass(
    api_server: Target,
    seen: Arc<Mutex<Vec<Exchange>>>,
    request: Request<Bytes>,
) -> Result<Response<Body>, Close> {
    let (exchange, bytes) = ask(&api_server, request).await.map_err(|_| Close)?;
    let status = exchange.status;
    lock(&seen).push(exchange);
    Ok(answer(status, "application/json", bytes))
}

async fn ask(api_server: &Target, request: Request<Bytes>) -> Result<(Exchange, Bytes)> {
    let (parts, body) = request.into_parts();
    let mut headers = HeaderMap::new();
    for name in [header::CONTENT_TYPE, header::ACCEPT] {
        headers.extend(parts.headers.get(&name).cloned().map(|value| (name, value)));
    }
    let path = parts.uri.to_string();
    let mut connection = api_server.connect().await?;
    let asked = connection.ask_with(parts.method.clone(), &path, headers.clone(), body.clone());
    let (status, bytes) = asked.await?;
    let exchange = Exchange {
        method: parts.method,
        path,
        headers,
        body: String::from_utf8(body.into())?,
        status,
        answer: serde_json::from_slice(&bytes).unwrap_or_default(),
    };
    Ok((exchange, bytes))
}

/// Nobody panics while holding it.
fn lock(seen: &Mutex<Vec<Exchange>>) -> MutexGuard<'_, Vec<Exchange>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// An exchange as the API server answers it: with an object that has the UID and edition `number`.
    pub(crate) fn exchange(method: Method, path: &str, body: &Value, number: u32) -> Exchange {
        Exchange {
            method,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: body.to_string(),
            status: StatusCode::CREATED,
            answer: json!({"metadata": {"uid": format!("uid-{number}"), "resourceVersion": number.to_string()}}),
        }
    }
}
