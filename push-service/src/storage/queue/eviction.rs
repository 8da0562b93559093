//! Eviction: which messages are removed when the queue is full (PR-23).
//!
//! Expired messages are removed first. Then, until the newcomer fits, the subscription with the largest share of bytes (the
//! newcomer counted in) loses its least urgent message, of equal urgency the oldest. So a sender that fills the queue loses
//! its own messages. If the newcomer would be the victim it is refused, and nothing changes.

use std::cmp::Reverse;
use std::collections::HashMap;

use push_protocol::{MessageNumber, SubscriptionId};

use super::enqueue::newcomer_bytes;
use super::{Now, Share, UserAgent};
use crate::defaults::EVICTIONS_PER_STEP;
use crate::storage::{Enqueue, QueueLimits};

/// The messages that have to be removed for a newcomer.
#[derive(Default, Debug)]
pub(super) struct Room {
    pub(super) expired: Vec<MessageNumber>,
    pub(super) evicted: Vec<MessageNumber>,
}

impl UserAgent {
    /// Finds room for a newcomer. `None` if the rule refuses it. Changes nothing. `replaced` counts as removed.
    pub(super) fn make_room(
        &mut self,
        request: &Enqueue,
        replaced: Option<MessageNumber>,
        now: Now,
    ) -> Option<Room> {
        let mut plan = Plan::new(self.total(), request);
        plan.give_up(self, replaced);
        if plan.fits(request.queue_limits) {
            return Some(Room::default());
        }
        let mut room = Room::default();
        self.order_if_long();
        for number in self.first_expired(now) {
            if plan.fits(request.queue_limits) || room.expired.len() == EVICTIONS_PER_STEP {
                break;
            }
            if plan.give_up(self, Some(number)) {
                room.expired.push(number);
            }
        }
        while !plan.fits(request.queue_limits) {
            if room.expired.len() + room.evicted.len() == EVICTIONS_PER_STEP {
                return None;
            }
            let victim = self.next_victim(request, &plan)?;
            plan.give_up(self, Some(victim));
            room.evicted.push(victim);
        }
        Some(room)
    }

    /// As many expired messages as one step removes, one of which may be replaced already.
    fn first_expired(&mut self, now: Now) -> Vec<MessageNumber> {
        match &self.order {
            Some(order) => order.expired(now.ms()).take(EVICTIONS_PER_STEP + 1).collect(),
            None => self.waiting.expired(now.ms()),
        }
    }

    /// The next victim, or `None` if that is the newcomer.
    fn next_victim(&self, request: &Enqueue, plan: &Plan) -> Option<MessageNumber> {
        let subscription = self.largest(plan)?;
        let is_there = |number: &MessageNumber| !plan.is_given_up(*number);
        let victim = match &self.order {
            Some(order) => order.of_subscription(subscription).find(is_there),
            None => {
                let mut candidates = self.waiting.least_wanted(subscription).map(|w| w.id.number);
                candidates.find(is_there)
            }
        };
        let victim = self.waiting.get(victim?)?;
        let newcomer_is_victim = subscription == request.subscription && request.urgency < victim.urgency;
        (!newcomer_is_victim).then_some(victim.id.number)
    }

    /// The subscription with the largest share; of equal ones the one with the smaller id.
    fn largest(&self, plan: &Plan) -> Option<SubscriptionId> {
        let planned = |id: SubscriptionId| {
            let waiting = self.subscription(id).map_or(0, |s| s.share.bytes);
            (plan.share_of(id, waiting), Reverse(id))
        };
        let largest = match &self.order {
            // Of the shares that the plan does not change, the first is the largest.
            Some(order) => {
                let untouched = order.shares().find(|(_, id)| !plan.touches(*id));
                let untouched = untouched.map(|(bytes, id)| (bytes, Reverse(id)));
                plan.touched().map(planned).chain(untouched).max()
            }
            None => self.subscriptions.iter().map(|s| planned(s.id)).max(),
        };
        largest.map(|(_, Reverse(id))| id)
    }
}

/// The queue as it would be, with the newcomer.
struct Plan {
    total: Share,
    newcomer: SubscriptionId,
    newcomer_bytes: u64,
    given_up: Vec<MessageNumber>,
    freed: HashMap<SubscriptionId, u64>,
}

impl Plan {
    fn new(waiting: Share, request: &Enqueue) -> Self {
        let newcomer_bytes = newcomer_bytes(request);
        Self {
            total: Share {
                messages: waiting.messages + 1,
                bytes: waiting.bytes + newcomer_bytes,
            },
            newcomer: request.subscription,
            newcomer_bytes,
            given_up: Vec::new(),
            freed: HashMap::new(),
        }
    }

    fn fits(&self, limits: QueueLimits) -> bool {
        self.total.messages <= limits.messages && self.total.bytes <= limits.bytes
    }

    /// Counts a message out. Returns whether it counted before.
    fn give_up(&mut self, user_agent: &UserAgent, number: Option<MessageNumber>) -> bool {
        let Some(waiting) = number.and_then(|number| user_agent.waiting.get(number)) else {
            return false;
        };
        if self.is_given_up(waiting.id.number) {
            return false;
        }
        self.total.messages -= 1;
        self.total.bytes -= waiting.counted_bytes();
        *self.freed.entry(waiting.subscription).or_default() += waiting.counted_bytes();
        self.given_up.push(waiting.id.number);
        true
    }

    fn is_given_up(&self, number: MessageNumber) -> bool {
        self.given_up.contains(&number)
    }

    /// Whether the plan changes a subscription's share.
    fn touches(&self, id: SubscriptionId) -> bool {
        id == self.newcomer || self.freed.contains_key(&id)
    }

    fn touched(&self) -> impl Iterator<Item = SubscriptionId> {
        self.freed.keys().copied().chain([self.newcomer])
    }

    fn share_of(&self, subscription: SubscriptionId, waiting_bytes: u64) -> u64 {
        let freed = self.freed.get(&subscription).copied().unwrap_or_default();
        let newcomer = if subscription == self.newcomer {
            self.newcomer_bytes
        } else {
            0
        };
        waiting_bytes - freed + newcomer
    }
}
