//! The one table of refusals: the status and the text of each, in both dialects.
//!
//! `/wpush` speaks autopush's errno bodies, because deployed senders read them; everything else RFC 9457's problems.
//! Nothing that was sent is quoted, and nothing tells a token that is unknown from one that was never sealed.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use httpdate::fmt_http_date;
use push_protocol::capability::Dialect;
use push_protocol::headers::HeaderError;
use push_protocol::origin::Origin;
use push_protocol::vapid::VapidError;
use serde::Serialize;

use super::body::Fault;
use crate::broker::Refusal;
use crate::budgets::Budget;
use crate::defaults;

/// Why a request is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Problem {
    /// The broker refuses.
    Refused(Refusal),
    /// A header field is missing or wrong.
    Header(HeaderError),
    /// The message is encrypted with the key that signs its token (V-AUTH-8).
    SharedKey,
    /// The options of a subscription are malformed (V-RES-2).
    Options,
    /// A subscription comes with content that is not options.
    NoOptions,
    /// The connection of a monitoring request cannot be pushed to (R30-V-2).
    NoPush,
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

/// The answer to a problem. `origin` is what a VAPID token must name as its audience.
pub(super) fn problem(problem: &Problem, dialect: Dialect, origin: &Origin) -> Response<Bytes> {
    let row = row(problem, dialect, origin);
    let mut response = response(&row, dialect);
    let headers = response.headers_mut();
    if row.status == StatusCode::UNAUTHORIZED {
        // Without parameters: a challenge asks, it does not tell (V-AUTH-5).
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("vapid"));
    }
    if row.status == StatusCode::GONE {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=86400"));
    }
    if row.status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        headers.insert(ACCEPT, HeaderValue::from_static(OPTIONS_TYPE));
    }
    if let Some(after) = row.retry_after {
        headers.insert(RETRY_AFTER, whole_seconds(after).into());
    }
    response
}

/// The answer to `OPTIONS` at a path that no page sends to: the methods, as load balancers ask for them.
pub(super) fn allowed(allow: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// The answer to a method that a resource does not have.
pub(super) fn method_not_allowed(dialect: Dialect, allow: &'static str) -> Response<Bytes> {
    let row = Row::new(
        StatusCode::METHOD_NOT_ALLOWED,
        OTHER,
        RFC_8030,
        "This resource does not support this method; see the Allow header.",
    );
    let mut response = response(&row, dialect);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// The answer at a path without a resource.
pub fn not_found() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// The answer to a user agent whose address has as many connections as allowed.
pub fn too_many_connections() -> Response<Bytes> {
    let row = Row::new(
        StatusCode::TOO_MANY_REQUESTS,
        BACK_OFF,
        RFC_8030,
        "Too many connections are open from your address; close some.",
    );
    let mut response = response(&row, Dialect::Rfc8030);
    let after = whole_seconds(defaults::RETRY_AFTER);
    response.headers_mut().insert(RETRY_AFTER, after.into());
    response
}

/// The answer to a monitoring request that is over. A success says nothing more.
pub fn monitoring_over(status: StatusCode, message: &'static str) -> Response<Bytes> {
    if status.is_success() {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        return response;
    }
    response(
        &Row::new(status, OTHER, RFC_8030_MONITORING, message),
        Dialect::Rfc8030,
    )
}

/// The answer to a request that breaks a rule of HTTP that the parser does not check.
pub fn bad_http(status: StatusCode, message: &'static str) -> Response<Bytes> {
    const RFC_9112: &str = "https://www.rfc-editor.org/rfc/rfc9112";
    response(&Row::new(status, OTHER, RFC_9112, message), Dialect::Rfc8030)
}

/// What is answered to a problem.
struct Row {
    status: StatusCode,
    /// Autopush's number. Only `/wpush` shows it.
    errno: u16,
    /// Where the rule stands.
    more_info: &'static str,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
}

impl Row {
    fn new(
        status: StatusCode,
        errno: u16,
        more_info: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            errno,
            more_info,
            message: message.into(),
            retry_after: None,
        }
    }

    fn retry_after(self, after: Duration) -> Self {
        Self {
            retry_after: Some(after),
            ..self
        }
    }
}

// Autopush's numbers for what has none of its own. Senders read the member as an integer, so it is never null.
/// Repeat the request later, and wait longer each time.
const BACK_OFF: u16 = 201;
/// Repeat the request.
const AGAIN: u16 = 202;
/// None of the others.
const OTHER: u16 = 999;

/// The media type of a subscription's options (RFC 8292 §4.1).
pub(super) const OPTIONS_TYPE: &str = "application/webpush-options+json";

const RFC_8030: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-5";
const RFC_8030_MONITORING: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-6";
const RFC_8030_SETS: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-4.1";
const RFC_8030_RECEIPTS: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-5.1";
const RFC_8030_LIMITS: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-7.2";
const RFC_8030_EXPIRY: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-7.3";
const RFC_8030_RATE: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-8.4";
const RFC_8291: &str = "https://www.rfc-editor.org/rfc/rfc8291#section-4";
const RFC_8292: &str = "https://www.rfc-editor.org/rfc/rfc8292#section-4.2";
const RFC_8292_RESTRICTED: &str = "https://www.rfc-editor.org/rfc/rfc8292#section-4.1";
const RFC_8292_KEYS: &str = "https://www.rfc-editor.org/rfc/rfc8292#section-3.2";

fn row(problem: &Problem, dialect: Dialect, origin: &Origin) -> Row {
    match problem {
        Problem::Refused(refusal) => refused(refusal, dialect, origin),
        Problem::Header(error) => header(*error),
        Problem::Body(fault) => body(*fault),
        Problem::Options => Row::new(
            StatusCode::BAD_REQUEST,
            OTHER,
            RFC_8292_RESTRICTED,
            "The options of a subscription must be a JSON object; its member vapid must be a P-256 public \
             key in base64url.",
        ),
        Problem::NoOptions => Row::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            OTHER,
            RFC_8292_RESTRICTED,
            "The content type is not supported; send the options of a subscription as \
             application/webpush-options+json, or leave the body out.",
        ),
        Problem::NoPush => Row::new(
            StatusCode::BAD_REQUEST,
            OTHER,
            "https://www.rfc-editor.org/rfc/rfc9113#section-8.4",
            "To get messages by server push, use HTTP/2 with push enabled and at least one pushed stream at \
             a time; else send \"Accept: text/event-stream\" to get Server-Sent Events.",
        ),
        Problem::SharedKey => Row::new(
            StatusCode::BAD_REQUEST,
            110,
            RFC_8292_KEYS,
            "The message is encrypted with the VAPID key; make a new key pair to encrypt each message.",
        ),
    }
}

#[rustfmt::skip]
fn refused(refusal: &Refusal, dialect: Dialect, origin: &Origin) -> Row {
    // Deployed senders know 401 for whatever is wrong with their VAPID, and 410 for what has ended; the RFCs say 403 and 404.
    let (vapid, ended) = match dialect {
        Dialect::Webpush => (StatusCode::UNAUTHORIZED, StatusCode::GONE),
        Dialect::Rfc8030 => (StatusCode::FORBIDDEN, StatusCode::NOT_FOUND),
    };
    match refusal {
        Refusal::UnknownResource => Row::new(StatusCode::NOT_FOUND, 102, RFC_8030_EXPIRY,
            "There is no such resource."),
        Refusal::UnknownReceipts => Row::new(StatusCode::BAD_REQUEST, OTHER, RFC_8030_RECEIPTS,
            "Link does not name a valid receipt subscription; leave it out to get a new one."),
        Refusal::UnknownSet => Row::new(StatusCode::BAD_REQUEST, OTHER, RFC_8030_SETS,
            "Link does not name a valid subscription set, or the set has ended; leave it out to get a new \
             one."),
        Refusal::TooManySubscriptions => Row::new(StatusCode::TOO_MANY_REQUESTS, BACK_OFF, RFC_8030_SETS,
            "The subscription set has reached the limit of subscriptions; remove some.").retry_after(defaults::RETRY_AFTER),
        Refusal::TooManyReceipts => Row::new(StatusCode::TOO_MANY_REQUESTS, BACK_OFF, RFC_8030_RECEIPTS,
            "Too many receipts wait on this receipt subscription, or are still owed to it; monitor it, or \
             push without Prefer: respond-async.")
            .retry_after(defaults::RETRY_AFTER),
        Refusal::SubscriptionGone => Row::new(ended, 106, RFC_8030_EXPIRY,
            "The subscription has ended; remove it and do not send to it again."),
        Refusal::MessageGone => Row::new(StatusCode::NOT_FOUND, 102, RFC_8030_EXPIRY,
            "The message is no longer stored: it was acknowledged, replaced, removed or has expired."),
        Refusal::CredentialsMissing => Row::new(StatusCode::UNAUTHORIZED, 109, RFC_8292,
            "The request has no VAPID signature; sign it (RFC 8292)."),
        Refusal::CredentialsInvalid(VapidError::MissingLegacyKey) => Row::new(StatusCode::BAD_REQUEST, 110, RFC_8292_KEYS,
            VapidError::MissingLegacyKey.to_string()),
        Refusal::CredentialsInvalid(VapidError::TooLong) => Row::new(StatusCode::BAD_REQUEST, 109, RFC_8292,
            VapidError::TooLong.to_string()),
        // It is most often the operator's public_url that is wrong, so the sender can see what is expected.
        Refusal::CredentialsInvalid(VapidError::OtherAudience) => Row::new(vapid, 109, RFC_8292,
            format!("The VAPID claim aud is not this push service; set it to {origin}, the origin of the push endpoint.")),
        Refusal::CredentialsInvalid(error) => Row::new(vapid, 109, RFC_8292,
            error.to_string()),
        Refusal::OtherApplicationServer => Row::new(vapid, 109, RFC_8292,
            "The subscription is restricted to another VAPID key; sign with the key that it was made for."),
        Refusal::ApplicationServerNotListed => Row::new(vapid, 109, RFC_8292,
            "Your VAPID key is not in this service's list of application servers; ask its operator to add \
             it."),
        Refusal::TooFast { retry_after } => Row::new(StatusCode::TOO_MANY_REQUESTS, BACK_OFF, RFC_8030_RATE,
            "The subscription gets too many messages per second; send more slowly.").retry_after(*retry_after),
        Refusal::OverBudget(over) => Row::new(StatusCode::TOO_MANY_REQUESTS, BACK_OFF, RFC_8030_RATE, match over.budget {
            Budget::Sender => "Too many requests are signed with your VAPID key; send more slowly.",
            Budget::Records => "Too many subscriptions are made from your address; make them more slowly.",
            Budget::Address => "Too many requests come from your address; send more slowly.",
            Budget::UserAgent => "This user agent sends too many requests; send more slowly.",
        }).retry_after(over.retry_after),
        Refusal::QueueFull => Row::new(StatusCode::TOO_MANY_REQUESTS, BACK_OFF, RFC_8030_RATE,
            "The queue of this user agent is full; send again later, or use a Topic to replace a waiting \
             message.")
            .retry_after(defaults::RETRY_AFTER),
        Refusal::SenderFull => Row::new(StatusCode::TOO_MANY_REQUESTS, BACK_OFF, RFC_8030_RATE,
            "Too many bytes of your messages wait for their user agents; send again later, or use a shorter \
             TTL.")
            .retry_after(defaults::SENDER_FULL_RETRY_AFTER),
        Refusal::SenderRefused { retry_after } => Row::new(StatusCode::TOO_MANY_REQUESTS, BACK_OFF, RFC_8030_RATE,
            "The operator of this service refuses messages that are signed with your VAPID key for a while; send \
             again after Retry-After.")
            .retry_after(*retry_after),
        Refusal::StorageUnavailable => Row::new(StatusCode::SERVICE_UNAVAILABLE, BACK_OFF, RFC_8030,
            "The message cannot be stored now; send it again after Retry-After.").retry_after(defaults::RETRY_AFTER),
        Refusal::StoreFull => Row::new(StatusCode::SERVICE_UNAVAILABLE, BACK_OFF, RFC_8030,
            "The service is almost full and takes only more urgent messages now; send it again after \
             Retry-After.").retry_after(defaults::RETRY_AFTER),
        Refusal::StorageFull => Row::new(StatusCode::SERVICE_UNAVAILABLE, BACK_OFF, RFC_8030,
            "The service is full and takes no new messages now; send it again after Retry-After.").retry_after(defaults::RETRY_AFTER),
    }
}

fn header(error: HeaderError) -> Row {
    let (errno, more_info) = match error {
        HeaderError::MissingTtl | HeaderError::MalformedTtl => {
            (111, "https://www.rfc-editor.org/rfc/rfc8030#section-5.2")
        }
        HeaderError::NegativeTtl => (114, "https://www.rfc-editor.org/rfc/rfc8030#section-5.2"),
        HeaderError::MalformedTopic => (113, "https://www.rfc-editor.org/rfc/rfc8030#section-5.4"),
        HeaderError::MalformedLink => (OTHER, "https://www.rfc-editor.org/rfc/rfc8288#section-3"),
        HeaderError::RepeatedUrgency | HeaderError::UnknownUrgency => {
            (OTHER, "https://www.rfc-editor.org/rfc/rfc8030#section-5.3")
        }
        HeaderError::MalformedContentType
        | HeaderError::MissingContentEncoding
        | HeaderError::UnknownContentEncoding
        | HeaderError::MissingEncryption
        | HeaderError::MalformedEncryption
        | HeaderError::MissingDh
        | HeaderError::MalformedCryptoKey
        | HeaderError::UnexpectedSalt
        | HeaderError::UnexpectedDh => (110, RFC_8291),
    };
    Row::new(StatusCode::BAD_REQUEST, errno, more_info, error.to_string())
}

fn body(fault: Fault) -> Row {
    match fault {
        Fault::TooLarge => Row::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            104,
            RFC_8030_LIMITS,
            "The body is too large for this service; send a shorter message.",
        ),
        Fault::TooSlow => Row::new(
            StatusCode::REQUEST_TIMEOUT,
            AGAIN,
            RFC_8030,
            "The body did not arrive in time; send the request again.",
        ),
        Fault::Broken => Row::new(
            StatusCode::BAD_REQUEST,
            AGAIN,
            RFC_8030,
            "The body is incomplete: the connection ended before it; send the request again.",
        ),
    }
}

/// Autopush's body: deployed senders expect all five members.
#[derive(Serialize)]
struct ErrnoBody<'a> {
    code: u16,
    errno: u16,
    error: &'a str,
    message: &'a str,
    more_info: &'a str,
}

/// A problem in the words of RFC 9457.
#[derive(Serialize)]
struct ProblemBody<'a> {
    status: u16,
    title: &'a str,
    detail: &'a str,
}

/// A row as a response, in the dialect's form.
fn response(row: &Row, dialect: Dialect) -> Response<Bytes> {
    let code = row.status.as_u16();
    let reason = row.status.canonical_reason().unwrap_or_default();
    let (body, media_type) = match dialect {
        Dialect::Webpush => {
            let body = serde_json::to_vec(&ErrnoBody {
                code,
                errno: row.errno,
                error: reason,
                message: &row.message,
                more_info: row.more_info,
            });
            (body, "application/json")
        }
        Dialect::Rfc8030 => {
            let body = serde_json::to_vec(&ProblemBody {
                status: code,
                title: reason,
                detail: &row.message,
            });
            (body, "application/problem+json")
        }
    };
    let mut body = body.expect("numbers and strings are always JSON");
    // For people: a prompt stands on the next line.
    body.push(b'\n');
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = row.status;
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

/// The `Date` of an answer (RFC 9110 §6.6.1). The HTTP/1.1 library adds it by itself, the HTTP/2 library does not.
pub fn date() -> HeaderValue {
    HeaderValue::try_from(fmt_http_date(SystemTime::now())).expect("a date is visible ASCII")
}

/// Rounded up, and never 0: a request that is repeated at once would be refused again.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R30-MSG-8: `Retry-After` is whole seconds, rounded up, at least one.
    #[test]
    fn retry_after_is_never_too_early() {
        for (millis, seconds) in [(0, 1), (1, 1), (999, 1), (1000, 1), (1001, 2), (120_000, 120)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
