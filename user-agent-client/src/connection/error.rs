//! Why a connection or a channel was not opened: for the session, and as a sentence for people.

use std::fmt;
use std::io;
use std::time::Duration;

use push_protocol::session::user_agent::ChannelEnd;

use super::tunnel::ProxyFailure;
use crate::defaults::RETRY_AFTER_MOST;
use crate::io_error;
use crate::tls::TrustError;
use crate::tls::sentences::{self, NO_HTTP};

/// Why a channel was not opened. Prints as a sentence that says what to do about it, without what may be secret.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// This host has no address.
    NoAddress(Box<str>, io::Error),
    /// No connection to the service.
    NoConnection(Box<str>, io::Error),
    /// There is no way through this proxy.
    Proxy(Box<str>, ProxyFailure),
    /// There are no certificates to trust.
    Trust(TrustError),
    /// TLS failed.
    Tls(io::Error),
    /// An HTTP server answered, but with no WebSocket.
    Refused {
        /// The status; never 101.
        status: u16,
        /// `Retry-After`, at most [`RETRY_AFTER_MOST`](crate::defaults::RETRY_AFTER_MOST).
        retry_after: Option<Duration>,
        /// What the service says about it, in one line without capabilities.
        said: Option<Box<str>>,
    },
    /// The answer is not one of RFC 6455; and what is wrong with it.
    NotWebSocket(&'static str),
    /// The server does not speak HTTP/2; and what is wrong.
    NotHttp2(&'static str),
    /// The connection broke before the answer was whole.
    Lost(io::Error),
}

impl OpenError {
    /// The same for the session.
    pub fn to_channel_end(&self) -> ChannelEnd {
        match self {
            Self::NoAddress(..)
            | Self::NoConnection(..)
            | Self::Proxy(..)
            | Self::Trust(_)
            | Self::Tls(_) => ChannelEnd::Unreachable,
            Self::Refused {
                status, retry_after, ..
            } => ChannelEnd::Refused {
                status: *status,
                retry_after: *retry_after,
            },
            Self::NotWebSocket(_) | Self::NotHttp2(_) => ChannelEnd::Garbled,
            Self::Lost(_) => ChannelEnd::Lost,
        }
    }
}

impl From<TrustError> for OpenError {
    fn from(error: TrustError) -> Self {
        Self::Trust(error)
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoAddress(_, error)
            | Self::NoConnection(_, error)
            | Self::Tls(error)
            | Self::Lost(error) => Some(error),
            Self::Trust(error) => Some(error),
            Self::Proxy(..) | Self::Refused { .. } | Self::NotWebSocket(_) | Self::NotHttp2(_) => None,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress(host, error) => {
                write!(
                    f,
                    "the name {host} cannot be resolved: is it right, and is there a network? ({})",
                    io_error::sentence(error)
                )
            }
            Self::NoConnection(service, error) => {
                write!(
                    f,
                    "cannot connect to {service}: is the service running, and is the port right? ({})",
                    io_error::sentence(error)
                )
            }
            Self::Proxy(proxy, failure) => {
                write!(f, "the proxy at {proxy} does not lead to the service: {failure}")
            }
            Self::Trust(error) => error.fmt(f),
            Self::Tls(error) => tls(error, f),
            Self::Refused {
                status,
                retry_after,
                said,
            } => {
                write!(
                    f,
                    "the service answered with status {status}: {}",
                    advice(*status)
                )?;
                if let Some(wait) = retry_after {
                    let most = match *wait >= RETRY_AFTER_MOST {
                        true => ", the longest time that this user agent waits",
                        false => "",
                    };
                    write!(f, " (next attempt in {} seconds{most})", wait.as_secs())?;
                }
                said.as_ref()
                    .map_or(Ok(()), |said| write!(f, "; the service says: {said}"))
            }
            Self::NotWebSocket(what) => write!(f, "this is not a push service: {what}"),
            Self::NotHttp2(what) => write!(
                f,
                "this is not a push service over HTTP/2: {what}; if it has a WebSocket, use wss:// or \
                 `ServerUrl::over(Transport::WebSocket)`"
            ),
            Self::Lost(error) => write!(
                f,
                "the connection was lost before the service answered ({})",
                io_error::sentence(error)
            ),
        }
    }
}

fn tls(error: &io::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match sentences::of_io(error) {
        Some(sentence) if sentence == NO_HTTP => write!(f, "{}", OpenError::NotHttp2(NO_HTTP)),
        Some(sentence) => f.write_str(&sentence),
        None => write!(
            f,
            "the connection was lost during the TLS handshake ({})",
            io_error::sentence(error)
        ),
    }
}

fn advice(status: u16) -> &'static str {
    match status {
        200..=299 => "it sent a web page and no WebSocket: is this the push service's URL?",
        300..=399 => "it redirects, which is not followed: use the URL that it redirects to",
        401 | 403 => "it does not let this user agent in",
        404 | 410 => "there is no push service at this path: is the URL right, and the secret in it?",
        429 => "it gets too many connections or requests: try again later",
        400..=499 => "it does not accept a WebSocket here: is this the push service's URL?",
        502 | 504 => "a proxy in front of the service cannot reach it",
        500..=599 => "it has an error or is busy: try again later",
        _ => "this status is unknown",
    }
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;

    /// What is broken is told apart: what the session is told, and what people are.
    #[test]
    fn sentences() {
        let io = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let tls = |error| OpenError::Tls(io::Error::new(io::ErrorKind::InvalidData, error));
        let bad = |error| tls(rustls::Error::InvalidCertificate(error));
        let refused = |status, retry_after| OpenError::Refused {
            status,
            retry_after,
            said: None,
        };
        let explained = OpenError::Refused {
            status: 403,
            retry_after: None,
            said: Some("Ask the operator.".into()),
        };
        let through = |failure| OpenError::Proxy("p:1".into(), failure);
        let minute = Some(Duration::from_secs(60));
        let not_trusted = || TrustError::NoSystemCertificates(None);
        let rows = [
            (OpenError::NoAddress("push".into(), io()), "cannot be resolved"),
            (
                OpenError::NoConnection("push:1".into(), io()),
                "cannot connect to push:1",
            ),
            (OpenError::Trust(not_trusted()), "`Trust::with_certificates`"),
            (OpenError::Tls(io()), "lost during the TLS handshake"),
            (bad(CertificateError::UnknownIssuer), "`Trust::with_certificates`"),
            (bad(CertificateError::BadSignature), "an old one"),
            (bad(CertificateError::Expired), "clock"),
            (bad(CertificateError::NotValidYet), "clock"),
            (
                bad(CertificateError::NotValidForName),
                "not for the name in its URL",
            ),
            (bad(CertificateError::Revoked), "revoked"),
            (tls(rustls::Error::DecryptError), "TLS failed"),
            (
                tls(rustls::Error::NoApplicationProtocol),
                "ServerUrl::over(Transport::WebSocket)",
            ),
            (
                through(ProxyFailure::NoAddress(io())),
                "proxy at p:1 does not lead to the service: its name",
            ),
            (through(ProxyFailure::NoConnection(io())), "is it running"),
            (through(ProxyFailure::Tls(io())), "lost during the TLS handshake"),
            (
                through(ProxyFailure::Refused(403)),
                "status 403: it does not allow",
            ),
            (through(ProxyFailure::Refused(405)), "CONNECT"),
            (through(ProxyFailure::Refused(407)), "USER:PASSWORD"),
            (through(ProxyFailure::Refused(429)), "busy"),
            (through(ProxyFailure::Refused(500)), "has an error"),
            (through(ProxyFailure::Refused(502)), "reach the service"),
            (through(ProxyFailure::Refused(302)), "refused to open a tunnel"),
            (through(ProxyFailure::NotAProxy), "not an HTTP proxy"),
            (through(ProxyFailure::Lost(io())), "closed the connection"),
            (
                tls(rustls::Error::InvalidMessage(
                    rustls::InvalidMessage::InvalidContentType,
                )),
                "ws://",
            ),
            (OpenError::Lost(io()), "was lost before"),
            (OpenError::NotWebSocket("why"), "this is not a push service: why"),
            (OpenError::NotHttp2("why"), "over HTTP/2: why; if"),
            (refused(200, None), "a web page"),
            (refused(301, None), "not followed"),
            (refused(403, None), "let"),
            (explained, "the service says: Ask the operator."),
            (refused(404, None), "secret"),
            (refused(426, None), "status 426"),
            (refused(429, minute), "in 60 seconds"),
            (
                refused(429, Some(RETRY_AFTER_MOST)),
                "in 86400 seconds, the longest",
            ),
            (refused(502, None), "proxy"),
            (refused(503, minute), "busy"),
            (refused(999, None), "is unknown"),
        ];
        for (error, words) in rows {
            assert!(error.to_string().contains(words), "{error}");
        }
        assert_eq!(OpenError::Tls(io()).to_channel_end(), ChannelEnd::Unreachable);
        assert_eq!(OpenError::Lost(io()).to_channel_end(), ChannelEnd::Lost);
        assert_eq!(OpenError::NotWebSocket("").to_channel_end(), ChannelEnd::Garbled);
        assert_eq!(OpenError::NotHttp2("").to_channel_end(), ChannelEnd::Garbled);
        let ended = ChannelEnd::Refused {
            status: 503,
            retry_after: minute,
        };
        assert_eq!(refused(503, minute).to_channel_end(), ended);
    }
}
