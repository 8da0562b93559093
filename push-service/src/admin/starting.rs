//! What is answered before the node is built: that the process is up, and what its start waits for.

use std::net::SocketAddr;

use http::{Request, StatusCode};
use serde_json::json;

use super::AdminPort;
use super::answers::{AdminBody, exposed};
use super::hosts;
use super::response::{AdminResponse, error, json, method_not_allowed, text, wrong_host};
use super::routes::{self, Missing, Operation};
use super::version::{VERSION, version};
use crate::metrics::OpenFiles;

impl AdminPort {
    /// Answers one request: from the node, if it is built.
    pub(super) async fn answer<B: AdminBody>(&self, request: Request<B>, peer: SocketAddr) -> AdminResponse {
        match self.node.get() {
            Some(node) => node.answer(request, peer).await,
            None => self.answer_before(request).await,
        }
    }

    async fn answer_before<B: AdminBody>(&self, request: Request<B>) -> AdminResponse {
        let (head, _) = request.into_parts();
        if let Err(wrong) = hosts::check(&head, &self.hosts) {
            return wrong_host(wrong);
        }
        let route = match routes::find(&head.method, head.uri.path()) {
            Ok(found) => found.route,
            Err(Missing::Path) => {
                return text(StatusCode::NOT_FOUND, "unknown path; GET / lists all paths\n");
            }
            Err(Missing::Method(allowed)) => return method_not_allowed(&allowed),
        };
        // Ready, and not built: it will be in a moment.
        let why = self.readiness.trouble().unwrap_or_else(|| "starting".to_owned());
        match route.operation {
            Operation::Health => text(StatusCode::OK, "up\n"),
            Operation::LoadBalancer => text(StatusCode::OK, ""),
            Operation::Version => version(),
            Operation::Metrics => {
                self.metrics.ready(false);
                OpenFiles::now().await.show_on(&self.metrics);
                exposed(self.metrics.render())
            }
            Operation::Ready => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
            Operation::Status => json(StatusCode::OK, &self.trouble(&why)),
            Operation::Heartbeat => {
                let mut heartbeat = self.trouble(&why);
                heartbeat["connections"] = json!(0);
                json(StatusCode::SERVICE_UNAVAILABLE, &heartbeat)
            }
            // For a browser.
            Operation::Front => text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "not ready: {why}. The status page is here when the start is complete: load it again\n"
                ),
            ),
            _ => error(
                StatusCode::SERVICE_UNAVAILABLE,
                &format!("not ready: {why}. Ask again when /readyz is 200"),
            ),
        }
    }

    fn trouble(&self, why: &str) -> serde_json::Value {
        json!({"status": "ERROR", "version": VERSION, "error": why})
    }
}
