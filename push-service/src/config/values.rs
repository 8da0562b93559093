//! The types of values that only the configuration knows. Those that are secrets print as `…`.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use http::HeaderValue;
use http::header::HeaderName;
use push_protocol::capability::SealingKey;
use push_protocol::origin::Origin;
use push_protocol::vapid::PublicKey;

use super::setting::{Raw, Setting, quoted};
use crate::defaults;
use crate::logging::LogFormat;
use crate::storage::redis::WaitReplicas;
use crate::storage::redis::url::RedisUrl;

/// Where messages and subscriptions are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StorageUrl {
    /// In a directory of this machine.
    Embedded {
        /// The directory; made if it is not there.
        path: PathBuf,
    },
    /// In this process: gone when it ends.
    Memory,
    /// In Redis: the whole URL, which may hold a password.
    Redis(Secret),
}

impl StorageUrl {
    fn from_text(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        match scheme {
            "embedded" if !rest.is_empty() => Some(Self::Embedded { path: rest.into() }),
            "memory" if rest.is_empty() => Some(Self::Memory),
            _ if text.starts_with("redis") => RedisUrl::parse(text)
                .is_ok()
                .then(|| Self::Redis(Secret(text.to_owned()))),
            _ => None,
        }
    }
}

/// Without the password that the URL of a Redis may hold.
impl fmt::Display for StorageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded { path } => write!(f, "embedded:{}", path.display()),
            Self::Memory => f.write_str("memory:"),
            Self::Redis(url) => f.write_str(&without_credentials(url.expose())),
        }
    }
}

/// What the names of a store's keys begin with: a word without the braces that Redis Cluster looks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prefix(String);

impl Default for Prefix {
    fn default() -> Self {
        Self(defaults::REDIS_PREFIX.to_owned())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A block of IP addresses, `10.0.0.0/8`, or a single one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpNetwork {
    address: IpAddr,
    prefix: u8,
}

impl IpNetwork {
    /// Reads `address/prefix`; an address alone is a block of one.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(longest);
        (prefix <= longest).then_some(Self { address, prefix })
    }

    /// Whether `address` is in the block. An IPv4 address that came in through an IPv6 socket counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let differing = match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => (ours.to_bits() ^ theirs.to_bits()).leading_zeros(),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits() ^ theirs.to_bits()).leading_zeros(),
            _ => return false,
        };
        differing >= u32::from(self.prefix)
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The header field in which trusted proxies name the client of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForwardedHeader(HeaderName);

impl ForwardedHeader {
    /// Reads a field's name.
    pub fn parse(text: &str) -> Option<Self> {
        HeaderName::from_bytes(text.as_bytes()).ok().map(Self)
    }

    /// The field's name.
    pub fn name(&self) -> &HeaderName {
        &self.0
    }
}

impl Default for ForwardedHeader {
    fn default() -> Self {
        Self(HeaderName::from_static(defaults::FORWARDED_HEADER))
    }
}

/// A host name, in lower case and without a dot at its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostName(String);

impl HostName {
    /// Reads a name of labels that are made of letters, digits, `-` and `_`.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            (1..=63).contains(&label.len()) && label.bytes().all(is_fine)
        };
        let is_name = name.len() <= 253 && name.split('.').all(is_label);
        is_name.then(|| Self(name.to_ascii_lowercase()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Text that opens something: a word in a path, or a URL with a password in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Reads a word for a path segment, made of the characters that need no escape in a URL (RFC 3986 §2.3).
    pub fn parse(text: &str) -> Option<Self> {
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        (!text.is_empty() && text.bytes().all(unreserved)).then(|| Self(text.to_owned()))
    }

    /// The secret itself: for comparing and connecting, never for printing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A user's name or a password for another server, as it is: any text of one line.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(String);

impl Credential {
    /// The text itself: for connecting, never for printing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// A URL without what may be secret: what stands before its `@`, and its query.
fn without_credentials(url: &str) -> String {
    let url = url.split_once('?').map_or(url, |(url, _)| url);
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        (None, Some(_)) => "…".to_owned(),
        _ => url.to_owned(),
    }
}

impl Setting for Origin {
    fn takes() -> String {
        "an origin such as `https://push.example.net`, without path, user or query".to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        Self::parse(&raw.text()?).ok()
    }

    fn to_toml(&self) -> String {
        quoted(self.as_str())
    }

    fn show(raw: &Raw) -> Option<String> {
        raw.text().map(|text| without_credentials(&text))
    }
}

impl Setting for StorageUrl {
    fn takes() -> String {
        "`embedded:DIRECTORY`, `memory:`, or a URL with `redis://`, `redis+cluster://` or `redis+sentinel://`, over \
         TLS with `rediss` instead of `redis`"
            .to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        Self::from_text(&raw.text()?)
    }

    fn why_not(raw: &Raw) -> Option<String> {
        let text = raw.text().filter(|text| text.starts_with("redis"))?;
        RedisUrl::parse(&text).err()
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }

    fn show(raw: &Raw) -> Option<String> {
        let text = raw.text()?;
        // In a URL that can't be parsed, the password may stand anywhere.
        match (text.starts_with("redis"), text.split_once("://")) {
            (true, Some((scheme, _))) if RedisUrl::parse(&text).is_err() => Some(format!("{scheme}://…")),
            _ => Some(without_credentials(&text)),
        }
    }
}

impl Setting for Prefix {
    fn takes() -> String {
        "a word of up to 32 letters, digits and `-._`".to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        let text = raw.text()?;
        let is_fine = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        ((1..=32).contains(&text.len()) && text.chars().all(is_fine)).then_some(Self(text))
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}

impl Setting for WaitReplicas {
    fn takes() -> String {
        format!(
            "a whole number, from 0 to {}, or `all`",
            defaults::WAIT_REPLICAS_MOST
        )
    }

    fn parse(raw: &Raw) -> Option<Self> {
        Self::parse(&raw.text()?)
    }

    fn to_toml(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::All { .. } => quoted("all"),
        }
    }
}

/// What the header field `Alt-Svc` says (RFC 7838): where else the service is, `h2=":1001"; ma=86400`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlternativeServices(HeaderValue);

impl AlternativeServices {
    /// As a header field's value.
    pub fn as_header(&self) -> &HeaderValue {
        &self.0
    }
}

impl Setting for AlternativeServices {
    fn takes() -> String {
        "the value of an Alt-Svc header field, such as `h2=\":1001\"; ma=86400`".to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        let text = raw.text()?;
        let names_one = text == "clear" || text.contains("=\"");
        let value = HeaderValue::from_str(&text).ok().filter(|_| names_one)?;
        value.to_str().is_ok().then_some(Self(value))
    }

    fn to_toml(&self) -> String {
        quoted(self.0.to_str().unwrap_or_default())
    }
}

impl Setting for ForwardedHeader {
    fn takes() -> String {
        "the name of a header field, such as `X-Forwarded-For` or `Forwarded`".to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        Self::parse(&raw.text()?)
    }

    fn to_toml(&self) -> String {
        quoted(self.0.as_str())
    }
}

impl Setting for HostName {
    fn takes() -> String {
        "a host name such as `push-admin.example.net`, without port".to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        Self::parse(&raw.text()?)
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}

impl Setting for IpNetwork {
    fn takes() -> String {
        "an IP address or a network such as `10.0.0.0/8`".to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        Self::parse(&raw.text()?)
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Setting for SealingKey {
    fn takes() -> String {
        "32 bytes in base64url, as `push-service keys generate` prints them".to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        Self::parse(&raw.text()?)
    }

    fn to_toml(&self) -> String {
        quoted("…")
    }

    fn show(_: &Raw) -> Option<String> {
        None
    }
}

impl Setting for PublicKey {
    fn takes() -> String {
        "a public VAPID key: an uncompressed point of P-256, 65 bytes in base64url".to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        Self::parse(&raw.text()?)
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Setting for LogFormat {
    fn takes() -> String {
        let [auto, text, json] = Self::ALL.map(Self::as_str);
        format!("`{auto}`, `{text}` or `{json}`")
    }

    fn parse(raw: &Raw) -> Option<Self> {
        let text = raw.text()?;
        Self::ALL.into_iter().find(|format| format.as_str() == text)
    }

    fn to_toml(&self) -> String {
        quoted(self.as_str())
    }
}

impl Setting for Secret {
    fn takes() -> String {
        "a word of letters, digits and `-._~`".to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        Self::parse(&raw.text()?)
    }

    fn to_toml(&self) -> String {
        quoted("…")
    }

    fn show(_: &Raw) -> Option<String> {
        None
    }
}

impl Setting for Credential {
    fn takes() -> String {
        "text of one line".to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        raw.exact_text()
            .filter(|text| !text.is_empty() && !text.contains('\0'))
            .map(Self)
    }

    fn to_toml(&self) -> String {
        quoted("…")
    }

    fn show(_: &Raw) -> Option<String> {
        None
    }
}
