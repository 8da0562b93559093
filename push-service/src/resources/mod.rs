//! HTTP: requests become types, refusals become status codes. One file per resource of RFC 8030.
//!
//! Two dialects, one resource: `/wpush/…` answers as deployed Web Push libraries expect of autopush, `/push/…` as the
//! RFC says. `answer.rs` is the one table of what is answered.
//!
//! What it deliberately does not know: sockets, connections, HTTP versions, and how the broker decides.

mod answer;
mod body;
mod cors;
mod counted;
mod message;
mod push;
mod routes;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::ORIGIN;
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use push_protocol::capability::Dialect;

use self::answer::Problem;
pub use self::answer::{bad_http, not_found, too_many_connections};
pub use self::body::{BrokenBody, RequestBody};
pub use self::routes::is_resource;
use self::routes::{Resource, Route};
use crate::broker::{Broker, Refusal};
use crate::config::Limits;
use crate::metrics::Metrics;
use crate::tls::acme::Challenges;

/// Every public resource.
pub struct Resources {
    broker: Arc<Broker>,
    metrics: Arc<Metrics>,
    /// What stands before the token in the URL of a message.
    message_url: String,
    body_bytes: usize,
    body_within: Duration,
    challenges: Option<Arc<Challenges>>,
}

impl Resources {
    /// Of `limits`, those of bodies.
    pub fn new(broker: Arc<Broker>, limits: &Limits, metrics: Arc<Metrics>) -> Self {
        Self {
            message_url: format!("{}{}", broker.origin(), routes::MESSAGE),
            broker,
            metrics,
            body_bytes: limits.body_bytes,
            body_within: limits.body_within,
            challenges: None,
        }
    }

    /// Shows an ACME server what it looks for (RFC 8555 §8.3).
    pub fn showing(mut self, challenges: Option<Arc<Challenges>>) -> Self {
        self.challenges = challenges;
        self
    }

    /// Answers a request. Reads no more of the body than it needs, and none of a body that is refused without it.
    pub async fn answer<B: RequestBody>(&self, head: &Parts, body: &mut B) -> Response<Bytes> {
        let started = Instant::now();
        let route = routes::find(head.uri.path());
        let mut response = match route {
            Some(route) => self.answer_resource(route, head, body).await,
            None => self.proof(head).unwrap_or_else(|| answer_elsewhere(head)),
        };
        let counted = counted::resource(route.map(|route| route.resource));
        self.metrics.request(counted, started.elapsed());
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
        match resource {
            Resource::Push(kind) => {
                let pushed = self.push(kind, token, head, body).await;
                pushed.unwrap_or_else(|problem| self.refuse(&problem, dialect))
            }
            Resource::Message => self.cancel(token).await,
            Resource::Reserved => self.refuse(&Refusal::UnknownResource.into(), dialect),
        }
    }

    /// The page that an ACME server looks for, while there is one.
    fn proof(&self, head: &Parts) -> Option<Response<Bytes>> {
        let page = self.challenges.as_ref()?.page(head.uri.path())?;
        (head.method == Method::GET).then(|| Response::new(Bytes::from(page)))
    }

    /// Tells a sender what is wrong, and counts it.
    fn refuse(&self, problem: &Problem, dialect: Dialect) -> Response<Bytes> {
        self.metrics.refused(counted::refusal(problem));
        answer::problem(problem, dialect)
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
