//! The header fields of every answer: those that keep it out of caches and from being taken for another media type, those
//! that let a page of another origin read it, and `Alt-Svc`.
//!
//! They are a value of their own, because not every answer is made here: channels answer monitoring requests, and listeners
//! answer bad HTTP.

use http::header::{
    ALT_SVC, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, ORIGIN, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response};

use super::{Resources, cors};

/// The header fields of all answers to one request.
#[derive(Clone, Default, Debug)]
pub struct CommonFields {
    /// Whether a page of another origin asks.
    is_cross_origin: bool,
    /// Where else the service is (RFC 7838 §3).
    alternatives: Option<HeaderValue>,
}

impl CommonFields {
    /// Puts them into an answer. Caches store nothing of it, unless it says itself for how long (RFC 9111 §4.2.2 allows them
    /// to store a 204, 404, 405 or 410 that says nothing).
    pub fn join<T>(&self, response: &mut Response<T>) {
        let fields = response.headers_mut();
        default_to(fields, CACHE_CONTROL, "no-store");
        fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // `cors::allow` depends on it.
        default_to(fields, VARY, "Origin");
        if self.is_cross_origin {
            cors::allow(response);
        }
        if let Some(alternatives) = &self.alternatives {
            response.headers_mut().insert(ALT_SVC, alternatives.clone());
        }
    }
}

/// The same for the answer to a promised request. Its content is a sender's, which may call it a page: a browser that opened
/// it would run nothing and give it no origin (CSP `sandbox`).
pub fn guard_pushed(fields: &mut HeaderMap) {
    default_to(fields, CACHE_CONTROL, "no-store");
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
}

fn default_to(fields: &mut HeaderMap, name: HeaderName, value: &'static str) {
    fields
        .entry(name)
        .or_insert_with(|| HeaderValue::from_static(value));
}

impl Resources {
    /// For the answer to a request with these fields.
    pub fn common_fields(&self, request: &HeaderMap) -> CommonFields {
        CommonFields {
            is_cross_origin: request.contains_key(ORIGIN),
            alternatives: self.alternatives.clone(),
        }
    }
}
