//! The push service itself: POST makes a subscription (RFC 8030 §4, RFC 8292 §4.1).

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LINK, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use push_protocol::KeyDigest;
use push_protocol::capability::PushKind;
use push_protocol::headers::{self, Relation};
use push_protocol::vapid::PublicKey;
use serde::{Deserialize, Deserializer};
use subtle::ConstantTimeEq as _;

use super::answer::{OPTIONS_TYPE, Problem};
use super::body::{self, RequestBody};
use super::{Resources, routes, urls};
use crate::broker::{Refusal, SubscribeRefusal};
use crate::budgets::Payer;
use crate::defaults::SUBSCRIBE_BODY_BYTES;

/// The options of a subscription. Unknown members are ignored.
#[derive(Deserialize)]
struct Options {
    /// `null` is not the same as nothing: it is most likely a variable that was never set.
    #[serde(default, deserialize_with = "some_text")]
    vapid: Option<String>,
}

fn some_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

impl Options {
    /// Serde alone would take an array of the members' values.
    fn read(json: &[u8]) -> Option<Self> {
        let is_object = json.trim_ascii_start().first() == Some(&b'{');
        is_object.then(|| serde_json::from_slice(json).ok()).flatten()
    }
}

impl Resources {
    /// 201 with the URLs of the subscription, its push resource and its set: only this user agent gets them.
    pub(super) async fn subscribe<B: RequestBody>(
        &self,
        secret: &str,
        head: &Parts,
        body: &mut B,
        payer: Payer,
    ) -> Result<Response<Bytes>, Problem> {
        if !self.admits(secret) {
            return Err(Refusal::UnknownResource.into());
        }
        let key = self.restriction(&head.headers, body).await?;
        let named = headers::link(&head.headers, Relation::Set)?;
        let named = named.map(routes::unescaped);
        let token = named
            .as_deref()
            .map(|target| self.token_at(target, routes::SET).ok_or(Refusal::UnknownSet));
        let token = token.transpose()?;
        let set = token.map(|token| self.broker.open_set(token).map_err(|_| Refusal::UnknownSet));
        let made = self
            .broker
            .subscribe_resource(set.transpose()?.as_ref(), key, payer)
            .await?;

        let set = made.fresh_set.as_deref().or(token).unwrap_or_default();
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::CREATED;
        let fields = response.headers_mut();
        fields.insert(
            LOCATION,
            value(&self.url(routes::SUBSCRIPTION, &made.subscription)),
        );
        let push = self.url(PushKind::Push.path(), &made.push);
        fields.append(LINK, value(&Relation::Push.link(&push)));
        fields.append(LINK, value(&Relation::Set.link(&self.url(routes::SET, set))));
        Ok(response)
    }

    /// Whether the path shows the secret, if there is one.
    fn admits(&self, shown: &str) -> bool {
        match &self.secret {
            None => true,
            Some(secret) => shown.as_bytes().ct_eq(secret.as_bytes()).into(),
        }
    }

    /// The only key that may send, if the user agent names one. RFC 8292 §4.1 has services ignore bodies of other types;
    /// but then a subscription that its user agent believes to be restricted is open to all, so they are refused.
    async fn restriction<B: RequestBody>(
        &self,
        headers: &HeaderMap,
        body: &mut B,
    ) -> Result<Option<KeyDigest>, Problem> {
        let body = body::read(headers, body, SUBSCRIBE_BODY_BYTES, self.body_within).await?;
        if body.is_empty() {
            return Ok(None);
        }
        if !is_options(headers) {
            return Err(Problem::NoOptions);
        }
        let options = Options::read(&body).ok_or(Problem::Options)?;
        let key = options
            .vapid
            .map(|text| PublicKey::parse(&text).ok_or(Problem::Options));
        Ok(key.transpose()?.map(|key| key.digest()))
    }

    /// The token of one of our URLs with this path, absolute or not (R30-SUB-5); `None` for any other URL.
    pub(super) fn token_at<'a>(&self, target: &'a str, path: &str) -> Option<&'a str> {
        let target = target
            .strip_prefix(self.broker.origin().as_str())
            .unwrap_or(target);
        let token = target.strip_prefix(path)?;
        (!token.contains(['/', '?', '#'])).then_some(token)
    }

    pub(super) fn url(&self, path: &str, token: &str) -> String {
        urls::url(&self.broker, path, token)
    }
}

/// Why a subscription is refused over the WebSocket, in a sentence for the user agent. `None`: nothing is wrong with the request,
/// and it can be repeated later.
pub fn subscribe_refusal(refusal: SubscribeRefusal) -> Option<&'static str> {
    match refusal {
        SubscribeRefusal::MalformedKey => {
            Some("key must be an uncompressed P-256 public key of 65 bytes, in base64url")
        }
        SubscribeRefusal::TooManySubscriptions => Some(
            "this user agent has reached the limit of subscriptions (limits.subscriptions_per_user_agent)",
        ),
        SubscribeRefusal::TooManyRecords => {
            Some("too many subscriptions are made from your address; try again later")
        }
        SubscribeRefusal::StorageUnavailable => None,
    }
}

fn is_options(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|line| line.to_str().ok());
    let essence = media_type.and_then(|text| text.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(OPTIONS_TYPE))
}

pub(super) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("an origin, a path and a token are visible ASCII")
}
