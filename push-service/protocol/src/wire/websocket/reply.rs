//! What a service says, as the user agent reads it.
//!
//! Tolerant as Firefox is: members that are unknown or of a wrong type count as absent, unknown types are signs of life.
//! A service that lies gets no more out of it than a message that is acknowledged and dropped.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::read::{Malformed, Object};
use crate::base64url;
use crate::identifiers::SubscriptionName;
use crate::message::{Coding, Content};
use crate::session::Moment;
use crate::session::user_agent::{
    Action, Arrived, Identity, Metadata, PushResource, Registered, Unregistered, UserAgent,
};
use crate::topic::Topic;
use crate::urgency::Urgency;

/// A service's message.
#[derive(PartialEq, Eq, Debug)]
pub enum Reply {
    /// The answer to hello; `None` if it lacks an identity, has another status than 200, or says that this service can't
    /// carry messages.
    // WS-HEL-3 to WS-HEL-5.
    Hello(Option<Identity>),
    /// The answer to a `register`; `None` for an unknown name. The details are for people.
    Registered(Option<SubscriptionName>, Registered, RegisterDetails),
    /// The answer to an `unregister`, and whether it was done.
    Unregistered(Option<SubscriptionName>, bool),
    /// A push message.
    Arrived(Arrived),
    /// Anything else: a sign of life.
    // WS-PNG-4, WS-TYP-1.
    SignOfLife,
}

/// The answer to a `register` in the service's own words.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct RegisterDetails {
    /// The status, if it is a number.
    pub status: Option<u16>,
    /// What a refusal says in the place of the push resource.
    // WS-REG-7.
    pub words: Option<Box<str>>,
}

/// Reads one text message.
///
/// # Errors
///
/// [`Malformed`] for what is no JSON object, and for a push message that names no subscription or has no id: nothing can
/// be said about it, not even that it need not come again.
// WS-NOT-1.
pub fn parse_reply(text: &str) -> Result<Reply, Malformed> {
    if text == "{}" {
        return Ok(Reply::SignOfLife);
    }
    let Object(members): Object<Members<'_>> =
        serde_json::from_str(text).map_err(|_| Malformed("a message must be one JSON object"))?;
    let kind = members.message_type.and_then(string);
    match kind.as_deref() {
        Some("hello") => Ok(Reply::Hello(members.hello())),
        Some("register") => Ok(Reply::Registered(
            members.name(),
            members.registered(),
            members.details(),
        )),
        Some("unregister") => Ok(Reply::Unregistered(members.name(), members.status() == Some(200))),
        Some("notification") => members.arrived().map(Reply::Arrived),
        Some(_) | None => Ok(Reply::SignOfLife),
    }
}

impl Reply {
    /// Tells the session.
    pub fn tell(self, user_agent: &mut UserAgent, now: Moment, out: &mut Vec<Action>) {
        match self {
            Self::Hello(identity) => user_agent.welcomed(identity, now, out),
            Self::Registered(Some(name), answer, _) => user_agent.registered(name, answer, now, out),
            Self::Unregistered(Some(name), done) => {
                let answer = if done {
                    Unregistered::Done
                } else {
                    Unregistered::Trouble
                };
                user_agent.unregistered(name, answer, now, out);
            }
            Self::Registered(None, ..) | Self::Unregistered(None, _) => user_agent.nonsense(now, out),
            Self::Arrived(message) => user_agent.arrived(message, now, out),
            Self::SignOfLife => user_agent.heard(now),
        }
    }
}

/// Every member that any message has, unread: one of a wrong type must not make the others unreadable.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, default, rename = "messageType")]
    message_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    uaid: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    use_webpush: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "channelID")]
    channel_id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "pushEndpoint")]
    push_endpoint: Option<&'a RawValue>,
    #[serde(borrow, default)]
    version: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    headers: Option<&'a RawValue>,
    #[serde(borrow, default)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    urgency: Option<&'a RawValue>,
    #[serde(borrow, default)]
    topic: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Headers<'a> {
    #[serde(borrow, default)]
    encoding: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    encryption: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    crypto_key: Option<Cow<'a, str>>,
}

impl Members<'_> {
    fn hello(&self) -> Option<Identity> {
        // Services that say nothing of it are older than the question.
        let speaks = self.use_webpush.is_none_or(|value| value.get() == "true");
        let identity = self.uaid.and_then(string)?;
        let identity = Identity::parse(&identity)?;
        (speaks && self.status() == Some(200)).then_some(identity)
    }

    fn registered(&self) -> Registered {
        match self.status() {
            Some(200) => {
                let endpoint = self.push_endpoint.and_then(string);
                let endpoint = endpoint.and_then(|endpoint| PushResource::parse(&endpoint));
                endpoint.map_or(Registered::Trouble, Registered::At)
            }
            Some(status @ 400..=499) => Registered::Refused(status),
            Some(_) | None => Registered::Trouble,
        }
    }

    /// The words of a refusal only: else it is a capability.
    fn details(&self) -> RegisterDetails {
        let status = self.status();
        let is_refusal = status.is_some_and(|status| status != 200);
        let words = self.push_endpoint.filter(|_| is_refusal).and_then(string);
        RegisterDetails {
            status,
            words: words.filter(|words| !words.is_empty()).map(Into::into),
        }
    }

    fn arrived(&self) -> Result<Arrived, Malformed> {
        let subscription = self.channel_id.and_then(string);
        let subscription = subscription.ok_or(Malformed("a notification needs the member channelID"))?;
        let id = self.version.and_then(string);
        let id = id.ok_or(Malformed("a notification needs the member version"))?;
        Ok(Arrived {
            subscription: subscription.into(),
            id: id.into(),
            content: self.content(),
            metadata: self.metadata(),
        })
    }

    /// No service that we know says any of it (WS-NOT-7).
    fn metadata(&self) -> Option<Box<Metadata>> {
        let word = |member: Option<&'_ RawValue>| member.and_then(string).map(Cow::into_owned);
        Metadata {
            time: self.timestamp.and_then(|time| time.get().parse().ok()),
            urgency: word(self.urgency).and_then(|word| Urgency::parse(&word)),
            topic: word(self.topic).and_then(|word| Topic::parse(&word)),
        }
        .unless_empty()
    }

    /// An absent body is an empty one (WS-NOT-5).
    fn content(&self) -> Option<Content> {
        let body = match self.data.filter(|data| data.get() != "null") {
            None => Bytes::new(),
            Some(data) => base64url::decode_body(&string(data)?)?.into(),
        };
        let coding = match self.headers.filter(|headers| headers.get() != "null") {
            _ if body.is_empty() => Coding::Absent,
            None => Coding::Absent,
            Some(headers) => {
                let Object(headers) = serde_json::from_str(headers.get()).ok()?;
                coding(headers)
            }
        };
        Some(Content {
            coding,
            media_type: None,
            body,
        })
    }

    fn name(&self) -> Option<SubscriptionName> {
        let name = self.channel_id.and_then(string)?;
        SubscriptionName::parse(&name.to_ascii_lowercase())
    }

    fn status(&self) -> Option<u16> {
        self.status.and_then(|status| status.get().parse().ok())
    }
}

fn coding(headers: Headers<'_>) -> Coding {
    let text = |text: Option<Cow<'_, str>>| text.unwrap_or_default().into();
    match headers.encoding.as_deref() {
        None => Coding::Absent,
        Some("aes128gcm") => Coding::Aes128gcm,
        Some("aesgcm") => Coding::Aesgcm {
            encryption: text(headers.encryption),
            crypto_key: text(headers.crypto_key),
        },
        Some(other) => Coding::Other(other.into()),
    }
}

fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let quoted = value
        .get()
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    if let Some(text) = quoted.filter(|text| !text.contains('\\')) {
        // Nearly always: nothing is escaped, and that it is a string was seen when it was passed over.
        return Some(Cow::Borrowed(text));
    }
    let text: Text<'_> = serde_json::from_str(value.get()).ok()?;
    Some(text.0)
}

/// Borrows where nothing is escaped, which serde does for a field that says so.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: &str = "deadbeef-0000-4000-8000-0123456789ab";

    fn name() -> Option<SubscriptionName> {
        SubscriptionName::parse(CHANNEL)
    }

    /// WS-HEL-3, WS-HEL-4, WS-HEL-5, KU-2: what makes a hello, and what doesn't.
    #[test]
    fn hello() {
        let rows = [
            (
                r#""uaid":"abc","status":200,"use_webpush":true,"broadcasts":{}"#,
                Some("abc"),
            ),
            (r#""uaid":"abc","status":200"#, Some("abc")),
            (r#""uaid":"abc","status":200,"use_webpush":false"#, None),
            (r#""uaid":"abc","status":500,"use_webpush":true"#, None),
            (r#""uaid":"abc","use_webpush":true"#, None),
            (r#""uaid":"","status":200,"use_webpush":true"#, None),
            (r#""uaid":null,"status":200,"use_webpush":true"#, None),
            (r#""status":200,"use_webpush":true"#, None),
            (r#""uaid":["abc"],"status":"200","use_webpush":1"#, None),
        ];
        for (members, identity) in rows {
            let text = format!(r#"{{"messageType":"hello",{members}}}"#);
            let expected = identity.and_then(Identity::parse);
            assert_eq!(parse_reply(&text), Ok(Reply::Hello(expected)), "{text}");
        }
    }

    /// WS-REG-2, WS-REG-5, WS-REG-7, WS-UNR-2: the answers to requests, and what may be believed of them.
    #[test]
    fn registered() {
        let url = "https://push.example.net/wpush/v1/abc";
        let at = || Registered::At(PushResource::parse(url).unwrap());
        let rows = [
            (format!(r#""status":200,"pushEndpoint":"{url}""#), at(), 200, ""),
            (
                r#""status":200,"pushEndpoint":"not a url""#.into(),
                Registered::Trouble,
                200,
                "",
            ),
            (r#""status":200"#.into(), Registered::Trouble, 200, ""),
            (
                r#""status":400,"pushEndpoint":"bad key""#.into(),
                Registered::Refused(400),
                400,
                "bad key",
            ),
            (
                r#""status":500,"pushEndpoint":"""#.into(),
                Registered::Trouble,
                500,
                "",
            ),
            (r#""status":"x""#.into(), Registered::Trouble, 0, ""),
        ];
        for (members, expected, status, words) in rows {
            let details = RegisterDetails {
                status: (status != 0).then_some(status),
                words: (!words.is_empty()).then(|| words.into()),
            };
            let text = format!(r#"{{"messageType":"register","channelID":"{CHANNEL}",{members}}}"#);
            assert_eq!(
                parse_reply(&text),
                Ok(Reply::Registered(name(), expected, details)),
                "{text}"
            );
        }
        for (status, done) in [(200, true), (500, false)] {
            let text = format!(r#"{{"messageType":"unregister","channelID":"{CHANNEL}","status":{status}}}"#);
            assert_eq!(parse_reply(&text), Ok(Reply::Unregistered(name(), done)));
        }
        let stranger = r#"{"messageType":"unregister","channelID":"x","status":200}"#;
        assert_eq!(parse_reply(stranger), Ok(Reply::Unregistered(None, true)));
    }

    fn content(members: &str) -> Option<Content> {
        let text =
            format!(r#"{{"messageType":"notification","channelID":"C","version":"v\"1",{members}"x":0}}"#);
        match parse_reply(&text) {
            Ok(Reply::Arrived(arrived)) => {
                assert_eq!((&*arrived.subscription, &*arrived.id), ("C", "v\"1"));
                arrived.content
            }
            other => panic!("{other:?}"),
        }
    }

    /// WS-NOT-3 to WS-NOT-6, EUA-2: bodies and codings; what can't be read is a message nevertheless.
    #[test]
    fn notification() {
        let with = |coding, body: &'static [u8]| {
            Some(Content {
                coding,
                media_type: None,
                body: Bytes::from_static(body),
            })
        };
        let legacy = || Coding::Aesgcm {
            encryption: "salt=abc".into(),
            crypto_key: "dh=BNo".into(),
        };
        let rows = [
            ("", with(Coding::Absent, b"")),
            (r#""data":null,"headers":null,"#, with(Coding::Absent, b"")),
            (
                r#""data":"","headers":{"encoding":"aes128gcm"},"#,
                with(Coding::Absent, b""),
            ),
            (
                r#""data":"__4_","headers":{"encoding":"aes128gcm"},"#,
                with(Coding::Aes128gcm, b"\xff\xfe?"),
            ),
            (
                r#""data":"YQ==","headers":{"encoding":"aes128gcm"},"#,
                with(Coding::Aes128gcm, b"a"),
            ),
            (r#""data":"YQ","#, with(Coding::Absent, b"a")),
            (
                r#""data":"YQ","headers":{"encoding":"br"},"#,
                with(Coding::Other("br".into()), b"a"),
            ),
            (
                r#""data":"YQ","headers":{"encoding":"aesgcm","encryption":"salt=abc","crypto_key":"dh=BNo"},"#,
                with(legacy(), b"a"),
            ),
            (r#""data":"+/+/","headers":{"encoding":"aes128gcm"},"#, None),
            (r#""data":17,"#, None),
            (r#""data":"YQ","headers":"aes128gcm","#, None),
            (r#""data":"YQ","headers":["aes128gcm",null,null],"#, None),
        ];
        for (members, expected) in rows {
            assert_eq!(content(members), expected, "{members}");
        }
    }

    /// WS-NOT-7, R30-URG-4, R30-TOP-7: what a service says beside the content is read; of a wrong type, it counts as absent.
    #[test]
    fn metadata_beside_the_content() {
        let metadata = |members: &str| {
            let text = format!(r#"{{"messageType":"notification","channelID":"C","version":"1"{members}}}"#);
            match parse_reply(&text) {
                Ok(Reply::Arrived(arrived)) => arrived.metadata,
                other => panic!("{other:?}"),
            }
        };
        let all = metadata(r#","timestamp":1500,"urgency":"low","topic":"door""#);
        let expected = Metadata {
            time: Some(1_500),
            urgency: Some(Urgency::Low),
            topic: Topic::parse("door"),
        };
        assert_eq!(all.as_deref(), Some(&expected));
        for members in [
            "",
            r#","timestamp":null,"urgency":null,"topic":null"#,
            r#","timestamp":"1500","urgency":3,"topic":["door"]"#,
            r#","timestamp":-1,"urgency":"urgent","topic":"a\u0000""#,
        ] {
            assert_eq!(metadata(members), None, "{members}");
        }
    }

    /// WS-TYP-1, WS-PNG-4, WS-BRD-4, WS-NOT-1: what is ignored, and what is not even a message.
    #[test]
    fn anything_else() {
        for text in [
            "{}",
            " { } ",
            r#"{"messageType":"ping"}"#,
            r#"{"messageType":"broadcast","broadcasts":{"a":"____NOP____"}}"#,
            r#"{"messageType":"news","channelID":{"deep":[1,2]}}"#,
            r#"{"messageType":17}"#,
        ] {
            assert_eq!(parse_reply(text), Ok(Reply::SignOfLife), "{text}");
        }
        for text in [
            "",
            "[]",
            "null",
            "{",
            r#"{"messageType":"notification","version":"1"}"#,
            r#"{"messageType":"notification","channelID":"c"}"#,
            r#"{"messageType":"notification","channelID":1,"version":"1"}"#,
        ] {
            assert!(parse_reply(text).is_err(), "{text}");
        }
    }
}
