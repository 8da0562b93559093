//! The header fields that an answer has whatever it says: a page of another origin may read it, and the service may be
//! elsewhere as well.
//!
//! A value of their own, because not every answer is made here: who monitors is answered by whoever brings the messages, and
//! bad HTTP by whoever reads it.

use http::header::{ALT_SVC, ORIGIN};
use http::{HeaderMap, HeaderValue, Response};

use super::{Resources, cors};

/// What every answer to a certain request has.
#[derive(Clone, Default, Debug)]
pub struct CommonFields {
    /// A page of another origin asks.
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
    /// Those of the answer to a request with these fields.
    pub fn common_fields(&self, request: &HeaderMap) -> CommonFields {
        CommonFields {
            is_cross_origin: request.contains_key(ORIGIN),
            alternatives: self.alternatives.clone(),
        }
    }
}
