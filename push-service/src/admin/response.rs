//! How the admin listener answers: text for people and probes, JSON for programs, and sentences for what is wrong.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde_json::json;

use super::hosts::WrongHost;
use crate::storage::StorageError;

/// What is sent back to a probe or a person.
pub(super) type AdminResponse = Response<Full<Bytes>>;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

pub(super) fn wrong_host(wrong: WrongHost) -> AdminResponse {
    match wrong {
        WrongHost::Malformed => text(
            StatusCode::BAD_REQUEST,
            "a request must have exactly one valid Host header field\n",
        ),
        WrongHost::Foreign => text(
            StatusCode::MISDIRECTED_REQUEST,
            "this listener does not answer under this host name: ask for its IP address or for localhost, or add \
             the name to admin.hosts\n",
        ),
    }
}

pub(super) fn method_not_allowed(allowed: &str) -> AdminResponse {
    let mut answer = text(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("this path answers only {allowed}\n"),
    );
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        answer.headers_mut().insert(ALLOW, allowed);
    }
    answer
}

pub(super) fn text(status: StatusCode, words: impl Into<Bytes>) -> AdminResponse {
    body(status, TEXT, words)
}

/// Trouble with storage, as it is told.
pub(super) fn storage_error(trouble: &StorageError) -> AdminResponse {
    error(StatusCode::SERVICE_UNAVAILABLE, &trouble.to_string())
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> AdminResponse {
    let mut answer = body(status, TEXT, "");
    answer.headers_mut().remove(CONTENT_TYPE);
    answer
}

pub(super) fn error(status: StatusCode, why: &str) -> AdminResponse {
    json(status, &json!({ "error": why }))
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> AdminResponse {
    let mut text = serde_json::to_vec(value).expect("reports have only text, numbers and truth values");
    text.push(b'\n');
    body(status, JSON, text)
}

pub(super) fn body(status: StatusCode, kind: &'static str, content: impl Into<Bytes>) -> AdminResponse {
    let mut answer = Response::new(Full::new(content.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
