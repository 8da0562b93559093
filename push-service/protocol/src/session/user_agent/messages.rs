//! What is kept of the last messages: which are done, and how often the others were tried.
//!
//! **Invariant:** at most [`Messages::REMEMBERED`] of either. That is far more than a service can have unacknowledged on
//! one channel plus what the user agent holds itself, so a message that comes again is known.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::names::MessageKey;

/// The last messages. Until there is one they take one pointer: a process may hold thousands of idle user agents.
#[derive(Clone, Debug, Default)]
pub struct Messages(Option<Box<Remembered>>);

#[derive(Clone, PartialEq, Debug, Default)]
struct Remembered {
    done: HashSet<MessageKey>,
    done_in_order: VecDeque<MessageKey>,
    tried: HashMap<MessageKey, Tried>,
    tried_in_order: VecDeque<MessageKey>,
    /// Known by their ids alone, from the log of an earlier version. Each counts for one message, which then has a record
    /// of its own.
    earlier: BTreeMap<MessageKey, Earlier>,
}

/// How often a message was tried that is not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tried {
    /// How often the application failed on it.
    pub attempts: u32,
    /// How often the application began with it and neither judged it nor gave it back. One of them may be going on; each of the
    /// others was the end of the process.
    pub unfinished: u32,
}

/// What an earlier version kept of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Earlier {
    /// It is done.
    Done,
    /// Its application began with it so many times. How these ended was not kept.
    Begun(u32),
}

impl Messages {
    /// Chosen: 128 windows of the service's default, at 40 bytes each.
    pub const REMEMBERED: usize = 4_096;

    /// Whether it need not be handed over again.
    pub fn is_done(&self, message: MessageKey) -> bool {
        self.0.as_ref().is_some_and(|known| known.done.contains(&message))
    }

    /// How often it was tried, without being done.
    pub fn tried(&self, message: MessageKey) -> Tried {
        let known = self.0.as_ref();
        known
            .and_then(|known| known.tried.get(&message).copied())
            .unwrap_or_default()
    }

    /// The messages that are done, oldest first.
    pub fn all_done(&self) -> impl Iterator<Item = MessageKey> {
        self.0
            .iter()
            .flat_map(|known| known.done_in_order.iter().copied())
    }

    /// The messages that were tried and are not done, oldest first.
    pub fn all_tried(&self) -> impl Iterator<Item = (MessageKey, Tried)> {
        self.0.iter().flat_map(|known| {
            let in_order = known.tried_in_order.iter();
            in_order.filter_map(|message| Some((*message, *known.tried.get(message)?)))
        })
    }

    /// What an earlier version kept, by [`MessageKey::of_id`].
    pub fn all_earlier(&self) -> impl Iterator<Item = (MessageKey, Earlier)> {
        let earlier = self.0.iter().flat_map(|known| &known.earlier);
        earlier.map(|(message, earlier)| (*message, *earlier))
    }

    /// The key of what an earlier version kept of a message with this id, if there is such a record.
    pub fn earlier(&self, id: &str) -> Option<MessageKey> {
        let earlier = &self.0.as_ref()?.earlier;
        if earlier.is_empty() {
            return None;
        }
        let key = MessageKey::of_id(id);
        earlier.contains_key(&key).then_some(key)
    }

    /// From a log: how often it was tried. That is ignored for a message that is done.
    pub fn restore_tried(&mut self, message: MessageKey, tried: Tried) {
        if tried == Tried::default() || self.is_done(message) {
            return self.forget_tried(message);
        }
        let known = self.known();
        if known.tried.insert(message, tried).is_none() {
            known.tried_in_order.push_back(message);
        }
        while known.tried_in_order.len() > Self::REMEMBERED {
            let oldest = known.tried_in_order.pop_front();
            oldest.and_then(|oldest| known.tried.remove(&oldest));
        }
    }

    /// From a log: what an earlier version kept. No more than it kept itself.
    pub fn restore_earlier(&mut self, message: MessageKey, earlier: Earlier) {
        let known = self.known();
        if known.earlier.len() < 2 * Self::REMEMBERED {
            known.earlier.insert(message, earlier);
        }
    }

    /// From a log: what an earlier version kept of this message counts no more.
    pub fn forget_earlier(&mut self, message: MessageKey) {
        self.remove_earlier(message);
    }

    pub(super) fn attempt(&mut self, message: MessageKey, count: u32) {
        let attempts = Tried {
            attempts: count,
            ..self.tried(message)
        };
        self.restore_tried(message, attempts);
    }

    pub(super) fn begun(&mut self, message: MessageKey) {
        let mut tried = self.tried(message);
        tried.unfinished = tried.unfinished.saturating_add(1);
        self.restore_tried(message, tried);
    }

    pub(super) fn released(&mut self, message: MessageKey) {
        let mut tried = self.tried(message);
        tried.unfinished = tried.unfinished.saturating_sub(1);
        self.restore_tried(message, tried);
    }

    pub(super) fn recognised(&mut self, message: MessageKey, earlier: MessageKey) {
        match self.remove_earlier(earlier) {
            Some(Earlier::Done) => self.done(message),
            Some(Earlier::Begun(unfinished)) => {
                let attempts = self.tried(message).attempts;
                self.restore_tried(message, Tried { attempts, unfinished });
            }
            None => {}
        }
    }

    pub(super) fn done(&mut self, message: MessageKey) {
        self.forget_tried(message);
        let known = self.known();
        if known.done.insert(message) {
            known.done_in_order.push_back(message);
        }
        while known.done_in_order.len() > Self::REMEMBERED {
            let oldest = known.done_in_order.pop_front();
            oldest.map(|oldest| known.done.remove(&oldest));
        }
        if known.done_in_order.len() == Self::REMEMBERED && !known.earlier.is_empty() {
            // The earlier version would have forgotten them by now.
            known.earlier = BTreeMap::new();
        }
    }

    fn known(&mut self) -> &mut Remembered {
        self.0.get_or_insert_default()
    }

    fn remove_earlier(&mut self, message: MessageKey) -> Option<Earlier> {
        self.0.as_mut()?.earlier.remove(&message)
    }

    fn forget_tried(&mut self, message: MessageKey) {
        let Some(known) = &mut self.0 else {
            return;
        };
        if known.tried.remove(&message).is_some() {
            // Nearly always the first: messages are done in about the order in which they were tried.
            let at = known.tried_in_order.iter().position(|other| *other == message);
            at.map(|at| known.tried_in_order.remove(at));
        }
    }
}

/// Nothing remembered is the same with and without room for it.
impl PartialEq for Messages {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(other)) => own == other,
            (Some(known), None) | (None, Some(known)) => **known == Remembered::default(),
            (None, None) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> MessageKey {
        MessageKey::of("news", &number.to_string())
    }

    /// WS-NOT-2, WP-RCV-6: the last messages are known, and no more of them than the bound.
    #[test]
    fn the_oldest_are_forgotten() {
        let mut messages = Messages::default();
        for number in 0..Messages::REMEMBERED + 10 {
            messages.attempt(key(number), 2);
        }
        let attempts = |number| messages.tried(key(number)).attempts;
        assert_eq!((attempts(9), attempts(10)), (0, 2));
        for number in 0..Messages::REMEMBERED + 10 {
            messages.done(key(number));
            messages.done(key(number));
        }
        assert_eq!(
            (messages.is_done(key(9)), messages.is_done(key(10))),
            (false, true)
        );
        assert_eq!(messages.all_tried().count(), 0);
        assert_eq!(messages.all_done().count(), Messages::REMEMBERED);
    }

    /// PR-45: what was begun and neither judged nor given back stays counted; what ended is not, and leaves nothing behind.
    #[test]
    fn unfinished_beginnings_are_counted() {
        let mut messages = Messages::default();
        messages.begun(key(1));
        messages.begun(key(1));
        messages.released(key(1));
        messages.attempt(key(1), 1);
        let (attempts, unfinished) = (1, 1);
        assert_eq!(messages.tried(key(1)), Tried { attempts, unfinished });
        messages.attempt(key(1), 0);
        messages.released(key(1));
        messages.released(key(1));
        assert_eq!(messages, Messages::default());
    }

    /// PR-46: a record that an earlier version kept by the id alone counts for one message, and for no longer than that
    /// version would have kept it.
    #[test]
    fn earlier_records_count_once() {
        let mut messages = Messages::default();
        let ids = ["done", "begun", "never"];
        for (id, earlier) in ids
            .into_iter()
            .zip([Earlier::Done, Earlier::Begun(2), Earlier::Done])
        {
            messages.restore_earlier(MessageKey::of_id(id), earlier);
        }
        for id in ["done", "begun"] {
            let earlier = messages.earlier(id).unwrap();
            messages.recognised(MessageKey::of("one", id), earlier);
            assert_eq!(messages.earlier(id), None);
        }
        assert!(messages.is_done(MessageKey::of("one", "done")));
        assert!(!messages.is_done(MessageKey::of("other", "done")));
        assert_eq!(messages.tried(MessageKey::of("one", "begun")).unfinished, 2);
        assert!(messages.earlier("never").is_some());
        for number in 0..Messages::REMEMBERED {
            messages.done(key(number));
        }
        assert_eq!(messages.earlier("never"), None);
    }

    /// PR-45, PR-46: what is kept is given oldest first, and compared with all that belongs to it.
    #[test]
    fn all_that_is_kept_is_given() {
        let mut messages = Messages::default();
        assert_eq!(messages, Messages(Some(Box::default())), "room is nothing");
        assert_eq!(Messages(Some(Box::default())), messages);
        for number in [2, 1, 3] {
            messages.attempt(key(number), number as u32);
        }
        messages.done(key(1));
        messages.restore_earlier(key(4), Earlier::Begun(2));
        let tried: Vec<_> = messages
            .all_tried()
            .map(|(key, tried)| (key, tried.attempts))
            .collect();
        assert_eq!(tried, [(key(2), 2), (key(3), 3)]);
        assert_eq!(messages.all_done().collect::<Vec<_>>(), [key(1)]);
        let earlier = (key(4), Earlier::Begun(2));
        assert_eq!(messages.all_earlier().collect::<Vec<_>>(), [earlier]);
        assert_ne!(messages, Messages::default());
        assert_ne!(Messages::default(), messages);
        let mut other = messages.clone();
        assert_eq!(messages, other);
        other.forget_earlier(key(4));
        assert_eq!(other.all_earlier().count(), 0);
        assert_ne!(messages, other);
    }

    /// PR-46: of an earlier version no more is kept than it kept itself.
    #[test]
    fn earlier_records_are_bounded() {
        let mut messages = Messages::default();
        for number in 0..=2 * Messages::REMEMBERED {
            messages.restore_earlier(key(number), Earlier::Done);
        }
        assert_eq!(messages.all_earlier().count(), 2 * Messages::REMEMBERED);
    }
}
