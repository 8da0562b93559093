//! The task: tells the session what happened, and does what it says.
//!
//! One loop owns everything: the session, the state, the link to the service. It decides nothing, and does what the session
//! says in the order in which it is said, because what follows a change rests on it; what does not is not held back by a
//! change that is still to be written (`writing`). `calls` is what handles ask for, `messages` and `news` what applications get.

mod calls;
mod log;
mod messages;
mod news;
mod takeover;
mod waiting;
mod why;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::sync::Arc;

pub(super) use calls::Call;
use push_protocol::SubscriptionName;
use push_protocol::session::Moment;
use push_protocol::session::user_agent::{self as session, Action, Change, MessageKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::link::{Incoming, Link, LinkEvent};
use super::{Event, Options, RequestError, SubscribeError};
use crate::defaults::{CALLS, DELAYED_AFTER, READS_BEFORE_TICK};
use crate::http2::{self, Form};
use crate::limited::Limited;
use crate::message::{Message, Verdict};
use crate::queue;
use crate::server_url::ServerUrl;
use crate::state::{State, StateError};
use crate::subscription::Subscription;
use crate::tls::Trust;
use takeover::Takeovers;
use waiting::{Decrypted, Jobs, Waiting};
use writing::Writing;

pub(super) struct Task {
    session: session::UserAgent,
    state: State,
    writing: Writing,
    server: ServerUrl,
    trust: Trust,
    link: Link,
    actions: Vec<Action>,
    begin: Instant,
    /// Messages that are decrypted and that the application has not taken yet.
    waiting: Waiting,
    /// Contents of messages that the application has or gets again. They are kept because their keys may be gone by then. Bounded by
    /// what the session holds.
    decrypted: BTreeMap<MessageKey, Decrypted>,
    jobs: Jobs,
    /// The application asks for a message; one entry for each.
    asks: queue::Receiver<()>,
    messages: queue::Sender<Message>,
    news: queue::Sender<Event>,
    /// Renewed subscriptions whose event did not fit into the queue; it must not get lost. Not longer than the subscriptions.
    untold: BTreeSet<SubscriptionName>,
    /// `Event::Empty` did not fit into the queue.
    is_empty_untold: bool,
    verdicts: queue::Receiver<Verdict>,
    verdicts_to: queue::Sender<Verdict>,
    /// Who waits for a subscription to be confirmed. Bounded by the callers, each of which waits.
    subscribing: BTreeMap<SubscriptionName, Vec<oneshot::Sender<Result<Subscription, SubscribeError>>>>,
    /// Who waits until the service has confirmed the end of every subscription that is to end.
    unsubscribing: Vec<oneshot::Sender<()>>,
    takeovers: Takeovers,
    /// Acknowledgements that the last channel could not send, for the next one. Not longer than what a channel lets wait.
    unsent: Vec<Box<str>>,
    /// Why the last channel was not opened, in a sentence.
    not_opened: Option<String>,
    /// Since when it is known that no server push gets through.
    without_push: Option<Instant>,
    /// What the service says about what it just did. Gone when that is told.
    explanation: Option<Box<str>>,
    /// Why the service did not do what was asked last, for the news that follow from it.
    refusal: Option<Box<(SubscriptionName, RequestError)>>,
    /// When it is said that the hello is not answered yet.
    delayed_at: Option<Instant>,
    /// `messages.log` can't be written at the moment; logged once.
    forgetful: bool,
    failed: bool,
    /// What was said of messages that can't be decrypted.
    undecryptable: Limited,
}

impl Task {
    pub(super) fn new(
        server: ServerUrl,
        trust: Trust,
        state: State,
        options: &Options,
        asks: queue::Receiver<()>,
        messages: queue::Sender<Message>,
        news: queue::Sender<Event>,
    ) -> Self {
        let mut seed = [0; 8];
        // Only to spread reconnects: any number will do.
        let _ = SystemRandom::new().fill(&mut seed);
        let (verdicts_to, verdicts) = queue::channel(usize::MAX);
        Self {
            session: session(options, &state, u64::from_ne_bytes(seed)),
            state,
            writing: Writing::new(),
            server,
            trust,
            link: Link::None,
            actions: Vec::new(),
            begin: Instant::now(),
            waiting: Waiting::default(),
            decrypted: BTreeMap::new(),
            jobs: Jobs::new(options.jobs),
            undecryptable: Limited::default(),
            asks,
            messages,
            news,
            untold: BTreeSet::new(),
            is_empty_untold: false,
            verdicts,
            verdicts_to,
            subscribing: BTreeMap::new(),
            unsubscribing: Vec::new(),
            takeovers: Takeovers::default(),
            unsent: Vec::new(),
            not_opened: None,
            without_push: None,
            explanation: None,
            refusal: None,
            delayed_at: None,
            forgetful: false,
            failed: false,
        }
    }

    /// Runs until the session has stopped. In a box, because a future has room twice for an argument that is moved into it.
    pub(super) async fn run(mut self: Box<Self>, mut calls: queue::Receiver<Call>) {
        self.session.tell_again(&mut self.actions);
        let messages = self.messages.clone();
        let (mut is_called, mut is_heard) = (true, true);
        loop {
            self.act();
            self.explanation = None;
            while !self.failed && self.write_when_due() {
                self.act();
            }
            if self.session.is_stopped() || self.failed {
                break;
            }
            // One timer for all: each takes 120 bytes of a user agent that is idle.
            let due = self.next_due();
            tokio::select! {
                // What the application is done with first: it makes room. The service last: one that never stops talking
                // must hold up neither an end nor a deadline.
                biased;
                Some(verdict) = self.verdicts.recv() => self.judged(verdict),
                Some(()) = self.asks.recv(), if self.can_give() => self.give(),
                call = calls.recv(), if is_called => match call {
                    Some(call) => {
                        self.called(call);
                        // Those that wait beside it share its write.
                        (1..CALLS).map_while(|_| calls.try_recv()).for_each(|call| self.called(call));
                    }
                    None => is_called = false,
                },
                // It stays closed: looked at once, or nothing else would get a turn.
                () = messages.closed(), if is_heard => {
                    is_heard = false;
                    self.stop();
                }
                () = self.news.room(), if self.is_empty_untold || !self.untold.is_empty() => self.tell_untold(),
                () = sleep_until(due) => self.due().await,
                event = self.link.next() => self.link_event(event),
            }
        }
        if !self.failed {
            self.write();
        }
        self.tell_undecryptable(true);
        self.link.closed().await;
        // The state is dropped first, so that the caller of `stop` can open its directory.
        drop(self);
        drop(calls);
    }

    /// When something is to be done next: what the session waits for, a write, or a sentence.
    fn next_due(&self) -> Instant {
        let others = [self.write_due(), self.undecryptable.due(), self.delayed_at];
        let session = self.instant(self.session.next_due());
        others.into_iter().flatten().fold(session, Instant::min)
    }

    /// A time has come. What is due to be written is written by the loop.
    async fn due(&mut self) {
        let now = Instant::now();
        if self.delayed_at.is_some_and(|at| at <= now) {
            self.delayed_at = None;
            self.news(Event::Delayed);
        }
        self.tell_undecryptable(false);
        if self.instant(self.session.next_due()) <= now {
            self.read_and_tick().await;
        }
    }

    /// A deadline has come. What the service said before is read first: a process that was stopped for a while finds the answer in its
    /// socket together with the deadline, and then the channel is good.
    async fn read_and_tick(&mut self) {
        // The runtime looks at the sockets meanwhile.
        tokio::task::yield_now().await;
        for _ in 0..READS_BEFORE_TICK {
            let event = tokio::select! {
                biased;
                event = self.link.next() => event,
                () = ready(()) => break,
            };
            self.link_event(event);
            self.act();
            if self.session.is_stopped() || self.failed {
                return;
            }
        }
        self.session.tick(self.now(), &mut self.actions);
    }

    fn link_event(&mut self, event: LinkEvent) {
        let now = self.now();
        match event {
            LinkEvent::Opened => {
                self.delayed_at = Some(Instant::now() + DELAYED_AFTER);
                self.link.acknowledge(&std::mem::take(&mut self.unsent));
                self.session.opened(now, &mut self.actions);
            }
            LinkEvent::NotOpened(error) => {
                self.not_opened = Some(error.to_string());
                self.writing.forget_says();
                self.session
                    .channel_ended(error.to_channel_end(), now, &mut self.actions);
            }
            LinkEvent::Incoming(incoming) => self.said(incoming, now),
        }
        // All that one read brought, so that its acknowledgements leave in one write.
        while self.actions.len() < ACTIONS_AT_ONCE
            && let Some(incoming) = self.link.already_said()
        {
            self.said(incoming, now);
            self.act();
        }
    }

    fn said(&mut self, incoming: Incoming, now: Moment) {
        self.explanation = self.link.take_explanation();
        if matches!(incoming, Incoming::Http2(http2::Incoming::WithoutPush))
            && self.without_push.replace(Instant::now()).is_none()
        {
            self.news(Event::WithoutPush);
        }
        if incoming.is_end() {
            self.unsent.extend(self.link.drop_channel());
            self.writing.forget_says();
        }
        self.refusal = incoming.refusal().map(Box::new);
        incoming.tell(&mut self.session, now, &mut self.actions);
        if self.refusal.is_some() {
            // Before another answer takes its place.
            self.act();
            self.refusal = None;
        }
    }

    /// The session takes back what the application has not taken.
    fn stop(&mut self) {
        self.session.stop(self.now(), &mut self.actions);
    }

    /// Performs the session's actions, and those that follow from them, until there are none.
    fn act(&mut self) {
        while !self.actions.is_empty() && !self.failed {
            for action in std::mem::take(&mut self.actions) {
                self.act_or_hold(action);
                if self.failed {
                    // No action may follow that rests on a change that was not kept.
                    break;
                }
            }
        }
        self.answer_unsubscribed();
    }

    fn perform(&mut self, action: Action) {
        log::action(&action, |name| self.label(name));
        match action {
            Action::Save(change) => self.save(&change),
            Action::Connect => {
                let form = Form::of(self.without_push);
                self.link
                    .open(&self.server, &self.trust, self.session.durable(), form);
            }
            Action::Say(say) => {
                let believes_forgotten = self.session.believes_forgotten(self.now());
                self.link.say(&say, self.session.durable(), believes_forgotten);
            }
            Action::Ping => self.link.ping(),
            Action::HandOver { message, attempt } => self.hand_over(&message, attempt),
            Action::TakeBack(message) => self.take_back(message),
            Action::Disconnect(farewell) => {
                self.writing.forget_says();
                self.link.close(farewell);
            }
            Action::Tell(event) => self.tell(&event),
        }
    }

    fn save(&mut self, change: &Change) {
        match self.state.apply(change) {
            Ok(()) if change.is_about_a_message() => self.forgetful = false,
            Ok(()) => self.note_change(change),
            Err(error) if error.is_about_messages_only() => {
                if !self.forgetful {
                    tracing::warn!(%error, "messages that come again cannot be recognised after a restart");
                }
                self.forgetful = true;
            }
            Err(error) => self.fail(error),
        }
    }

    fn fail(&mut self, error: StateError) {
        tracing::error!(%error, "the state cannot be written");
        self.failed = true;
        let _ = self.news.try_send(Event::Failed(error));
    }

    fn now(&self) -> Moment {
        Moment(self.begin.elapsed().as_millis() as u64)
    }

    /// When a moment begins; far away for "never", which timers can't count to.
    fn instant(&self, moment: Moment) -> Instant {
        const FAR: u64 = 24 * 3_600 * 1_000;
        let wait = moment.0.min(self.now().0 + FAR);
        self.begin + std::time::Duration::from_millis(wait)
    }
}

/// The session, as it begins.
fn session(options: &Options, state: &State, seed: u64) -> session::UserAgent {
    let limits = Arc::clone(&options.limits);
    let mut session = session::UserAgent::new(limits, state.durable().clone(), seed);
    if options.until_empty {
        session = session.fetching_what_waits();
    }
    // Said with the first hello: nothing follows from it before.
    session.set_lowest_urgency(options.lowest_urgency, Moment::default(), &mut Vec::new());
    session
}

/// Actions that one burst of messages may pile up before they are done.
const ACTIONS_AT_ONCE: usize = 512;
