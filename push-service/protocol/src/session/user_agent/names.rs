//! The names that a user agent and its service use for things.
//!
//! What a service calls us, a push resource or a subscription is checked once, kept and compared by its letter, and never
//! printed. A message has a key of a fixed size, made of its names. A wish says which messages the service is to bring.

use std::fmt;

use ring::digest::{Context, Digest, SHA256};

use crate::urgency::Urgency;

/// Who a user agent is to its service, exactly as the service wrote it. A secret: it prints as `…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity(Box<str>);

impl Identity {
    /// The longest that is taken.
    // WS-HEL-3.
    pub const MAX_BYTES: usize = 128;

    /// Takes what a service said. `None` if it is empty or too long.
    // WS-HEL-3.
    pub fn parse(text: &str) -> Option<Self> {
        (1..=Self::MAX_BYTES)
            .contains(&text.len())
            .then(|| Self(text.into()))
    }

    /// Takes the URL of a subscription set, absolute, by which an RFC 8030 service knows us (RFC 8030 §4.1). It may be as
    /// long as a push resource.
    pub fn of_set(url: &str) -> Option<Self> {
        is_web_url(url).then(|| Self(url.into()))
    }

    /// By the letter.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

/// The URL to which an application server sends (RFC 8030 §2). To know it is to be able to send, so it prints as `…`.
#[derive(Clone, PartialEq, Eq)]
pub struct PushResource(Box<str>);

impl PushResource {
    /// The longest that is taken.
    // WS-REG-11, UP-SRV-2.
    pub const MAX_BYTES: usize = 1_000;

    /// Takes an absolute `https:` or `http:` URI.
    // WS-REG-5.
    pub fn parse(text: &str) -> Option<Self> {
        is_web_url(text).then(|| Self(text.into()))
    }

    /// The URL itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PushResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushResource(…)")
    }
}

/// The URL by which a user agent ends a subscription (RFC 8030 §4). To know it is to be able to read and end it,
/// so it prints as `…`. A WebSocket service has no such URL: there a subscription is ended by its name.
#[derive(Clone, PartialEq, Eq)]
pub struct SubscriptionResource(Box<str>);

impl SubscriptionResource {
    /// Takes an absolute `https:` or `http:` URI, no longer than a push resource.
    pub fn parse(text: &str) -> Option<Self> {
        is_web_url(text).then(|| Self(text.into()))
    }

    /// The URL itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SubscriptionResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubscriptionResource(…)")
    }
}

/// Which push message: its subscription and its id, cut from the SHA-256 of both, so of one size whatever they are.
/// Services need not make ids that differ between subscriptions.
// PR-46.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct MessageKey(pub [u8; 16]);

impl MessageKey {
    /// Of the message with this id, of this subscription exactly as the service wrote it.
    pub fn of(subscription: &str, id: &str) -> Self {
        let mut digest = Context::new(&SHA256);
        // Its length says where the name ends and the id begins.
        digest.update(&(subscription.len() as u64).to_be_bytes());
        digest.update(subscription.as_bytes());
        digest.update(id.as_bytes());
        Self::cut(&digest.finish())
    }

    /// The key of a message with this id in earlier versions.
    pub fn of_id(id: &str) -> Self {
        Self::cut(&ring::digest::digest(&SHA256, id.as_bytes()))
    }

    fn cut(digest: &Digest) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&digest.as_ref()[..16]);
        Self(key)
    }
}

/// What a service is to bring of what is sent to a user agent. All else stays with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wish {
    /// Nothing less urgent than this.
    // R30-URG-5.
    pub lowest: Urgency,
    /// For how long.
    pub extent: Extent,
}

/// For how long a service is to bring messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// As long as the channel lives.
    Lasting,
    /// What waits, and no more. Then [`caught_up`](super::UserAgent::caught_up) is called.
    // R30-MON-12.
    Waiting,
    /// Nothing more.
    Nothing,
}

impl Default for Wish {
    /// Everything, for as long as the channel lives (R30-URG-7).
    fn default() -> Self {
        Self {
            lowest: Urgency::VeryLow,
            extent: Extent::Lasting,
        }
    }
}

fn is_web_url(text: &str) -> bool {
    if text.len() > PushResource::MAX_BYTES {
        return false;
    }
    let Ok(uri) = text.parse::<http::Uri>() else {
        return false;
    };
    let is_web = matches!(uri.scheme_str(), Some("https" | "http"));
    is_web && uri.host().is_some_and(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WS-HEL-3, WS-REG-5, WS-REG-11: what a service may call us and our push resources.
    #[test]
    fn what_a_service_may_say() {
        assert!(Identity::parse("").is_none());
        assert!(Identity::parse(&"x".repeat(129)).is_none());
        assert_eq!(Identity::parse("x").unwrap().as_str(), "x");
        let long = format!("https://h/{}", "x".repeat(990));
        for (text, good) in [
            ("https://push.example.net/wpush/v2/abc", true),
            ("http://127.0.0.1:8080/x", true),
            (&long, true),
            (&format!("{long}x"), false),
            ("/wpush/v2/abc", false),
            ("ftp://h/x", false),
            ("https:///x", false),
            ("not a uri", false),
            ("", false),
        ] {
            assert_eq!(PushResource::parse(text).is_some(), good, "{text}");
        }
    }

    /// What a service calls us, a push resource and a subscription are given by the letter, and never printed.
    #[test]
    fn names_are_given_and_not_printed() {
        let url = "https://push.example.net/secret";
        let identity = Identity::parse("secret").unwrap();
        let push_resource = PushResource::parse(url).unwrap();
        let resource = SubscriptionResource::parse(url).unwrap();
        assert_eq!(identity.as_str(), "secret");
        assert_eq!((push_resource.as_str(), resource.as_str()), (url, url));
        assert_eq!(
            format!("{identity:?} {push_resource:?} {resource:?}"),
            "Identity(…) PushResource(…) SubscriptionResource(…)"
        );
    }
}
