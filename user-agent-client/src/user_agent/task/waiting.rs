//! Messages that wait for the application to take them. Subscriptions take turns, so that one with many messages, or slow ones,
//! does not delay the others; messages of one subscription keep their order (PR-46).

use std::collections::VecDeque;
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
    pub(super) data: Option<Data>,
}

/// Not more than the messages that are held, which the session bounds. **Invariant:** each subscription is there once, with a
/// message at least; so an empty one owns no buffer.
#[derive(Debug, Default)]
pub(super) struct Waiting(VecDeque<(SubscriptionName, VecDeque<Ready>)>);

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Behind all of its subscription.
    pub(super) fn push(&mut self, name: SubscriptionName, ready: Ready) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, messages)) => messages.push_back(ready),
            None => self.0.push_back((name, VecDeque::from([ready]))),
        }
    }

    /// The first of the subscription whose turn it is.
    pub(super) fn pop(&mut self) -> Option<Ready> {
        let (name, mut messages) = self.0.pop_front()?;
        let ready = messages.pop_front();
        if !messages.is_empty() {
            self.0.push_back((name, messages));
        }
        self.shrink();
        ready
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
            // A burst was long; its buffer need not outlive it.
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
            stated: None,
        });
        Ready {
            key: arrived.key(),
            label: "".into(),
            arrived,
            attempt: 1,
            data: None,
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
        let mut order = vec![waiting.pop().unwrap()];
        for id in ["1", "2"] {
            waiting.push(names[1], ready(names[1], id));
        }
        let gone = ready(names[0], "c").key;
        assert_eq!(waiting.remove(gone).unwrap().key, gone);
        assert!(waiting.remove(gone).is_none());
        order.extend(std::iter::from_fn(|| waiting.pop()));
        let ids: Vec<_> = order.iter().map(|ready| &*ready.arrived.id).collect();
        assert_eq!(ids, ["a", "b", "1", "d", "2"]);
        assert!(waiting.is_empty() && waiting.0.capacity() == 0);
    }
}
