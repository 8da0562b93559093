//! Subscriptions of RFC 8030, made by `POST` over a few connections that are none of the user agents'.
//!
//! So what a monitor costs is not hidden in what the service once took for the request before it.

use std::io::Write as _;

use push_protocol::headers::Relation;
use push_protocol::session::user_agent as session;
use push_protocol::vapid::PublicKey;

use super::Identity;
use crate::connector::Connector;
use crate::failure::{BenchResult, Failure};
use crate::http1::{Connection, linked};

/// Makes so many subscriptions, each in a set of its own, and restricted to `key` if one is given (RFC 8292 §4.1).
pub(crate) async fn subscribe(
    connector: &Connector,
    count: usize,
    key: Option<PublicKey>,
) -> BenchResult<Vec<Identity>> {
    let mut connection = Connection::connect(connector).await?;
    let by_request = connector.for_requests();
    let (host, path) = (by_request.authority(), by_request.subscribe_path());
    let options = key.map_or_else(String::new, |key| format!("{{\"vapid\":\"{key}\"}}"));
    let mut identities = Vec::with_capacity(count);
    for _ in 0..count {
        let bytes = options.len();
        // A Vec takes every write.
        let _ = write!(
            connection.request(),
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/webpush-options+json\r\n\
             content-length: {bytes}\r\n\r\n{options}"
        );
        let status = connection.exchange().await?;
        if status != 201 {
            return Err(Failure::new(format!(
                "a subscription is answered {status}, not 201"
            )));
        }
        let made = identity(&connection.fields("link"));
        let made = made.ok_or_else(|| Failure::new("a 201 names no set, or no push resource"))?;
        connector.made(|| delete(connector.clone(), made.name.as_str().to_owned()));
        identities.push(made);
    }
    Ok(identities)
}

/// Ends a set or a receipt subscription: a DELETE of its URL does that.
pub(crate) async fn delete(connector: Connector, url: String) -> BenchResult<()> {
    let (host, path) = target(&url)?;
    let mut connection = Connection::connect(&connector).await?;
    // A Vec takes every write.
    let _ = write!(
        connection.request(),
        "DELETE {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"
    );
    match connection.exchange().await? {
        204 | 404 | 410 => Ok(()),
        status => Err(Failure::new(format!("a DELETE is answered {status}, not 204"))),
    }
}

/// The root of the origin at which a set is.
pub(super) fn origin_of(identity: &Identity) -> BenchResult<String> {
    let (origin, _) = split(identity.name.as_str())?;
    Ok(format!("{origin}/"))
}

/// Authority and path of a URL, for a request.
pub(crate) fn target(url: &str) -> BenchResult<(&str, &str)> {
    let (origin, path) = split(url)?;
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    Ok((authority.unwrap_or_default(), path))
}

fn split(url: &str) -> BenchResult<(&str, &str)> {
    let host = url.find("://").map(|at| at + 3);
    let path = host.and_then(|host| Some(host + url[host..].find('/')?));
    let path = path.ok_or_else(|| Failure::new("a URL without a path"))?;
    Ok(url.split_at(path))
}

fn identity(links: &[&str]) -> Option<Identity> {
    Some(Identity {
        name: session::Identity::of_set(linked(links, Relation::Set)?)?,
        push_resource: session::PushResource::parse(linked(links, Relation::Push)?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A URL is split at exact positions.
    #[test]
    fn urls_are_taken_apart() {
        assert_eq!(target("http://h:1/set/a").unwrap(), ("h:1", "/set/a"));
        assert_eq!(split("https://h/").unwrap(), ("https://h", "/"));
        assert!(target("http://h").is_err() && target("/set/a").is_err());
    }
}
