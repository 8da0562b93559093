//! The content of a push: its body, and those of its header fields that the user agent needs to decrypt it.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};

use super::error::HeaderError;
use super::text;
use crate::base64url;
use crate::dialect::Dialect;
use crate::message::{Coding, Content};
use crate::parameters::{parameter, split};

/// The longest `Encryption` or `Crypto-Key` that is passed on, each: they are stored with every message. A salt has 22
/// characters and a `dh` 87; chosen to leave room for names of keys.
pub const MAX_PARAMETERS_BYTES: usize = 512;

/// The longest `Content-Type` or foreign `Content-Encoding` that is passed on: stored with every message too. Registered
/// media types have at most 127 characters on each side of the slash (RFC 6838 §4.2).
pub const MAX_CONTENT_TYPE_BYTES: usize = 256;

const ENCRYPTION: HeaderName = HeaderName::from_static("encryption");
const CRYPTO_KEY: HeaderName = HeaderName::from_static("crypto-key");

/// The header of an `aes128gcm` body before its key id: salt, record size, length of the key id (RFC 8188 §2.1).
const CODING_HEADER_BYTES: usize = 21;

/// Reads what describes the body, and drops what the user agent must not see (RFC 8292 §4.2) or cannot read.
///
/// An empty body has no coding and no type, whatever the fields say.
///
/// # Errors
///
/// What is wrong with `Content-Encoding`, `Content-Type`, `Encryption` or `Crypto-Key`.
pub fn content(headers: &HeaderMap, body: Bytes, dialect: Dialect) -> Result<Content, HeaderError> {
    if body.is_empty() {
        return Ok(Content {
            coding: Coding::Absent,
            media_type: None,
            body,
        });
    }
    let coding = match dialect {
        Dialect::Webpush => web_push_coding(headers)?,
        Dialect::Rfc8030 => any_coding(headers)?,
    };
    let media_type = match dialect {
        Dialect::Webpush => None,
        Dialect::Rfc8030 => media_type(headers)?,
    };
    Ok(Content {
        coding,
        media_type,
        body,
    })
}

/// The sender's key of this message, as far as it can be seen: it must not be the key that signs (RFC 8292 §3.2).
pub fn dh_key(content: &Content) -> Option<[u8; 65]> {
    match &content.coding {
        Coding::Aes128gcm => {
            let (header, rest) = content.body.split_first_chunk::<CODING_HEADER_BYTES>()?;
            let key: &[u8; 65] = rest.first_chunk()?;
            (usize::from(header[CODING_HEADER_BYTES - 1]) == key.len()).then_some(*key)
        }
        Coding::Aesgcm { crypto_key, .. } => {
            let mut parameters = split(crypto_key, b';').filter_map(parameter);
            let (_, key) = parameters.find(|(name, _)| name.eq_ignore_ascii_case("dh"))?;
            base64url::decode_key(key)
        }
        Coding::Absent | Coding::Other(_) => None,
    }
}

fn web_push_coding(headers: &HeaderMap) -> Result<Coding, HeaderError> {
    let name = joined(headers, CONTENT_ENCODING).ok_or(HeaderError::UnknownContentEncoding)?;
    if name.is_empty() {
        Err(HeaderError::MissingContentEncoding)
    } else if name.eq_ignore_ascii_case("aes128gcm") {
        refuse_leftovers(headers)?;
        Ok(Coding::Aes128gcm)
    } else if name.eq_ignore_ascii_case("aesgcm") {
        aesgcm(headers)
    } else {
        Err(HeaderError::UnknownContentEncoding)
    }
}

fn any_coding(headers: &HeaderMap) -> Result<Coding, HeaderError> {
    let name = joined(headers, CONTENT_ENCODING).ok_or(HeaderError::UnknownContentEncoding)?;
    if name.is_empty() {
        Ok(Coding::Absent)
    } else if name.eq_ignore_ascii_case("aes128gcm") {
        Ok(Coding::Aes128gcm)
    } else if name.eq_ignore_ascii_case("aesgcm") {
        aesgcm(headers)
    } else if name.len() <= MAX_CONTENT_TYPE_BYTES {
        Ok(Coding::Other(name.into()))
    } else {
        Err(HeaderError::UnknownContentEncoding)
    }
}

fn media_type(headers: &HeaderMap) -> Result<Option<Box<str>>, HeaderError> {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    let text = text(line).filter(|text| text.len() <= MAX_CONTENT_TYPE_BYTES && lines.next().is_none());
    let text = text.ok_or(HeaderError::MalformedContentType)?;
    let says_nothing = text.is_empty() || text.eq_ignore_ascii_case("application/octet-stream");
    Ok((!says_nothing).then(|| text.into()))
}

/// A sender that puts parameters of the draft beside `aes128gcm` has most likely mixed up the two: no user agent could read
/// the body. A `p256ecdsa` alone is for us.
fn refuse_leftovers(headers: &HeaderMap) -> Result<(), HeaderError> {
    let encryption = joined(headers, ENCRYPTION).ok_or(HeaderError::MalformedEncryption)?;
    if has_parameter(&encryption, "salt") {
        return Err(HeaderError::UnexpectedSalt);
    }
    let crypto_key = joined(headers, CRYPTO_KEY).ok_or(HeaderError::MalformedCryptoKey)?;
    if has_parameter(&crypto_key, "dh") {
        return Err(HeaderError::UnexpectedDh);
    }
    Ok(())
}

fn has_parameter(list: &str, wanted: &str) -> bool {
    split(list, b',')
        .flat_map(|entry| split(entry, b';'))
        .filter_map(parameter)
        .any(|(name, _)| name.eq_ignore_ascii_case(wanted))
}

/// The draft's parameters (draft-ietf-httpbis-encryption-encoding-03 §3, §4): one salt, one `dh`.
fn aesgcm(headers: &HeaderMap) -> Result<Coding, HeaderError> {
    let encryption = joined(headers, ENCRYPTION).ok_or(HeaderError::MalformedEncryption)?;
    if encryption.is_empty() {
        return Err(HeaderError::MissingEncryption);
    }
    let encryption = one_entry(&encryption, "salt", &["keyid", "salt", "rs"])
        .map_err(|_| HeaderError::MalformedEncryption)?
        .filter(|entry| has_salt_and_record_size(entry))
        .ok_or(HeaderError::MalformedEncryption)?;

    let crypto_key = joined(headers, CRYPTO_KEY).ok_or(HeaderError::MalformedCryptoKey)?;
    let crypto_key = one_entry(&crypto_key, "dh", &["keyid", "dh"])
        .map_err(|_| HeaderError::MalformedCryptoKey)?
        .ok_or(HeaderError::MissingDh)?;
    Ok(Coding::Aesgcm {
        encryption: encryption.into(),
        crypto_key: crypto_key.into(),
    })
}

fn has_salt_and_record_size(entry: &str) -> bool {
    split(entry, b';')
        .filter_map(parameter)
        .all(|(name, value)| match name {
            "salt" => base64url::decode_key::<16>(value).is_some(),
            "rs" => {
                value.bytes().all(|b| b.is_ascii_digit()) && value.parse::<u64>().is_ok_and(|size| size > 1)
            }
            _ => true,
        })
}

struct Malformed;

/// The one entry of a list that has the parameter `wanted`, reduced to the parameters `kept`, without quotes and base64
/// padding, because Firefox refuses them. `None` if there is no such entry.
///
/// Whatever else an entry holds, a VAPID key first of all, is not for the user agent.
fn one_entry(list: &str, wanted: &str, kept: &[&str]) -> Result<Option<String>, Malformed> {
    let mut found = None;
    for entry in split(list, b',') {
        let (entry, has_wanted) = reduced(entry, wanted, kept)?;
        if has_wanted && found.replace(entry).is_some() {
            return Err(Malformed);
        }
    }
    match found {
        Some(entry) if entry.len() > MAX_PARAMETERS_BYTES => Err(Malformed),
        found => Ok(found),
    }
}

/// One entry, reduced, and whether it has the parameter `wanted`.
fn reduced(entry: &str, wanted: &str, kept: &[&str]) -> Result<(String, bool), Malformed> {
    let mut text = String::new();
    let mut seen: Vec<&str> = Vec::with_capacity(kept.len());
    for part in split(entry, b';') {
        let (name, value) = parameter(part).ok_or(Malformed)?;
        if name.eq_ignore_ascii_case("aesgcm") {
            return Err(Malformed);
        }
        let Some(name) = kept.iter().find(|kept| name.eq_ignore_ascii_case(kept)) else {
            continue;
        };
        let (value, is_good) = match *name == wanted {
            true => unpadded(value),
            false => (value, is_plain(value)),
        };
        if value.is_empty() || !is_good || seen.contains(name) {
            return Err(Malformed);
        }
        if !seen.is_empty() {
            // As the sender wrote it: receivers were only ever tried with that.
            text.push_str(if part.starts_with(' ') { "; " } else { ";" });
        }
        seen.push(name);
        text.extend([*name, "=", value]);
    }
    Ok((text, seen.contains(&wanted)))
}

/// Base64url without its padding, and whether it is base64url at all.
fn unpadded(value: &str) -> (&str, bool) {
    let value = value.trim_end_matches('=');
    let is_digit = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (value, value.bytes().all(is_digit))
}

/// Whether a value means the same without its quotes.
fn is_plain(value: &str) -> bool {
    !value.contains([',', ';', '"', '\\', ' ', '\t'])
}

/// All lines of a field that say something as one (RFC 9110 §5.3, §5.6.1.2); empty when there is none. `None` unless
/// they are visible ASCII.
fn joined(headers: &HeaderMap, name: HeaderName) -> Option<Cow<'_, str>> {
    let mut joined = Cow::Borrowed("");
    for line in headers.get_all(name) {
        let line = text(line)?;
        if joined.is_empty() {
            joined = Cow::Borrowed(line);
        } else if !line.is_empty() {
            joined.to_mut().extend([", ", line]);
        }
    }
    Some(joined)
}
