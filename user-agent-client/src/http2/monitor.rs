//! The request that stays open: on it, messages are promised (RFC 8030 §6.1).

use std::future::Future as _;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use h2::client::{PushPromise, PushPromises, SendRequest};
use http::{HeaderName, HeaderValue, Method};
use push_protocol::session::user_agent::{Ended, Extent, Identity, Wish};

use super::answer::{Answering, Head};
use super::request;
use crate::retry_after;

/// A set that is monitored.
pub(super) struct Monitor {
    promises: PushPromises,
    answer: Answering,
    extent: Extent,
    said: Option<Box<str>>,
    end: Option<MonitorEnd>,
}

/// How monitoring ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MonitorEnd {
    /// The set is gone.
    Forgotten,
    /// All that waited was promised; `nothing`: there was nothing (R30-MON-13).
    CaughtUp { nothing: bool },
    /// The channel is of no use any more.
    Over(Ended),
}

impl Monitor {
    /// Begins to monitor. `None` if nothing can be asked for any more: the connection tells why.
    pub(super) fn begin(requests: &SendRequest<Bytes>, set: &Identity, wish: Wish) -> Option<Self> {
        const URGENCY: HeaderName = HeaderName::from_static("urgency");
        const PREFER: HeaderName = HeaderName::from_static("prefer");
        let mut request = request(Method::GET, set.as_str())?;
        let fields = request.headers_mut();
        // Who says nothing gets everything (R30-URG-7).
        if wish.lowest != Wish::default().lowest {
            fields.insert(URGENCY, HeaderValue::from_static(wish.lowest.as_str()));
        }
        if wish.extent == Extent::Waiting {
            fields.insert(PREFER, HeaderValue::from_static("wait=0"));
        }
        // A clone has no request of its own that waits for a stream.
        let (mut answer, _) = requests.clone().send_request(request, true).ok()?;
        Some(Self {
            promises: answer.push_promises(),
            answer: Head::Http2(answer).into(),
            said: None,
            extent: wish.extent,
            end: None,
        })
    }

    /// The next promise.
    ///
    /// Its end means nothing: whoever waits for it alone is not woken when the answer ends the stream. The answer tells.
    pub(super) fn poll_promise(&mut self, cx: &mut Context<'_>) -> Poll<PushPromise> {
        let next = pin!(self.promises.push_promise());
        match next.poll(cx) {
            Poll::Ready(Some(Ok(promise))) => Poll::Ready(promise),
            Poll::Ready(Some(Err(_)) | None) | Poll::Pending => Poll::Pending,
        }
    }

    /// The answer, which ends it. All promises came before.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<MonitorEnd> {
        if let Some(end) = self.end {
            return Poll::Ready(end);
        }
        let answer = std::task::ready!(Pin::new(&mut self.answer).poll(cx));
        let end = match answer {
            Ok(answer) => {
                self.said = answer.said;
                let told = retry_after::told(&answer.headers, SystemTime::now());
                ended(answer.status.as_u16(), self.extent, told)
            }
            Err(error) => MonitorEnd::Over(error.of_http2().map_or(Ended::Lost, ended_by)),
        };
        self.end = Some(end);
        Poll::Ready(end)
    }
}

impl Monitor {
    /// What the service says about the end.
    pub(super) fn said(self) -> Option<Box<str>> {
        self.said
    }
}

/// What the status of the answer means.
fn ended(status: u16, extent: Extent, retry_after: Option<Duration>) -> MonitorEnd {
    match status {
        404 | 410 => MonitorEnd::Forgotten,
        200..=299 if extent == Extent::Waiting => MonitorEnd::CaughtUp {
            nothing: status == 204,
        },
        // Another connection monitors now, or the node leaves, or we read too slowly: come again.
        200..=299 | 408 => MonitorEnd::Over(Ended::Closed(None)),
        _ => MonitorEnd::Over(Ended::Refused { status, retry_after }),
    }
}

/// What an error of the connection or of the monitored stream means.
pub(super) fn ended_by(error: &h2::Error) -> Ended {
    let is_theirs = error.is_remote();
    match error.reason() {
        Some(h2::Reason::NO_ERROR) if error.is_go_away() && is_theirs => Ended::Closed(Some(1001)),
        Some(_) if is_theirs => Ended::Closed(None),
        _ if error.is_io() => Ended::Lost,
        _ => Ended::Garbled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R30-MON-11, R30-MON-13, R30-MON-17, R30-EXP-2: only 404 takes the set away; a service in trouble says for how long.
    #[test]
    fn what_the_end_of_monitoring_means() {
        let minute = Some(Duration::from_secs(60));
        let closed = MonitorEnd::Over(Ended::Closed(None));
        let refused = |status, retry_after| MonitorEnd::Over(Ended::Refused { status, retry_after });
        let rows = [
            (200, None, closed),
            (204, None, closed),
            (408, None, closed),
            (404, None, MonitorEnd::Forgotten),
            (400, None, refused(400, None)),
            (429, minute, refused(429, minute)),
            (503, minute, refused(503, minute)),
        ];
        for (status, told, expected) in rows {
            assert_eq!(ended(status, Extent::Lasting, told), expected, "{status}");
            // Who asked for what waits has got it, and is told nothing else.
            let waited = match status {
                200 | 204 => MonitorEnd::CaughtUp {
                    nothing: status == 204,
                },
                _ => expected,
            };
            assert_eq!(ended(status, Extent::Waiting, told), waited, "{status}");
        }
    }
}
