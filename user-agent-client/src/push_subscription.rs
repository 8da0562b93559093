//! What an application server knows of a subscription, in the JSON of the Push API.
//!
//! **Invariant:** the private key is not in it. `Debug` hides the push resource and the keys: they are all that is needed to
//! send.

// WP-SUB-3.

use std::fmt;
use std::str::FromStr;

use push_protocol::encryption::{Recipient, RecipientError};
use push_protocol::session::user_agent::PushResource;
use serde::ser::{Serialize, SerializeStruct as _, Serializer};
use serde_json::Value;

use crate::defaults::PUSH_SUBSCRIPTION_BYTES;

/// What an application server knows of a subscription: the `PushSubscription` of the Push API.
///
/// It serializes to `{"endpoint":…,"expirationTime":null,"keys":{"auth":…,"p256dh":…}}`. Ours don't expire.
#[derive(Clone)]
pub struct PushSubscription {
    /// Where messages are sent: the *endpoint*.
    pub push_resource: PushResource,
    /// The keys to encrypt for.
    pub recipient: Recipient,
}

impl PushSubscription {
    /// Reads the JSON of the Push API as browsers write it and as senders' libraries take it: keys in base64url or standard
    /// base64, padded or not. Further members are ignored, `expirationTime` too: the service says what is over.
    ///
    /// # Errors
    ///
    /// What is missing or malformed.
    pub fn parse(text: &str) -> Result<Self, PushSubscriptionError> {
        use PushSubscriptionError::{Malformed, Missing};
        if text.len() > PUSH_SUBSCRIPTION_BYTES {
            return Err(PushSubscriptionError::TooLong);
        }
        let object: Value = serde_json::from_str(text).map_err(|_| PushSubscriptionError::NotJson)?;
        if !object.is_object() {
            return Err(PushSubscriptionError::NotJson);
        }
        let member = |pointer, name| match object.pointer(pointer) {
            None | Some(Value::Null) => Err(Missing(name)),
            Some(Value::String(text)) => Ok(text.as_str()),
            Some(_) => Err(Malformed(name)),
        };
        let endpoint = member("/endpoint", ENDPOINT)?;
        let p256dh = member("/keys/p256dh", P256DH)?;
        let auth = member("/keys/auth", AUTH)?;
        Ok(Self {
            push_resource: PushResource::parse(endpoint).ok_or(Malformed(ENDPOINT))?,
            recipient: Recipient::parse(p256dh, auth).map_err(|error| match error {
                RecipientError::MalformedPublicKey => Malformed(P256DH),
                RecipientError::MalformedSecret => Malformed(AUTH),
            })?,
        })
    }

    /// The bytes of `p256dh` or `auth`; `None` for other names (Push API, `getKey()`).
    pub fn get_key(&self, name: &str) -> Option<Vec<u8>> {
        get_key(&self.recipient, name)
    }

    /// The JSON of the Push API (`toJSON()`).
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings always serialize")
    }
}

/// [`parse`](PushSubscription::parse).
impl FromStr for PushSubscription {
    type Err = PushSubscriptionError;

    fn from_str(text: &str) -> Result<Self, PushSubscriptionError> {
        Self::parse(text)
    }
}

impl PartialEq for PushSubscription {
    fn eq(&self, other: &Self) -> bool {
        self.push_resource == other.push_resource && is_same(&self.recipient, &other.recipient)
    }
}

impl Eq for PushSubscription {}

impl fmt::Debug for PushSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushSubscription(…)")
    }
}

impl Serialize for PushSubscription {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("PushSubscription", 3)?;
        object.serialize_field("endpoint", self.push_resource.as_str())?;
        object.serialize_field("expirationTime", &None::<u64>)?;
        object.serialize_field("keys", &Keys(&self.recipient))?;
        object.end()
    }
}

/// In the order of their names.
// WP-SUB-11.
struct Keys<'a>(&'a Recipient);

impl Serialize for Keys<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("keys", 2)?;
        object.serialize_field("auth", &self.0.auth())?;
        object.serialize_field("p256dh", &self.0.p256dh())?;
        object.end()
    }
}

const ENDPOINT: &str = "endpoint";
const P256DH: &str = "keys.p256dh";
const AUTH: &str = "keys.auth";

/// Why a text is no `PushSubscription`. Quotes nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PushSubscriptionError {
    /// It has more than [`PUSH_SUBSCRIPTION_BYTES`].
    TooLong,
    /// It is no JSON object.
    NotJson,
    /// This member is missing.
    Missing(&'static str),
    /// This member is unusable.
    Malformed(&'static str),
}

impl fmt::Display for PushSubscriptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(
                f,
                "The subscription has more than {PUSH_SUBSCRIPTION_BYTES} bytes; pass one PushSubscription and nothing else."
            ),
            Self::NotJson => f.write_str(
                "The subscription is not a JSON object; pass what `subscribe` printed, or the browser's \
                 PushSubscription.",
            ),
            Self::Missing(member) => write!(
                f,
                "The subscription has no {member}; pass all of the PushSubscription: endpoint, keys.p256dh and keys.auth."
            ),
            Self::Malformed(ENDPOINT) => write!(
                f,
                "The subscription's endpoint is malformed; it must be an absolute https: or http: URL of at \
                 most {} bytes.",
                PushResource::MAX_BYTES
            ),
            Self::Malformed(P256DH) => {
                write!(
                    f,
                    "The subscription's keys.p256dh is malformed. {}",
                    RecipientError::MalformedPublicKey
                )
            }
            Self::Malformed(AUTH) => {
                write!(
                    f,
                    "The subscription's keys.auth is malformed. {}",
                    RecipientError::MalformedSecret
                )
            }
            Self::Malformed(member) => write!(f, "The subscription's {member} is malformed."),
        }
    }
}

impl std::error::Error for PushSubscriptionError {}

pub(crate) fn get_key(recipient: &Recipient, name: &str) -> Option<Vec<u8>> {
    match name {
        "p256dh" => Some(recipient.public_key().as_bytes().to_vec()),
        "auth" => Some(recipient.authentication_secret().to_vec()),
        _ => None,
    }
}

pub(crate) fn is_same(one: &Recipient, other: &Recipient) -> bool {
    one.public_key() == other.public_key() && one.authentication_secret() == other.authentication_secret()
}

/// The keys of the receiver in RFC 8291, appendix A.
#[cfg(test)]
pub(crate) mod rfc8291 {
    pub(crate) const RFC_P256DH: &str =
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    pub(crate) const RFC_AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";
}

#[cfg(test)]
mod tests {
    use super::rfc8291::{RFC_AUTH, RFC_P256DH};
    use super::*;

    const URL: &str = "https://push.example.net/wpush/v2/abc?d=e&f";

    fn subscription() -> PushSubscription {
        PushSubscription {
            push_resource: PushResource::parse(URL).unwrap(),
            recipient: Recipient::parse(RFC_P256DH, RFC_AUTH).unwrap(),
        }
    }

    /// E91-2: every spelling of the keys that browsers and senders' libraries use is read, and other members don't matter.
    #[test]
    fn what_senders_have_is_read() {
        let ours = subscription();
        let standard = |text: &str| text.replace('-', "+").replace('_', "/");
        for (p256dh, auth) in [
            (RFC_P256DH.to_owned(), RFC_AUTH.to_owned()),
            (format!("{RFC_P256DH}="), format!("{RFC_AUTH}==")),
            (standard(RFC_P256DH), standard(RFC_AUTH)),
            (
                standard(&format!("{RFC_P256DH}=")),
                standard(&format!("{RFC_AUTH}==")),
            ),
        ] {
            for text in [
                format!(r#"{{"endpoint":"{URL}","keys":{{"p256dh":"{p256dh}","auth":"{auth}"}}}}"#),
                format!(
                    r#" {{"keys": {{"auth": "{auth}", "p256dh": "{p256dh}", "x": [1]}},
                       "expirationTime": 1700000000000, "options": {{}}, "endpoint": "{URL}"}} "#
                ),
            ] {
                assert_eq!(PushSubscription::parse(&text), Ok(ours.clone()), "{text}");
            }
        }
    }

    /// What can't be used is named, and nothing of it is quoted.
    #[test]
    fn what_is_wrong_is_named() {
        use PushSubscriptionError::{Malformed, Missing, NotJson, TooLong};
        let good = subscription().to_json();
        let off_curve = RFC_P256DH.replace("iw4", "iw8");
        for (text, expected) in [
            (good.replace("endpoint", "url"), Missing(ENDPOINT)),
            (good.replace("p256dh", "key"), Missing(P256DH)),
            (good.replace("auth", "secret"), Missing(AUTH)),
            (good.replace("keys", "key"), Missing(P256DH)),
            (good.replace(&format!("\"{RFC_AUTH}\""), "null"), Missing(AUTH)),
            (good.replace(&format!("\"{RFC_AUTH}\""), "{}"), Malformed(AUTH)),
            (good.replace(RFC_AUTH, "AAAA"), Malformed(AUTH)),
            (good.replace(RFC_P256DH, &off_curve), Malformed(P256DH)),
            (good.replace("https:", "gopher:"), Malformed(ENDPOINT)),
            (format!("[{good}]"), NotJson),
            (format!("{good}{good}"), NotJson),
            (String::new(), NotJson),
            ("null".into(), NotJson),
            ("[".repeat(PUSH_SUBSCRIPTION_BYTES), NotJson),
            (format!("{good}{}", " ".repeat(PUSH_SUBSCRIPTION_BYTES)), TooLong),
        ] {
            let error = PushSubscription::parse(&text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            let sentence = error.to_string();
            assert!(
                [URL, RFC_AUTH, RFC_P256DH]
                    .iter()
                    .all(|secret| !sentence.contains(secret))
            );
            if let Missing(member) | Malformed(member) = expected {
                assert!(sentence.contains(member), "{sentence}");
            }
        }
    }

    /// The standard way to read one is the same.
    #[test]
    fn it_is_read_from_a_string() {
        let json = subscription().to_json();
        assert_eq!(json.parse(), Ok(subscription()));
        assert_eq!(
            "{".parse::<PushSubscription>(),
            Err(PushSubscriptionError::NotJson)
        );
    }
}
