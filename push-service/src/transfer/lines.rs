//! The lines of the file, one by one: what they say, and what of it is believed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use push_protocol::capability::{Dialect, KeyId};
use push_protocol::headers::{MAX_CONTENT_TYPE_BYTES, MAX_PARAMETERS_BYTES};
use push_protocol::{
    Coding, Content, KeyDigest, MessageId, MessageNumber, ReceiptOutcome, SubscriptionId, SubscriptionName,
    Topic, Urgency, UserAgentId,
};
use serde::{Deserialize, Serialize};

use crate::storage::portable::{Portable, PortableExpectation, PortableMessage, PortableSubscription};
use crate::storage::{MessageEnd, SenderTag};

/// Where an export comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// When it was made, in milliseconds since 1970.
    pub exported_at_ms: u64,
    /// The kind of storage.
    pub storage: String,
    /// The fingerprints of the sealing keys under which its endpoints stand, the one that seals first.
    pub sealing_keys: Vec<[u8; 8]>,
}

/// How many lines of each kind there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// User agents.
    pub user_agents: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Messages.
    pub messages: u64,
    /// Message ends that wait to be relayed, and receipts that are owed.
    pub receipts: u64,
}

/// A line.
#[derive(Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "one is held at a time")]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Header(Header),
    UserAgent(UserAgent),
    Subscription(Subscription),
    Message(Message),
    #[serde(rename = "outcome")]
    MessageEnd(EndedMessage),
    ExpectedReceipt(Expectation),
    End(End),
}

/// As much of a first line as every version has.
#[derive(Deserialize)]
pub(super) struct AnyHeader {
    pub(super) header: AnyVersion,
}

#[derive(Deserialize)]
pub(super) struct AnyVersion {
    pub(super) format: String,
    pub(super) version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    format: String,
    version: u32,
    exported_at_ms: u64,
    storage: String,
    sealing_keys: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UserAgent {
    id: String,
    last: u64,
    retained_until_ms: u64,
    /// Versions 1 and 2 had none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unused: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subscription {
    id: String,
    name: String,
    created_at_secs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    id: String,
    subscription: String,
    urgency: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    accepted_at_ms: u64,
    expires_at_ms: u64,
    sealed_by: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipts: Option<String>,
    /// Versions 1 and 2 had none.
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crypto_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    body: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndedMessage {
    id: String,
    receipts: String,
    fate: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expectation {
    user_agent: String,
    nonce: String,
    dialect: String,
    sealed_by: u8,
    deadline_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    user_agents: u64,
    subscriptions: u64,
    messages: u64,
    /// Version 1 had none.
    #[serde(default)]
    receipts: u64,
    sha256: String,
}

impl Header {
    pub(super) fn new(facts: &Facts) -> Self {
        let hexadecimal = |fingerprint: &[u8; 8]| format!("{:016x}", u64::from_be_bytes(*fingerprint));
        Self {
            format: super::FORMAT.to_owned(),
            version: super::VERSION,
            exported_at_ms: facts.exported_at_ms,
            storage: facts.storage.clone(),
            sealing_keys: facts.sealing_keys.iter().map(hexadecimal).collect(),
        }
    }

    pub(super) fn read(self) -> Option<Facts> {
        let fingerprint = |text: &String| SubscriptionId::parse(text).map(|bits| bits.0);
        Some(Facts {
            exported_at_ms: self.exported_at_ms,
            storage: self.storage,
            sealing_keys: self.sealing_keys.iter().map(fingerprint).collect::<Option<_>>()?,
        })
    }
}

impl UserAgent {
    pub(super) fn new(part: &Portable) -> Self {
        Self {
            id: part.user_agent.to_string(),
            last: part.last.0,
            retained_until_ms: part.retained_until_ms,
            unused: part.unused,
        }
    }

    pub(super) fn read(&self) -> Result<Portable, &'static str> {
        Ok(Portable {
            user_agent: UserAgentId::parse(&self.id).ok_or("`id` is not a user agent's id")?,
            last: MessageNumber(self.last),
            retained_until_ms: self.retained_until_ms,
            unused: self.unused,
            subscriptions: Vec::new(),
            messages: Vec::new(),
            outbox: Vec::new(),
            expected: Vec::new(),
        })
    }
}

impl Subscription {
    pub(super) fn new(subscription: &PortableSubscription) -> Self {
        Self {
            id: subscription.id.to_string(),
            name: subscription.name.to_string(),
            created_at_secs: subscription.created_at_secs,
            key: subscription.key.map(|key| URL_SAFE_NO_PAD.encode(key.0)),
        }
    }

    pub(super) fn read(&self) -> Result<PortableSubscription, &'static str> {
        let key = self.key.as_deref().map(digest);
        Ok(PortableSubscription {
            id: SubscriptionId::parse(&self.id).ok_or("`id` is not a subscription's id")?,
            name: SubscriptionName::parse(&self.name).ok_or("`name` is not a UUID")?,
            created_at_secs: self.created_at_secs,
            key: key.transpose()?,
        })
    }
}

impl Message {
    pub(super) fn new(message: &PortableMessage) -> Self {
        let (coding, encryption, crypto_key) = match &message.content.coding {
            Coding::Absent => (None, None, None),
            Coding::Aes128gcm => (Some("aes128gcm"), None, None),
            Coding::Aesgcm {
                encryption,
                crypto_key,
            } => (Some("aesgcm"), Some(&**encryption), Some(&**crypto_key)),
            Coding::Other(name) => (Some(&**name), None, None),
        };
        Self {
            id: message.id.to_base64url(),
            subscription: message.subscription.to_string(),
            urgency: message.urgency.as_str().to_owned(),
            topic: message.topic.map(|topic| topic.as_str().to_owned()),
            accepted_at_ms: message.accepted_at_ms,
            expires_at_ms: message.expires_at_ms,
            sealed_by: message.sealed_by,
            key: message.key.map(|key| URL_SAFE_NO_PAD.encode(key.0)),
            receipts: message.receipts.map(|receipts| receipts.to_string()),
            sender: message
                .sender
                .map(|sender| SubscriptionId(sender.to_bytes()).to_string()),
            coding: coding.map(str::to_owned),
            encryption: encryption.map(str::to_owned),
            crypto_key: crypto_key.map(str::to_owned),
            media_type: message.content.media_type.as_deref().map(str::to_owned),
            body: URL_SAFE_NO_PAD.encode(&message.content.body),
        }
    }

    pub(super) fn read(self) -> Result<PortableMessage, &'static str> {
        let topic = self.topic.as_deref();
        let topic = topic.map(|text| Topic::parse(text).ok_or("`topic` is not a topic (RFC 8030)"));
        let key = self.key.as_deref().map(digest);
        let receipts = self.receipts.as_deref().map(user_agent);
        let sender = self.sender.as_deref().map(sender);
        Ok(PortableMessage {
            id: MessageId::parse(&self.id).ok_or("`id` is not a message's id")?,
            subscription: SubscriptionId::parse(&self.subscription)
                .ok_or("`subscription` is not a subscription's id")?,
            urgency: Urgency::parse(&self.urgency).ok_or("`urgency` is not an urgency (RFC 8030)")?,
            topic: topic.transpose()?,
            accepted_at_ms: self.accepted_at_ms,
            expires_at_ms: self.expires_at_ms,
            sealed_by: self.sealed_by,
            key: key.transpose()?,
            receipts: receipts.transpose()?,
            sender: sender.transpose()?,
            content: self.content()?,
        })
    }

    fn content(self) -> Result<Content, &'static str> {
        let parameters = |text: String| {
            field(text, MAX_PARAMETERS_BYTES)
                .ok_or("`encryption` or `crypto_key` is not a header field's value")
        };
        let name = |text: String| {
            field(text, MAX_CONTENT_TYPE_BYTES)
                .ok_or("`coding` or `media_type` is not a header field's value")
        };
        let coding = match (self.coding, self.encryption, self.crypto_key) {
            (None, None, None) => Coding::Absent,
            (Some(coding), None, None) if coding == "aes128gcm" => Coding::Aes128gcm,
            (Some(coding), Some(encryption), Some(crypto_key)) if coding == "aesgcm" => Coding::Aesgcm {
                encryption: parameters(encryption)?,
                crypto_key: parameters(crypto_key)?,
            },
            (Some(coding), None, None) => Coding::Other(name(coding)?),
            _ => return Err("`coding`, `encryption` and `crypto_key` do not fit together"),
        };
        Ok(Content {
            coding,
            media_type: self.media_type.map(name).transpose()?,
            body: URL_SAFE_NO_PAD
                .decode(self.body)
                .map_err(|_| "`body` is not base64url")?
                .into(),
        })
    }
}

impl EndedMessage {
    pub(super) fn new(end: &MessageEnd) -> Self {
        let fate = match end.how {
            ReceiptOutcome::Acknowledged => "acknowledged",
            ReceiptOutcome::GivenUp => "given_up",
            ReceiptOutcome::Replaced => "replaced",
        };
        Self {
            id: end.id.to_base64url(),
            receipts: end.receipts.to_string(),
            fate: fate.to_owned(),
        }
    }

    /// Of a message of this user agent.
    pub(super) fn read(&self, whose: UserAgentId) -> Result<MessageEnd, &'static str> {
        Ok(MessageEnd {
            receipts: user_agent(&self.receipts)?,
            user_agent: whose,
            id: MessageId::parse(&self.id).ok_or("`id` is not a message's id")?,
            how: match self.fate.as_str() {
                "acknowledged" => ReceiptOutcome::Acknowledged,
                "given_up" => ReceiptOutcome::GivenUp,
                "replaced" => ReceiptOutcome::Replaced,
                _ => return Err("`fate` is not `acknowledged`, `given_up` or `replaced`"),
            },
        })
    }
}

impl Expectation {
    pub(super) fn new(expected: &PortableExpectation) -> Self {
        let dialect = match expected.dialect {
            Dialect::Rfc8030 => "rfc8030",
            Dialect::Webpush => "webpush",
        };
        Self {
            user_agent: expected.user_agent.to_string(),
            nonce: format!("{:016x}", expected.nonce),
            dialect: dialect.to_owned(),
            sealed_by: expected.sealed_by.0,
            deadline_ms: expected.deadline_ms,
        }
    }

    pub(super) fn read(&self) -> Result<PortableExpectation, &'static str> {
        let nonce = SubscriptionId::parse(&self.nonce).ok_or("`nonce` is not 16 hexadecimal digits")?;
        Ok(PortableExpectation {
            user_agent: user_agent(&self.user_agent)?,
            nonce: u64::from_be_bytes(nonce.0),
            dialect: match self.dialect.as_str() {
                "rfc8030" => Dialect::Rfc8030,
                "webpush" => Dialect::Webpush,
                _ => return Err("`dialect` is not `rfc8030` or `webpush`"),
            },
            sealed_by: KeyId(self.sealed_by),
            deadline_ms: self.deadline_ms,
        })
    }
}

impl End {
    pub(super) fn new(counts: Counts, sha256: &[u8]) -> Self {
        Self {
            user_agents: counts.user_agents,
            subscriptions: counts.subscriptions,
            messages: counts.messages,
            receipts: counts.receipts,
            sha256: sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// Whether it is the end of a file with that many lines and that digest.
    pub(super) fn ends(&self, counts: Counts, sha256: &[u8]) -> bool {
        let expected = Self::new(counts, sha256);
        let counted = Counts {
            user_agents: self.user_agents,
            subscriptions: self.subscriptions,
            messages: self.messages,
            receipts: self.receipts,
        };
        counted == counts && self.sha256 == expected.sha256
    }
}

fn digest(text: &str) -> Result<KeyDigest, &'static str> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let digest = bytes.and_then(|bytes| bytes.try_into().ok());
    digest.map(KeyDigest).ok_or("`key` is not a digest in base64url")
}

fn user_agent(text: &str) -> Result<UserAgentId, &'static str> {
    UserAgentId::parse(text).ok_or("`user_agent` or `receipts` is not a user agent's id")
}

/// Eight bytes in hexadecimal, like a subscription's id.
fn sender(text: &str) -> Result<SenderTag, &'static str> {
    let bytes = SubscriptionId::parse(text).map(|bits| bits.0);
    bytes
        .and_then(SenderTag::from_bytes)
        .ok_or("`sender` is not 16 hexadecimal digits")
}

/// What may stand in a header field again: a session hands it on as one.
fn field(text: String, most_bytes: usize) -> Option<Box<str>> {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    (is_plain && text.len() <= most_bytes).then(|| text.into())
}
