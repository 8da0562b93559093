//! What became of the last messages: which are done, and how often the others were tried.
//!
//! **Invariant:** at most [`Messages::REMEMBERED`] of either. That is far more than a service can have unacknowledged on
//! one channel plus what the user agent holds itself, so a message that comes again is known.

use std::collections::{HashMap, HashSet, VecDeque};

use super::durable::MessageKey;

/// The last messages.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Messages {
    done: HashSet<MessageKey>,
    done_in_order: VecDeque<MessageKey>,
    attempts: HashMap<MessageKey, u32>,
    attempted_in_order: VecDeque<MessageKey>,
}

impl Messages {
    /// Chosen: 128 windows of the service's default, at 40 bytes each.
    pub const REMEMBERED: usize = 4_096;

    /// Whether it need not be handed over again.
    pub fn is_done(&self, message: MessageKey) -> bool {
        self.done.contains(&message)
    }

    /// How often it was handed over, without being done.
    pub fn attempts(&self, message: MessageKey) -> u32 {
        self.attempts.get(&message).copied().unwrap_or(0)
    }

    /// The messages that are done, oldest first.
    pub fn all_done(&self) -> impl Iterator<Item = MessageKey> {
        self.done_in_order.iter().copied()
    }

    /// The messages that were tried and are not done, oldest first.
    pub fn all_attempts(&self) -> impl Iterator<Item = (MessageKey, u32)> {
        self.attempted_in_order
            .iter()
            .filter_map(|message| Some((*message, *self.attempts.get(message)?)))
    }

    pub(super) fn attempt(&mut self, message: MessageKey, count: u32) {
        if count == 0 {
            self.forget_attempts(message);
        } else if self.attempts.insert(message, count).is_none() {
            self.attempted_in_order.push_back(message);
        }
        while self.attempted_in_order.len() > Self::REMEMBERED {
            let oldest = self.attempted_in_order.pop_front();
            oldest.and_then(|oldest| self.attempts.remove(&oldest));
        }
    }

    pub(super) fn done(&mut self, message: MessageKey) {
        self.forget_attempts(message);
        if self.done.insert(message) {
            self.done_in_order.push_back(message);
        }
        while self.done_in_order.len() > Self::REMEMBERED {
            let oldest = self.done_in_order.pop_front();
            oldest.map(|oldest| self.done.remove(&oldest));
        }
    }

    fn forget_attempts(&mut self, message: MessageKey) {
        if self.attempts.remove(&message).is_some() {
            // Nearly always the first: messages are done in about the order in which they were tried.
            let at = self.attempted_in_order.iter().position(|other| *other == message);
            at.map(|at| self.attempted_in_order.remove(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> MessageKey {
        MessageKey::of(&number.to_string())
    }

    /// WS-NOT-2, WP-RCV-6: the last messages are known, and no more of them than the bound.
    #[test]
    fn the_oldest_are_forgotten() {
        let mut messages = Messages::default();
        for number in 0..Messages::REMEMBERED + 10 {
            messages.attempt(key(number), 2);
        }
        assert_eq!((messages.attempts(key(9)), messages.attempts(key(10))), (0, 2));
        for number in 0..Messages::REMEMBERED + 10 {
            messages.done(key(number));
            messages.done(key(number));
        }
        assert_eq!(
            (messages.is_done(key(9)), messages.is_done(key(10))),
            (false, true)
        );
        assert_eq!(messages.all_attempts().count(), 0);
        assert_eq!(messages.all_done().count(), Messages::REMEMBERED);
    }
}
