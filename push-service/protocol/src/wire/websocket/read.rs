//! What a user agent says.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::identifiers::{MessageId, SubscriptionName, UserAgentIdentity};
use crate::urgency::Urgency;

/// A user agent's message.
#[derive(PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// The first one. The identity is absent if the user agent has none, or sent something that can't be one. The
    /// urgency is the least that it wants from the beginning: everything, if it doesn't say, or no urgency.
    // WS-HEL-1, R30-URG-7.
    Hello(Option<UserAgentIdentity>, Urgency),
    /// Make a subscription, or find it again.
    Register {
        /// Its name.
        name: Name<'a>,
        /// The application server's public key, as it was spelled.
        key: Option<Cow<'a, str>>,
    },
    /// End a subscription. The code says why; it's read and not kept.
    // WS-UNR-1.
    Unregister {
        /// Its name.
        name: Name<'a>,
        /// 200 by the application, 201 over quota, 202 permission revoked.
        code: Option<u16>,
    },
    /// These messages arrived and need not come again.
    Ack(Vec<Acknowledgement>),
    /// A handler failed after the acknowledgement: for statistics.
    // WS-ACK-4.
    Nack(NackCode),
    /// Are you there?
    Ping,
    /// Subscribes to broadcasts. This service has no broadcasts.
    // WS-BRD-3.
    BroadcastSubscribe,
    /// Take messages of this urgency and above only; `None` if the name is not one of the four.
    // WS-URG-1.
    Urgency(Option<Urgency>),
}

/// A subscription's name as it was spelled, which is how the reply must spell it.
// WS-REG-2.
#[derive(PartialEq, Eq, Debug)]
pub struct Name<'a> {
    /// By the letter.
    pub text: Cow<'a, str>,
    /// What it names, if it is a lower-case, dashed UUID.
    // WS-REG-1.
    pub parsed: Option<SubscriptionName>,
}

/// One entry of an `ack`.
#[derive(PartialEq, Eq, Debug)]
pub struct Acknowledgement {
    /// The message; `None` if the version is not one that a service of ours made; that is ignored.
    // WS-ACK-2.
    pub message: Option<MessageId>,
    /// What the user agent did with it.
    pub code: AckCode,
}

/// What the user agent did with a message. Each of them ends it.
// WS-ACK-1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AckCode {
    /// 100, or not given.
    Delivered,
    /// 101.
    NotDecrypted,
    /// 102, or any other.
    NotDelivered,
}

/// Why an application's handler failed.
// WS-ACK-4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NackCode {
    /// 301: it threw an exception.
    Exception,
    /// 302: it left a rejection unhandled.
    Rejection,
    /// 303: the user agent failed.
    Internal,
    /// Any other, or none.
    Other,
}

impl NackCode {
    fn read(code: Option<u16>) -> Self {
        match code {
            Some(301) => Self::Exception,
            Some(302) => Self::Rejection,
            Some(303) => Self::Internal,
            _ => Self::Other,
        }
    }
}

/// A text that is no message. Says what is wrong with it, for the close reason; never repeats it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

/// Reads one text message.
///
/// # Errors
///
/// [`Malformed`] for what is no JSON object of a known type, or lacks a member.
pub fn parse(text: &str) -> Result<Request<'_>, Malformed> {
    if text == "{}" {
        return Ok(Request::Ping);
    }
    let Object(message): Object<Message<'_>> = serde_json::from_str(text)
        .map_err(|_| Malformed("a message must be one JSON object, and each member of the right type"))?;
    match message.message_type.as_deref() {
        None if message.is_empty() => Ok(Request::Ping),
        None => Err(Malformed("messageType is missing")),
        Some("hello") => Ok(Request::Hello(
            message.uaid.0.as_deref().and_then(UserAgentIdentity::parse),
            (message.urgency.0.as_deref().and_then(Urgency::parse)).unwrap_or(Urgency::VeryLow),
        )),
        Some("register") => Ok(Request::Register {
            name: name(message.channel_id)?,
            key: message.key.map(|Text(key)| key),
        }),
        Some("unregister") => Ok(Request::Unregister {
            name: name(message.channel_id)?,
            code: message.code,
        }),
        Some("ack") => Ok(Request::Ack(acknowledgements(message.updates)?)),
        Some("nack") => Ok(Request::Nack(NackCode::read(message.code))),
        Some("ping") => Ok(Request::Ping),
        Some("broadcast_subscribe" | "broadcastsubscribe") => Ok(Request::BroadcastSubscribe),
        Some("urgency") => Ok(Request::Urgency(message.min.as_deref().and_then(Urgency::parse))),
        Some(_) => Err(Malformed("unknown messageType")),
    }
}

/// A text that is borrowed unless something in it is escaped. Inside an `Option`, serde would copy a bare `Cow`.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Every member that any message has. Unknown ones are ignored (WS-HEL-13).
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, rename = "messageType")]
    message_type: Option<Text<'a>>,
    #[serde(borrow, default)]
    uaid: Lenient<'a>,
    #[serde(borrow, default)]
    urgency: Lenient<'a>,
    #[serde(borrow, rename = "channelID")]
    channel_id: Option<Text<'a>>,
    #[serde(borrow)]
    key: Option<Text<'a>>,
    code: Option<u16>,
    #[serde(borrow)]
    updates: Option<Vec<Object<Update<'a>>>>,
    #[serde(borrow)]
    min: Option<Text<'a>>,
}

impl Message<'_> {
    fn is_empty(&self) -> bool {
        let texts = [&self.channel_id, &self.key, &self.min];
        texts.iter().all(|text| text.is_none())
            && self.uaid.0.is_none()
            && self.code.is_none()
            && self.updates.is_none()
    }
}

#[derive(Deserialize)]
struct Update<'a> {
    #[serde(borrow)]
    version: Option<Text<'a>>,
    code: Option<u16>,
}

fn name(text: Option<Text<'_>>) -> Result<Name<'_>, Malformed> {
    let Text(text) = text.ok_or(Malformed("channelID is missing"))?;
    let parsed = SubscriptionName::parse(&text);
    Ok(Name { text, parsed })
}

fn acknowledgements(updates: Option<Vec<Object<Update<'_>>>>) -> Result<Vec<Acknowledgement>, Malformed> {
    let updates = updates.ok_or(Malformed("an ack needs the member updates"))?;
    Ok(updates
        .iter()
        .map(|Object(update)| update.acknowledgement())
        .collect())
}

impl Update<'_> {
    fn acknowledgement(&self) -> Acknowledgement {
        let code = match self.code {
            None | Some(100) => AckCode::Delivered,
            Some(101) => AckCode::NotDecrypted,
            Some(_) => AckCode::NotDelivered,
        };
        Acknowledgement {
            message: self.version.as_deref().and_then(MessageId::parse),
            code,
        }
    }
}

/// A JSON object and nothing else: serde alone would take an array of the members' values for it.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// A string, or anything else, which counts as absent: a user agent with a broken identity gets a new one.
#[derive(Default)]
struct Lenient<'a>(Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Lenient<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LenientVisitor).map(Self)
    }
}

struct LenientVisitor;

impl<'de> Visitor<'de> for LenientVisitor {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UAID: &str = "0123456789abcdef0123456789abcdef";
    const CHANNEL: &str = "deadbeef-0000-4000-8000-0123456789ab";

    /// WS-HEL-1, WS-HEL-13, KU-2, SU-1: whatever stands for the uaid, a hello is a hello.
    #[test]
    fn hello_in_every_spelling() {
        let known = UserAgentIdentity::parse(UAID);
        let rows = [
            (
                format!(r#"{{"messageType":"hello","use_webpush":true,"uaid":"{UAID}"}}"#),
                known.clone(),
            ),
            (
                format!(
                    r#"{{"messageType":"hello","broadcasts":{{"a":"\"1\""}},"channelIDs":[],"uaid":"{UAID}"}}"#
                ),
                known,
            ),
            (
                r#"{"messageType":"hello","broadcasts":{},"use_webpush":true}"#.into(),
                None,
            ),
            (
                r#"{"messageType":"hello","uaid":null,"use_webpush":true}"#.into(),
                None,
            ),
            (r#"{"messageType":"hello","uaid":""}"#.into(), None),
            (r#"{"messageType":"hello","uaid":"not a uuid"}"#.into(), None),
            (r#"{"messageType":"hello","uaid":17}"#.into(), None),
            (
                r#"{"messageType":"hello","uaid":["x",{"y":[1.5,true]}]}"#.into(),
                None,
            ),
        ];
        for (text, identity) in rows {
            let expected = Request::Hello(identity, Urgency::VeryLow);
            assert_eq!(parse(&text), Ok(expected), "{text}");
        }
    }

    /// R30-URG-5, R30-URG-7, WS-HEL-13: the lowest urgency of a hello; what is none means that everything is wanted, and is no
    /// reason to refuse.
    #[test]
    fn hello_from_an_urgency_on() {
        let rows = [
            (r#""high""#, Urgency::High),
            (r#""very-low""#, Urgency::VeryLow),
            (r#""loud""#, Urgency::VeryLow),
            (r#"["high"]"#, Urgency::VeryLow),
            ("null", Urgency::VeryLow),
        ];
        for (urgency, expected) in rows {
            let text = format!(r#"{{"messageType":"hello","urgency":{urgency}}}"#);
            assert_eq!(parse(&text), Ok(Request::Hello(None, expected)), "{text}");
        }
    }

    /// WS-REG-1, WS-REG-2, WS-REG-3: the name is kept unchanged and the key as it was spelled.
    #[test]
    fn register() {
        let text = format!(r#"{{"messageType":"register","channelID":"{CHANNEL}","key":"BA1="}}"#);
        let name = Name {
            text: CHANNEL.into(),
            parsed: SubscriptionName::parse(CHANNEL),
        };
        assert_eq!(
            parse(&text),
            Ok(Request::Register {
                name,
                key: Some("BA1=".into())
            })
        );
        let odd = parse(r#"{"messageType":"register","channelID":"Nonsense"}"#).unwrap();
        assert_eq!(
            odd,
            Request::Register {
                name: Name {
                    text: "Nonsense".into(),
                    parsed: None
                },
                key: None
            }
        );
    }

    /// WS-UNR-1, KU-4: an unregistration has a code or not.
    #[test]
    fn unregister() {
        for (member, code) in [("", None), (r#","code":201"#, Some(201))] {
            let text = format!(r#"{{"messageType":"unregister","channelID":"{CHANNEL}"{member}}}"#);
            let name = Name {
                text: CHANNEL.into(),
                parsed: SubscriptionName::parse(CHANNEL),
            };
            assert_eq!(parse(&text), Ok(Request::Unregister { name, code }));
        }
    }

    /// WS-ACK-1, WS-ACK-2, KU-5, SU-4: several updates, codes or none, and versions that are none of ours.
    #[test]
    fn ack() {
        let id = MessageId {
            number: crate::MessageNumber(7),
            nonce: 9,
        };
        let text = format!(
            r#"{{"messageType":"ack","updates":[{{"channelID":"{CHANNEL}","version":"{}","code":100}},
                {{"version":"{}"}},{{"version":"{}","code":101}},{{"version":"foreign","code":102}},{{}}]}}"#,
            id.to_base64url(),
            id.to_base64url(),
            id.to_base64url()
        );
        let of = |message, code| Acknowledgement { message, code };
        let expected = vec![
            of(Some(id), AckCode::Delivered),
            of(Some(id), AckCode::Delivered),
            of(Some(id), AckCode::NotDecrypted),
            of(None, AckCode::NotDelivered),
            of(None, AckCode::Delivered),
        ];
        assert_eq!(parse(&text), Ok(Request::Ack(expected)));
    }

    /// WS-CON-7, WS-PNG-1, WS-BRD-1, WS-URG-1, WS-ACK-4: the short ones.
    #[test]
    fn short_messages() {
        let rows = [
            ("{}", Request::Ping),
            (" { } ", Request::Ping),
            (r#"{"messageType":"ping"}"#, Request::Ping),
            (
                r#"{"messageType":"broadcast_subscribe","broadcasts":{"a":"b"}}"#,
                Request::BroadcastSubscribe,
            ),
            (
                r#"{"messageType":"broadcastsubscribe","broadcasts":{}}"#,
                Request::BroadcastSubscribe,
            ),
            (
                r#"{"messageType":"nack","version":"x","code":302}"#,
                Request::Nack(NackCode::Rejection),
            ),
            (
                r#"{"messageType":"urgency","min":"high"}"#,
                Request::Urgency(Some(Urgency::High)),
            ),
            (
                r#"{"messageType":"urgency","min":"loud"}"#,
                Request::Urgency(None),
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    /// WS-TYP-2: what is no message is refused with a sentence, at any depth and length, and never panics.
    #[test]
    fn not_a_message() {
        let rows = [
            "",
            "null",
            "[]",
            "\"hello\"",
            "{",
            "{\"messageType\":\"hello\"",
            "{\"messageType\":7}",
            r#"{"messageType":"bye"}"#,
            r#"{"messageType":"register"}"#,
            r#"{"messageType":"register","channelID":5}"#,
            r#"{"messageType":"ack"}"#,
            r#"{"messageType":"ack","updates":{}}"#,
            r#"{"messageType":"ack","updates":[["x",100]]}"#,
            r#"["ping",null,null,null,null,null,null]"#,
            r#"{"code":1}"#,
            r#"{"min":"low"}"#,
            r#"{"uaid":"x"}"#,
        ];
        for text in rows {
            assert!(parse(text).is_err(), "{}", &text[..text.len().min(60)]);
        }
    }

    /// Nesting of any depth costs no stack: what stands for the uaid is skipped, not built.
    #[test]
    fn deep_nesting() {
        let deep = format!(
            r#"{{"messageType":"hello","uaid":{}{}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert_eq!(parse(&deep), Ok(Request::Hello(None, Urgency::VeryLow)));
        let open = format!(r#"{{"messageType":"hello","uaid":{}"#, "[".repeat(100_000));
        assert!(parse(&open).is_err());
    }
}
