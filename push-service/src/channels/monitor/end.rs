//! What a monitoring request is answered with when it's over.

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Response, StatusCode};
use push_protocol::session::CloseReason;

use crate::defaults;
use crate::metrics::Closed;
use crate::resources::monitoring_over;

/// How monitoring ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Finish {
    /// A newer monitor has taken over, the node leaves, or what was asked for has been brought: come again or not.
    Over,
    /// What was monitored has ended, or never was (R30-EXP-2).
    Gone,
    /// Storage has trouble; nothing is lost.
    Trouble,
    /// The peer took nothing for too long.
    TooSlow,
}

impl Finish {
    pub(super) fn of(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Unknown => Self::Gone,
            CloseReason::SlowReader | CloseReason::PongTimeout => Self::TooSlow,
            CloseReason::TryAgainLater | CloseReason::ServiceRestart => Self::Trouble,
            _ => Self::Over,
        }
    }

    pub(super) fn closed(self) -> Closed {
        match self {
            Self::Over => Closed::Left,
            Self::Gone => Closed::Ended,
            Self::Trouble => Closed::Storage,
            Self::TooSlow => Closed::SlowReader,
        }
    }

    /// The status, and a sentence for whoever debugs the other end.
    pub(super) fn told(self, has_brought: bool) -> (StatusCode, &'static str) {
        match self {
            // R30-MON-13 says so of wait=0; whatever else ends a request early ends it with 200.
            Self::Over if has_brought => (
                StatusCode::OK,
                "Monitoring is over here; what waits stays stored.",
            ),
            Self::Over => (StatusCode::NO_CONTENT, "Nothing has come."),
            Self::Gone => (StatusCode::NOT_FOUND, "There is no such resource."),
            Self::Trouble => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Storage has trouble, nothing is lost; monitor again later.",
            ),
            Self::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "Nothing was taken for too long; what waits stays stored.",
            ),
        }
    }

    /// The whole response, where nothing of it was sent yet.
    pub(super) fn response(self, has_brought: bool) -> Response<Bytes> {
        let (status, sentence) = self.told(has_brought);
        let mut response = monitoring_over(status, sentence);
        if self == Self::Trouble {
            let after = defaults::RETRY_AFTER.as_secs().into();
            response.headers_mut().insert(RETRY_AFTER, after);
        }
        response
    }
}

/// The answer to a monitor whose task is gone before it said anything: the process ends.
pub(super) fn trouble() -> Response<Bytes> {
    Finish::Trouble.response(false)
}
