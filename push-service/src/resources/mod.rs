//! HTTP: requests become types, refusals become status codes. One file for each resource of RFC 8030.
//!
//! Push resources answer in two dialects: `/wpush/…` as deployed Web Push libraries expect of autopush, `/push/…` as the
//! RFC says. `answer.rs` is the one table of all refusals; `urls.rs` makes all URLs.
//!
//! What it deliberately does not know: sockets, connections, HTTP versions, and how the broker decides.

mod answer;
mod body;
mod common;
mod cors;
mod cost;
mod counted;
mod front;
mod message;
mod monitor;
mod named;
mod push;
mod routes;
mod subscribe;
#[cfg(test)]
pub(crate) mod tests;
mod urls;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use push_protocol::capability::Dialect;
use push_protocol::vapid::VapidError;

use self::answer::Problem;
pub use self::answer::{bad_http, date, monitoring_over, not_found, too_many_connections};
pub use self::body::{BrokenBody, RequestBody};
pub use self::common::{CommonFields, guard_pushed};
use self::front::Front;
pub use self::monitor::{Form, Monitoring, events_head};
pub use self::named::named;
use self::routes::{Resource, Route};
pub use self::routes::{is_resource, unescaped};
pub use self::subscribe::subscribe_refusal;
pub use self::urls::{ReceiptContent, promise_url, push_url, receipt, sealed_push_url};
use crate::broker::{Broker, Monitored, QueueKind, Refusal};
use crate::budgets::{Budgets, Payer};
use crate::config::Limits;
use crate::defaults::REFUSAL_LINE_EVERY;
use crate::logging::Seldom;
use crate::metrics::{Label as _, Metrics};
use crate::tls::Challenges;

/// The answer to a request.
#[derive(Debug)]
pub enum Answer {
    /// A whole response.
    Whole(Response<Bytes>),
    /// A monitoring request, which the connection's task hands to a channel.
    Monitor(Monitoring),
}

impl From<Response<Bytes>> for Answer {
    fn from(response: Response<Bytes>) -> Self {
        Self::Whole(response)
    }
}

/// Tells the connection that this answer refuses a request because its budget is spent.
#[derive(Clone, Copy)]
pub struct IsOverBudget;

/// Every public resource.
pub struct Resources {
    broker: Arc<Broker>,
    metrics: Arc<Metrics>,
    /// The secret that a user agent must show to subscribe, if one is configured.
    secret: Option<Box<str>>,
    /// What is at `/`.
    front: Front,
    /// The `Alt-Svc` field: where else the service is (R30-PORT-1).
    alternatives: Option<HeaderValue>,
    body_bytes: usize,
    body_within: Duration,
    challenges: Option<Arc<Challenges>>,
    /// When it was last logged that a token was for another origin.
    other_audience: Seldom,
}

impl Resources {
    /// Of `limits`, only those of bodies are used.
    pub fn new(broker: Arc<Broker>, limits: &Limits, metrics: Arc<Metrics>) -> Self {
        Self {
            secret: None,
            front: Front::new(broker.origin(), false),
            alternatives: None,
            broker,
            metrics,
            body_bytes: limits.body_bytes,
            body_within: limits.body_within,
            challenges: None,
            other_audience: Seldom::every(REFUSAL_LINE_EVERY),
        }
    }

    /// Accepts subscriptions only with `secret` in the path (`/subscribe/SECRET`).
    #[must_use]
    pub fn with_secret(self, secret: Option<&str>) -> Self {
        Self {
            secret: secret.map(Into::into),
            front: Front::new(self.broker.origin(), secret.is_some()),
            ..self
        }
    }

    /// Adds `Alt-Svc` to each answer: where else the service is (RFC 7838).
    #[must_use]
    pub fn with_alternatives(self, alternatives: Option<HeaderValue>) -> Self {
        Self { alternatives, ..self }
    }

    /// Answers the challenges of an ACME server (RFC 8555 §8.3).
    #[must_use]
    pub fn with_challenges(self, challenges: Option<Arc<Challenges>>) -> Self {
        Self { challenges, ..self }
    }

    /// Answers a request. Reads no more of the body than it needs, and none of a body that is refused without it.
    /// `payer` pays for it, whatever the answer is (PR-42).
    pub async fn answer<B: RequestBody>(&self, head: &Parts, body: &mut B, payer: Payer) -> Answer {
        let started = Instant::now();
        let path = routes::unescaped(head.uri.path());
        let route = routes::find(&path);
        let cost = cost::of(route.map(|route| route.resource), &head.method);
        let paid = self.broker.budgets().pay(payer, cost).await;
        let mut response = match (paid, route) {
            (Err(over), route) => {
                let dialect = route.map_or(Dialect::Rfc8030, |route| route.resource.dialect());
                self.refuse(&Refusal::from(over).into(), dialect).into()
            }
            (Ok(()), Some(route)) => self.answer_resource(route, head, body, payer).await,
            (Ok(()), None) => {
                let challenge = self.challenge_page(&path, &head.method);
                challenge
                    .unwrap_or_else(|| self.answer_elsewhere(&path, head))
                    .into()
            }
        };
        if let (None, Answer::Whole(response)) = (route, &response)
            && !response.status().is_success()
        {
            // Not the path: it may hold a secret that was mistyped.
            let (method, status) = (head.method.as_str(), response.status().as_u16());
            tracing::debug!(method, status, "there is no resource at this path");
        }
        let counted = counted::resource(route.map(|route| route.resource));
        self.metrics.request(counted, started.elapsed());
        if let Answer::Whole(response) = &mut response {
            self.common_fields(&head.headers).join(response);
        }
        response
    }

    async fn answer_resource<B: RequestBody>(
        &self,
        route: Route<'_>,
        head: &Parts,
        body: &mut B,
        payer: Payer,
    ) -> Answer {
        let Route { resource, token } = route;
        let dialect = resource.dialect();
        if head.method == Method::OPTIONS {
            return cors::preflight(resource.allow()).into();
        }
        if !resource.has(&head.method) {
            return answer::method_not_allowed(dialect, resource.allow()).into();
        }
        let answer = match resource {
            Resource::Push(kind) => {
                let pushed = self.push(kind, token, head, body, payer).await;
                pushed.map(Answer::from)
            }
            Resource::Message => Ok(self.delete_message(token).await.into()),
            Resource::Subscribe => {
                let made = self.subscribe(token, head, body, payer).await;
                made.map(Answer::from)
            }
            Resource::Subscription | Resource::Set | Resource::Receipts => {
                match self.open_monitored(resource, token) {
                    Ok(monitored) => self.monitor(monitored, head).await,
                    Err(refusal) => Err(refusal.into()),
                }
            }
        };
        answer.unwrap_or_else(|problem| self.refuse(&problem, dialect).into())
    }

    /// What a GET or DELETE of a subscription, a set or a receipt subscription is about. Only the token is opened: storage is not asked.
    fn open_monitored(&self, resource: Resource, token: &str) -> Result<Monitored, Refusal> {
        match resource {
            Resource::Subscription => self.broker.open_subscription(token),
            Resource::Set => Ok(Monitored {
                user_agent: self.broker.open_set(token)?.id(),
                subscription: None,
                queue: QueueKind::Messages,
            }),
            _ => Ok(Monitored {
                user_agent: self.broker.open_receipts(token)?,
                subscription: None,
                queue: QueueKind::Receipts,
            }),
        }
    }

    /// The answer at paths that are not a resource: at `/` what a person or a peer should know, otherwise 404. `OPTIONS` is how
    /// load balancers look whether a server is there: at `/`, or at `*`, the server as a whole (RFC 9110 §9.3.7).
    fn answer_elsewhere(&self, path: &str, head: &Parts) -> Response<Bytes> {
        const OF_ROOT: &str = "GET, HEAD, OPTIONS";
        const OF_ALL: &str = "DELETE, GET, HEAD, OPTIONS, POST";
        match (path, &head.method) {
            ("/", &Method::GET | &Method::HEAD) => self.front.answer(&head.headers),
            ("/", &Method::OPTIONS) => answer::allowed(OF_ROOT),
            ("*", &Method::OPTIONS) => answer::allowed(OF_ALL),
            ("/", _) => answer::method_not_allowed(Dialect::Rfc8030, OF_ROOT),
            _ => not_found(),
        }
    }

    /// The answer to an ACME challenge, while there is one at this path.
    fn challenge_page(&self, path: &str, method: &Method) -> Option<Response<Bytes>> {
        let page = self.challenges.as_ref()?.page(path)?;
        (*method == Method::GET).then(|| Response::new(Bytes::from(page)))
    }

    /// The answer to a monitoring request over a connection that cannot be pushed to (R30-V-2).
    pub fn cannot_push(&self, monitoring: &Monitoring) -> Response<Bytes> {
        let mut response = self.refuse(&Problem::NoPush, Dialect::Rfc8030);
        monitoring.common.join(&mut response);
        response
    }

    /// The answer to a monitoring request that the broker refuses, at once or later.
    pub fn refused(&self, refusal: &Refusal) -> Response<Bytes> {
        self.refuse(&refusal.clone().into(), Dialect::Rfc8030)
    }

    /// The answer that says what is wrong; counts the refusal.
    fn refuse(&self, problem: &Problem, dialect: Dialect) -> Response<Bytes> {
        let why = counted::refusal(problem);
        self.metrics.refused(why);
        self.log_refusal(problem);
        let mut response = answer::problem(problem, dialect, self.broker.origin());
        tracing::debug!(
            reason = why.as_str(),
            status = response.status().as_u16(),
            "a request was refused"
        );
        if matches!(problem, Problem::Refused(Refusal::OverBudget(_))) {
            response.extensions_mut().insert(IsOverBudget);
        }
        response
    }

    /// Logs refusals that a setting of the operator may have caused.
    fn log_refusal(&self, problem: &Problem) {
        let other_audience = Refusal::CredentialsInvalid(VapidError::OtherAudience);
        if *problem == Problem::Refused(other_audience)
            && let Some(before) = self.other_audience.due()
        {
            tracing::info!(
                expected = self.broker.origin().as_str(),
                refused_before = before,
                "a push was refused because its VAPID claim aud names another origin; if this happens to all senders, \
                 public_url is not the URL under which they know this service"
            );
        }
    }

    /// The budgets that requests pay from.
    pub fn budgets(&self) -> &Budgets {
        self.broker.budgets()
    }
}
