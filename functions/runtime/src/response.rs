//! Answers, in the few shapes that there are.

use http::{HeaderValue, StatusCode, header};

use crate::Body;

/// The answer of a handler.
pub type Response = http::Response<Body>;

/// A bare answer.
pub fn with_status(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// No body at all: what a Broker expects with every code.
pub fn empty(status: StatusCode) -> Response {
    with_status(status, Body::empty())
}

/// `text/plain; charset=utf-8`, never guessed to be anything else by a browser.
pub fn text(status: StatusCode, text: impl Into<String>) -> Response {
    typed(
        status,
        "text/plain; charset=utf-8",
        text.into().into_bytes(),
    )
}

/// Bytes of the type given.
pub fn typed(
    status: StatusCode,
    content_type: &'static str,
    bytes: impl Into<bytes::Bytes>,
) -> Response {
    let mut response = with_status(status, Body::full(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// `application/json`.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    typed(status, "application/json", value.to_string())
}

/// An answer to an event that came through a Broker: always an empty body.
///
/// A Broker repeats 404, 408, 409, 429 and 5xx for minutes, and turns a 2xx with a text into 502. So what is final
/// becomes 422, and what is worth another try becomes 503 with `Retry-After`.
/// ```
/// use http::StatusCode;
/// use runtime::response::for_broker;
/// assert_eq!(for_broker(StatusCode::CONFLICT, None).status(), StatusCode::UNPROCESSABLE_ENTITY);
/// assert_eq!(for_broker(StatusCode::BAD_GATEWAY, None).status(), StatusCode::UNPROCESSABLE_ENTITY);
/// let again = for_broker(StatusCode::BAD_GATEWAY, Some(5));
/// assert_eq!((again.status(), &again.headers()["retry-after"]), (StatusCode::SERVICE_UNAVAILABLE, &"5".parse().unwrap()));
/// assert_eq!(for_broker(StatusCode::BAD_REQUEST, None).status(), StatusCode::BAD_REQUEST);
/// ```
pub fn for_broker(status: StatusCode, retry_after: Option<u32>) -> Response {
    if let Some(seconds) = retry_after.filter(|_| !status.is_success()) {
        let mut response = empty(StatusCode::SERVICE_UNAVAILABLE);
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        return response;
    }
    let repeated = status.is_server_error()
        || matches!(
            status,
            StatusCode::NOT_FOUND
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::CONFLICT
                | StatusCode::TOO_MANY_REQUESTS
        );
    empty(if repeated {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        status
    })
}
