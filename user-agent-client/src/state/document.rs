//! `state.json`: its text, and back.
//!
//! ```text
//! {"format":1,"sha256":"…","state":{"messages":"…","server":"…","identity":"…","subscriptions":[
//!   {"name":"…","label":"…","created":…,"private_key":"…","auth":"…","application_server":"…",
//!    "stage":"asked" | "confirmed" | "ending","push_resource":"…","resource":"…","replaced":"…"}]}}
//! ```
//!
//! `sha256` is the digest of the bytes of `state`, in hexadecimal. Keys are base64url. What isn't there is null.
//! `messages` names the `messages.log` that goes with it. HTTP/2 came with format 2: a `server` with `https:`, an identity that
//! is the URL of a set, and `resource`, where a subscription is ended, left out if it is unknown. The state of a WebSocket
//! is written in format 1, which earlier versions read too. `certificates`, the file of those that are trusted beside the system's,
//! came with format 3, and is left out if there is no such file.
//!
//! **Invariant:** a text whose state is not, byte for byte, one that was written is refused. So no bit of a key is ever
//! wrong.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use push_protocol::encryption::SubscriptionKeys;
use push_protocol::identifiers::SubscriptionName;
use push_protocol::session::user_agent::{Identity, PushResource, Registration, Stage, SubscriptionResource};
use push_protocol::vapid::PublicKey;
use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::snapshot::{Entry, Snapshot, is_label};
use crate::server_url::{ServerUrl, Transport};

/// The latest format. It and those before it are read; the earliest that can hold a state is written.
const FORMAT: u64 = 3;

/// The first that can hold a set, and where subscriptions are ended.
const HTTP2_FORMAT: u64 = 2;

/// Which `messages.log` belongs to a state. The log of another state or service must not be used: it would
/// mark messages as done that never came.
pub(super) type LogId = [u8; 16];

/// Why a text is not a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unusable {
    Newer(u64),
    Damaged(&'static str),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    #[expect(dead_code, reason = "it was judged before")]
    format: u64,
    sha256: &'a str,
    #[serde(borrow)]
    state: &'a RawValue,
}

/// All that is known of a document of any format.
#[derive(Deserialize)]
struct AnyDocument {
    format: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    messages: String,
    server: Option<String>,
    identity: Option<String>,
    subscriptions: Vec<KeptSubscription>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificates: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptSubscription {
    name: String,
    label: Box<str>,
    created: u64,
    private_key: String,
    auth: String,
    application_server: Option<String>,
    stage: KeptStage,
    push_resource: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    replaced: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KeptStage {
    Asked,
    Confirmed,
    Ending,
}

/// The text of a state. Messages are kept elsewhere.
pub(super) fn write(snapshot: &Snapshot, log: LogId) -> String {
    let registrations = snapshot.durable.registrations.iter();
    let subscriptions = registrations.filter_map(|(name, registration)| {
        let entry = snapshot.entries.get(name)?;
        Some(KeptSubscription::of(*name, registration, entry))
    });
    let kept = Kept {
        messages: URL_SAFE_NO_PAD.encode(log),
        server: snapshot.server.as_ref().map(|server| server.as_str().to_owned()),
        identity: snapshot
            .durable
            .identity
            .as_ref()
            .map(|identity| identity.as_str().to_owned()),
        subscriptions: subscriptions.collect(),
        certificates: snapshot.certificates.as_deref().map(Path::to_owned),
    };
    let is_http2 = |server: &ServerUrl| server.transport() == Transport::Http2;
    let has_resources = kept.subscriptions.iter().any(|kept| kept.resource.is_some());
    let format = match &snapshot.server {
        _ if kept.certificates.is_some() => FORMAT,
        Some(server) if is_http2(server) => HTTP2_FORMAT,
        _ if has_resources => HTTP2_FORMAT,
        _ => 1,
    };
    let state = serde_json::to_string(&kept).expect("strings and numbers always serialize");
    let sha256 = hex_digest(&state);
    format!("{{\"format\":{format},\"sha256\":\"{sha256}\",\"state\":{state}}}\n")
}

/// The state that a text holds.
pub(super) fn read(text: &[u8]) -> Result<(Snapshot, LogId), Unusable> {
    const NOT_OURS: Unusable = Unusable::Damaged("it is not valid JSON, or has unknown members");
    let text = str::from_utf8(text).map_err(|_| NOT_OURS)?;
    let any: AnyDocument = serde_json::from_str(text).map_err(|_| NOT_OURS)?;
    match any.format {
        1..=FORMAT => {}
        newer if newer > FORMAT => return Err(Unusable::Newer(newer)),
        _ => return Err(NOT_OURS),
    }
    let document: Document<'_> = serde_json::from_str(text).map_err(|_| NOT_OURS)?;
    let state = document.state.get();
    if hex_digest(state) != document.sha256 {
        return Err(Unusable::Damaged("its digest is wrong"));
    }
    // The digest is right, so any error from here on was written by a person or another program.
    let kept: Kept = serde_json::from_str(state).map_err(|_| NOT_OURS)?;
    if (any.format == FORMAT) != kept.certificates.is_some() {
        return Err(Unusable::Damaged("its format is wrong"));
    }
    kept.parse()
        .ok_or(Unusable::Damaged("it has an impossible value"))
}

impl Kept {
    fn parse(self) -> Option<(Snapshot, LogId)> {
        let mut snapshot = Snapshot {
            server: parse_if_there(self.server, |url| ServerUrl::parse(url).ok())?,
            certificates: self.certificates.map(PathBuf::into_boxed_path),
            ..Snapshot::default()
        };
        if let Some(identity) = self.identity {
            let identity = Identity::parse(&identity).or_else(|| Identity::of_set(&identity));
            snapshot.durable.identity = Some(identity?);
        }
        if snapshot
            .certificates
            .as_ref()
            .is_some_and(|file| !file.is_absolute())
        {
            return None;
        }
        let mut labels = HashSet::new();
        for subscription in self.subscriptions {
            let (name, registration, entry) = subscription.parse()?;
            if registration.is_wanted() && !labels.insert(entry.label.clone()) {
                return None;
            }
            snapshot.entries.insert(name, Arc::new(entry));
            let before = snapshot
                .durable
                .registrations
                .insert(name, Box::new(registration));
            if before.is_some() {
                return None;
            }
        }
        snapshot.list_all();
        Some((snapshot, decode(&self.messages)?))
    }
}

impl KeptSubscription {
    fn of(name: SubscriptionName, registration: &Registration, entry: &Entry) -> Self {
        let url = |push_resource: &PushResource| push_resource.as_str().to_owned();
        Self {
            name: name.to_string(),
            label: entry.label.clone(),
            created: entry.created,
            private_key: URL_SAFE_NO_PAD.encode(entry.keys.private_key()),
            auth: entry.keys.auth(),
            application_server: registration.application_server.map(|key| key.to_string()),
            stage: match registration.stage {
                Stage::Asked => KeptStage::Asked,
                Stage::Confirmed(_) => KeptStage::Confirmed,
                Stage::Ending => KeptStage::Ending,
            },
            push_resource: registration.push_resource().map(url),
            resource: registration
                .resource
                .as_ref()
                .map(|resource| resource.as_str().to_owned()),
            replaced: registration.replaced.as_ref().map(url),
        }
    }

    fn parse(self) -> Option<(SubscriptionName, Registration, Entry)> {
        let stage = match (self.stage, self.push_resource) {
            (KeptStage::Asked, None) => Stage::Asked,
            (KeptStage::Confirmed, Some(url)) => Stage::Confirmed(PushResource::parse(&url)?),
            (KeptStage::Ending, None) => Stage::Ending,
            _ => return None,
        };
        let registration = Registration {
            application_server: parse_if_there(self.application_server, PublicKey::parse)?,
            stage,
            resource: parse_if_there(self.resource, SubscriptionResource::parse)?,
            replaced: parse_if_there(self.replaced, PushResource::parse)?,
        };
        let entry = Entry {
            label: Some(self.label).filter(|label| is_label(label))?,
            keys: SubscriptionKeys::from_parts(decode(&self.private_key)?, decode(&self.auth)?)?,
            created: self.created,
        };
        Some((SubscriptionName::parse(&self.name)?, registration, entry))
    }
}

/// `None` only if it is there and can't be parsed.
#[expect(clippy::option_option, reason = "absent is good, malformed is not")]
fn parse_if_there<T>(text: Option<String>, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    match text {
        None => Some(None),
        Some(text) => parse(&text).map(Some),
    }
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

fn hex_digest(text: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in digest::digest(&digest::SHA256, text.as_bytes()).as_ref() {
        write!(hex, "{byte:02x}").expect("strings take everything");
    }
    hex
}
