//! The user agent's end, from start to stop, over as many channels as needed.
//!
//! ```text
//!            ┌───────────── time, or the network changed ─────────────┐
//!            ▼                                                        │
//!  start ► Connecting ──opened──► Greeting ──welcome──► Live ──ended──┴► Waiting
//!            │                      │                    │                  ▲
//!            └──── too long, refused, lost, nonsense ────┴──────────────────┘
//!        stop, from any state, after the messages in hand ──► Stopped
//! ```
//!
//! It decides when to connect, what to ask of the service, which messages the application sees and when each is
//! acknowledged. It knows no socket, no disk and no keys: its driver decrypts, and keeps every [`Change`] *before* it does
//! what follows in the list of actions. That order is the promise:
//!
//! - A message is acknowledged only after its application is done with it and that is kept. After a crash the message comes
//!   again, and is recognised if it was done.
//! - A subscription is kept before the service is asked for it, and told to the application after its push resource is
//!   kept. So a crash loses neither keys nor subscriptions.
//! - Before the application begins with a message, the session keeps that it does. So a message that kills the application is
//!   given up in the end, and one that only waited is not. An attempt is counted after the application has failed.
//!
//! A message that fails is tried again later and doesn't hold back those behind it; apart from that, messages of one
//! subscription are handed over in the order in which the service offers them. An application that fails on everything is not
//! given more, and nothing is given up meanwhile (`outages`); messages on which it failed make room for others (`held::set_aside`). No
//! subscription stops another one (`held::shares`).

// WS-ACK-5, PR-45.

mod action;
mod arrivals;
mod backoff;
mod cursor;
mod durable;
mod endings;
mod forgotten;
mod hand_over;
mod held;
mod keepalive;
mod letting_go;
mod messages;
mod metadata;
mod names;
mod network;
mod outages;
#[cfg(test)]
mod regressions;
mod requests;
mod sets;
mod subscriptions;
#[cfg(test)]
mod tests;
mod unsent;
mod wishes;

use std::sync::Arc;
use std::time::Duration;

pub use action::{
    Action, Arrived, ChannelEnd, Counters, DisconnectReason, Disposition, Event, Farewell, GiveUpReason,
    Limits, NewSubscription, Outcome, Registered, Say, Unregistered,
};
use backoff::Backoff;
use cursor::Cursor;
pub use durable::{Change, Durable, Registration, Stage};
use forgotten::Renewing;
use held::Held;
use keepalive::Keepalive;
pub use messages::{Earlier, Messages, Tried};
pub use metadata::Metadata;
pub use names::{Extent, Identity, MessageKey, PushResource, SubscriptionResource, Wish};
use network::Network;
use requests::Requests;
use unsent::Unsent;
use wishes::Wishes;

use super::Moment;

/// A user agent.
#[derive(Debug)]
pub struct UserAgent {
    limits: Arc<Limits>,
    durable: Durable,
    phase: Phase,
    /// The application wants it to end, by this time at the latest.
    stopping: Option<Moment>,
    requests: Requests,
    cursor: Cursor,
    held: Held,
    /// Acknowledgements for the next channel.
    unsent: Unsent,
    wishes: Wishes,
    backoff: Backoff,
    keepalive: Keepalive,
    network: Network,
    /// When the service said that it does not know us, if that is not believed yet.
    forgotten_since: Option<Moment>,
    counters: Counters,
}

#[derive(Debug)]
enum Phase {
    Connecting {
        until: Moment,
    },
    /// `shown`: the hello had our identity.
    Greeting {
        until: Moment,
        shown: bool,
    },
    Live(Live),
    /// A change of the network ends it earlier, but never before `not_before`: that is the service's word.
    Waiting {
        until: Moment,
        not_before: Moment,
    },
    Stopped,
}

/// What is known of a live channel.
#[derive(Debug)]
struct Live {
    since: Moment,
    heard: Moment,
    said: Moment,
    /// The longest silence after which we sent something that the service has not answered yet. It is not known whether the network
    /// keeps a channel that long.
    unproven: Duration,
    pinged: Option<Pinged>,
    /// The network changed: whether the service is still there is asked by then.
    probe_at: Moment,
    nonsense: u32,
    /// When the last message came on it; before the first one, when it began.
    last_message_at: Moment,
    /// Whether it delivered a message that is held.
    has_delivered: bool,
    /// The service has forgotten us, and is asked for everything anew.
    renewing: Option<Renewing>,
}

#[derive(Clone, Copy, Debug)]
struct Pinged {
    at: Moment,
    /// How long nothing had passed when it was sent.
    silence: Duration,
}

impl UserAgent {
    /// A user agent that remembers `durable` and connects at its first [`tick`](Self::tick). `seed` spreads it among
    /// others; it need not be secret.
    pub fn new(limits: Arc<Limits>, durable: Durable, seed: u64) -> Self {
        Self {
            phase: Phase::Waiting {
                until: Moment::default(),
                not_before: Moment::default(),
            },
            stopping: None,
            requests: Requests::default(),
            cursor: Cursor::default(),
            held: Held::default(),
            unsent: Unsent::default(),
            wishes: Wishes::default(),
            backoff: Backoff::new(
                limits.backoff_least,
                limits.backoff_base,
                limits.backoff_most,
                seed,
            ),
            keepalive: Keepalive::new(
                limits.keepalive_floor,
                limits.keepalive_least,
                limits.keepalive_most,
            ),
            network: Network::default(),
            forgotten_since: None,
            counters: Counters::default(),
            durable,
            limits,
        }
    }

    /// What it would remember after a restart.
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether the application wants an end, or it has come.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some() || self.is_stopped()
    }

    /// Whether the service answered the hello of the channel that is open.
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live(_))
    }

    /// Whether all is done.
    pub fn is_stopped(&self) -> bool {
        matches!(self.phase, Phase::Stopped)
    }

    /// Messages in the application's hands, or waiting to be put there.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether this one is among them: not, if its subscription ended before the application took it.
    pub fn holds(&self, message: MessageKey) -> bool {
        self.held.contains(message)
    }

    /// The silence after which the service is asked whether it is there: what the network was found to allow.
    pub fn keepalive(&self) -> Duration {
        self.keepalive.interval()
    }

    /// The channel is open: greet. An identity is shown only while there is something that rests on it.
    // WS-HEL-7.
    pub fn opened(&mut self, now: Moment, out: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Connecting { .. }) {
            return;
        }
        let known = !self.durable.registrations.is_empty();
        let identity = self.durable.identity.clone().filter(|_| known);
        self.phase = Phase::Greeting {
            until: now.after(self.limits.answer_within),
            shown: identity.is_some(),
        };
        self.wishes.mark_said();
        out.push(Action::Say(Say::Hello(identity, self.wishes.wish())));
    }

    /// The service's hello. `identity` is `None` if the answer lacks what makes it one. Another one
    /// than was shown means that the service does not know us.
    // WS-HEL-3 to WS-HEL-5, WS-HEL-6.
    pub fn welcomed(&mut self, identity: Option<Identity>, now: Moment, out: &mut Vec<Action>) {
        let shown = match self.phase {
            Phase::Greeting { shown, .. } => shown,
            Phase::Live(_) => return self.nonsense(now, out),
            Phase::Connecting { .. } | Phase::Waiting { .. } | Phase::Stopped => return,
        };
        let Some(identity) = identity else {
            return self.disconnect(DisconnectReason::NoWelcome, now, out);
        };
        if shown && self.durable.identity.as_ref() != Some(&identity) {
            if self.believe_or_ask_again(now, out) {
                self.renew(Some(identity), now, out);
            }
            return;
        }
        self.forgotten_since = None;
        self.identify(identity, out);
        self.go_live(None, now, out);
    }

    fn go_live(&mut self, renewing: Option<Renewing>, now: Moment, out: &mut Vec<Action>) {
        let is_renewing = renewing.is_some();
        self.phase = Phase::Live(Live {
            since: now,
            heard: now,
            said: now,
            unproven: Duration::ZERO,
            pinged: None,
            probe_at: Moment::NEVER,
            nonsense: 0,
            last_message_at: now,
            has_delivered: false,
            renewing,
        });
        self.held.begin_channel();
        self.cursor.begin_anew();
        out.push(Action::Tell(Event::Connected));
        if is_renewing {
            self.unsent.clear();
        } else {
            self.say_unsent(now, out);
            self.drop_requests_of_confirmed();
        }
        self.begin_wishes(now, out);
        self.ask(now, out);
    }

    /// A sign of life: a pong, or any text that says nothing to us.
    // WS-PNG-4, WS-TYP-1.
    pub fn heard(&mut self, now: Moment) {
        if let Phase::Live(live) = &mut self.phase {
            live.heard = now;
            live.unproven = Duration::ZERO;
            if let Some(pinged) = live.pinged.take() {
                self.keepalive.survived(pinged.silence);
            }
        }
    }

    /// A text that is no message. It is ignored as Firefox does, but not for ever.
    pub fn nonsense(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.heard(now);
        self.counters.nonsense += 1;
        if let Phase::Live(live) = &mut self.phase {
            live.nonsense += 1;
            if live.nonsense <= self.limits.nonsense {
                return;
            }
        }
        if self.is_connected() {
            self.disconnect(DisconnectReason::Nonsense, now, out);
        }
    }

    /// Another network, or the same one again: a channel is probed, and a wait is over, but not before the service said. The
    /// first change is heeded at once; when they come in a storm, ever fewer are.
    pub fn network_changed(&mut self, now: Moment, out: &mut Vec<Action>) {
        let (apart, calm) = (self.limits.network_apart, self.limits.network_calm);
        let heed = self.network.changed(now, apart, calm);
        if heed.is_first {
            self.keepalive.forget();
            self.backoff.reset();
        }
        match &mut self.phase {
            Phase::Live(live) if heed.at <= now && live.pinged.is_none() => {
                live.ping(now, Duration::ZERO);
                out.push(Action::Ping);
            }
            Phase::Live(live) => live.probe_at = live.probe_at.min(heed.at),
            Phase::Waiting { until, not_before } => {
                *until = heed.at.max(*not_before).min(*until);
                if *until <= now && self.stopping.is_none() {
                    self.connect(now, out);
                }
            }
            Phase::Connecting { .. } | Phase::Greeting { .. } | Phase::Stopped => {}
        }
    }

    /// Time has passed: everything whose time is at `now` or before happens.
    pub fn tick(&mut self, now: Moment, out: &mut Vec<Action>) {
        match &self.phase {
            Phase::Connecting { until } if *until <= now => {
                self.disconnect(DisconnectReason::NotOpened, now, out);
            }
            Phase::Greeting { until, .. } if *until <= now => {
                self.disconnect(DisconnectReason::NoAnswer, now, out);
            }
            Phase::Waiting { until, .. } if *until <= now && self.stopping.is_none() => {
                self.connect(now, out);
            }
            Phase::Live(_) => self.tick_live(now, out),
            Phase::Connecting { .. } | Phase::Greeting { .. } | Phase::Waiting { .. } => {}
            Phase::Stopped => return,
        }
        self.offer_due(now, out);
        self.stop_when_empty(now, out);
    }

    fn tick_live(&mut self, now: Moment, out: &mut Vec<Action>) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        match live.pinged {
            Some(pinged) if pinged.at.after(self.limits.answer_within) <= now => {
                self.keepalive.died(pinged.silence);
                return self.disconnect(DisconnectReason::NoAnswer, now, out);
            }
            None if live.probe_at <= now => {
                // Of another network nothing is known: its silence tells nothing either.
                live.ping(now, Duration::ZERO);
                out.push(Action::Ping);
            }
            None if live.heard.after(self.keepalive.interval()) <= now => {
                live.ping(now, live.silence(now));
                out.push(Action::Ping);
            }
            Some(_) | None => {}
        }
        if self.requests.is_overdue(now) {
            self.keepalive.channel_ended(live.silence_at_end(now));
            return self.disconnect(DisconnectReason::NoAnswer, now, out);
        }
        self.ask(now, out);
    }

    /// When [`tick`](Self::tick) has to be called next.
    pub fn next_due(&self) -> Moment {
        let phase = match &self.phase {
            Phase::Connecting { until } | Phase::Greeting { until, .. } => *until,
            Phase::Waiting { until, .. } if self.stopping.is_none() => *until,
            Phase::Waiting { .. } => Moment::NEVER,
            Phase::Live(live) => live
                .pinged
                .map_or_else(
                    || live.heard.after(self.keepalive.interval()).min(live.probe_at),
                    |pinged| pinged.at.after(self.limits.answer_within),
                )
                .min(self.requests.next_due(self.room()))
                .min(self.wish_due()),
            Phase::Stopped => return Moment::NEVER,
        };
        let retry = match self.stopping {
            None => self.held.next_due(),
            Some(until) => until,
        };
        phase.min(retry)
    }

    fn wish_due(&self) -> Moment {
        match self.stopping {
            None => self.wishes.next_due(self.may_begin_round()),
            Some(_) => Moment::NEVER,
        }
    }

    /// Requests that may be under way: none is begun once the application wants an end.
    fn room(&self) -> usize {
        self.stopping.map_or(self.limits.requests, |_| 0)
    }

    fn connect(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.phase = Phase::Connecting {
            until: now.after(self.limits.connect_within),
        };
        out.push(Action::Connect);
    }

    /// Whether the driver has a channel, or opens one.
    fn is_connected(&self) -> bool {
        matches!(
            self.phase,
            Phase::Connecting { .. } | Phase::Greeting { .. } | Phase::Live(_)
        )
    }

    fn say(&mut self, what: Say, now: Moment, out: &mut Vec<Action>) {
        if let Phase::Live(live) = &mut self.phase {
            live.say(now);
            out.push(Action::Say(what));
        }
    }

    fn save(&mut self, change: Change, out: &mut Vec<Action>) {
        self.durable.apply(&change);
        match change {
            Change::Identified(_) | Change::Forgotten => self.cursor.begin_anew(),
            Change::Asked { name, .. } | Change::Ending(name) => self.cursor.back_to(name),
            // After these there is no more to ask than before.
            _ => {}
        }
        out.push(Action::Save(change));
    }
}

impl Live {
    /// How long nothing has passed, in either direction.
    fn silence(&self, now: Moment) -> Duration {
        now.since(self.heard.max(self.said))
    }

    /// The silence that the channel did not outlive, if it ends now: the one before what the service never answered, or the
    /// last one.
    fn silence_at_end(&self, now: Moment) -> Duration {
        self.silence(now).max(self.unproven)
    }

    fn say(&mut self, now: Moment) {
        self.unproven = self.silence_at_end(now);
        self.said = now;
    }

    fn ping(&mut self, now: Moment, silence: Duration) {
        self.probe_at = Moment::NEVER;
        self.pinged = Some(Pinged { at: now, silence });
        self.said = now;
    }
}
