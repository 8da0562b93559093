//! Limits sentences that a sender or a service can cause in any number: of each kind a few are printed, and the rest is counted.

use std::fmt::Display;

use tokio::time::Instant;
use user_agent_client::Event;
use user_agent_client::limited::Limited;

use crate::cli::console::say;

/// Kinds of sentences. Each is limited by itself, so that many of one kind don't hide another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SentenceKind {
    /// An attempt failed.
    Failed,
    /// A handler can't work.
    Unable,
    /// Messages can be handled again.
    Resumed,
    /// A message is given up.
    GaveUp,
    /// Something happened to a subscription.
    Subscription,
    /// Something happened to the channel.
    Channel,
}

impl SentenceKind {
    const ALL: [Self; 6] = [
        Self::Failed,
        Self::Unable,
        Self::Resumed,
        Self::GaveUp,
        Self::Subscription,
        Self::Channel,
    ];

    /// Which kind of sentence an event makes: each kind is limited by itself.
    pub(super) fn of(event: &Event) -> Self {
        match event {
            Event::GaveUp { .. } => Self::GaveUp,
            Event::Paused { .. } => Self::Unable,
            Event::Resumed { .. } => Self::Resumed,
            Event::Subscribed(_)
            | Event::Renewed(_)
            | Event::Refused { .. }
            | Event::Waiting { .. }
            | Event::Unsubscribed => Self::Subscription,
            // Of the channel, or said once at most.
            _ => Self::Channel,
        }
    }

    fn more(self, count: u64) -> String {
        let what = match self {
            Self::Failed => "failed attempts",
            Self::Unable => "messages that could not be handled",
            Self::Resumed => "times that messages could be handled again",
            Self::GaveUp => "messages that were given up",
            Self::Subscription => "events of subscriptions",
            Self::Channel => "events of the channel",
        };
        format!("… and {count} more {what}")
    }
}

/// What was said of each kind.
#[derive(Default)]
pub(super) struct Sentences([Limited; SentenceKind::ALL.len()]);

impl Sentences {
    /// Says it, or counts it.
    pub(super) fn say(&mut self, kind: SentenceKind, sentence: impl Display) {
        if self.0[kind as usize].allows(Instant::now()) {
            say(sentence);
        }
    }

    /// When [`say_counts`](Self::say_counts) is to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.iter().filter_map(Limited::due).min()
    }

    /// Says how many were counted, where it is time.
    pub(super) fn say_counts(&mut self) {
        let now = Instant::now();
        for kind in SentenceKind::ALL {
            if let Some(count) = self.0[kind as usize].left_out(now) {
                say(kind.more(count.get()));
            }
        }
    }

    /// The same, at the end.
    pub(super) fn say_rest(&mut self) {
        for kind in SentenceKind::ALL {
            if let Some(count) = self.0[kind as usize].rest() {
                say(kind.more(count.get()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use user_agent_client::defaults::{LINES, LINES_WITHIN};

    use super::*;

    /// PR-42: kinds are counted apart, and each has its place.
    #[tokio::test(start_paused = true)]
    async fn kinds_are_counted_apart() {
        let mut sentences = Sentences::default();
        for (at, kind) in SentenceKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
        for _ in 0..=LINES {
            sentences.say(SentenceKind::Failed, "");
        }
        sentences.say(SentenceKind::GaveUp, "");
        let counts = sentences.0.map(|lines| lines.due().is_some());
        assert_eq!(counts, [true, false, false, false, false, false]);
        assert_eq!(sentences.due(), Some(Instant::now() + LINES_WITHIN));
        tokio::time::advance(LINES_WITHIN).await;
        sentences.say_counts();
        assert_eq!(sentences.due(), None);
    }
}
