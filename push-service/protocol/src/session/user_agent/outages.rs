//! Tells an outage of the application from a bad message (PR-45).
//!
//! A message is bad if the application fails on it and succeeds with others. If it fails on several in a row, that is no
//! fault of theirs: the application, or something that it needs, is not working. The same is true if the application says so
//! ([`Outcome::Unable`](super::Outcome::Unable)).
//!
//! ```text
//!  works ──two different messages failed, none succeeded in between; or Unable──► paused
//!    ▲                                                                             │ ▲
//!    │                                                          after a wait, that │ │ Failed, Unable: the
//!    │                                                      doubles, one is tried  ▼ │ wait is longer
//!    └───────────────────────────────────a message succeeded─────────────────── trying
//! ```
//!
//! Each subscription is judged by itself, as each may have an application of its own. Failures in a row are counted in each, and
//! over all of them: an outage of everything may meet one message of each.
//!
//! **Invariant:** while a subscription is paused, its messages are not given up and attempts are not counted. When the pause begins,
//! the attempts at the messages that failed in a row are taken back.
//!
//! Messages that are tried take turns, first those that failed least: one that is bad does not hide that the others could be
//! handled. A bad message can begin a pause again and again, with another one that is bad. So one on which the application failed in
//! [`ENOUGH_OUTAGES`] pauses, each ended by the success of another message, is given up when the last of them ends, or, if it is with the
//! service then, when it comes again. If the application fails on all that may be held, messages that are with the service are tried
//! in their places ([`set_aside`](super::held)).

use std::time::Duration;

use super::action::{Action, Event, GiveUpReason, Limits};
use super::backoff::doubled;
use super::durable::Change;
use super::held::{ChannelSchedule, FailureStreak, MessageState, Outage};
use super::names::MessageKey;
use super::{Phase, UserAgent};
use crate::identifiers::SubscriptionName;
use crate::session::Moment;

/// Pauses in which the application may fail on a message, and then succeed with another one. Chosen: as many as attempts are
/// recommended (WP-RCV-6). An application that really comes and goes seldom meets the same message each time, because the
/// messages take turns.
const ENOUGH_OUTAGES: u32 = 3;

/// A channel that brought no message for so long has brought what it will. Chosen: longer than the minute after which our service frees
/// its window of what is unacknowledged (PR-17). A channel that still brings messages goes on, or those behind them, of other
/// subscriptions, would be brought later and later (PR-46).
pub(super) const QUIET: Duration = Duration::from_secs(75);

impl UserAgent {
    /// The application failed on a message. Returns whether that is an outage, rather than a bad message.
    pub(super) fn is_outage(&mut self, name: SubscriptionName, message: MessageKey) -> bool {
        let everywhere = self.held.streak.add(message);
        let here = self.held.shares.update(name, |share| share.streak.add(message));
        let is_paused = self
            .held
            .shares
            .get(name)
            .is_some_and(|share| share.outage.is_some());
        everywhere || here || is_paused
    }

    /// The messages of this subscription wait. `was_tried`: the last one that was tried is among those that failed.
    pub(super) fn pause(
        &mut self,
        name: SubscriptionName,
        was_tried: bool,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        let outage = self.held.shares.get(name).and_then(|share| share.outage);
        let failures = match outage {
            // The application had begun with it before.
            Some(_) if !was_tried => return,
            Some(outage) => outage.failures + 1,
            None => 0,
        };
        if outage.is_none() {
            self.begin_outage(name, out);
        }
        let wait = pause_of(&self.limits, failures);
        let again_in = self.backoff.spread(wait);
        let mut schedule = outage.map(|outage| outage.schedule).unwrap_or_default();
        self.schedule_channel(name, failures, now, &mut schedule);
        let outage = Outage {
            until: now.after(again_in),
            failures,
            is_trying: false,
            schedule,
        };
        self.held.shares.update(name, |share| share.outage = Some(outage));
        out.push(Action::Tell(Event::Paused { name, again_in }));
    }

    /// After a failed try in a pause: asks for a new channel if it is time to try messages that are still with the service. `failures`
    /// counts the tries before this one.
    fn schedule_channel(
        &mut self,
        name: SubscriptionName,
        failures: u32,
        now: Moment,
        schedule: &mut ChannelSchedule,
    ) {
        let is_quiet = matches!(&self.phase, Phase::Live(live) if live.last_message_at.after(QUIET) <= now);
        // A round of fetching ends by itself.
        if !is_quiet && !self.wishes.are_fetched() {
            return;
        }
        let Some(share) = self.held.shares.get(name) else {
            return;
        };
        let least = match share.has_passed_over() {
            true => Some(0),
            false => share.set_aside.least_tries(),
        };
        let is_turn = least.is_some_and(|least| self.held.of(name).all(|(_, message)| message.tries > least));
        if is_turn && schedule.is_next(failures) {
            schedule.advance(failures);
            self.held.shares.update(name, |share| share.wants_others = true);
        }
    }

    /// Takes back the messages that the application has not begun with, and the attempts at those that failed in a row.
    fn begin_outage(&mut self, name: SubscriptionName, out: &mut Vec<Action>) {
        let mut uncounted = Vec::new();
        for key in self.held.keys_of(name) {
            if self.held.take_back(key) {
                out.push(Action::TakeBack(key));
            }
            let Some(message) = self.held.get_mut(key) else {
                continue;
            };
            if message.in_a_row > 0 {
                message.has_failed_in_outage = true;
                message.attempts -= message.in_a_row;
                message.in_a_row = 0;
                uncounted.push((key, message.all_attempts()));
            }
        }
        for (message, count) in uncounted {
            self.save(Change::Attempt { message, count }, out);
        }
    }

    /// The application succeeded with a message of this subscription: so it works.
    pub(super) fn application_works(&mut self, name: SubscriptionName, now: Moment, out: &mut Vec<Action>) {
        self.held.streak = FailureStreak::None;
        let share = self.held.shares.get(name);
        let Some((streak, outage)) = share.map(|share| (share.streak, share.outage)) else {
            return;
        };
        if streak == FailureStreak::None && outage.is_none() {
            return;
        }
        self.held.shares.update(name, |share| {
            share.streak = FailureStreak::None;
            share.outage = None;
            share.wants_others = false;
            if outage.is_some() && share.set_aside.end_outage() {
                share.pass_over(0);
            }
        });
        if outage.is_some() {
            out.push(Action::Tell(Event::Resumed { name }));
        }
        let enough = self.enough_outages();
        let mut bad = Vec::new();
        for key in self.held.keys_of(name) {
            let Some(message) = self.held.get_mut(key) else {
                continue;
            };
            message.in_a_row = 0;
            message.tries = 0;
            message.is_trial = false;
            if outage.is_none() {
                continue;
            }
            message.outages += u32::from(std::mem::take(&mut message.has_failed_in_outage));
            if matches!(message.state, MessageState::Waiting(_)) && message.outages >= enough {
                bad.push(key);
            }
        }
        for key in bad {
            if let Some(message) = self.held.remove(key) {
                self.give_up(key, name, message.arrived, GiveUpReason::Outages, now, out);
            }
        }
    }

    /// Pauses in which the application may fail on a message.
    pub(super) fn enough_outages(&self) -> u32 {
        ENOUGH_OUTAGES.max(self.limits.attempts)
    }

    /// The subscription ended, and with it all that is known of its application.
    pub(super) fn forget_outage(&mut self, name: SubscriptionName) {
        if self.held.shares.get(name).is_some() {
            self.held.shares.update(name, |share| {
                share.streak = FailureStreak::None;
                share.outage = None;
                share.wants_others = false;
                share.set_aside.clear();
            });
        }
    }
}

fn pause_of(limits: &Limits, failures: u32) -> Duration {
    doubled(limits.pause_base, failures).min(limits.pause_most)
}
