//! The types of values that only the configuration knows. Those that are secrets print as `…`.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::setting::{Raw, Setting, quoted};

/// Scheme, host and port under which the world reaches the service: `https://push.example.net`.
///
/// **Invariant:** as RFC 6454 §6.2 serialises an origin: lower case, no default port, no slash at the end.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Origin(String);

impl Origin {
    /// Reads an `http` or `https` URL that has nothing behind its port but, perhaps, one slash.
    pub fn parse(text: &str) -> Option<Self> {
        let url: http::Uri = text.parse().ok()?;
        let scheme = url
            .scheme_str()
            .filter(|scheme| matches!(*scheme, "http" | "https"))?;
        let authority = url.authority()?;
        if url.path() != "/" || url.query().is_some() || text.contains(['@', '#']) {
            return None;
        }
        let host = authority.host().to_ascii_lowercase();
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => None,
            port => Some(
                port.strip_prefix(':')?
                    .parse::<u16>()
                    .ok()
                    .filter(|port| *port != 0)?,
            ),
        };
        let default = if scheme == "https" { 443 } else { 80 };
        Some(Self(match port.filter(|port| *port != default) {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }))
    }

    /// The origin, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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
            "redis" | "redis+cluster" | "redis+sentinel" if rest.len() > 2 && rest.starts_with("//") => {
                Some(Self::Redis(Secret(text.to_owned())))
            }
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

/// 32 bytes under which resource URLs are sealed (PR-27).
#[derive(Clone, PartialEq, Eq)]
pub struct SealingKey([u8; 32]);

impl SealingKey {
    /// Takes bytes from a cryptographic random source.
    pub fn from_random(bits: [u8; 32]) -> Self {
        Self(bits)
    }

    /// Reads 32 bytes in base64url.
    pub fn parse(text: &str) -> Option<Self> {
        decode(text)?.try_into().ok().map(Self)
    }

    /// The spelling that `parse` reads: 43 characters.
    pub fn to_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The secret itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

/// An application server's public VAPID key (RFC 8292 §3.2): an uncompressed point of P-256. Whether it lies on the
/// curve is for whoever verifies with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ApplicationServerKey([u8; 65]);

impl ApplicationServerKey {
    /// Reads 65 bytes in base64url, the first of them 4.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 65] = decode(text)?.try_into().ok()?;
        (bytes[0] == 4).then_some(Self(bytes))
    }

    /// The point.
    pub fn as_bytes(&self) -> &[u8; 65] {
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

/// base64url, with the padding that some tools print or without.
fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
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
        Self::parse(&raw.text()?)
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }

    fn show(raw: &Raw) -> Option<String> {
        raw.text().map(|text| without_credentials(&text))
    }
}

impl Setting for StorageUrl {
    fn takes() -> String {
        "`embedded:DIRECTORY`, `memory:`, or a URL with `redis://`, `redis+cluster://` or `redis+sentinel://`"
            .to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        Self::from_text(&raw.text()?)
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }

    fn show(raw: &Raw) -> Option<String> {
        raw.text().map(|text| without_credentials(&text))
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

impl Setting for ApplicationServerKey {
    fn takes() -> String {
        "a public VAPID key: an uncompressed P-256 point of 65 bytes in base64url".to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        Self::parse(&raw.text()?)
    }

    fn to_toml(&self) -> String {
        quoted(&URL_SAFE_NO_PAD.encode(self.0))
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
