//! What `storage.url` says about Redis, parsed once.
//!
//! Guarantees that nothing it says ever shows the password: neither `Debug` nor `Display`, nor a refusal, which quotes
//! nothing of the text.
//!
//! What it deliberately does not know: whether anybody answers there.

use std::fmt;
use std::net::Ipv6Addr;

/// Where Redis listens unless the URL says otherwise.
const PORT: u16 = 6_379;

/// Where sentinels listen unless the URL says otherwise.
const SENTINEL_PORT: u16 = 26_379;

/// The store's servers, and how to be let in.
///
/// `redis://[user][:password]@host[:port][/db]` for one server, `redis+cluster://` and `redis+sentinel://` with several
/// `host[:port]` separated by commas, the latter with `/name[/db]`. With `rediss` in place of `redis`, over TLS. User and
/// password are percent-encoded; an IPv6 address stands in brackets.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// The server, some members of the cluster, or the sentinels. At least one.
    pub servers: Vec<Address>,
    /// How they belong together.
    pub kind: Kind,
    /// Whether they speak TLS.
    pub tls: bool,
    /// Who we are. Redis's `default` if not given.
    pub user: Option<String>,
    /// What proves it.
    pub password: Option<String>,
    /// The number of the database; always 0 in a cluster.
    pub database: u32,
}

/// How the servers of a [`RedisUrl`] belong together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One server.
    Single,
    /// Members of a Redis Cluster, which tell of the others.
    Cluster,
    /// Sentinels, which tell who is primary.
    Sentinel {
        /// The name under which they watch it.
        name: String,
    },
}

/// Where one server listens.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
}

impl RedisUrl {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// A sentence for the operator that quotes nothing of `text`, which may hold a password in the wrong place.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or("it is not a URL: `://` is missing")?;
        let (tls, family) = scheme_of(scheme).ok_or(
            "its scheme must be redis, redis+cluster or redis+sentinel, or one of them with rediss for TLS",
        )?;
        if rest.contains(['?', '#']) {
            return Err("it must not contain `?` or `#`; in a user or password write %3F and %23".to_owned());
        }
        // The last `@`, because a password that was not percent-encoded must not become part of a host's name.
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        let (user, password) = credentials.map_or(Ok((None, None)), credentials_of)?;
        let (servers, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (kind, database) = match family {
            Family::Single => (Kind::Single, database_of(path)?),
            Family::Cluster if matches!(path, "" | "0") => (Kind::Cluster, 0),
            Family::Cluster => return Err("a cluster has only database 0: remove the number".to_owned()),
            Family::Sentinel => {
                let (name, database) = path.split_once('/').unwrap_or((path, ""));
                let name = decoded(name).filter(|name| !name.is_empty());
                let name = name
                    .ok_or("after the sentinels it needs `/` and the name of the primary that they watch")?;
                (Kind::Sentinel { name }, database_of(database)?)
            }
        };
        let port = if matches!(kind, Kind::Sentinel { .. }) {
            SENTINEL_PORT
        } else {
            PORT
        };
        let servers = servers.split(',').map(|server| Address::parse(server, port));
        let servers: Vec<_> = servers.collect::<Option<_>>().ok_or(
            "write each server as host or host:port, an IPv6 address in brackets; percent-encode user and \
             password",
        )?;
        if kind == Kind::Single && servers.len() > 1 {
            return Err("it names several servers: use redis+cluster:// or redis+sentinel://".to_owned());
        }
        Ok(Self {
            servers,
            kind,
            tls,
            user,
            password,
            database,
        })
    }
}

/// Without user and password.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls { "rediss" } else { "redis" })?;
        f.write_str(match self.kind {
            Kind::Single => "://",
            Kind::Cluster => "+cluster://",
            Kind::Sentinel { .. } => "+sentinel://",
        })?;
        if self.password.is_some() {
            f.write_str("…@")?;
        }
        for (i, server) in self.servers.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{server}")?;
        }
        if let Kind::Sentinel { name } = &self.kind {
            write!(f, "/{name}")?;
        }
        match self.database {
            0 => Ok(()),
            database => write!(f, "/{database}"),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

impl Address {
    /// Reads `host`, `host:port`, `[::1]` or `[::1]:port`.
    fn parse(text: &str, default_port: u16) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                host.parse::<Ipv6Addr>().ok()?;
                (
                    host,
                    if rest.is_empty() {
                        None
                    } else {
                        Some(rest.strip_prefix(':')?)
                    },
                )
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let named = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
        if host.is_empty() || !host.bytes().all(named) {
            return None;
        }
        let digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
        let port = match port {
            Some(port) if digits(port) => port.parse().ok().filter(|port| *port != 0)?,
            Some(_) => return None,
            None => default_port,
        };
        Some(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

enum Family {
    Single,
    Cluster,
    Sentinel,
}

/// Whether a scheme means TLS, and what stands behind it.
fn scheme_of(scheme: &str) -> Option<(bool, Family)> {
    let (redis, family) = scheme.split_once('+').unwrap_or((scheme, ""));
    let family = match family {
        "" if !scheme.contains('+') => Family::Single,
        "cluster" => Family::Cluster,
        "sentinel" => Family::Sentinel,
        _ => return None,
    };
    match redis {
        "redis" => Some((false, family)),
        "rediss" => Some((true, family)),
        _ => None,
    }
}

/// User and password of what stands before the `@`.
fn credentials_of(text: &str) -> Result<(Option<String>, Option<String>), String> {
    let (user, password) = text
        .split_once(':')
        .ok_or("before the `@`, write `user:password@` or `:password@`")?;
    let part = |text| decoded(text).ok_or("its user or password is not percent-encoded UTF-8");
    let (user, password) = (part(user)?, part(password)?);
    if password.is_empty() {
        return Err("its password is empty".to_owned());
    }
    Ok((Some(user).filter(|user| !user.is_empty()), Some(password)))
}

fn database_of(path: &str) -> Result<u32, String> {
    if path.is_empty() {
        return Ok(0);
    }
    let number = path
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| path.parse().ok());
    number
        .flatten()
        .ok_or_else(|| "after the servers, write `/` and the number of a database, or nothing".to_owned())
}

/// Undoes percent-encoding (RFC 3986 §2.1).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            let digit = |b: u8| char::from(b).to_digit(16);
            let value = digit(digits[0])? * 16 + digit(digits[1])?;
            bytes.push(u8::try_from(value).ok()?);
            rest = after;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DESIGN §5: every documented form is read, with its defaults.
    #[test]
    fn every_form_is_read() {
        let rows: [(&str, &str, &str); 9] = [
            ("redis://localhost", "redis://localhost:6379", "localhost"),
            ("redis://h:1/7", "redis://h:1/7", "h"),
            ("rediss://:p@[::1]:6380", "rediss://…@[::1]:6380", "::1"),
            ("redis://u:p@[fe80::2]/", "redis://…@[fe80::2]:6379", "fe80::2"),
            (
                "redis+cluster://a,b:2,10.0.0.1",
                "redis+cluster://a:6379,b:2,10.0.0.1:6379",
                "a",
            ),
            ("rediss+cluster://u:p@a/0", "rediss+cluster://…@a:6379", "a"),
            (
                "redis+sentinel://a,b:1/main",
                "redis+sentinel://a:26379,b:1/main",
                "a",
            ),
            (
                "redis+sentinel://:p@a/main/3",
                "redis+sentinel://…@a:26379/main/3",
                "a",
            ),
            (
                "rediss+sentinel://[::1]/main",
                "rediss+sentinel://[::1]:26379/main",
                "::1",
            ),
        ];
        for (text, shown, first) in rows {
            let url = RedisUrl::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(url.to_string(), shown);
            assert_eq!(url.servers[0].host, first, "{text}");
            assert_eq!(url.tls, text.starts_with("rediss"), "{text}");
        }
    }

    /// DESIGN §5: user and password may hold any character, percent-encoded.
    #[test]
    fn user_and_password_are_percent_decoded() {
        let url = RedisUrl::parse("redis://a%40b:p%2f%3a%C3%A9%25@h").unwrap();
        assert_eq!(url.user.as_deref(), Some("a@b"));
        assert_eq!(url.password.as_deref(), Some("p/:é%"));
        let url = RedisUrl::parse("redis://:a:b@c@h").unwrap();
        assert_eq!((url.user, url.password.as_deref()), (None, Some("a:b@c")));
    }

    /// PR-31: what can't work is refused at start, by a sentence.
    #[test]
    fn what_is_no_url_of_redis_is_refused() {
        let rows = [
            ("redis:", "not a URL"),
            ("http://h", "its scheme"),
            ("redis+://h", "its scheme"),
            ("redis+cluster+x://h", "its scheme"),
            ("redis://", "host:port"),
            ("redis://h:port", "host:port"),
            ("redis://h:0", "host:port"),
            ("redis://h:+1", "host:port"),
            ("redis://h:65536", "host:port"),
            ("redis://::1", "brackets"),
            ("redis://[::1", "host:port"),
            ("redis://[h]:1", "host:port"),
            ("redis://h/x", "number of a database"),
            ("redis://h/-1", "number of a database"),
            ("redis://h/4294967296", "number of a database"),
            ("redis://a,b", "several servers"),
            ("redis://h?db=1", "must not contain `?`"),
            ("redis://user@h", "`user:password@`"),
            ("redis://user:@h", "is empty"),
            ("redis://:%zz@h", "percent-encoded"),
            ("redis://:%f@h", "percent-encoded"),
            ("redis://:%ff@h", "percent-encoded"),
            ("redis+cluster://h/1", "only database 0"),
            ("redis+cluster://a,,b", "host:port"),
            ("redis+sentinel://h", "name of the primary that they watch"),
            ("redis+sentinel://h//1", "name of the primary that they watch"),
        ];
        for (text, expected) in rows {
            let why = RedisUrl::parse(text).expect_err(text);
            assert!(why.contains(expected), "{text}: {why}");
        }
    }

    /// RFC 8030 §8.5 in spirit: a password is shown by nothing, wherever in the URL it got to.
    #[test]
    fn a_password_is_never_shown() {
        let url = RedisUrl::parse("redis://hunter1:hunter2@h").unwrap();
        let shown = format!("{url} {url:?}");
        assert!(!shown.contains("hunter"), "{shown}");
        for text in [
            "redis://:hunter2/@h:x",
            "redis://hunter2@h",
            "redis://h/hunter2",
            "hunter2",
            "hunter2://h",
        ] {
            let why = RedisUrl::parse(text).expect_err(text);
            assert!(!why.contains("hunter2"), "{text}: {why}");
        }
    }
}
