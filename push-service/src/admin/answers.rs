//! What each admin path answers. Paths and members of the health answers are those that probes of the deployed peer
//! already know.

use std::error::Error;
use std::net::SocketAddr;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body;
use push_protocol::{SubscriptionId, UserAgentId};
use serde_json::json;

use super::Admin;
use super::actions::Action;
use super::hosts;
use super::page;
use super::response::{AdminResponse, body, error, json, method_not_allowed, text, wrong_host};
use super::routes::{self, Found, Missing, Operation};
use super::version::{VERSION, version};
use crate::defaults;
use crate::logging;
use crate::metrics::{Certificate, Metrics, OpenFiles};
use crate::storage::{StorageError, UserAgentReport};
use crate::tls::Acceptor;

const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The body of a request.
pub(super) trait AdminBody:
    Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send
{
}

impl<B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send> AdminBody for B {}

impl Admin {
    /// Answers one request. A probe never waits for storage longer than [`defaults::ADMIN_STORAGE_WITHIN`].
    pub(super) async fn answer<B: AdminBody>(&self, request: Request<B>, peer: SocketAddr) -> AdminResponse {
        let (head, body) = request.into_parts();
        if let Err(wrong) = hosts::check(&head, &self.hosts) {
            return wrong_host(wrong);
        }
        match routes::find(&head.method, head.uri.path()) {
            Ok(found) => self.found(&found, &head, body, peer).await,
            Err(Missing::Path) => text(StatusCode::NOT_FOUND, "unknown path; GET / lists all paths\n"),
            Err(Missing::Method(allowed)) => method_not_allowed(&allowed),
        }
    }

    async fn found<B: AdminBody>(
        &self,
        found: &Found<'_>,
        head: &Parts,
        body: B,
        peer: SocketAddr,
    ) -> AdminResponse {
        let Found { route, segments } = found;
        if route.is_action
            && let Some(denied) = self.denied(&head.headers, peer).await
        {
            return denied;
        }
        let takes_body = matches!(
            route.operation,
            Operation::Inspect | Operation::RefuseSender | Operation::ChangeLogFilter
        );
        let sent = match read(takes_body.then_some(body)).await {
            Ok(sent) => sent,
            Err((status, why)) => return error(status, why),
        };
        if route.is_action {
            let action = Action {
                operation: route.operation,
                segments,
                query: head.uri.query().unwrap_or_default(),
                body: &sent,
                peer,
            };
            return self.act(&action).await;
        }
        self.reply(route.operation, segments, &head.headers, &sent).await
    }

    async fn reply(
        &self,
        operation: Operation,
        segments: &[&str],
        headers: &HeaderMap,
        body: &str,
    ) -> AdminResponse {
        let segment = |at: usize| segments.get(at).copied().unwrap_or_default();
        match operation {
            Operation::Front => self.front(headers).await,
            Operation::Overview => self.overview().await,
            Operation::PageStyle => page::style(),
            Operation::PageScript => page::script(),
            Operation::PageIcon => page::icon(),
            Operation::Metrics => self.metrics().await,
            Operation::Health => text(StatusCode::OK, "up\n"),
            Operation::LoadBalancer => text(StatusCode::OK, ""),
            Operation::Ready => self.ready().await,
            Operation::Heartbeat => self.heartbeat().await,
            Operation::Status => self.status().await,
            Operation::Version => version(),
            Operation::UserAgent => self.user_agent(segment(0)).await,
            Operation::Subscription => self.subscription(segment(0), segment(1)).await,
            Operation::Inspect => self.inspect(body).await,
            Operation::Senders => self.senders(),
            Operation::LogFilter => log_filter(),
            Operation::UserAgents
            | Operation::EndUserAgent
            | Operation::EndSubscription
            | Operation::EmptyQueue
            | Operation::RefuseSender
            | Operation::AllowSender
            | Operation::ChangeLogFilter => error(StatusCode::NOT_FOUND, "this is an action"),
        }
    }

    async fn metrics(&self) -> AdminResponse {
        self.metrics.ready(self.trouble().await.is_none());
        OpenFiles::now().await.show_on(&self.metrics);
        if let Some(usage) = self.storage.usage() {
            self.metrics.usage(usage);
        } else if let Some(bytes) = self.storage.queued_bytes() {
            self.metrics.queued_bytes(bytes);
        }
        if let Some(ms) = self.storage.clock_ahead_ms() {
            self.metrics.storage_clock_ahead(ms);
        }
        if let Some(until) = self.acceptor.as_ref().map(Acceptor::valid_until) {
            self.metrics
                .certificate_expiry(Certificate::Service, until.service);
            self.metrics
                .certificate_expiry(Certificate::Directory, until.directory);
        }
        let senders = self.broker.senders().into_iter();
        let senders = senders.map(|ranked| (ranked.sender.to_string(), ranked.pushes));
        let text = self.metrics.render() + &Metrics::render_senders(senders);
        exposed(text)
    }

    async fn ready(&self) -> AdminResponse {
        match self.trouble().await {
            None => text(StatusCode::OK, "ready\n"),
            Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
        }
    }

    /// Why no traffic should come, if so.
    async fn trouble(&self) -> Option<String> {
        match self.readiness.trouble() {
            None => self.storage_trouble().await,
            trouble => trouble,
        }
    }

    /// The deployed peer answers 200 even when its database is down, and says ERROR in the body. Ours answers 503,
    /// which orchestrators understand; the body is the same.
    async fn heartbeat(&self) -> AdminResponse {
        let connections = self.metrics.open_channels();
        match self.storage_trouble().await {
            None => json(
                StatusCode::OK,
                &json!({"status": "OK", "version": VERSION, "connections": connections}),
            ),
            Some(why) => json(
                StatusCode::SERVICE_UNAVAILABLE,
                &json!({"status": "ERROR", "version": VERSION, "connections": connections, "error": why}),
            ),
        }
    }

    /// For people and dashboards: always 200, as the deployed peer.
    async fn status(&self) -> AdminResponse {
        let mut status = match self.storage_trouble().await {
            None => json!({"status": "OK", "version": VERSION}),
            Some(why) => json!({"status": "ERROR", "version": VERSION, "error": why}),
        };
        let warnings = [&*self.warnings, &self.storage.warnings()].concat();
        if !warnings.is_empty() {
            status["warnings"] = json!(warnings);
        }
        json(StatusCode::OK, &status)
    }

    pub(super) async fn storage_trouble(&self) -> Option<String> {
        match tokio::time::timeout(defaults::ADMIN_STORAGE_WITHIN, self.storage.health()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("storage is unavailable: no answer in time".to_owned()),
        }
    }

    async fn user_agent(&self, id: &str) -> AdminResponse {
        match self.report(id).await {
            Ok(report) => json(StatusCode::OK, &report),
            Err(answer) => *answer,
        }
    }

    async fn subscription(&self, id: &str, subscription: &str) -> AdminResponse {
        let Some(subscription) = SubscriptionId::parse(subscription) else {
            return error(
                StatusCode::BAD_REQUEST,
                "the subscription id in the path must be 16 hexadecimal digits",
            );
        };
        let subscription = subscription.to_string();
        match self.report(id).await {
            Ok(report) => match report.subscriptions.iter().find(|one| one.id == subscription) {
                Some(found) => json(StatusCode::OK, found),
                None => error(
                    StatusCode::NOT_FOUND,
                    "this user agent has no subscription with this id",
                ),
            },
            Err(answer) => *answer,
        }
    }

    async fn report(&self, id: &str) -> Result<UserAgentReport, Box<AdminResponse>> {
        let refuse = |status, why: &str| Err(Box::new(error(status, why)));
        let Some(id) = UserAgentId::parse(id) else {
            return refuse(
                StatusCode::BAD_REQUEST,
                "the user agent id in the path must be 32 hexadecimal digits: the first 32 of the SHA-256 \
                 of its identity",
            );
        };
        let inspected = tokio::time::timeout(defaults::ADMIN_STORAGE_WITHIN, self.storage.inspect(id)).await;
        match inspected.unwrap_or_else(|_| Err(StorageError::Unavailable("no answer in time".to_owned()))) {
            Ok(Some(report)) => Ok(report),
            Ok(None) => refuse(
                StatusCode::NOT_FOUND,
                "no user agent has this id: it never subscribed, or it has ended",
            ),
            Err(trouble) => refuse(StatusCode::SERVICE_UNAVAILABLE, &trouble.to_string()),
        }
    }
}

/// Metrics, as Prometheus reads them.
pub(super) fn exposed(text: String) -> AdminResponse {
    body(StatusCode::OK, EXPOSITION, text)
}

fn log_filter() -> AdminResponse {
    match logging::filter_now() {
        Some(filter) => text(StatusCode::OK, format!("{filter}\n")),
        None => text(StatusCode::NOT_FOUND, "this process has started no log\n"),
    }
}

/// The body of a request as text, if there is one to be read; or why not.
async fn read<B: AdminBody>(body: Option<B>) -> Result<String, (StatusCode, &'static str)> {
    let Some(body) = body else {
        return Ok(String::new());
    };
    let whole = Limited::new(body, defaults::ADMIN_BODY_BYTES).collect();
    match tokio::time::timeout(defaults::ADMIN_BODY_WITHIN, whole).await {
        Ok(Ok(whole)) => String::from_utf8(whole.to_bytes().to_vec())
            .map_err(|_| (StatusCode::BAD_REQUEST, "the body must be text in UTF-8")),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err((
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is too long: it must be one URL, id, duration or log filter",
        )),
        Ok(Err(_)) => Err((StatusCode::BAD_REQUEST, "the body is incomplete")),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}
