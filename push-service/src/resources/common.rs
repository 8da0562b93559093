//! The header fields of every answer: those that let a page of another origin read it, and `Alt-Svc`.
//!
//! They are a value of their own, because not every answer is made here: channels answer monitoring requests, and listeners
//! answer bad HTTP.

use http::header::{ALT_SVC, ORIGIN};
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
    /// Puts them into an answer.
    pub fn join<T>(&self, response: &mut Response<T>) {
        if self.is_cross_origin {
            cors::allow(response);
        }
        if let Some(alternatives) = &self.alternatives {
            response.headers_mut().insert(ALT_SVC, alternatives.clone());
        }
    }
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
