//! How a channel ends and why, and when the next one is opened. When the application stops the user agent, no other follows.

use std::time::Duration;

use super::action::{Action, ChannelEnd, DisconnectReason, Event, Farewell};
use super::{Phase, UserAgent};
use crate::session::Moment;

impl UserAgent {
    /// The channel is gone, or could not be opened.
    pub fn channel_ended(&mut self, ended: ChannelEnd, now: Moment, out: &mut Vec<Action>) {
        if !self.is_connected() {
            return;
        }
        if let Phase::Live(live) = &self.phase
            && ended == ChannelEnd::Lost
        {
            // Without a word of the service's, it may have been the network, or a proxy. A service that leaves says so, or
            // closes with a code.
            match live.pinged {
                Some(pinged) => self.keepalive.died(pinged.silence),
                None => self.keepalive.channel_ended(live.silence_at_end(now)),
            }
        }
        self.come_back(DisconnectReason::Ended(ended), now, out);
    }

    /// Ends once the application's hands are empty, or have been full for
    /// [`Limits::stop_within`](super::Limits::stop_within): nothing more is handed over, and what the application still
    /// finishes is acknowledged. What it has not finished by then is released: it comes again, and this was no attempt.
    pub fn stop(&mut self, now: Moment, out: &mut Vec<Action>) {
        if self.stopping.is_none() {
            self.stopping = Some(now.after(self.limits.stop_within));
            self.let_go_of_what_waits(out);
        }
        self.stop_when_empty(now, out);
    }

    /// Ends the channel ourselves.
    pub(super) fn disconnect(&mut self, why: DisconnectReason, now: Moment, out: &mut Vec<Action>) {
        let farewell = match why {
            DisconnectReason::NotOpened | DisconnectReason::NoAnswer => Farewell::TimedOut,
            DisconnectReason::NoWelcome | DisconnectReason::Nonsense => Farewell::ProtocolError,
            DisconnectReason::Ended(_)
            | DisconnectReason::CatchUp
            | DisconnectReason::Forgotten
            | DisconnectReason::Stopped => Farewell::Leaving,
        };
        out.push(Action::Disconnect(farewell));
        self.come_back(why, now, out);
    }

    fn come_back(&mut self, why: DisconnectReason, now: Moment, out: &mut Vec<Action>) {
        if self.is_useful(now) {
            self.backoff.reset();
            if why != DisconnectReason::Forgotten {
                self.forgotten_since = None;
            }
        }
        self.requests.forget_sent();
        let wait = self.wait_after(why, now);
        let until = wait.map_or(Moment::NEVER, |wait| now.after(wait));
        let not_before = match why {
            // The service's word, which no network changes.
            DisconnectReason::Ended(
                ChannelEnd::Refused {
                    retry_after: Some(_), ..
                }
                | ChannelEnd::Closed(Some(1008 | 1013)),
            ) => until,
            // Firefox takes this for "not before another network" (WS-CLS-1), and so do services that say it. A change that
            // is reported need not be another network, so it's not at once.
            DisconnectReason::Ended(ChannelEnd::Closed(Some(4774))) => now.after(self.backoff.next(None)),
            _ => now,
        };
        self.phase = Phase::Waiting { until, not_before };
        let again_in = wait.filter(|_| self.stopping.is_none());
        out.push(Action::Tell(Event::Disconnected { why, again_in }));
        self.stop_when_empty(now, out);
    }

    /// How long to stay away (WS-CLS-1). `None`: until something changes.
    fn wait_after(&mut self, why: DisconnectReason, now: Moment) -> Option<Duration> {
        match why {
            // Only a change of the network or a wish of the application ends this one.
            DisconnectReason::Ended(ChannelEnd::Closed(Some(4774))) => {
                self.backoff.at_least(5);
                return None;
            }
            // Busy, or in trouble: a service that says so means seconds, not milliseconds.
            DisconnectReason::Ended(ChannelEnd::Closed(Some(1013))) => self.backoff.at_least(3),
            DisconnectReason::Ended(ChannelEnd::Closed(Some(1008))) => self.backoff.at_least(5),
            // Refused as a mistake of ours: it goes on until a person changes something.
            DisconnectReason::Ended(ChannelEnd::Refused {
                status: 400..=428 | 430..=499,
                ..
            }) => self.backoff.at_least(5),
            DisconnectReason::CatchUp => return Some(self.limits.backoff_least),
            _ => {}
        }
        let retry_after = match why {
            DisconnectReason::Ended(ChannelEnd::Refused { retry_after, .. }) => retry_after,
            _ => None,
        };
        let wait = self
            .backoff
            .next(retry_after.map(|asked| asked.min(self.limits.retry_after_most)));
        // Asked sooner, it would not be believed.
        let since = self
            .forgotten_since
            .filter(|_| why == DisconnectReason::Forgotten);
        let apart = since.map(|since| since.after(self.limits.forgotten_apart).since(now));
        Some(wait.max(apart.unwrap_or_default()))
    }

    pub(super) fn stop_when_empty(&mut self, now: Moment, out: &mut Vec<Action>) {
        let Some(until) = self.stopping else { return };
        if self.is_stopped() || (self.held.in_hand() > 0 && now < until) {
            return;
        }
        self.release_all(out);
        if self.is_connected() {
            out.push(Action::Disconnect(Farewell::Leaving));
        }
        self.phase = Phase::Stopped;
        out.push(Action::Tell(Event::Stopped));
    }
}
