//! A subscription as the application sees it.
//!
//! Of it, the application server gets a [`PushSubscription`], in the JSON of the Push API, which every sender's library reads.
//!
//! **Invariant:** the private key is not in it. `Debug` hides the push resource and the keys: they are all that is needed to
//! send.

// WP-SUB-3.

use std::fmt;

use push_protocol::encryption::Recipient;
use push_protocol::identifiers::SubscriptionName;
use push_protocol::session::user_agent::PushResource;
use push_protocol::vapid::PublicKey;

use crate::push_subscription::{PushSubscription, get_key, is_same};

/// A subscription that the application wants.
#[derive(Clone)]
#[non_exhaustive]
pub struct Subscription {
    /// What people call it.
    pub label: Box<str>,
    /// What the service calls it.
    pub name: SubscriptionName,
    /// Where messages are sent. `None` until the service confirms the subscription, or confirms it again after it forgot
    /// us.
    pub push_resource: Option<PushResource>,
    /// The keys that an application server encrypts for. They are others after the service forgot us.
    // WP-RFR-1.
    pub recipient: Recipient,
    /// Who alone may send, if it is restricted (RFC 8292 §4).
    pub application_server: Option<PublicKey>,
    /// When the application made it: milliseconds since 1970, by this machine's clock.
    pub created: u64,
    /// The push resource is another one than before, and the application has not said that it knows.
    // WP-RFR-2.
    pub replaced: bool,
}

impl Subscription {
    /// The public key in 87 characters of base64url.
    pub fn p256dh(&self) -> String {
        self.recipient.p256dh()
    }

    /// The authentication secret in 22 characters of base64url.
    pub fn auth(&self) -> String {
        self.recipient.auth()
    }

    /// The bytes of `p256dh` or `auth`; `None` for other names (Push API, `getKey()`).
    pub fn get_key(&self, name: &str) -> Option<Vec<u8>> {
        get_key(&self.recipient, name)
    }

    /// What an application server needs; `None` while there is no push resource.
    pub fn push_subscription(&self) -> Option<PushSubscription> {
        Some(PushSubscription {
            push_resource: self.push_resource.clone()?,
            recipient: self.recipient.clone(),
        })
    }

    /// What an application server needs, in the JSON of the Push API; `None` while there is no push resource.
    pub fn to_json(&self) -> Option<String> {
        self.push_subscription()
            .map(|subscription| subscription.to_json())
    }
}

impl PartialEq for Subscription {
    fn eq(&self, other: &Self) -> bool {
        self.label == other.label
            && self.name == other.name
            && self.push_resource == other.push_resource
            && is_same(&self.recipient, &other.recipient)
            && self.application_server == other.application_server
            && self.created == other.created
            && self.replaced == other.replaced
    }
}

impl Eq for Subscription {}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("label", &self.label)
            .field("name", &self.name)
            .field("push_resource", &self.push_resource)
            .field("application_server", &self.application_server)
            .field("created", &self.created)
            .field("replaced", &self.replaced)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use push_protocol::encryption::SubscriptionKeys;

    use super::*;
    use crate::push_subscription::rfc8291::{RFC_AUTH, RFC_P256DH};

    const URL: &str = "https://push.example.net/wpush/v2/abc?d=e&f";

    fn subscription() -> Subscription {
        Subscription {
            label: "news".into(),
            name: SubscriptionName([7; 16]),
            push_resource: PushResource::parse(URL),
            recipient: Recipient::parse(RFC_P256DH, RFC_AUTH).unwrap(),
            application_server: None,
            created: 1,
            replaced: false,
        }
    }

    /// WP-SUB-2, WP-SUB-11, E91-2: exactly the JSON of the Push API; none before there is an endpoint.
    #[test]
    fn the_json_is_that_of_the_push_api() {
        let mut subscription = subscription();
        let json = format!(
            "{{\"endpoint\":\"{URL}\",\"expirationTime\":null,\
             \"keys\":{{\"auth\":\"{RFC_AUTH}\",\"p256dh\":\"{RFC_P256DH}\"}}}}"
        );
        assert_eq!(subscription.to_json().unwrap(), json);
        let parsed = PushSubscription::parse(&json).unwrap();
        assert_eq!(parsed, subscription.push_subscription().unwrap());
        assert_eq!(serde_json::to_string(&parsed).unwrap(), json);
        subscription.push_resource = None;
        assert_eq!(subscription.to_json(), None);
    }

    /// WP-SUB-12: both keys by name, as bytes.
    #[test]
    fn keys_are_given_by_name() {
        let subscription = subscription();
        let keys = SubscriptionKeys::generate(&ring::rand::SystemRandom::new()).unwrap();
        assert_eq!(
            get_key(keys.recipient(), "auth").unwrap(),
            keys.authentication_secret()
        );
        let point = subscription.get_key("p256dh").unwrap();
        assert_eq!((point.len(), point[0]), (65, 4));
        assert_eq!(subscription.get_key("auth").unwrap().len(), 16);
        for unknown in ["", "P256DH", "private_key"] {
            assert_eq!(subscription.get_key(unknown), None);
            assert_eq!(subscription.push_subscription().unwrap().get_key(unknown), None);
        }
    }

    /// To know these is to be able to send, so they don't get into logs.
    #[test]
    fn debug_hides_what_opens() {
        let subscription = subscription();
        let debug = format!("{subscription:?} {:?}", subscription.push_subscription());
        assert!(debug.contains("news"));
        assert!(
            [URL, "abc", RFC_AUTH, RFC_P256DH]
                .iter()
                .all(|secret| !debug.contains(secret)),
            "{debug}"
        );
    }
}
