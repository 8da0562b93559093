//! Pages may push from a browser: any origin (WP-9). The capability and the VAPID token are what protects a resource,
//! and neither is sent by a browser on its own.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW,
};
use http::{HeaderValue, Response, StatusCode};

/// The answer to a browser that asks what it may send.
pub(super) fn preflight(allow: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let fields = [
        (ALLOW, allow),
        (ACCESS_CONTROL_ALLOW_METHODS, "DELETE, GET, POST, PUT"),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-encoding, content-type, crypto-key, encryption, last-event-id, link, prefer, topic, ttl, urgency",
        ),
        (ACCESS_CONTROL_MAX_AGE, "3600"),
    ];
    for (name, value) in fields {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Lets a page read an answer, with the fields that mean something to a sender.
pub(super) fn allow<T>(response: &mut Response<T>) {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let exposed = HeaderValue::from_static("Link, Location, Retry-After, TTL, WWW-Authenticate");
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
}
