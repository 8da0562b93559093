//! What the checker says in the end: what is still missing, and how the promise was broken.

use std::collections::BTreeMap;

use super::{Checker, Message, RequestResult, Stage, Subscription};

impl Checker {
    /// Accepted messages that have to arrive and have not yet.
    pub fn missing(&self) -> usize {
        self.messages()
            .filter(|(subscription, place, _)| self.is_missing(subscription, *place))
            .count()
    }

    /// The same of one user agent's.
    pub fn missing_of(&self, owner: usize) -> usize {
        self.messages()
            .filter(|(subscription, place, _)| {
                subscription.owner == owner && self.is_missing(subscription, *place)
            })
            .count()
    }

    /// Every breach of the promise.
    pub fn audit(&self) -> Vec<String> {
        let mut breaches = self.breaches.clone();
        for (number, subscription) in self.subscriptions.iter().enumerate() {
            let mut last_offer = 0;
            for (place, message) in subscription.messages.iter().enumerate() {
                if self.is_missing(subscription, place) {
                    breaches.push(format!(
                        "message {number}/{place} was answered 201 and did not arrive (user agent {})",
                        subscription.owner
                    ));
                }
                let is_in_order = message.result == RequestResult::Accepted && message.wish.ttl > 0;
                if let Some(offer) = message.first_offer.filter(|_| is_in_order) {
                    if offer < last_offer {
                        breaches.push(format!("message {number}/{place} was overtaken (PR-4)"));
                    }
                    last_offer = offer;
                }
            }
        }
        breaches.extend(self.broken_receipts());
        breaches
    }

    /// The test in one line.
    pub fn summary(&self) -> String {
        let count = |of: fn(&Message) -> bool| self.messages().filter(|(_, _, message)| of(message)).count();
        let arrived = count(|message| message.first_offer.is_some());
        format!(
            "{} kills, {} connections, {} subscriptions, {} messages: {} answered 201, {} refused, {} unanswered of \
             which {} arrived; {arrived} arrived, {} of them more than once; {}",
            self.faults.kills(),
            self.connections,
            self.subscriptions.len(),
            count(|_| true),
            count(|message| message.result == RequestResult::Accepted),
            count(|message| message.result == RequestResult::Refused),
            count(|message| message.result == RequestResult::Unknown),
            count(|message| message.result == RequestResult::Unknown && message.first_offer.is_some()),
            self.offers - arrived,
            self.receipts_in_words(),
        )
    }

    /// What is not acknowledged, by user agent, when it should be: for the report of a run that doesn't end.
    pub fn waiting(&self) -> String {
        let mut waiting: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for (subscription, _, message) in self.unsettled() {
            let entry = waiting.entry(subscription.owner);
            entry.or_insert((message.last_connection, 0)).1 += 1;
        }
        let line = |(agent, (connection, messages)): (&usize, &(usize, usize))| {
            format!("user agent {agent} has {messages} unacknowledged on connection {connection}")
        };
        waiting.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Not if it may have been taken back, or its time may have been over: its receipt tells.
    fn is_missing(&self, subscription: &Subscription, place: usize) -> bool {
        let message = &subscription.messages[place];
        message.result == RequestResult::Accepted
            && message.first_offer.is_none()
            && subscription.stage == Stage::Active
            && message.must_come()
            && !self.may_be_replaced(subscription, place)
    }

    /// Whether another message has or may have taken its place.
    pub(super) fn may_be_replaced(&self, subscription: &Subscription, place: usize) -> bool {
        let message = &subscription.messages[place];
        let (older, newer) = subscription.messages.split_at(place);
        let mut newer = newer[1..]
            .iter()
            .filter(|newer| newer.result != RequestResult::Refused);
        let late = older
            .iter()
            .filter(|older| older.result == RequestResult::Unknown);
        let mut late = late.filter(|_| self.has_several_nodes);
        let takes_its_place = |other: &Message| other.wish.topic == message.wish.topic;
        message.wish.topic.is_some() && (newer.any(takes_its_place) || late.any(takes_its_place))
    }
}
