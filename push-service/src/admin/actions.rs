//! What an operator does through the admin listener: lists user agents, ends them or their subscriptions, empties queues, refuses
//! senders for a while, and changes what is logged.
//!
//! **Invariant:** every action needs the token of `admin.token_file`, and is logged with the address of its peer, whatever else is
//! logged. Refused ones have a line at most every [`ADMIN_REFUSAL_LINE_EVERY`].
//!
//! It does not know how an action is done: the broker and the log do it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use push_protocol::vapid::PublicKey;
use push_protocol::{SubscriptionId, UserAgentId};
use serde_json::json;
use tokio::sync::Semaphore;
use tracing_subscriber::filter::Targets;

use super::Admin;
use super::listing::{self, ListRequest};
use super::response::{AdminResponse, error, json, storage_error};
use super::routes::Operation;
use super::token::{Denied, Guard};
use crate::broker::SenderId;
use crate::config;
use crate::defaults::{ADMIN_LIST_WITHIN, ADMIN_REFUSAL_LINE_EVERY, SENDER_REFUSED_MOST, SENDERS_REFUSED};
use crate::logging::{self, Seldom};
use crate::storage::StorageError;

/// What all admin listeners share of their actions.
pub struct Actions {
    guard: Arc<Guard>,
    /// One list at a time.
    listing: Semaphore,
    /// Lines about refused actions.
    refusals: Seldom,
}

impl Actions {
    /// Lets those act whom the guard admits.
    pub fn new(guard: Guard) -> Self {
        Self {
            guard: Arc::new(guard),
            listing: Semaphore::new(1),
            refusals: Seldom::every(ADMIN_REFUSAL_LINE_EVERY),
        }
    }
}

/// An action, as it was asked for.
pub(super) struct Action<'a> {
    pub(super) operation: Operation,
    pub(super) segments: &'a [&'a str],
    pub(super) query: &'a str,
    pub(super) body: &'a str,
    pub(super) peer: SocketAddr,
}

impl Action<'_> {
    fn segment(&self, at: usize) -> &str {
        self.segments.get(at).copied().unwrap_or_default()
    }
}

impl Admin {
    /// The answer to a request that may not act; `None` if it may.
    pub(super) async fn denied(&self, headers: &HeaderMap, peer: SocketAddr) -> Option<AdminResponse> {
        let (guard, headers) = (Arc::clone(&self.actions.guard), headers.clone());
        let address: IpAddr = peer.ip().to_canonical();
        // Not on this thread: it reads a file.
        let admitted = tokio::task::spawn_blocking(move || guard.admit(&headers, address)).await;
        let denied = match admitted {
            Ok(Ok(())) => return None,
            Ok(Err(denied)) => denied,
            Err(_) => {
                return Some(error(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the token could not be checked; the log of the service says why",
                ));
            }
        };
        let why = match &denied {
            Denied::NoActions => "admin.token_file is not set",
            Denied::WrongToken => "it showed no token, or a wrong one",
            Denied::TooManyFailures { .. } => "too many wrong tokens came from its address",
            Denied::Unusable(_) => "admin.token_file cannot be used",
        };
        if let Some(skipped) = self.actions.refusals.due() {
            tracing::warn!(%peer, why, skipped, "an admin action was refused");
        }
        Some(match denied {
            Denied::NoActions => error(
                StatusCode::FORBIDDEN,
                "this service takes no actions: set admin.token_file, then restart the service",
            ),
            Denied::WrongToken => {
                let mut answer = error(
                    StatusCode::UNAUTHORIZED,
                    "actions need the token of admin.token_file: send `Authorization: Bearer TOKEN`",
                );
                let headers = answer.headers_mut();
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                answer
            }
            Denied::TooManyFailures { retry_after } => wait(
                "too many wrong tokens came from your address; try again after Retry-After",
                retry_after,
            ),
            Denied::Unusable(why) => {
                tracing::error!(error = %why, "admin actions are refused: admin.token_file cannot be used");
                error(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the token file cannot be used; the log of the service says why",
                )
            }
        })
    }

    /// Does the action. Call only for a request that was not [`denied`](Self::denied).
    pub(super) async fn act(&self, action: &Action<'_>) -> AdminResponse {
        let done = match action.operation {
            Operation::UserAgents => self.list(action).await,
            Operation::EndUserAgent => self.end_user_agent(action).await,
            Operation::EndSubscription => self.end_subscription(action).await,
            Operation::EmptyQueue => self.empty_queue(action).await,
            Operation::RefuseSender => self.refuse_sender(action),
            Operation::AllowSender => self.allow_sender(action),
            Operation::ChangeLogFilter => change_log_filter(action),
            _ => Err(Box::new(error(StatusCode::NOT_FOUND, "there is no such action"))),
        };
        done.unwrap_or_else(|refused| *refused)
    }

    async fn list(&self, action: &Action<'_>) -> ActionResult {
        let asked = ListRequest::parse(action.query).map_err(|why| refused(StatusCode::BAD_REQUEST, why))?;
        let Ok(_alone) = self.actions.listing.try_acquire() else {
            return Err(Box::new(wait(
                "another list is being made; try again",
                Duration::from_secs(1),
            )));
        };
        tracing::info!(peer = %action.peer, "admin action: user agents are listed");
        let listed = tokio::time::timeout(ADMIN_LIST_WITHIN, listing::list(&self.broker, asked)).await;
        let too_slow = |_| StorageError::Unavailable("the list took too long".to_owned());
        let list = listed.map_err(too_slow).and_then(|listed| listed);
        Ok(json(StatusCode::OK, &list.map_err(trouble)?))
    }

    async fn end_user_agent(&self, action: &Action<'_>) -> ActionResult {
        let user_agent = user_agent(action)?;
        let ended = self.broker.end_user_agent(user_agent).await;
        let (found, error) = logged(&ended);
        tracing::warn!(peer = %action.peer, %user_agent, found, error, "admin action: end a user agent");
        there_was(
            ended.map_err(trouble)?,
            "no user agent has this id: it never subscribed, or it has ended",
        )
    }

    async fn end_subscription(&self, action: &Action<'_>) -> ActionResult {
        let user_agent = user_agent(action)?;
        let subscription = subscription(action)?;
        let ended = self.broker.end_subscription(user_agent, subscription).await;
        let (found, error) = logged(&ended);
        tracing::warn!(
            peer = %action.peer, %user_agent, %subscription, found, error,
            "admin action: end a subscription"
        );
        there_was(
            ended.map_err(trouble)?,
            "this user agent has no subscription with this id",
        )
    }

    async fn empty_queue(&self, action: &Action<'_>) -> ActionResult {
        let user_agent = user_agent(action)?;
        let removed = self.broker.empty_queue(user_agent).await;
        tracing::warn!(peer = %action.peer, %user_agent, removed = removed.as_ref().ok().copied().flatten(), "admin action: empty a queue");
        match removed.map_err(trouble)? {
            Some(messages) => Ok(json(StatusCode::OK, &json!({ "removed": messages }))),
            None => Err(refused(
                StatusCode::NOT_FOUND,
                "no user agent has this id: it never subscribed, or it has ended",
            )),
        }
    }

    fn refuse_sender(&self, action: &Action<'_>) -> ActionResult {
        let sender = sender(action)?;
        let wait = config::duration(action.body.trim())
            .filter(|wait| !wait.is_zero() && *wait <= SENDER_REFUSED_MOST)
            .ok_or_else(|| {
                refused(
                    StatusCode::BAD_REQUEST,
                    "the body must say for how long, such as `1h`, at most `30d`",
                )
            })?;
        if self.broker.refuse_sender(sender, wait).is_err() {
            return Err(refused(
                StatusCode::CONFLICT,
                &format!(
                    "this node already refuses {SENDERS_REFUSED} senders, which is the limit: allow one of them first"
                ),
            ));
        }
        tracing::warn!(peer = %action.peer, %sender, ?wait, "admin action: refuse a sender on this node");
        Ok(json(
            StatusCode::OK,
            &json!({ "sender": sender.to_string(), "refused_for_secs": wait.as_secs() }),
        ))
    }

    fn allow_sender(&self, action: &Action<'_>) -> ActionResult {
        let sender = sender(action)?;
        let was_refused = self.broker.allow_sender(sender);
        tracing::warn!(peer = %action.peer, %sender, was_refused, "admin action: allow a sender on this node");
        there_was(was_refused, "this node does not refuse this sender")
    }

    /// Which application server keys send most, and which are refused.
    pub(super) fn senders(&self) -> AdminResponse {
        let most: Vec<_> = self
            .broker
            .senders()
            .into_iter()
            .map(|ranked| {
                json!({
                    "sender": ranked.sender.to_string(),
                    "pushes": ranked.pushes,
                    "at_most_too_many": ranked.at_most_too_many,
                })
            })
            .collect();
        let refused: Vec<_> = self
            .broker
            .refused_senders()
            .into_iter()
            .map(|(sender, left)| json!({ "sender": sender.to_string(), "refused_for_secs": left.as_secs() }))
            .collect();
        json(StatusCode::OK, &json!({ "senders": most, "refused": refused }))
    }
}

type ActionResult = Result<AdminResponse, Box<AdminResponse>>;

fn refused(status: StatusCode, why: &str) -> Box<AdminResponse> {
    Box::new(error(status, why))
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn trouble(trouble: StorageError) -> Box<AdminResponse> {
    Box::new(storage_error(&trouble))
}

/// 204 if there was something to act on, else 404 and why.
fn there_was(was: bool, why_not: &str) -> ActionResult {
    if was {
        Ok(super::response::empty(StatusCode::NO_CONTENT))
    } else {
        Err(refused(StatusCode::NOT_FOUND, why_not))
    }
}

/// For the log: whether there was something to end, or the trouble.
fn logged(ended: &Result<bool, StorageError>) -> (Option<bool>, Option<String>) {
    (
        ended.as_ref().ok().copied(),
        ended.as_ref().err().map(ToString::to_string),
    )
}

fn wait(why: &str, after: Duration) -> AdminResponse {
    let mut answer = error(StatusCode::TOO_MANY_REQUESTS, why);
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    answer.headers_mut().insert(RETRY_AFTER, seconds.max(1).into());
    answer
}

fn user_agent(action: &Action<'_>) -> Result<UserAgentId, Box<AdminResponse>> {
    UserAgentId::parse(action.segment(0)).ok_or_else(|| {
        refused(
            StatusCode::BAD_REQUEST,
            "the user agent id in the path must be 32 hexadecimal digits, as the log and `inspect` show it",
        )
    })
}

fn subscription(action: &Action<'_>) -> Result<SubscriptionId, Box<AdminResponse>> {
    SubscriptionId::parse(action.segment(1)).ok_or_else(|| {
        refused(
            StatusCode::BAD_REQUEST,
            "the subscription id in the path must be 16 hexadecimal digits",
        )
    })
}

fn sender(action: &Action<'_>) -> Result<SenderId, Box<AdminResponse>> {
    let text = action.segment(0);
    let of_key = |key: PublicKey| SenderId::from(key.digest());
    SenderId::parse(text)
        .or_else(|| PublicKey::parse(text).map(of_key))
        .ok_or_else(|| {
            refused(
                StatusCode::BAD_REQUEST,
                "the sender in the path must be 16 hexadecimal digits, as `/senders` shows it, or a public VAPID key in \
                 base64url",
            )
        })
}

fn change_log_filter(action: &Action<'_>) -> ActionResult {
    if action.body.split(',').all(|entry| entry.trim().is_empty()) {
        let why = "the body is empty: send what is to be logged, such as `info,push_service=debug`";
        return Err(refused(StatusCode::BAD_REQUEST, why));
    }
    // Logged before and after, because either filter may hide warnings.
    let before = |filter: &Targets| tracing::warn!(peer = %action.peer, %filter, "admin action: change what is logged");
    let now = logging::change_filter(action.body.trim(), before)
        .map_err(|why| refused(StatusCode::BAD_REQUEST, &why))?;
    tracing::warn!(peer = %action.peer, filter = now, "what is logged has changed");
    Ok(json(StatusCode::OK, &json!({ "filter": now })))
}
