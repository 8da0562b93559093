//! Messages that wait for the application to take them. Subscriptions take turns, so that one with many messages, or slow ones,
//! does not delay the others; messages of one subscription keep their order (PR-46). If the application works on several messages at
//! once, no subscription takes all of its jobs.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;

use push_protocol::SubscriptionName;
use push_protocol::session::user_agent::{Arrived, MessageKey};

use crate::message::Data;

/// A message that can be given to the application.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) key: MessageKey,
    pub(super) label: Arc<str>,
    pub(super) arrived: Arc<Arrived>,
    pub(super) attempt: u32,
    pub(super) decrypted: Decrypted,
}

/// What was decrypted of a message.
#[derive(Clone, Debug)]
pub(super) struct Decrypted {
    /// `None`: it was sent without data.
    pub(super) data: Option<Data>,
    /// When it came, in milliseconds since 1970.
    pub(super) received: u64,
}

/// What the application is working on, by subscription. Empty, and without memory, if the application doesn't say how many jobs it has
/// or has one.
#[derive(Debug)]
pub(super) struct Jobs {
    most: Option<NonZeroUsize>,
    under_way: BTreeMap<MessageKey, SubscriptionName>,
}

impl Jobs {
    pub(super) fn new(jobs: Option<NonZeroUsize>) -> Self {
        Self {
            most: jobs.filter(|jobs| jobs.get() > 1),
            under_way: BTreeMap::new(),
        }
    }

    pub(super) fn begin(&mut self, key: MessageKey, name: SubscriptionName) {
        if self.most.is_some() {
            self.under_way.insert(key, name);
        }
    }

    pub(super) fn end(&mut self, key: MessageKey) {
        self.under_way.remove(&key);
    }

    /// Whether a message of this subscription may begin. If there are several `subscriptions`, each leaves a job to the others.
    pub(super) fn has_room_for(&self, name: SubscriptionName, subscriptions: usize) -> bool {
        self.most.is_none_or(|most| {
            let own = self.under_way.values().filter(|other| **other == name).count();
            subscriptions < 2 || own + 1 < most.get()
        })
    }
}

/// Not more than the messages that are held, which the session bounds. **Invariant:** each subscription is there once, with a
/// message at least; so an empty one owns no buffer.
#[derive(Debug, Default)]
pub(super) struct Waiting(VecDeque<(SubscriptionName, VecDeque<Ready>)>);

impl Waiting {
    /// Whether there is a message of a subscription that may be given.
    pub(super) fn has_any(&self, may: impl Fn(SubscriptionName) -> bool) -> bool {
        self.0.iter().any(|(name, _)| may(*name))
    }

    /// Behind all of its subscription.
    pub(super) fn push(&mut self, name: SubscriptionName, ready: Ready) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, messages)) => messages.push_back(ready),
            None => self.0.push_back((name, VecDeque::from([ready]))),
        }
    }

    /// The first of the subscription whose turn it is, among those that may be given.
    pub(super) fn pop(
        &mut self,
        may: impl Fn(SubscriptionName) -> bool,
    ) -> Option<(SubscriptionName, Ready)> {
        let at = self.0.iter().position(|(name, _)| may(*name))?;
        let (name, mut messages) = self.0.remove(at)?;
        let ready = messages.pop_front();
        if !messages.is_empty() {
            self.0.push_back((name, messages));
        }
        self.shrink();
        Some((name, ready?))
    }

    pub(super) fn remove(&mut self, key: MessageKey) -> Option<Ready> {
        let mut removed = None;
        for (_, messages) in &mut self.0 {
            if let Some(at) = messages.iter().position(|ready| ready.key == key) {
                removed = messages.remove(at);
                break;
            }
        }
        self.0.retain(|(_, messages)| !messages.is_empty());
        self.shrink();
        removed
    }

    fn shrink(&mut self) {
        if self.0.is_empty() {
            // After a burst its buffer is freed.
            self.0 = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(name: SubscriptionName, id: &str) -> Ready {
        let arrived = Arc::new(Arrived {
            subscription: name.to_string().into(),
            id: id.into(),
            content: None,
            metadata: None,
        });
        Ready {
            key: arrived.key(),
            label: "".into(),
            arrived,
            attempt: 1,
            decrypted: Decrypted {
                data: None,
                received: 0,
            },
        }
    }

    /// PR-46: subscriptions take turns, each keeps its order, and nothing is left behind.
    #[test]
    fn subscriptions_take_turns() {
        let names = [SubscriptionName([1; 16]), SubscriptionName([2; 16])];
        let mut waiting = Waiting::default();
        for id in ["a", "b", "c", "d"] {
            waiting.push(names[0], ready(names[0], id));
        }
        let all = |_| true;
        let mut order = vec![waiting.pop(all).unwrap().1];
        for id in ["1", "2"] {
            waiting.push(names[1], ready(names[1], id));
        }
        let gone = ready(names[0], "c").key;
        assert_eq!(waiting.remove(gone).unwrap().key, gone);
        assert!(waiting.remove(gone).is_none());
        order.extend(std::iter::from_fn(|| Some(waiting.pop(all)?.1)));
        let ids: Vec<_> = order.iter().map(|ready| &*ready.arrived.id).collect();
        assert_eq!(ids, ["a", "b", "1", "d", "2"]);
        assert!(!waiting.has_any(all) && waiting.0.capacity() == 0);
    }

    /// PR-46: of several subscriptions none takes all jobs, however many messages it has. A single subscription may take all. Without
    /// a number of jobs there is no bound.
    #[test]
    fn one_subscription_does_not_take_all_jobs() {
        let [slow, quick] = [SubscriptionName([1; 16]), SubscriptionName([2; 16])];
        let mut waiting = Waiting::default();
        for number in 0..10 {
            waiting.push(slow, ready(slow, &number.to_string()));
        }
        let mut jobs = Jobs::new(NonZeroUsize::new(3));
        let mut given = Vec::new();
        while let Some((name, ready)) = waiting.pop(|name| jobs.has_room_for(name, 2)) {
            jobs.begin(ready.key, name);
            given.push(ready.key);
        }
        assert_eq!(given.len(), 2);
        assert!(jobs.has_room_for(slow, 1), "alone, it needs to leave none");
        waiting.push(quick, ready(quick, "quick"));
        let may = |name| jobs.has_room_for(name, 2);
        assert!(waiting.has_any(may));
        assert_eq!(
            waiting.pop(may).unwrap().0,
            quick,
            "before what has waited for longer"
        );
        assert!(waiting.pop(may).is_none());
        jobs.end(given[0]);
        assert_eq!(waiting.pop(|name| jobs.has_room_for(name, 2)).unwrap().0, slow);
        for most in [None, NonZeroUsize::new(1)] {
            let mut jobs = Jobs::new(most);
            jobs.begin(given[0], slow);
            assert!(jobs.has_room_for(slow, 2) && jobs.under_way.is_empty());
        }
    }
}
