//! The JSON that a user agent says and understands.

use std::fmt::Write as _;

use serde::Deserialize;

use crate::failure::{Failure, Outcome, While as _};

/// A push message.
#[derive(Deserialize)]
pub(super) struct Notification<'a> {
    #[serde(rename = "messageType")]
    kind: &'a str,
    /// The subscription's name.
    #[serde(rename = "channelID")]
    pub(super) channel: &'a str,
    version: &'a str,
    /// In base64url.
    #[serde(rename = "data")]
    pub(super) body: &'a str,
    headers: Headers<'a>,
}

#[derive(Deserialize)]
struct Headers<'a> {
    encoding: &'a str,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(rename = "messageType")]
    kind: String,
    status: u16,
    uaid: Option<String>,
    #[serde(rename = "channelID")]
    channel: Option<String>,
    #[serde(rename = "pushEndpoint")]
    push_resource: Option<String>,
}

pub(super) fn hello(text: &mut String, identity: Option<&str>) {
    text.push_str(r#"{"messageType":"hello","use_webpush":true,"broadcasts":{}"#);
    if let Some(identity) = identity {
        // Here and below: a String takes every write.
        let _ = write!(text, r#","uaid":"{identity}""#);
    }
    text.push('}');
}

pub(super) fn register(text: &mut String, channel: &str, key: Option<&str>) {
    let _ = write!(text, r#"{{"messageType":"register","channelID":"{channel}""#);
    if let Some(key) = key {
        let _ = write!(text, r#","key":"{key}""#);
    }
    text.push('}');
}

pub(super) fn ack(out: &mut Vec<u8>, message: &Notification<'_>) {
    let parts = [
        r#"{"messageType":"ack","updates":[{"channelID":""#,
        message.channel,
        r#"","version":""#,
        message.version,
        r#"","code":100}]}"#,
    ];
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Who the user agent is.
pub(super) fn read_hello(text: &str) -> Outcome<String> {
    let reply = reply(text, "hello")?;
    reply.uaid.ok_or_else(|| Failure::new("a hello without a uaid"))
}

/// The push resource.
pub(super) fn read_registered(text: &str, channel: &str) -> Outcome<String> {
    let reply = reply(text, "register")?;
    if reply.channel.as_deref() != Some(channel) {
        return Err(Failure::new("a register is answered for another subscription"));
    }
    reply
        .push_resource
        .ok_or_else(|| Failure::new("a register without a push resource"))
}

/// A push message with a body.
pub(super) fn read_notification(text: &str) -> Outcome<Notification<'_>> {
    let notification: Notification<'_> = serde_json::from_str(text).doing("reading a notification")?;
    if notification.kind != "notification" || notification.headers.encoding != "aes128gcm" {
        return Err(Failure::new("a notification is none, or in another encoding"));
    }
    Ok(notification)
}

fn reply(text: &str, kind: &str) -> Outcome<Reply> {
    let reply: Reply = serde_json::from_str(text).doing(format_args!("reading the answer to a {kind}"))?;
    if reply.kind != kind || reply.status != 200 {
        let (kind_there, status) = (&reply.kind, reply.status);
        return Err(Failure::new(format!(
            "a {kind} is answered by a {kind_there} with status {status}"
        )));
    }
    Ok(reply)
}
