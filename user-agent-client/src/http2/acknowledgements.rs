//! Acknowledgements that are under way: one `DELETE` for each message (RFC 8030 §6.2).
//!
//! A lost acknowledgement does no harm: the message comes again and is recognised (R30-ACK-5). So an acknowledgement that the
//! service refuses is sent a few times only. Those that a connection could not send, or got no answer to, are sent on the next
//! one (PR-48).

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method};
use tokio::time::Instant;
use url::Url;

use super::answer::PendingAnswer;
use super::request;
use super::sender::Sender;
use crate::defaults::{ACKNOWLEDGE_AGAIN_AFTER, ACKNOWLEDGED_TIMES, ACKNOWLEDGEMENTS_WAITING, ANSWER_WITHIN};
use crate::retry_after;

/// Answers that come within this time with the same wait are reported once. Chosen: they come within a round trip.
const TOLD_ALIKE: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Acknowledgements {
    waiting: VecDeque<Acknowledgement>,
    under_way: Vec<UnderWay>,
    /// The service asked for no acknowledgement before this time.
    not_before: Option<Instant>,
}

struct Acknowledgement {
    path: Box<str>,
    times: u32,
    not_before: Option<Instant>,
}

struct UnderWay {
    acknowledgement: Acknowledgement,
    since: Instant,
    answer: PendingAnswer,
}

impl Acknowledgements {
    pub(super) fn push(&mut self, path: &str) {
        self.waiting.push_back(Acknowledgement {
            path: path.into(),
            times: 0,
            not_before: None,
        });
    }

    /// So many wait that no further message should be taken.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= ACKNOWLEDGEMENTS_WAITING
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    pub(super) fn are_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// The connection is gone: what is not answered waits for another one.
    pub(super) fn give_up(&mut self) {
        let unanswered = std::mem::take(&mut self.under_way);
        self.waiting
            .extend(unanswered.into_iter().map(|under_way| under_way.acknowledgement));
    }

    /// The waiting acknowledgements.
    pub(super) fn take(&mut self) -> Vec<Box<str>> {
        let waiting = std::mem::take(self).waiting;
        waiting
            .into_iter()
            .map(|acknowledgement| acknowledgement.path)
            .collect()
    }

    /// Sends what can be sent. Ready when the service has answered something; with how long it wants to hear no more, if it says
    /// so.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        requests: &mut Sender,
        home: &Url,
        now: Instant,
    ) -> Poll<Option<Duration>> {
        let before = self.not_before.unwrap_or(now);
        let is_heard = self.poll_answers(cx, now);
        let told = self.not_before.filter(|at| *at > before + TOLD_ALIKE);
        self.send(cx, requests, home, now);
        if self.is_empty() {
            let not_before = self.not_before.filter(|at| *at > now);
            *self = Self {
                not_before,
                ..Self::default()
            };
        }
        match is_heard {
            true => Poll::Ready(told.map(|at| at - now)),
            false => Poll::Pending,
        }
    }

    /// When the next one may be sent again that might not be sent at `now`. Those before it wait for something else.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if let Some(at) = self.not_before.filter(|at| *at > now) {
            return (!self.waiting.is_empty()).then_some(at);
        }
        let later = self.waiting.iter().filter_map(|waiting| waiting.not_before);
        later.filter(|at| *at > now).min()
    }

    /// When an answer is overdue: the service takes requests and doesn't answer them.
    pub(super) fn overdue(&self) -> Option<Instant> {
        let oldest = self.under_way.iter().map(|under_way| under_way.since).min();
        oldest.map(|since| since + ANSWER_WITHIN)
    }

    fn poll_answers(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut is_heard = false;
        let mut at = 0;
        while at < self.under_way.len() {
            let Poll::Ready(answer) = Pin::new(&mut self.under_way[at].answer).poll(cx) else {
                at += 1;
                continue;
            };
            let UnderWay { acknowledgement, .. } = self.under_way.swap_remove(at);
            match answer {
                Ok(answer) => {
                    is_heard = true;
                    // 404: the message is gone, which counts as acknowledged (R30-ACK-3).
                    if matches!(answer.status.as_u16(), 429 | 500..=599) {
                        self.again(acknowledgement, &answer.headers, answer.said.as_deref(), now);
                    }
                }
                Err(error) if error.is_alone() => self.again(acknowledgement, &HeaderMap::new(), None, now),
                // The connection is gone, or takes no requests any more: another one will.
                Err(_) => self.waiting.push_back(acknowledgement),
            }
        }
        is_heard
    }

    fn again(
        &mut self,
        mut acknowledgement: Acknowledgement,
        headers: &HeaderMap,
        said: Option<&str>,
        now: Instant,
    ) {
        acknowledgement.times += 1;
        if acknowledgement.times >= ACKNOWLEDGED_TIMES {
            tracing::debug!(
                said,
                "the service refused an acknowledgement: the message comes again"
            );
            return;
        }
        match retry_after::read(headers, SystemTime::now()) {
            Some(told) => self.not_before = self.not_before.max(Some(now + told)),
            None => acknowledgement.not_before = Some(now + ACKNOWLEDGE_AGAIN_AFTER),
        }
        self.waiting.push_back(acknowledgement);
    }

    fn send(&mut self, cx: &mut Context<'_>, requests: &mut Sender, home: &Url, now: Instant) {
        while self.under_way.len() < requests.acknowledgements()
            && let Some(at) = self.next(now)
        {
            // No room for a stream, or no connection: a change of either wakes the task.
            let Poll::Ready(Ok(())) = requests.poll_ready(cx) else {
                return;
            };
            let Some(acknowledgement) = self.waiting.remove(at) else {
                return;
            };
            // The path is put in unchanged: `Url::join` would take `//host` for a host.
            let origin = home.as_str().trim_end_matches('/');
            let sent = request(Method::DELETE, &format!("{origin}{}", acknowledgement.path))
                .and_then(|request| requests.ask(request));
            if let Some(head) = sent {
                // Over HTTP/1.1 polling the answer begins it.
                cx.waker().wake_by_ref();
                self.under_way.push(UnderWay {
                    acknowledgement,
                    since: now,
                    answer: PendingAnswer::from(head),
                });
            }
        }
    }

    fn next(&self, now: Instant) -> Option<usize> {
        if self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        let is_due = |waiting: &Acknowledgement| waiting.not_before.is_none_or(|at| at <= now);
        self.waiting.iter().position(is_due)
    }
}
