//! From a request to its answer: reads the body within its limit, finds what the path names, and calls one handler.

use crate::{
    Body, body, delete, discovery,
    failure::{Failure, Result},
    form::{Encoding, Form, View},
    origin,
    query::Query,
    read,
    resource::Scope,
    route::{self, Part, Target},
    store::{Key, Store},
    watch::{self, Watch},
    write::{self, Sender, Written},
};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_TYPE, USER_AGENT, WARNING},
    request::Parts,
};
use http_body::Frame;
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::BoxBody};
use serde_json::Value;
use std::{convert::Infallible, sync::Arc};

/// What a handler answers, before it is written.
enum Answer {
    Object(StatusCode, Value, Vec<String>),
    Text(StatusCode, &'static str),
    Document(&'static str, Value),
    Watch(Box<Watch>),
}

/// Answers one request. Whatever goes wrong is an answer too.
pub(crate) async fn answer<B>(store: Arc<Store>, request: Request<B>) -> Response<Body>
where
    B: http_body::Body + Send,
    B::Error: Into<tower::BoxError>,
{
    let (parts, body) = request.into_parts();
    let result = match read_body(body).await {
        Ok(bytes) => handle(&store, &parts, &bytes),
        Err(failure) => Err(failure),
    };
    if store.settle() {
        // As in the real system the clean-up comes after the answer.
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.collect_garbage() });
    }
    respond(store, &parts, result).unwrap_or_else(|failure| refuse(&failure))
}

async fn read_body<B>(body: B) -> Result<Bytes>
where
    B: http_body::Body + Send,
    B::Error: Into<tower::BoxError>,
{
    match Limited::new(body, body::LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Failure::too_large(body::LIMIT))
        }
        Err(error) => Err(Failure::bad_request(format!(
            "the body could not be read: {error}"
        ))),
    }
}

fn handle(store: &Store, parts: &Parts, bytes: &[u8]) -> Result<Answer> {
    origin::check(parts)?;
    let query = Query::parse(parts.uri.query().unwrap_or_default())?;
    match route::target(parts.uri.path()) {
        Target::About => about(parts),
        Target::Unknown => Err(Failure::not_implemented(&format!(
            "{} {}",
            parts.method,
            parts.uri.path()
        ))),
        Target::Collection {
            resource,
            namespace,
        } => match (resource.review, &parts.method) {
            (Some(fill_in), &Method::POST) => {
                let form = Form::negotiate(&parts.headers, &query)?;
                let sender = sender(&parts.headers);
                let written = write::review(resource, fill_in, &query, &sender, bytes)?;
                Ok(written.answer(form, resource))
            }
            (Some(_), _) => Err(Failure::method_not_allowed()),
            (None, &Method::GET) if query.watch => {
                let form = Form::negotiate(&parts.headers, &query)?;
                let watch = read::watch(store, resource, namespace, &query, form)?;
                Ok(Answer::Watch(Box::new(watch)))
            }
            (None, &Method::GET) => {
                let form = Form::negotiate(&parts.headers, &query)?;
                let list = read::list(store, resource, namespace.as_deref(), &query, form)?;
                Ok(Answer::Object(StatusCode::OK, list, vec![]))
            }
            (None, &Method::POST) if namespace.is_some() || resource.scope == Scope::Cluster => {
                let namespace = namespace.unwrap_or_default();
                let sender = sender(&parts.headers);
                let form = Form::negotiate(&parts.headers, &query)?;
                let written = write::create(store, resource, &namespace, &query, &sender, bytes)?;
                Ok(written.answer(form, resource))
            }
            (None, &Method::DELETE) => {
                Err(Failure::not_implemented("deleting a collection at once"))
            }
            _ => Err(Failure::method_not_allowed()),
        },
        Target::Object {
            resource,
            namespace,
            name,
            part,
        } => {
            let key = Key {
                resource,
                namespace,
                name,
            };
            object(store, parts, &key, part, query, bytes)
        }
    }
}

fn object(
    store: &Store,
    parts: &Parts,
    key: &Key,
    part: Part,
    query: Query,
    bytes: &[u8],
) -> Result<Answer> {
    let form = Form::negotiate(&parts.headers, &query)?;
    let sender = sender(&parts.headers);
    match parts.method {
        Method::GET if query.watch => {
            let watch = read::watch_one(store, key, &query, form)?;
            Ok(Answer::Watch(Box::new(watch)))
        }
        Method::GET => {
            let object = read::get(store, key, form)?;
            Ok(Answer::Object(StatusCode::OK, object, vec![]))
        }
        Method::PUT => {
            let written = write::update(store, key, part, &query, &sender, bytes)?;
            Ok(written.answer(form, key.resource))
        }
        Method::PATCH => {
            let written = write::patch(store, key, part, &query, &sender, bytes)?;
            Ok(written.answer(form, key.resource))
        }
        Method::DELETE if part == Part::Whole => {
            let answer = delete::delete(store, key, query, sender.media_type, bytes)?;
            Ok(Answer::Object(StatusCode::OK, answer, vec![]))
        }
        _ => Err(Failure::method_not_allowed()),
    }
}

impl Written {
    fn answer(self, form: Form, resource: &crate::resource::Resource) -> Answer {
        let Self {
            object,
            created,
            warnings,
        } = self;
        let code = if created {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        Answer::Object(code, form.object(resource, &object), warnings)
    }
}

fn about(parts: &Parts) -> Result<Answer> {
    let path = parts.uri.path();
    if parts.method != Method::GET && is_kubernetes(path) {
        return Err(Failure::method_not_allowed());
    }
    if matches!(path, "/healthz" | "/readyz" | "/livez") {
        return Ok(Answer::Text(StatusCode::OK, "ok"));
    }
    match discovery::document(path, &parts.headers) {
        Some(document) => {
            let media_type = discovery::media_type(path, &parts.headers);
            Ok(Answer::Document(media_type, document))
        }
        // Other paths are nobody's, or those of whoever this API is mounted behind.
        None if !is_kubernetes(path) => {
            Ok(Answer::Text(StatusCode::NOT_FOUND, "404 page not found\n"))
        }
        None => Err(Failure::not_implemented(path)),
    }
}

fn is_kubernetes(path: &str) -> bool {
    ["/api/", "/apis/", "/openapi/"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
        || matches!(path, "/" | "/api" | "/apis" | "/version")
}

fn sender(headers: &HeaderMap) -> Sender<'_> {
    let text = |name| {
        let value = headers.get(name).map(HeaderValue::to_str);
        value.and_then(Result::ok).unwrap_or_default()
    };
    let media_type = text(CONTENT_TYPE).split(';').next().unwrap_or_default();
    let agent = text(USER_AGENT).split('/').next().unwrap_or_default();
    Sender {
        media_type: media_type.trim(),
        agent: match agent {
            "" => "unknown",
            agent => agent,
        },
    }
}

fn respond(store: Arc<Store>, parts: &Parts, result: Result<Answer>) -> Result<Response<Body>> {
    match result? {
        Answer::Object(code, value, warnings) => {
            let query = Query::parse(parts.uri.query().unwrap_or_default())?;
            let encoding = Form::negotiate(&parts.headers, &query)?.encoding;
            let mut response = full(code, encoding.media_type(), encoding.encode(&value)?);
            for warning in warnings {
                let quoted = format!("299 - {warning:?}");
                if let Ok(value) = HeaderValue::from_str(&quoted) {
                    response.headers_mut().append(WARNING, value);
                }
            }
            Ok(response)
        }
        Answer::Text(code, text) => Ok(full(code, "text/plain", text)),
        Answer::Document(media_type, value) => {
            let bytes = Encoding::Json.encode(&value)?;
            Ok(full(StatusCode::OK, media_type, bytes))
        }
        Answer::Watch(watch) => {
            let media_type = match watch.form.view {
                View::Table(_) => "application/json;as=Table;v=v1;g=meta.k8s.io",
                View::Object | View::Partial => "application/json",
            };
            let lines = watch::stream(store, *watch).map(|line| Ok(Frame::data(line)));
            Ok(with_type(
                media_type,
                Response::new(BoxBody::new(StreamBody::new(lines))),
            ))
        }
    }
}

fn refuse(failure: &Failure) -> Response<Body> {
    let mut response = full(
        failure.code(),
        Encoding::Json.media_type(),
        format!("{}\n", failure.to_json()),
    );
    if let Some(seconds) = failure.to_json()["details"]["retryAfterSeconds"].as_u64() {
        response
            .headers_mut()
            .insert(http::header::RETRY_AFTER, seconds.into());
    }
    response
}

fn full(code: StatusCode, media_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(bytes.into()).map_err(|never: Infallible| match never {});
    let mut response = with_type(media_type, Response::new(BoxBody::new(body)));
    *response.status_mut() = code;
    response
}

fn with_type(media_type: &'static str, mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(
        http::header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    response
}
