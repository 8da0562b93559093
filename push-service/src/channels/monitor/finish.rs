//! How a monitoring request is answered when it is over.

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Response, StatusCode};
use push_protocol::session::CloseReason;

use crate::defaults;
use crate::metrics::Closed;
use crate::resources::{CommonFields, monitoring_over};

/// How monitoring ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Finish {
    /// A newer monitor has taken over.
    Over,
    /// The node leaves.
    Drained,
    /// What was asked for has been delivered, or the time is over (R30-MON-12).
    Complete,
    /// What was monitored has ended, or never existed (R30-EXP-2).
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
            CloseReason::CaughtUp => Self::Complete,
            CloseReason::SlowReader | CloseReason::PongTimeout => Self::TooSlow,
            CloseReason::TryAgainLater | CloseReason::ServiceRestart => Self::Trouble,
            CloseReason::GoingAway => Self::Drained,
            _ => Self::Over,
        }
    }

    pub(super) fn closed(self) -> Closed {
        match self {
            Self::Over => Closed::Displaced,
            Self::Drained => Closed::Drain,
            Self::Complete => Closed::Left,
            Self::Gone => Closed::Ended,
            Self::Trouble => Closed::Storage,
            Self::TooSlow => Closed::SlowReader,
        }
    }

    /// The status, and a sentence for a person who debugs the other end.
    pub(super) fn status(self, has_delivered: bool) -> (StatusCode, &'static str) {
        match self {
            Self::Over | Self::Drained => (
                StatusCode::OK,
                "This request has ended; send it again. Waiting messages stay stored.",
            ),
            Self::Complete if has_delivered => (StatusCode::OK, "No more messages wait."),
            Self::Complete => (
                StatusCode::NO_CONTENT,
                "No message arrived within the time of Prefer: wait.",
            ),
            Self::Gone => (StatusCode::NOT_FOUND, "There is no such resource."),
            Self::Trouble => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Storage is unavailable; send this request again later. No message is lost.",
            ),
            Self::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "Nothing was read for too long; send this request again. Waiting messages stay stored.",
            ),
        }
    }

    /// The whole response, if nothing of it was sent yet.
    pub(super) fn response(self, has_delivered: bool, common: &CommonFields) -> Response<Bytes> {
        let (status, sentence) = self.status(has_delivered);
        let mut response = monitoring_over(status, sentence);
        if self == Self::Trouble {
            let after = defaults::RETRY_AFTER.as_secs().into();
            response.headers_mut().insert(RETRY_AFTER, after);
        }
        common.join(&mut response);
        response
    }
}

/// The answer to a monitor whose task is gone before it said anything: the process ends.
pub(super) fn trouble(common: &CommonFields) -> Response<Bytes> {
    Finish::Trouble.response(false, common)
}
