//! The service's end of a channel: from hello to close.
//!
//! ```text
//!                 hello without an identity
//!  AwaitingHello ─────────────────────────────► Live ──drain──► Draining ──┐
//!        │  hello with an identity               ▲                         │ acknowledged, or 1 s
//!        └──────────────► Attaching ─────────────┘                         ▼
//!         a monitor ──────────┘
//!        deadlines, errors, displacement, from any state ──────────────► Closed
//! ```
//!
//! It decides what a channel does, in the words of RFC 8030. It knows neither how requests and answers are written (`wire` does)
//! nor storage (the driver does).

use std::sync::Arc;
use std::time::Duration;

use super::delivery::Delivery;
use super::queue::WakeUp;
use super::{Action, AttachOutcome, CloseReason, Limits, Moment, PageOutcome, Wanted};
use crate::identifiers::{MessageId, MessageNumber, UserAgentId, UserAgentIdentity};
use crate::urgency::Urgency;

/// One channel, as the service sees it.
#[derive(Debug)]
pub struct Session {
    limits: Arc<Limits>,
    phase: Phase,
    user_agent: Option<UserAgentId>,
    /// Storage may have a record of it, whose seat this session may hold.
    recorded: bool,
    delivery: Delivery,
    heard: Moment,
    pinged: Option<Moment>,
    /// Since when the channel takes nothing.
    stalled: Option<Moment>,
    /// Storage failed to give a page and is not asked again before this; at first, the beginning of time.
    page_from: Moment,
    /// When the requests for answers so far will have been paid for.
    answers_paid: Moment,
}

#[derive(Debug)]
enum Phase {
    AwaitingHello {
        until: Moment,
    },
    Attaching {
        /// How it said who it is; a monitor's URL says it.
        greeting: Option<Box<Greeting>>,
        until: Moment,
    },
    Live,
    Draining {
        until: Moment,
    },
    Closed,
}

/// A hello that is to be answered.
#[derive(Debug)]
struct Greeting {
    known: UserAgentIdentity,
    /// For one who turns out to be unknown.
    fresh: UserAgentIdentity,
}

impl Session {
    /// A monitoring channel: its user agent and what it brings are known from the start. `once`: it brings what waits, and
    /// then ends ([`CloseReason::CaughtUp`]).
    pub fn monitor(
        user_agent: UserAgentId,
        wanted: Wanted,
        once: bool,
        limits: Arc<Limits>,
        now: Moment,
        out: &mut Vec<Action>,
    ) -> Self {
        let mut session = Self::new(limits, now);
        session.delivery.begin(wanted, once);
        session.begin_attach(user_agent, None, now, out);
        session
    }

    /// A channel that was just opened.
    pub fn new(limits: Arc<Limits>, now: Moment) -> Self {
        Self {
            phase: Phase::AwaitingHello {
                until: now.after(limits.hello_within),
            },
            user_agent: None,
            recorded: false,
            delivery: Delivery::new(&limits),
            heard: now,
            pinged: None,
            stalled: None,
            page_from: Moment::default(),
            answers_paid: Moment::default(),
            limits,
        }
    }

    /// Whose channel it is, since its hello.
    pub fn user_agent(&self) -> Option<UserAgentId> {
        self.user_agent
    }

    /// Whether storage may have a record of the user agent. If not, there is no seat to give up.
    pub fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// The user agent asked for a subscription: from now on storage may have a record of it.
    // PR-12.
    pub fn subscribes(&mut self) {
        self.recorded = true;
    }

    /// Whether the hello was answered and the channel is not closing.
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live | Phase::Draining { .. })
    }

    /// Whether [`Action::Close`] was given.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// How far the session has come in its user agent's queue, to be compared with how far the queue has come.
    /// `None` while it holds no seat that storage could know of.
    // PR-14.
    pub fn cursor(&self) -> Option<MessageNumber> {
        (self.is_live() && self.recorded).then(|| self.delivery.cursor())
    }

    /// Messages on the wire.
    pub fn has_unacknowledged(&self) -> bool {
        !self.delivery.window.is_empty()
    }

    /// With the first message, before [`hello`](Self::hello): messages of this urgency and above are wanted from the
    /// beginning. What waits follows the welcome at once, so it would be late behind it.
    pub fn begin_with(&mut self, minimum: Urgency) {
        if matches!(self.phase, Phase::AwaitingHello { .. }) {
            self.delivery.begin(Wanted::Everything(minimum), false);
        }
    }

    /// The first message. `fresh` is the identity to give to a user agent that is not known.
    pub fn hello(
        &mut self,
        identity: Option<UserAgentIdentity>,
        fresh: UserAgentIdentity,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        if !matches!(self.phase, Phase::AwaitingHello { .. }) {
            return self.close(CloseReason::SecondHello, out);
        }
        let Some(known) = identity else {
            return self.welcome_fresh(fresh, out);
        };
        self.begin_attach(known.id(), Some(Box::new(Greeting { known, fresh })), now, out);
    }

    fn begin_attach(
        &mut self,
        user_agent: UserAgentId,
        greeting: Option<Box<Greeting>>,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        self.user_agent = Some(user_agent);
        self.recorded = true;
        self.phase = Phase::Attaching {
            greeting,
            until: now.after(self.limits.attach_within),
        };
        out.push(Action::Attach {
            user_agent,
            head: self.delivery.head(&self.limits),
        });
    }

    /// Storage's answer to [`Action::Attach`]: the welcome, with the head of the queue right behind it.
    // WS-HEL-12.
    pub fn attached(&mut self, outcome: AttachOutcome, now: Moment, out: &mut Vec<Action>) {
        let Phase::Attaching { greeting, .. } = std::mem::replace(&mut self.phase, Phase::Live) else {
            // Closed meanwhile: the driver gives the seat up again.
            self.phase = Phase::Closed;
            return;
        };
        match outcome {
            AttachOutcome::Known(page) => {
                out.extend(greeting.map(|hello| Action::Welcome {
                    identity: hello.known,
                    fresh: false,
                }));
                self.delivery.paged(page, now, out);
                self.read_on(now, out);
            }
            AttachOutcome::Unknown => match greeting {
                Some(hello) => self.welcome_fresh(hello.fresh, out),
                None => self.close(CloseReason::Unknown, out),
            },
            AttachOutcome::Trouble => self.close(CloseReason::TryAgainLater, out),
        }
    }

    fn welcome_fresh(&mut self, fresh: UserAgentIdentity, out: &mut Vec<Action>) {
        self.phase = Phase::Live;
        self.user_agent = Some(fresh.id());
        self.recorded = false;
        self.delivery.nothing_stored();
        out.push(Action::Welcome {
            identity: fresh,
            fresh: true,
        });
    }

    /// Whether a request other than hello may be served now. Before the hello it may not, and closes the channel.
    pub fn may_request(&mut self, out: &mut Vec<Action>) -> bool {
        match self.phase {
            Phase::AwaitingHello { .. } | Phase::Attaching { .. } => self.close(CloseReason::NotHello, out),
            Phase::Live | Phase::Draining { .. } => return true,
            Phase::Closed => {}
        }
        false
    }

    /// Whether a request whose answer needs no storage may be answered now; closes a channel that asks too often.
    pub fn may_answer(&mut self, now: Moment, out: &mut Vec<Action>) -> bool {
        let every = self.limits.answer_every;
        let paid = self.answers_paid.max(now).after(every);
        if paid > now.after(every * self.limits.answer_burst) {
            self.close(CloseReason::TooManyRequests, out);
            return false;
        }
        self.answers_paid = paid;
        true
    }

    /// The user agent said something, be it a pong.
    pub fn heard(&mut self, now: Moment) {
        self.heard = now;
        self.pinged = None;
    }

    /// The user agent has these messages. Accepted even if this channel did not send them. Returns how many
    /// of them it did send: for the others storage does a lookup that no push has paid for.
    // PR-18, PR-42.
    pub fn acknowledge(&mut self, messages: Vec<MessageId>, now: Moment, out: &mut Vec<Action>) -> usize {
        let stored: Vec<_> = messages.into_iter().filter(|id| id.number.0 != 0).collect();
        let on_wire = stored.iter().filter(|id| self.delivery.left(**id)).count();
        if !stored.is_empty() {
            out.push(Action::Acknowledge(stored));
        }
        self.drained(out);
        self.read_on(now, out);
        on_wire
    }

    /// The user agent wants messages of this urgency and above. One that repeats what it said with
    /// its hello changes nothing, and nothing is read for it.
    // R30-URG-5 to R30-URG-7.
    pub fn set_minimum(&mut self, minimum: Urgency, now: Moment, out: &mut Vec<Action>) {
        let wanted = Wanted::Everything(minimum);
        if !self.delivery.wants(&wanted) {
            self.set_wanted(wanted, now, out);
        }
    }

    /// The user agent wants something else from now on. What waited and is wanted now comes too.
    // PR-22.
    pub fn set_wanted(&mut self, wanted: Wanted, now: Moment, out: &mut Vec<Action>) {
        self.delivery.set_wanted(wanted);
        self.read_on(now, out);
    }

    /// The user agent refused a message, or its channel could not transport it: it stays stored, and is offered again on the
    /// next one.
    // PR-19, R30-H2-4.
    pub fn refused(&mut self, message: MessageId, now: Moment, out: &mut Vec<Action>) {
        self.delivery.left(message);
        self.drained(out);
        self.read_on(now, out);
    }

    /// A hint about the queue.
    pub fn woken(&mut self, wake_up: WakeUp, now: Moment, out: &mut Vec<Action>) {
        let open = self.is_open();
        match wake_up {
            WakeUp::Stored { message, previous } => self.delivery.stored(message, previous, open, now, out),
            WakeUp::Passing(message) => self.delivery.passing(message, open, out),
            WakeUp::Removed(messages) => {
                for id in messages {
                    self.delivery.left(id);
                }
                self.drained(out);
            }
            WakeUp::ReadAgain => self.delivery.read_again(),
            WakeUp::Last(number) => self.delivery.compare(number),
            WakeUp::Ended(which) => out.push(Action::Ended(which)),
            WakeUp::Displaced => return self.close(CloseReason::Displaced, out),
        }
        self.read_on(now, out);
    }

    /// Hints were lost.
    // PR-11.
    pub fn read_again(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.delivery.read_again();
        self.read_on(now, out);
    }

    /// Storage's answer to [`Action::Page`].
    pub fn paged(&mut self, outcome: PageOutcome, now: Moment, out: &mut Vec<Action>) {
        match outcome {
            // Nothing new is offered by a channel that leaves.
            PageOutcome::Page(_) if !matches!(self.phase, Phase::Live) => {}
            PageOutcome::Page(page) => self.delivery.paged(page, now, out),
            PageOutcome::Displaced => return self.close(CloseReason::Displaced, out),
            PageOutcome::Trouble => {
                self.delivery.page_failed();
                self.page_from = now.after(self.limits.ask_storage_again_after);
            }
        }
        self.read_on(now, out);
    }

    /// Whether the channel takes what is written to it.
    pub fn set_writable(&mut self, writable: bool, now: Moment, out: &mut Vec<Action>) {
        match (writable, self.stalled) {
            (true, Some(_)) => {
                self.stalled = None;
                self.read_on(now, out);
            }
            (false, None) => self.stalled = Some(now),
            _ => {}
        }
    }

    /// Time has passed: everything whose deadline is at `now` or before happens.
    pub fn tick(&mut self, now: Moment, out: &mut Vec<Action>) {
        match self.phase {
            Phase::AwaitingHello { until } if until <= now => {
                return self.close(CloseReason::HelloTimeout, out);
            }
            Phase::Attaching { until, .. } if until <= now => {
                return self.close(CloseReason::TryAgainLater, out);
            }
            Phase::Draining { until } if until <= now => return self.close(CloseReason::GoingAway, out),
            Phase::Closed => return,
            _ => {}
        }
        if self
            .stalled
            .is_some_and(|since| since.after(self.limits.write_within) <= now)
        {
            return self.close(CloseReason::SlowReader, out);
        }
        let forgotten = self
            .delivery
            .window
            .forget_unacknowledged(now, self.limits.acknowledge_within);
        if forgotten > 0 {
            out.push(Action::Unacknowledged(forgotten));
            self.drained(out);
        }
        if self.is_live() {
            self.keep_alive(now, out);
        }
        self.read_on(now, out);
    }

    fn keep_alive(&mut self, now: Moment, out: &mut Vec<Action>) {
        match self.pinged {
            Some(at) if at.after(self.limits.pong_within) <= now => self.close(CloseReason::PongTimeout, out),
            None if self.heard.after(self.limits.ping_every) <= now => {
                self.pinged = Some(now);
                out.push(Action::Ping);
            }
            _ => {}
        }
    }

    /// When [`Session::tick`] has to be called next.
    pub fn next_due(&self) -> Moment {
        let limits = &self.limits;
        let phase = match self.phase {
            Phase::AwaitingHello { until } | Phase::Attaching { until, .. } | Phase::Draining { until } => {
                until
            }
            Phase::Closed => return Moment::NEVER,
            Phase::Live => self.pinged.map_or(self.heard.after(limits.ping_every), |at| {
                at.after(limits.pong_within)
            }),
        };
        let stalled = self
            .stalled
            .map_or(Moment::NEVER, |since| since.after(limits.write_within));
        let is_put_off = self.page_from != Moment::default() && self.is_open();
        let page = if is_put_off { self.page_from } else { Moment::NEVER };
        phase
            .min(stalled)
            .min(page)
            .min(self.delivery.window.next_due(limits.acknowledge_within))
    }

    /// The node leaves: nothing more is offered, and what is on the wire gets a moment to be acknowledged.
    // PR-36.
    pub fn drain(&mut self, now: Moment, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Live => {
                self.phase = Phase::Draining {
                    until: now.after(self.limits.drain_within),
                };
                self.drained(out);
            }
            Phase::AwaitingHello { .. } | Phase::Attaching { .. } => self.close(CloseReason::GoingAway, out),
            Phase::Draining { .. } | Phase::Closed => {}
        }
    }

    /// The connection is gone, or the peer closed it: nothing more is decided.
    pub fn channel_ended(&mut self) {
        self.phase = Phase::Closed;
    }

    /// Closes for a reason that the session could not see.
    pub fn close(&mut self, reason: CloseReason, out: &mut Vec<Action>) {
        if !self.is_closed() {
            self.phase = Phase::Closed;
            out.push(Action::Close(reason));
        }
    }

    /// Others wait for what this channel keeps: it closes if it has taken nothing for `within`.
    pub fn give_way(&mut self, within: Duration, now: Moment, out: &mut Vec<Action>) {
        if self.stalled.is_some_and(|since| since.after(within) <= now) {
            self.close(CloseReason::SlowReader, out);
        }
    }

    fn drained(&mut self, out: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Draining { .. }) && self.delivery.window.is_empty() {
            self.close(CloseReason::GoingAway, out);
        }
    }

    /// Whether something may be offered now.
    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Live) && self.stalled.is_none()
    }

    fn read_on(&mut self, now: Moment, out: &mut Vec<Action>) {
        if !self.is_open() || now < self.page_from {
            return;
        }
        self.page_from = Moment::default();
        out.extend(self.delivery.next_page(&self.limits).map(Action::Page));
        if self.delivery.is_complete() {
            self.close(CloseReason::CaughtUp, out);
        }
    }
}
