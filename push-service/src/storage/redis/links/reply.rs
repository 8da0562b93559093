//! Reading what servers say: errors, redirections, and the lines of `INFO`.

use redis::{ServerError, Value};

use crate::storage::redis::url::Address;

/// A server's error in its own words. Servers and scripts don't repeat arguments in them.
pub(super) fn explained(error: &ServerError) -> String {
    match error.details() {
        Some(details) => format!(
            "{} {}",
            error.code(),
            details.chars().take(200).collect::<String>()
        ),
        None => error.code().to_owned(),
    }
}

/// A value of `INFO` and its like.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    info.lines().find_map(value).map(str::trim_end)
}

/// A value that is text.
pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

/// Where `MOVED slot host:port` and `ASK slot host:port` send us; without a host, to the server that says so.
pub(super) fn redirected(error: &ServerError, from: &Address) -> Option<Address> {
    let (_, address) = error.details()?.split_once(' ')?;
    let (host, port) = address.trim().rsplit_once(':')?;
    let host = match host {
        "" | "?" => &from.host,
        host => host.trim_start_matches('[').trim_end_matches(']'),
    };
    Some(Address {
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}
