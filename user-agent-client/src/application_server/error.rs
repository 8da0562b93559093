//! Why a push message was not accepted, sorted by what its sender can do about it.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Response, StatusCode};
use push_protocol::encryption::EncryptError;

use crate::explanation::explanation;
use crate::retry_after;

/// Why a push message was not accepted. `Display` is a sentence that says what to do; it holds no URL, key or content.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The push resource is no `http` or `https` URL.
    NotAPushResource,
    /// The message cannot be encrypted: it is too long, or there are no random bits.
    NotEncrypted(EncryptError),
    /// There are no certificates to trust; and why.
    NobodyToTrust(String),
    /// No connection, or it broke: nothing is known of the message.
    Unreachable(String),
    /// No answer in time: nothing is known of the message.
    TimedOut,
    /// The answer is not HTTP, or is too long.
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
        /// The service's words, if it said any.
        reason: Option<String>,
    },
    /// 401, 403: the VAPID key is missing, or is not the one that the subscription was made for.
    NotAllowed {
        /// The status.
        status: StatusCode,
        /// Whether the request was signed with a VAPID key.
        signed: bool,
        /// The service's words, if it said any.
        reason: Option<String>,
    },
    /// 400: the service does not understand the request.
    Malformed {
        /// The service's words, if it said any.
        reason: Option<String>,
    },
    /// Any other status.
    Other {
        /// The status.
        status: StatusCode,
        /// The service's words, if it said any.
        reason: Option<String>,
    },
}

/// What an answer other than success means for a request that was `signed` or not.
pub(super) fn refusal(answer: &Response<Bytes>, signed: bool, now: SystemTime) -> SendError {
    let (status, headers) = (answer.status(), answer.headers());
    let reason = explanation(headers, answer.body());
    match status.as_u16() {
        400 => SendError::Malformed { reason },
        401 | 403 => SendError::NotAllowed {
            status,
            signed,
            reason,
        },
        404 | 410 => SendError::Gone { status },
        413 => SendError::TooLarge,
        429 | 500..=599 => SendError::Later {
            status,
            after: retry_after::read(headers, now),
            reason,
        },
        _ => SendError::Other { status, reason },
    }
}

impl From<EncryptError> for SendError {
    fn from(error: EncryptError) -> Self {
        Self::NotEncrypted(error)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPushResource => f.write_str(
                "The subscription's endpoint cannot be used: it must be a URL that begins with \
                     https:// or http://.",
            ),
            Self::NotEncrypted(error) => error.fmt(f),
            Self::NobodyToTrust(why) => f.write_str(why),
            Self::Unreachable(why) => write!(f, "The push service cannot be reached: {why}."),
            Self::TimedOut => f.write_str(
                "The push service did not answer in time. It may have the message; sending it again may \
                 deliver it twice.",
            ),
            Self::Garbled => f.write_str(
                "The answer is not HTTP, or is too long for a push service's answer; check the endpoint.",
            ),
            Self::Gone { status } => write!(
                f,
                "The subscription has ended ({}). Delete it; the user agent must subscribe again.",
                status.as_u16()
            ),
            Self::TooLarge => {
                f.write_str("The message is too long for this push service (413); send a shorter one.")
            }
            Self::Later {
                status,
                after,
                reason,
            } => {
                later(f, *status, *after)?;
                ending(f, reason.as_deref())
            }
            Self::NotAllowed {
                status,
                signed,
                reason,
            } => {
                let status = status.as_u16();
                if *signed {
                    write!(
                        f,
                        "The push service does not accept this VAPID key ({status}); use the key that the \
                         subscription was made for"
                    )?;
                } else {
                    write!(
                        f,
                        "The push service needs a VAPID key to send here ({status}); use the key that the \
                         subscription was made for, or any if it was made for none"
                    )?;
                }
                ending(f, reason.as_deref())
            }
            Self::Malformed { reason } => {
                f.write_str("The push service does not understand the request (400)")?;
                ending(f, reason.as_deref())
            }
            Self::Other { status, reason } => {
                write!(f, "The push service answered {status}")?;
                ending(f, reason.as_deref())
            }
        }
    }
}

fn later(f: &mut fmt::Formatter<'_>, status: StatusCode, after: Option<Duration>) -> fmt::Result {
    let why = match status {
        StatusCode::TOO_MANY_REQUESTS => "too many messages",
        _ => "the push service has an error or is busy",
    };
    write!(f, "Not now: {why} ({})", status.as_u16())?;
    match after {
        Some(after) => write!(f, "; try again in {} s", after.as_secs()),
        None => f.write_str("; try again later"),
    }
}

/// The service's words, or nothing.
fn ending(f: &mut fmt::Formatter<'_>, reason: Option<&str>) -> fmt::Result {
    match reason {
        Some(reason) => write!(f, ". It says: {reason}"),
        None => f.write_str("."),
    }
}

impl std::error::Error for SendError {}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::header::RETRY_AFTER;

    use super::*;

    /// 2015-10-21 07:28:00.
    const NOW_SECS: u64 = 1_445_412_480;

    fn refused(status: u16, signed: bool, retry: Option<&str>, body: &'static str) -> SendError {
        let mut answer = Response::builder().status(status);
        if let Some(retry) = retry {
            answer = answer.header(RETRY_AFTER, retry);
        }
        let answer = answer.body(Bytes::from_static(body.as_bytes())).unwrap();
        refusal(&answer, signed, UNIX_EPOCH + Duration::from_secs(NOW_SECS))
    }

    /// R30-MSG-5, R30-MSG-7, R30-MSG-8: each answer has its meaning, and a sentence that says what to do.
    #[test]
    fn every_answer_says_what_to_do() {
        let rows = [
            (400, "does not understand the request (400)"),
            (401, "use the key that the subscription was made for"),
            (403, "use the key that the subscription was made for"),
            (404, "has ended (404). Delete it"),
            (410, "has ended (410). Delete it"),
            (413, "send a shorter one"),
            (429, "too many messages (429); try again later"),
            (500, "has an error or is busy (500); try again later"),
            (503, "has an error or is busy (503); try again later"),
            (302, "answered 302 Found."),
            (418, "answered 418"),
        ];
        for (status, sentence) in rows {
            let text = refused(status, true, None, "").to_string();
            assert!(text.contains(sentence), "{status}: {text}");
            assert!(text.ends_with('.'), "{text}");
        }
    }

    /// R30-MSG-7, V-AUTH-5: who sent without a key is told to use one, and not that the key is wrong.
    #[test]
    fn no_key_is_not_a_wrong_key() {
        for status in [401, 403] {
            let without = refused(status, false, None, "").to_string();
            let with = refused(status, true, None, "").to_string();
            assert!(without.contains("needs a VAPID key"), "{without}");
            assert!(with.contains("does not accept this VAPID key"), "{with}");
            assert!(!without.contains("this key"), "{without}");
        }
    }

    /// R30-MSG-8: 429 and 5xx may say when to come back, and the sentence passes it on.
    #[test]
    fn the_service_may_say_when() {
        let later = refused(429, false, Some("30"), "");
        let expected = SendError::Later {
            status: StatusCode::TOO_MANY_REQUESTS,
            after: Some(Duration::from_secs(30)),
            reason: None,
        };
        assert_eq!(later, expected);
        assert!(later.to_string().ends_with("try again in 30 s."), "{later}");
    }

    /// R30-MSG-7: what the service says of it is passed on.
    #[test]
    fn the_service_may_explain_itself() {
        for status in [400, 401, 418, 503] {
            let text = refused(status, false, None, r#"{"detail":"Send one TTL."}"#).to_string();
            assert!(text.ends_with(". It says: Send one TTL."), "{text}");
        }
    }
}
