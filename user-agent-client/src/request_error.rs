//! Why a service did not do what a request about a subscription asked for, in a sentence that says what to do.

use std::fmt;

use crate::defaults::REDIRECTIONS;
use crate::explanation::one_line;

/// Why a service did not make or end a subscription. Prints as a sentence without capabilities.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RequestError {
    /// It refused with a status.
    Status {
        /// The status: of HTTP, or that of an answer over a WebSocket.
        status: u16,
        /// The service's words, if it said any.
        explanation: Option<String>,
    },
    /// It answered that a subscription is made, and its answer can't be used; and what is wrong with it.
    Unusable(&'static str),
    /// It redirected more than [`REDIRECTIONS`] times, last to this host.
    Redirections(String),
    /// It redirected to a URL that must not be followed; and why not.
    Redirection(&'static str),
    /// It redirected to this host, which can't be reached; and why.
    Elsewhere(String, String),
    /// The connection, or the request on it, was ended before the answer came.
    NoAnswer,
    /// Its answer has no meaning in the protocol.
    Nonsense,
}

impl RequestError {
    /// A refusal over a WebSocket, as the service words it.
    pub(crate) fn of_reply(status: Option<u16>, words: Option<&str>) -> Self {
        match status {
            Some(200) => Self::Unusable("no usable push resource: its pushEndpoint is missing or not a URL"),
            Some(status) => Self::Status {
                status,
                explanation: words.map(one_line).filter(|line| !line.is_empty()),
            },
            None => Self::Nonsense,
        }
    }

    /// Whether it may succeed later without a change. Otherwise something has to be changed, here or at the service.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            Self::Elsewhere(..) | Self::NoAnswer | Self::Nonsense => true,
            Self::Unusable(_) | Self::Redirections(_) | Self::Redirection(_) => false,
        }
    }
}

impl std::error::Error for RequestError {}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, explanation } => {
                write!(f, "the service answered with status {status}")?;
                match explanation {
                    Some(words) => write!(f, ". It says: {words}"),
                    None => f.write_str(advice(*status)),
                }
            }
            Self::Unusable(what) => {
                write!(f, "the service's answer has {what}; tell the service's operator")
            }
            Self::Redirections(last) => write!(
                f,
                "the service redirected more than {REDIRECTIONS} times, last to {last}: use the final URL, \
                 or tell the service's operator"
            ),
            Self::Redirection(why) => {
                write!(f, "the service sent a redirection that cannot be followed: {why}")
            }
            Self::Elsewhere(host, why) => write!(f, "the service redirects to {host}, and {why}"),
            Self::NoAnswer => {
                f.write_str("the connection was closed before the service answered the request")
            }
            Self::Nonsense => f.write_str("the service's answer to the request cannot be understood"),
        }
    }
}

/// What to do about a status that the service did not explain.
fn advice(status: u16) -> &'static str {
    match status {
        200..=299 => {
            ", which is not an answer to a request for a subscription: is this a push service's URL?"
        }
        300..=399 => ": it redirects in a way that is not followed; use the URL that it redirects to",
        401 | 403 => ": it does not let this user agent subscribe; is a secret missing in the service's URL?",
        404 | 405 | 410 => {
            ": subscriptions cannot be made at this URL; is the URL right, and the secret in it?"
        }
        400..=407 | 409..=424 | 426..=428 | 430..=499 => ": it refused the request",
        429 => ": it gets too many requests",
        502 | 504 => ": a proxy in front of the service cannot reach it",
        _ => ": it has an error or is busy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R30-SUB-7: every reason is a sentence with a way out, and says whether waiting makes sense.
    #[test]
    fn sentences() {
        let status = |status| RequestError::Status {
            status,
            explanation: None,
        };
        let rows = [
            (status(200), "is this a push service's URL?", false),
            (status(303), "use the URL that it redirects to", false),
            (status(400), "refused the request", false),
            (status(401), "is a secret missing", false),
            (status(404), "is the URL right", false),
            (status(408), "status 408", true),
            (status(429), "too many requests", true),
            (status(500), "has an error", true),
            (status(502), "a proxy in front", true),
            (
                RequestError::of_reply(Some(500), Some("storage\nis away")),
                "status 500. It says: storage is away",
                true,
            ),
            (
                RequestError::of_reply(Some(400), Some("")),
                "refused the request",
                false,
            ),
            (
                RequestError::of_reply(Some(200), Some("nonsense")),
                "no usable push resource",
                false,
            ),
            (RequestError::of_reply(None, None), "cannot be understood", true),
            (
                RequestError::Redirections("other.example".into()),
                "redirected more than 4 times, last to other.example",
                false,
            ),
            (RequestError::Redirection("why"), "followed: why", false),
            (
                RequestError::Elsewhere("other.example".into(), "no server answers".into()),
                "redirects to other.example, and no server answers",
                true,
            ),
            (RequestError::NoAnswer, "before the service answered", true),
        ];
        for (error, words, may_pass) in rows {
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.may_pass(), may_pass, "{error}");
        }
    }
}
