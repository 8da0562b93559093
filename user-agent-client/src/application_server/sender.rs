//! Sends a push message: one request, one answer.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, LINK, LOCATION,
    USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use push_protocol::encryption::{EncryptError, Recipient};
use push_protocol::headers::Relation;
use push_protocol::session::user_agent::PushResource;
use push_protocol::{Topic, Ttl, Urgency};
use ring::rand::SystemRandom;
use url::Url;

use super::connection;
use super::error::{SendError, refusal};
use super::receipts::{ReceiptSubscription, Receipts};
use super::vapid_key::VapidKey;
use crate::defaults::{DEFAULT_TTL_SECS, SEND_WITHIN};
use crate::links;
use crate::push_subscription::PushSubscription;
use crate::tls::Trust;

/// RFC 8030 §5.2, §5.3, §5.4.
const TTL: HeaderName = HeaderName::from_static("ttl");
const URGENCY: HeaderName = HeaderName::from_static("urgency");
const TOPIC: HeaderName = HeaderName::from_static("topic");
/// RFC 7240 §2; RFC 8030 §5.1.
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Sends push messages. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sender {
    trust: Trust,
    within: Duration,
}

/// A push message, as it is before it is encrypted.
#[derive(Clone)]
pub struct Push {
    /// What the application gets; `None` wakes it without data. An empty body is data of no bytes.
    pub body: Option<Bytes>,
    /// How long the service keeps it for a user agent that isn't there.
    pub ttl: Ttl,
    /// How much it may cost the user agent's battery.
    pub urgency: Urgency,
    /// Which waiting message it replaces.
    pub topic: Option<Topic>,
    /// How many zeros hide how long the body is.
    pub padding: usize,
}

/// The push service has the message. It doesn't say whether it arrives.
// R30-MSG-3.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// The push message resource: a `DELETE` there takes the message back. A capability, like the push resource; some
    /// services don't give one.
    pub message: Option<Url>,
    /// For how long the service keeps it, if it says so: no longer than it was asked.
    // R30-TTL-5.
    pub ttl: Option<Ttl>,
    /// Where the service will send the receipt, if a receipt was asked for and the service gives one.
    pub receipts: Option<ReceiptSubscription>,
}

impl Push {
    /// A message with this body, of normal urgency, that is kept for [`DEFAULT_TTL_SECS`].
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self {
            body: Some(body.into()),
            ttl: Ttl::from_secs(DEFAULT_TTL_SECS),
            urgency: Urgency::Normal,
            topic: None,
            padding: 0,
        }
    }

    /// A message without data, which only wakes its application.
    pub fn without_data() -> Self {
        Self {
            body: None,
            ..Self::new(Bytes::new())
        }
    }
}

impl fmt::Debug for Push {
    /// Without the content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push")
            .field("ttl", &self.ttl)
            .field("urgency", &self.urgency)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Accepted {
    /// Without the message resource.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted")
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

impl Sender {
    /// A sender with these certificates and proxies. It waits for an answer as long as [`SEND_WITHIN`].
    pub fn new(trust: Trust) -> Self {
        Self {
            trust,
            within: SEND_WITHIN,
        }
    }

    /// Waits for an answer at most this long, connecting included.
    #[must_use]
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// Sends one message, signed with `key` if there is one.
    ///
    /// Cancel safe in so far as nothing is kept; but a message whose call was dropped may have been accepted.
    ///
    /// # Errors
    ///
    /// [`SendError`]. After [`SendError::TimedOut`] and [`SendError::Unreachable`] nothing is known of the message.
    pub async fn send(
        &self,
        subscription: &PushSubscription,
        push: &Push,
        key: Option<&VapidKey>,
    ) -> Result<Accepted, SendError> {
        self.post(subscription, push, key, |_| Ok(())).await
    }

    /// [`send`](Self::send), and asks the service for a receipt (RFC 8030 §5.1). With `receipts`, the
    /// receipt goes to the same receipt subscription as those of earlier messages, so one [`Receipts`] gets all of them.
    /// [`Accepted::receipts`] is the receipt subscription; not every service gives one.
    ///
    /// # Errors
    ///
    /// As there; [`SendError::Malformed`] also if the service doesn't know `receipts` any more.
    // R30-RCP-4, R30-RCP-6.
    pub async fn send_with_receipt(
        &self,
        subscription: &PushSubscription,
        push: &Push,
        key: Option<&VapidKey>,
        receipts: Option<&ReceiptSubscription>,
    ) -> Result<Accepted, SendError> {
        self.post(subscription, push, key, |headers| {
            headers.insert(PREFER, HeaderValue::from_static("respond-async"));
            if let Some(receipts) = receipts {
                let mut link = value(&Relation::Receipt.link(receipts.as_str()))?;
                link.set_sensitive(true);
                headers.insert(LINK, link);
            }
            Ok(())
        })
        .await
    }

    /// The receipts of messages that were sent with this receipt subscription.
    pub fn receipts(&self, subscription: &ReceiptSubscription) -> Receipts {
        Receipts::new(subscription.clone(), self.trust.clone(), self.within)
    }

    async fn post(
        &self,
        subscription: &PushSubscription,
        push: &Push,
        key: Option<&VapidKey>,
        more: impl FnOnce(&mut HeaderMap) -> Result<(), SendError>,
    ) -> Result<Accepted, SendError> {
        let push_resource = parsed(&subscription.push_resource)?;
        let mut request = request(&push_resource, &subscription.recipient, push, key)?;
        more(request.headers_mut())?;
        let exchange = connection::exchange(&push_resource, &self.trust, request);
        let answer = tokio::time::timeout(self.within, exchange)
            .await
            .map_err(|_| SendError::TimedOut)??;
        accepted(&push_resource, &answer, key.is_some())
    }
}

/// The push resource as a URL; its origin is the audience of a token.
fn parsed(push_resource: &PushResource) -> Result<Url, SendError> {
    let url = Url::parse(push_resource.as_str()).map_err(|_| SendError::NotAPushResource)?;
    let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
    is_http.then_some(url).ok_or(SendError::NotAPushResource)
}

/// The request, exactly as in RFC 8030 §5, RFC 8291 §4 and RFC 8292 §3.
fn request(
    push_resource: &Url,
    recipient: &Recipient,
    push: &Push,
    key: Option<&VapidKey>,
) -> Result<Request<Full<Bytes>>, SendError> {
    let random = SystemRandom::new();
    let body = match &push.body {
        None => None,
        Some(body) => Some(recipient.encrypt(body, push.padding, &random)?),
    };
    let mut headers = HeaderMap::new();
    headers.insert(
        HOST,
        value(&push_resource[url::Position::BeforeHost..url::Position::AfterPort])?,
    );
    headers.insert(USER_AGENT, HeaderValue::from_static("user-agent-client"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(TTL, push.ttl.as_secs().into());
    headers.insert(URGENCY, HeaderValue::from_static(push.urgency.as_str()));
    if let Some(topic) = &push.topic {
        headers.insert(TOPIC, value(topic.as_str())?);
    }
    if body.is_some() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("aes128gcm"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    }
    if let Some(key) = key {
        let audience = push_resource.origin().ascii_serialization();
        let authorization = key
            .authorization(&audience, SystemTime::now(), &random)
            .map_err(|_| EncryptError::NoRandomness)?;
        let mut authorization = value(&authorization)?;
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION, authorization);
    }
    let body = body.unwrap_or_default();
    // Hyper leaves it out when there is nothing, where RFC 9110 §8.6 wants a POST to say so.
    headers.insert(CONTENT_LENGTH, body.len().into());
    let target = &push_resource[url::Position::BeforePath..url::Position::AfterQuery];
    let mut request = Request::new(Full::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.parse().map_err(|_| SendError::NotAPushResource)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// A parsed URL, a topic and a token have only characters that a field may have.
fn value(text: &str) -> Result<HeaderValue, SendError> {
    HeaderValue::from_str(text).map_err(|_| SendError::NotAPushResource)
}

fn accepted(push_resource: &Url, answer: &Response<Bytes>, signed: bool) -> Result<Accepted, SendError> {
    let headers = answer.headers();
    if !answer.status().is_success() {
        return Err(refusal(answer, signed, SystemTime::now()));
    }
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    Ok(Accepted {
        message: text(&LOCATION)
            .and_then(|location| push_resource.join(location).ok())
            .filter(|message| matches!(message.scheme(), "http" | "https")),
        ttl: text(&TTL).and_then(Ttl::parse),
        receipts: links::find(headers, Relation::Receipt, push_resource)
            .filter(|_| answer.status() == StatusCode::ACCEPTED)
            .and_then(|url| ReceiptSubscription::parse(&url))
            .filter(|receipts| receipts.is_as_safe_as(push_resource)),
    })
}
