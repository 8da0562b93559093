//! A push resource: POST sends a message to one subscription (RFC 8030 §5).
//!
//! The order of the checks is autopush's (WP-13), because a sender with several mistakes is told of one.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{HeaderName, LINK, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use push_protocol::capability::{Dialect, PushKind};
use push_protocol::headers::{self, HeaderError, Relation};
use push_protocol::vapid::{self, Credentials, PublicKey, VapidError};
use push_protocol::{KeyDigest, Ttl};

use super::answer::Problem;
use super::body::{self, Fault, RequestBody};
use super::subscribe::value;
use super::{Resources, counted, routes, routes::Resource};
use crate::broker::{Accepted, PushResource, ReceiptWish, Refusal, Submission};
use crate::budgets::Payer;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const TTL: HeaderName = HeaderName::from_static("ttl");

impl Resources {
    /// 201 with the message's URL and the time that it will be kept; 202 if a receipt follows.
    pub(super) async fn push<B: RequestBody>(
        &self,
        kind: PushKind,
        token: &str,
        head: &Parts,
        body: &mut B,
        payer: Payer,
    ) -> Result<Response<Bytes>, Problem> {
        let push = self.broker.open_push(kind, token)?;
        let pushed = self.push_to(&push, kind, head, body, payer).await;
        if let Err(problem) = &pushed {
            self.broker.note_refused(&push, counted::refusal(problem));
        }
        pushed
    }

    async fn push_to<B: RequestBody>(
        &self,
        push: &PushResource,
        kind: PushKind,
        head: &Parts,
        body: &mut B,
        payer: Payer,
    ) -> Result<Response<Bytes>, Problem> {
        let dialect = Resource::Push(kind).dialect();
        let credentials = credentials(&head.headers, dialect)?;
        let admitted = self.broker.admit(push, credentials.as_ref(), payer, now_secs());
        let sender = admitted.await?;
        let submission = self
            .submission(
                &head.headers,
                body,
                dialect,
                credentials.map(|shown| shown.key),
                sender,
            )
            .await;
        let submission = match submission {
            Ok(submission) => Submission {
                payer,
                signed_by: sender,
                ..submission
            },
            Err(problem) => return Err(self.unless_gone(push, problem).await),
        };
        let accepted = self.broker.accept(push, submission).await?;
        Ok(self.created(&accepted))
    }

    /// The message that a request carries: its body, then its header fields.
    async fn submission<B: RequestBody>(
        &self,
        headers: &HeaderMap,
        body: &mut B,
        dialect: Dialect,
        signing_key: Option<PublicKey>,
        sender: Option<KeyDigest>,
    ) -> Result<Submission, Problem> {
        let body = body::read(headers, body, self.body_bytes, self.body_within).await?;
        // A TTL that is no number comes before what is wrong with the content, one below zero after it.
        let ttl = match headers::ttl(headers) {
            Err(error) if error != HeaderError::NegativeTtl => return Err(error.into()),
            ttl => ttl,
        };
        let content = headers::content(headers, body, dialect)?;
        let encrypted_with = headers::dh_key(&content);
        if signing_key.is_some_and(|key| encrypted_with.as_ref() == Some(key.as_bytes())) {
            return Err(Problem::SharedKey);
        }
        Ok(Submission {
            ttl: ttl?,
            topic: headers::topic(headers)?,
            urgency: headers::urgency(headers)?.unwrap_or_default(),
            content,
            receipt: self.receipt_wish(headers, sender)?,
            payer: Payer::UNKNOWN,
            signed_by: None,
        })
    }

    /// Whether a receipt is requested, and for which receipt subscription (R30-RCP-2 to R30-RCP-6).
    fn receipt_wish(
        &self,
        headers: &HeaderMap,
        sender: Option<KeyDigest>,
    ) -> Result<Option<ReceiptWish>, Problem> {
        if !headers::prefers_async(headers) {
            return Ok(None);
        }
        let Some(target) = headers::link(headers, Relation::Receipt)? else {
            return Ok(Some(ReceiptWish::Chosen(sender)));
        };
        let target = routes::unescaped(target);
        let token = self
            .token_at(&target, routes::RECEIPTS)
            .ok_or(Refusal::UnknownReceipts)?;
        let named = self
            .broker
            .open_receipts(token)
            .map_err(|_| Refusal::UnknownReceipts)?;
        Ok(Some(ReceiptWish::Named(named)))
    }

    /// Answers that the subscription has ended, if it has, whatever else is wrong with the request: its sender has to forget
    /// the subscription, not to mend the request. It costs a step of storage, so only refused requests come here.
    async fn unless_gone(&self, push: &PushResource, problem: Problem) -> Problem {
        let is_moot = matches!(problem, Problem::Body(Fault::TooSlow | Fault::Broken));
        if is_moot || self.broker.may_have_subscription(push).await {
            problem
        } else {
            Refusal::SubscriptionGone.into()
        }
    }

    fn created(&self, accepted: &Accepted) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::CREATED;
        let headers = response.headers_mut();
        headers.insert(LOCATION, value(&self.url(routes::MESSAGE, &accepted.token)));
        headers.insert(TTL, seconds(accepted.ttl));
        if let Some(token) = &accepted.receipts {
            let link = Relation::Receipt.link(&self.url(routes::RECEIPTS, token));
            headers.insert(LINK, value(&link));
            headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
            *response.status_mut() = StatusCode::ACCEPTED;
        }
        response
    }
}

/// Who the sender says that it is. RFC 8030's resources let other schemes pass: they may be for a proxy in front.
fn credentials(headers: &HeaderMap, dialect: Dialect) -> Result<Option<Credentials<'_>>, Refusal> {
    match vapid::credentials(headers) {
        Err(VapidError::OtherScheme) if dialect == Dialect::Rfc8030 => Ok(None),
        credentials => Ok(credentials?),
    }
}

fn seconds(ttl: Ttl) -> HeaderValue {
    u64::from(ttl.as_secs()).into()
}

/// The wall clock, by which `exp` is meant.
fn now_secs() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, |passed| passed.as_secs())
}
