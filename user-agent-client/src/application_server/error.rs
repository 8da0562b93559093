//! Why a push message was not accepted, sorted by what its sender can do about it.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use push_protocol::encryption::EncryptError;
use serde::Deserialize;

use crate::defaults::REASON_CHARACTERS;
use crate::retry_after;

/// Why a push message was not accepted. `Display` is a sentence that says what to do; it holds no URL, key or content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SendError {
    /// The push resource is no `http` or `https` URL.
    NotAPushResource,
    /// The message cannot be encrypted: it is too long, or there are no random bits.
    NotEncrypted(EncryptError),
    /// It is not known whose certificates to trust; and why.
    NobodyToTrust(String),
    /// No connection, or it broke: nothing is known of the message.
    Unreachable(String),
    /// No answer in time: nothing is known of the message.
    TimedOut,
    /// What came back is no HTTP, or more of it than anyone should say.
    Garbled,
    /// 404, 410: the subscription has ended. Forget it.
    Gone {
        /// The status.
        status: StatusCode,
    },
    /// 413: the message is longer than this service takes.
    TooLarge,
    /// 429, 5xx: not now.
    Later {
        /// The status.
        status: StatusCode,
        /// `Retry-After`: try again no sooner. At most [`RETRY_AFTER_MOST`](crate::defaults::RETRY_AFTER_MOST).
        after: Option<Duration>,
    },
    /// 401, 403: the VAPID key is missing, or is not the one that the subscription was made for.
    NotAllowed {
        /// The status.
        status: StatusCode,
        /// The service's words.
        reason: String,
    },
    /// 400: the service does not understand the request.
    Malformed {
        /// The service's words.
        reason: String,
    },
    /// Any other status.
    Other {
        /// The status.
        status: StatusCode,
        /// The service's words.
        reason: String,
    },
}

/// What an answer other than success means.
pub(super) fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime) -> SendError {
    let reason = || reason(body);
    match status.as_u16() {
        400 => SendError::Malformed { reason: reason() },
        401 | 403 => SendError::NotAllowed {
            status,
            reason: reason(),
        },
        404 | 410 => SendError::Gone { status },
        413 => SendError::TooLarge,
        429 | 500..=599 => SendError::Later {
            status,
            after: retry_after::told(headers, now),
        },
        _ => SendError::Other {
            status,
            reason: reason(),
        },
    }
}

/// What the service says: the sentence in RFC 9457's problems or in autopush's errors, or the text itself; one line, cut.
fn reason(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Explained {
        detail: Option<String>,
        message: Option<String>,
        title: Option<String>,
    }
    let explained = serde_json::from_slice::<Explained>(body).ok();
    let text = explained
        .and_then(|explained| explained.detail.or(explained.message).or(explained.title))
        .unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    // A terminal would obey control characters.
    let mut line: String = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    if let Some((end, _)) = line.char_indices().nth(REASON_CHARACTERS) {
        line.truncate(end);
        line.push('…');
    }
    line
}

impl From<EncryptError> for SendError {
    fn from(error: EncryptError) -> Self {
        Self::NotEncrypted(error)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPushResource => {
                f.write_str("The endpoint of the subscription is no URL that begins with https:// or http://.")
            }
            Self::NotEncrypted(error) => error.fmt(f),
            Self::NobodyToTrust(why) => f.write_str(why),
            Self::Unreachable(why) => write!(f, "The push service cannot be reached: {why}."),
            Self::TimedOut => f.write_str(
                "The push service did not answer in time; whether it has the message is not known, and sending it again \
                 may deliver it twice.",
            ),
            Self::Garbled => f.write_str("What answers there does not speak HTTP, or says more than a push service has to."),
            Self::Gone { status } => write!(
                f,
                "The subscription is gone ({}); forget it, and have the user agent subscribe again.",
                status.as_u16()
            ),
            Self::TooLarge => f.write_str("The message is too long for this push service (413); shorten it."),
            Self::Later { status, after } => later(f, *status, *after),
            Self::NotAllowed { status, reason } => {
                write!(
                    f,
                    "The push service does not let this key send ({}); use the VAPID key that the subscription was made for",
                    status.as_u16()
                )?;
                ending(f, reason)
            }
            Self::Malformed { reason } => {
                f.write_str("The push service does not understand the request (400)")?;
                ending(f, reason)
            }
            Self::Other { status, reason } => {
                write!(f, "The push service answered {status}")?;
                ending(f, reason)
            }
        }
    }
}

fn later(f: &mut fmt::Formatter<'_>, status: StatusCode, after: Option<Duration>) -> fmt::Result {
    let why = match status {
        StatusCode::TOO_MANY_REQUESTS => "too many messages",
        _ => "the push service is in trouble",
    };
    write!(f, "Not now: {why} ({})", status.as_u16())?;
    match after {
        Some(after) => write!(f, "; try again in {} s.", after.as_secs()),
        None => f.write_str("; try again later."),
    }
}

/// The service's words, or nothing.
fn ending(f: &mut fmt::Formatter<'_>, reason: &str) -> fmt::Result {
    if reason.is_empty() {
        return f.write_str(".");
    }
    write!(f, ". It says: {reason}")
}

impl std::error::Error for SendError {}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::header::RETRY_AFTER;

    use super::*;

    /// 2015-10-21 07:28:00.
    const NOW_SECS: u64 = 1_445_412_480;

    fn told(status: u16, retry: Option<&str>, body: &str) -> SendError {
        let mut headers = HeaderMap::new();
        if let Some(retry) = retry {
            headers.insert(RETRY_AFTER, retry.parse().unwrap());
        }
        let now = UNIX_EPOCH + Duration::from_secs(NOW_SECS);
        refusal(
            StatusCode::from_u16(status).unwrap(),
            &headers,
            body.as_bytes(),
            now,
        )
    }

    /// R30-MSG-5, R30-MSG-7, R30-MSG-8: each answer has its meaning, and a sentence that says what to do.
    #[test]
    fn every_answer_says_what_to_do() {
        let rows = [
            (400, "does not understand the request (400)"),
            (401, "use the VAPID key that the subscription was made for"),
            (403, "use the VAPID key that the subscription was made for"),
            (404, "gone (404); forget it"),
            (410, "gone (410); forget it"),
            (413, "shorten it"),
            (429, "too many messages (429); try again later"),
            (500, "in trouble (500); try again later"),
            (503, "in trouble (503); try again later"),
            (302, "answered 302 Found."),
            (418, "answered 418"),
        ];
        for (status, sentence) in rows {
            let text = told(status, None, "").to_string();
            assert!(text.contains(sentence), "{status}: {text}");
        }
    }

    /// R30-MSG-8: 429 and 5xx may say when to come back, and the sentence passes it on.
    #[test]
    fn the_service_may_say_when() {
        let later = told(429, Some("30"), "");
        let expected = SendError::Later {
            status: StatusCode::TOO_MANY_REQUESTS,
            after: Some(Duration::from_secs(30)),
        };
        assert_eq!(later, expected);
        assert!(later.to_string().ends_with("try again in 30 s."), "{later}");
    }

    /// The service's words are shown in one line, cut, and without what a terminal would obey.
    #[test]
    fn the_service_may_explain_itself() {
        let long = "ä".repeat(1000);
        let rows = [
            (
                r#"{"code":400,"errno":110,"error":"Bad Request","message":"Missing TTL"}"#,
                "Missing TTL".to_owned(),
            ),
            (
                r#"{"title":"Bad Request","detail":"Send one TTL."}"#,
                "Send one TTL.".to_owned(),
            ),
            ("plain\r\n  text\u{1b}[2J", "plain text [2J".to_owned()),
            ("[1, 2]", "[1, 2]".to_owned()),
            (long.as_str(), format!("{}…", "ä".repeat(200))),
            ("", String::new()),
        ];
        for (body, reason) in rows {
            assert_eq!(told(400, None, body), SendError::Malformed { reason }, "{body}");
        }
    }
}
