//! Which messages the application wants: from which urgency on (RFC 8030 §5.3), and whether all of them or only those that wait
//! (§6).
//!
//! A wish belongs to the running user agent: it is not durable, and every channel begins with it. It is a part of the hello; for
//! services that don't read it there, it is said again as soon as the hello is answered.
//!
//! What waits, and no more, is fetched in rounds. In a round a service offers each message once, without a window:
//!
//! ```text
//!  a channel ──► Asked ──all that waits was offered, or more than we hold──► Working
//!                  │ ▲                                                          │
//!                  │ └──────────────── the hands are empty ─────────────────────┘
//!                  └──nothing waits──► Empty, which is told
//! ```
//!
//! **Invariant:** it is told only after a round that brought nothing, begun with empty hands. So every
//! acknowledgement has reached the service by then.

use std::time::Duration;

use super::UserAgent;
use super::action::{Action, Event, Say};
use super::backoff::doubled;
use super::names::{Extent, Wish};
use crate::session::Moment;
use crate::urgency::Urgency;

/// What the application wants, and what the service was told of it.
#[derive(Debug)]
pub(super) struct Wishes {
    lowest: Urgency,
    /// What the service was told on this channel.
    said: Urgency,
    /// The next change is not said before this: services close a channel that says too much.
    not_before: Moment,
    /// Only what waits is wanted. On the heap, because it is rare.
    fetching: Option<Box<Fetching>>,
}

/// The state of fetching what waits.
#[derive(Debug)]
struct Fetching {
    round: Round,
    /// Rounds in a row that brought nothing new.
    idle_rounds: u32,
    /// [`UserAgent::progress`] when the round began.
    progress: u64,
    /// The application's hands were empty when the round began.
    began_idle: bool,
    /// Messages that were passed over in this round.
    passed_over: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Round {
    Asked,
    Working { not_before: Moment },
    Empty,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            lowest: Urgency::VeryLow,
            said: Urgency::VeryLow,
            not_before: Moment::default(),
            fetching: None,
        }
    }
}

impl Wishes {
    pub(super) fn wish(&self) -> Wish {
        let extent = match self.fetching {
            None => Extent::Lasting,
            Some(_) => Extent::Waiting,
        };
        Wish {
            lowest: self.lowest,
            extent,
        }
    }

    /// Whether what waits is fetched in rounds.
    pub(super) fn are_fetched(&self) -> bool {
        self.fetching.is_some()
    }

    /// The service hears of the lowest urgency now.
    pub(super) fn mark_said(&mut self) {
        self.said = self.lowest;
    }

    /// When something is to be said that could not be said before. `may_begin`: a round may begin.
    pub(super) fn next_due(&self, may_begin: bool) -> Moment {
        match self.fetching.as_ref().map(|fetching| fetching.round) {
            Some(Round::Working { not_before }) if may_begin => not_before,
            None if self.said != self.lowest => self.not_before,
            Some(_) | None => Moment::NEVER,
        }
    }
}

impl UserAgent {
    /// For one that has not begun: it brings what waits, and no more. When nothing waits any more, [`Event::Empty`] says so,
    /// once on each channel. Only for services that tell when they have offered all that waits.
    #[must_use]
    pub fn fetching_what_waits(mut self) -> Self {
        self.wishes.fetching = Some(Box::new(Fetching {
            round: Round::Asked,
            idle_rounds: 0,
            progress: 0,
            began_idle: false,
            passed_over: 0,
        }));
        self
    }

    /// Wants messages of this urgency and above from now on. What is less urgent stays with the service, until it
    /// expires or is wanted; what has come already is handed over. At the beginning, everything is wanted.
    ///
    /// Of changes that follow each other within [`Limits::wish_every`](super::Limits::wish_every) the service hears the last.
    // R30-URG-5.
    pub fn set_lowest_urgency(&mut self, lowest: Urgency, now: Moment, out: &mut Vec<Action>) {
        self.wishes.lowest = lowest;
        if self.wishes.said != lowest
            && let Some(fetching) = &mut self.wishes.fetching
        {
            // The round that is under way, or was the last, was of something else.
            let not_before = self.wishes.not_before;
            fetching.round = Round::Working { not_before };
        }
        self.say_wishes(now, out);
    }

    /// The service has offered all that waits; `nothing`: there was nothing.
    // R30-MON-12, R30-MON-13.
    pub fn caught_up(&mut self, nothing: bool, now: Moment, out: &mut Vec<Action>) {
        self.heard(now);
        let (is_live, is_idle, progress) = (self.is_live(), self.held.len() == 0, self.progress());
        let wait = self.limits.ask_again_after;
        let most = self.limits.backoff_most;
        let Some(fetching) = self.wishes.fetching.as_mut().filter(|_| is_live) else {
            return;
        };
        if fetching.round != Round::Asked {
            return;
        }
        if nothing && is_idle && fetching.began_idle {
            return self.tell_empty(out);
        }
        // A service that offers again and again what it does not let us acknowledge is not asked in a loop.
        let is_idle_round = fetching.progress == progress && !nothing;
        fetching.idle_rounds = if is_idle_round {
            fetching.idle_rounds + 1
        } else {
            0
        };
        let wait = match fetching.idle_rounds {
            0 => Duration::ZERO,
            idle_rounds => doubled(wait, idle_rounds - 1).min(most),
        };
        fetching.round = Round::Working {
            not_before: now.after(wait),
        };
        self.say_wishes(now, out);
    }

    /// The channel is live. What the hello said holds, where it was heard; else it is said now.
    pub(super) fn begin_wishes(&mut self, now: Moment, out: &mut Vec<Action>) {
        let (is_idle, progress) = (self.held.len() == 0, self.progress());
        self.wishes.not_before = Moment::default();
        let is_said = self.wishes.said == self.wishes.lowest;
        if let Some(fetching) = &mut self.wishes.fetching {
            // A hello that asked for something else began no round: what it brings tells nothing of what is wanted.
            fetching.round = match is_said {
                true => Round::Asked,
                false => Round::Working { not_before: now },
            };
            fetching.progress = progress;
            fetching.began_idle = is_idle;
            fetching.passed_over = 0;
            return self.say_wishes(now, out);
        }
        if self.wishes.lowest != Urgency::VeryLow || self.wishes.said != self.wishes.lowest {
            self.wishes.mark_said();
            self.say(Say::Bring(self.wishes.wish()), now, out);
        }
    }

    /// More was offered than fits: what is behind it comes with the next round, if there are rounds. What is passed over of one
    /// subscription does not end the round for the others, unless it is very much.
    pub(super) fn end_round(&mut self, now: Moment, out: &mut Vec<Action>) {
        let most = match self.is_alone() {
            true => 0,
            false => self.limits.held_messages,
        };
        let Some(fetching) = &mut self.wishes.fetching else {
            return;
        };
        fetching.passed_over += 1;
        if fetching.round == Round::Asked && fetching.passed_over > most {
            fetching.idle_rounds = 0;
            fetching.round = Round::Working { not_before: now };
            let wish = Wish {
                extent: Extent::Nothing,
                ..self.wishes.wish()
            };
            self.say(Say::Bring(wish), now, out);
        }
    }

    /// Says what is wanted, if it is time to.
    pub(super) fn say_wishes(&mut self, now: Moment, out: &mut Vec<Action>) {
        if !self.is_live() || self.stopping.is_some() {
            return;
        }
        let (is_idle, progress) = (self.held.len() == 0, self.progress());
        if self.wishes.next_due(self.may_begin_round()) <= now {
            if self.wishes.said != self.wishes.lowest {
                self.wishes.not_before = now.after(self.limits.wish_every);
                self.wishes.mark_said();
            }
            if let Some(fetching) = &mut self.wishes.fetching {
                fetching.round = Round::Asked;
                fetching.progress = progress;
                fetching.began_idle = is_idle;
                fetching.passed_over = 0;
                self.held.begin_channel();
            }
            self.say(Say::Bring(self.wishes.wish()), now, out);
        }
        if self.durable.registrations.is_empty() && is_idle {
            // Without a subscription the service has nothing to offer, and does not say that it is through.
            self.tell_empty(out);
        }
    }

    /// A round brings everything again, so the hands should be empty: those of all, or those of a subscription of which something
    /// was passed over, as others may be slow, or broken.
    pub(super) fn may_begin_round(&self) -> bool {
        let shares = &self.held.shares;
        self.held.len() == 0 || shares.is_one_empty_handed(&self.limits, self.is_alone())
    }

    fn tell_empty(&mut self, out: &mut Vec<Action>) {
        if let Some(fetching) = self.wishes.fetching.as_mut()
            && fetching.round != Round::Empty
        {
            fetching.round = Round::Empty;
            out.push(Action::Tell(Event::Empty));
        }
    }

    /// How many messages were dealt with so far.
    fn progress(&self) -> u64 {
        let counters = &self.counters;
        counters.handed_over + counters.unknown_subscription + counters.not_decrypted + counters.given_up
    }
}
