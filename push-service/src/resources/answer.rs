//! The one table of answers: what every refusal says, in either dialect.
//!
//! `/wpush` speaks autopush's errno bodies, because deployed senders read them; everything else RFC 9457's problems.
//! Nothing that was sent is quoted, and nothing tells a token that is unknown from one that was never sealed.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Response, StatusCode};
use push_protocol::capability::Dialect;
use push_protocol::headers::HeaderError;
use push_protocol::vapid::VapidError;
use serde::Serialize;

use super::body::Fault;
use crate::broker::Refusal;
use crate::defaults;

/// Why a request is not answered as its sender hoped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Problem {
    /// The broker refuses.
    Refused(Refusal),
    /// A header field is missing or wrong.
    Header(HeaderError),
    /// The message is encrypted with the key that signs its token (V-AUTH-8).
    SharedKey,
    /// The body was not read.
    Body(Fault),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<HeaderError> for Problem {
    fn from(error: HeaderError) -> Self {
        Self::Header(error)
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self::Body(fault)
    }
}

/// A row of the table.
struct Row {
    status: StatusCode,
    errno: Option<u16>,
    /// Where the rule stands.
    more_info: &'static str,
    message: String,
}

const RFC_8030: &str = "https://www.rfc-editor.org/rfc/rfc8030";
const RFC_8291: &str = "https://www.rfc-editor.org/rfc/rfc8291#section-4";
const RFC_8292: &str = "https://www.rfc-editor.org/rfc/rfc8292#section-4.2";

fn row(problem: &Problem, dialect: Dialect) -> Row {
    let row = |status, errno: Option<u16>, more_info, message: &str| Row {
        status,
        errno,
        more_info,
        message: message.to_owned(),
    };
    match problem {
        Problem::Refused(refusal) => refused(refusal, dialect),
        Problem::Header(error) => Row {
            status: StatusCode::BAD_REQUEST,
            errno: Some(header_errno(error)),
            more_info: RFC_8030,
            message: error.to_string(),
        },
        Problem::SharedKey => row(
            StatusCode::BAD_REQUEST,
            Some(110),
            "https://www.rfc-editor.org/rfc/rfc8292#section-3.2",
            "The message is encrypted with the VAPID key; make a new key pair for each message.",
        ),
        Problem::Body(Fault::TooLarge) => row(
            StatusCode::PAYLOAD_TOO_LARGE,
            Some(104),
            "https://www.rfc-editor.org/rfc/rfc8030#section-7.2",
            "The body is larger than this service takes.",
        ),
        Problem::Body(Fault::TooSlow) => row(
            StatusCode::REQUEST_TIMEOUT,
            None,
            RFC_8030,
            "The body did not arrive in time.",
        ),
        Problem::Body(Fault::Broken) => row(
            StatusCode::BAD_REQUEST,
            None,
            RFC_8030,
            "The body broke off.",
        ),
    }
}
