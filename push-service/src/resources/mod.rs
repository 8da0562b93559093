//! HTTP: requests become types, refusals become status codes. One file per resource of RFC 8030.
//!
//! Two dialects, one resource: `/wpush/…` answers as deployed Web Push libraries expect of autopush, `/push/…` as the
//! RFC says. [`answer`] is the one table of what is answered.
//!
//! What it deliberately does not know: sockets, connections, HTTP versions, and how the broker decides.

mod answer;
mod body;
mod cors;
mod message;
mod push;
mod routes;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::ORIGIN;
use http::request::Parts;
use http::{HeaderValue, Method, Response};

pub use self::answer::{not_found, too_many_connections};
pub use self::body::{BrokenBody, RequestBody};
pub use self::routes::is_resource;
use self::routes::{Resource, Route};
use crate::broker::Broker;

/// Every public resource.
pub struct Resources {
    broker: Arc<Broker>,
    /// What stands before the token in the URL of a message.
    message_url: String,
    body_bytes: usize,
    body_within: Duration,
}

impl Resources {
    /// Bodies have at most `body_bytes` and must be there after `body_within`.
    pub fn new(broker: Arc<Broker>, body_bytes: usize, body_within: Duration) -> Self {
        Self {
            message_url: format!("{}{}", broker.origin(), routes::MESSAGE),
            broker,
            body_bytes,
            body_within,
        }
    }

    /// Answers a request. Reads no more of the body than it needs, and none of a body that is refused without it.
    pub async fn answer<B: RequestBody>(&self, head: &Parts, body: &mut B) -> Response<Bytes> {
        let mut response = match routes::find(head.uri.path()) {
            Some(route) => self.answer_resource(route, head, body).await,
            None => answer_elsewhere(head),
        };
        if head.headers.contains_key(ORIGIN) {
            cors::allow(&mut response);
        }
        response
    }

    async fn answer_resource<B: RequestBody>(
        &self,
        route: Route<'_>,
        head: &Parts,
        body: &mut B,
    ) -> Response<Bytes> {
        let Route { resource, token } = route;
        let dialect = resource.dialect();
        let method = resource.method();
        if head.method == Method::OPTIONS && method.is_some() {
            return cors::preflight();
        }
        if let Some(method) = method.filter(|method| **method != head.method) {
            return answer::method_not_allowed(dialect, method);
        }
        let answered = match resource {
            Resource::Push(kind) => self.push(kind, token, head, body).await,
            Resource::Message => return self.cancel(token).await,
            Resource::Reserved => Err(crate::broker::Refusal::UnknownResource.into()),
        };
        answered.unwrap_or_else(|problem| answer::problem(&problem, dialect))
    }
}

/// Paths that are no resource: at `/`, a word to whoever looks.
fn answer_elsewhere(head: &Parts) -> Response<Bytes> {
    const WORD: &[u8] = b"A Web Push service (RFC 8030). User agents connect here by WebSocket.\n";
    if head.uri.path() != "/" || !(head.method == Method::GET || head.method == Method::HEAD) {
        return not_found();
    }
    let mut response = Response::new(Bytes::from_static(WORD));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, text);
    response
}
