//! The steps of some user agents, in a bounded memory.
//!
//! **Invariant:** each user agent has one slot and one entry in the index, and the list of slots, from the newest to the
//! oldest, has each slot once.

use push_protocol::{SubscriptionId, Ttl, Urgency, UserAgentId};

use super::HISTORY_STEPS;
use super::step::{MessageNonce, Step, StepKind};
use crate::metrics::{Closed, Label, Refused};
use crate::storage::RemovalReason;
use crate::storage::by_user_agent::ByUserAgent;

/// Stands for no slot, at both ends of the list.
const NONE: u32 = u32::MAX;

/// The user agents that share one lock, and their steps.
pub(super) struct Shard {
    index: ByUserAgent<u32>,
    slots: Vec<Slot>,
    /// The slot that was touched last.
    newest: u32,
    /// The slot that gives way.
    oldest: u32,
    capacity: usize,
}

/// A user agent and its steps.
struct Slot {
    user_agent: UserAgentId,
    newer: u32,
    older: u32,
    /// A ring, once it is full.
    steps: Vec<PackedStep>,
    /// Where the next step goes, once the ring is full.
    next: u8,
}

impl Shard {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            index: ByUserAgent::default(),
            slots: Vec::new(),
            newest: NONE,
            oldest: NONE,
            capacity,
        }
    }

    /// Adds a step, and returns it with the subscription of its message, if that is known.
    pub(super) fn add(&mut self, user_agent: &UserAgentId, mut step: Step) -> Step {
        let at = self.touch(user_agent);
        let slot = &mut self.slots[at as usize];
        if let (Some(message), None) = (step.message, step.subscription) {
            step.subscription = slot.subscription_of(message);
        }
        slot.push(step);
        step
    }

    /// The steps of a user agent, oldest first. Does not count as a touch.
    pub(super) fn steps(&self, user_agent: &UserAgentId) -> Vec<Step> {
        let slot = self.index.get(user_agent).map(|at| &self.slots[*at as usize]);
        slot.map(|slot| slot.in_order().map(|packed| packed.unpacked()).collect())
            .unwrap_or_default()
    }

    /// The latest step of this message or subscription, and its user agent.
    pub(super) fn find(&self, digits: u64) -> Option<(UserAgentId, Step)> {
        let is_asked = |step: &Step| {
            let of_message = step.message.is_some_and(|message| message.0 == digits);
            let of = step.subscription.map(|id| u64::from_be_bytes(id.0));
            of_message || of == Some(digits)
        };
        let steps = self.index.iter().flat_map(|(user_agent, at)| {
            let slot = &self.slots[*at as usize];
            slot.in_order().map(|packed| (*user_agent, packed.unpacked()))
        });
        let asked = steps.filter(|(_, step)| is_asked(step));
        asked.max_by_key(|(_, step)| step.at_us)
    }

    #[cfg(test)]
    pub(super) fn user_agents(&self) -> usize {
        assert_eq!(self.index.len(), self.slots.len());
        self.slots.len()
    }

    /// The slot of a user agent, which is the newest now.
    fn touch(&mut self, user_agent: &UserAgentId) -> u32 {
        if let Some(at) = self.index.get(user_agent).copied() {
            if at != self.newest {
                self.take_out(at);
                self.put_first(at);
            }
            return at;
        }
        let at = self.free_slot(user_agent);
        self.index.insert(*user_agent, at);
        self.put_first(at);
        at
    }

    /// A slot that is in no list: a new one, or the oldest, whose user agent is forgotten.
    fn free_slot(&mut self, user_agent: &UserAgentId) -> u32 {
        if self.slots.len() < self.capacity {
            self.slots.push(Slot::new(*user_agent));
            return (self.slots.len() - 1) as u32;
        }
        let at = self.oldest;
        self.take_out(at);
        let slot = &mut self.slots[at as usize];
        self.index.remove(&slot.user_agent);
        slot.user_agent = *user_agent;
        slot.steps.clear();
        slot.next = 0;
        at
    }

    fn take_out(&mut self, at: u32) {
        let Slot { newer, older, .. } = self.slots[at as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.slots[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.slots[older as usize].newer = newer,
        }
    }

    fn put_first(&mut self, at: u32) {
        let second = std::mem::replace(&mut self.newest, at);
        let slot = &mut self.slots[at as usize];
        slot.newer = NONE;
        slot.older = second;
        match second {
            NONE => self.oldest = at,
            second => self.slots[second as usize].newer = at,
        }
    }
}

impl Slot {
    fn new(user_agent: UserAgentId) -> Self {
        Self {
            user_agent,
            newer: NONE,
            older: NONE,
            steps: Vec::new(),
            next: 0,
        }
    }

    fn push(&mut self, step: Step) {
        self.forget_an_empty_stay(step.kind);
        let step = match self.merged(step) {
            Some((last, merged)) => {
                self.steps[last] = merged;
                return;
            }
            None => PackedStep::from(step),
        };
        if self.steps.len() < HISTORY_STEPS {
            if self.steps.len() == self.steps.capacity() {
                // Most user agents have few steps: the memory doubles from four steps on.
                self.steps.reserve_exact(self.steps.len().max(4));
            }
            self.steps.push(step);
            return;
        }
        self.steps[usize::from(self.next)] = step;
        self.next = (self.next + 1) % HISTORY_STEPS as u8;
    }

    /// A channel on which nothing happened is forgotten when the next one begins, so a user agent that only comes and goes takes no
    /// more memory each time. In a ring that has begun anew it stays: that has its memory already.
    fn forget_an_empty_stay(&mut self, next: StepKind) {
        let is_empty = |steps: &[PackedStep]| match steps {
            [.., attached, left] => {
                matches!(attached.unpacked().kind, StepKind::Attached(_))
                    && matches!(left.unpacked().kind, StepKind::Left(_))
            }
            _ => false,
        };
        if matches!(next, StepKind::Attached(_)) && self.next == 0 && is_empty(&self.steps) {
            self.steps.truncate(self.steps.len() - 2);
        }
    }

    /// A refusal for the same reason as the last step is not a step of its own: that step's index, and the step with both counts.
    fn merged(&self, step: Step) -> Option<(usize, PackedStep)> {
        let StepKind::Refused { why, times } = step.kind else {
            return None;
        };
        let end = if self.next == 0 {
            self.steps.len()
        } else {
            self.next.into()
        };
        let last = end.checked_sub(1)?;
        let before = self.steps[last].unpacked();
        match before.kind {
            StepKind::Refused {
                why: same,
                times: already,
            } if same == why && before.subscription == step.subscription => {
                let times = already.saturating_add(times);
                let kind = StepKind::Refused { why, times };
                Some((last, PackedStep::from(Step { kind, ..step })))
            }
            _ => None,
        }
    }

    fn in_order(&self) -> impl DoubleEndedIterator<Item = &PackedStep> {
        let (later, earlier) = self.steps.split_at(usize::from(self.next));
        earlier.iter().chain(later)
    }

    /// The subscription of a message, as the latest of its steps says.
    fn subscription_of(&self, message: MessageNonce) -> Option<SubscriptionId> {
        let of_it = |packed: &&PackedStep| packed.message() == Some(message);
        self.in_order()
            .rev()
            .filter(of_it)
            .find_map(|packed| packed.subscription())
    }
}

/// A step in 32 bytes.
#[derive(Clone, Copy)]
struct PackedStep {
    /// From the top: microseconds since 1970 in 53 bits, which last for 285 years; a bit each for whether there is a message and a
    /// subscription; four bits for the kind, and five for its detail.
    head: u64,
    ttl_secs: u32,
    /// Bytes of a message, or how many refusals.
    count: u32,
    message: u64,
    subscription: u64,
}

const TIME_AT: u32 = 11;
const HAS_MESSAGE: u64 = 1 << 10;
const HAS_SUBSCRIPTION: u64 = 1 << 9;
const KIND_AT: u32 = 5;
const KIND: u64 = 0xf;
const DETAIL: u64 = 0x1f;

const _: () = assert!(Refused::ALL.len() <= DETAIL as usize + 1 && Closed::ALL.len() <= DETAIL as usize + 1);

impl From<Step> for PackedStep {
    fn from(step: Step) -> Self {
        let (kind, detail) = packed_kind(step.kind);
        let (ttl_secs, count) = match step.kind {
            StepKind::Accepted { ttl, bytes, .. } => (ttl.as_secs(), bytes),
            StepKind::Refused { times, .. } => (0, times),
            _ => (0, 0),
        };
        let message = if step.message.is_some() { HAS_MESSAGE } else { 0 };
        let subscription = if step.subscription.is_some() {
            HAS_SUBSCRIPTION
        } else {
            0
        };
        Self {
            head: step.at_us << TIME_AT | message | subscription | kind << KIND_AT | detail as u64,
            ttl_secs,
            count,
            message: step.message.map_or(0, |message| message.0),
            subscription: step.subscription.map_or(0, |id| u64::from_be_bytes(id.0)),
        }
    }
}

impl PackedStep {
    fn unpacked(self) -> Step {
        Step {
            at_us: self.head >> TIME_AT,
            kind: self.kind(),
            message: self.message(),
            subscription: self.subscription(),
        }
    }

    fn message(self) -> Option<MessageNonce> {
        self.is_marked(HAS_MESSAGE).then_some(MessageNonce(self.message))
    }

    fn subscription(self) -> Option<SubscriptionId> {
        self.is_marked(HAS_SUBSCRIPTION)
            .then(|| SubscriptionId(self.subscription.to_be_bytes()))
    }

    fn is_marked(self, mark: u64) -> bool {
        self.head & mark != 0
    }

    fn kind(self) -> StepKind {
        let detail = (self.head & DETAIL) as usize;
        match self.head >> KIND_AT & KIND {
            0 => StepKind::Subscribed,
            1 => StepKind::Unsubscribed,
            2 => StepKind::Accepted {
                urgency: Urgency::ALL[detail],
                ttl: Ttl::from_secs(self.ttl_secs.into()),
                bytes: self.count,
            },
            3 => StepKind::Refused {
                why: of_label(detail),
                times: self.count,
            },
            4 => StepKind::Offered(of_label(detail)),
            5 => StepKind::Acknowledged,
            6 => StepKind::Removed(RemovalReason::ALL[detail]),
            7 => StepKind::Attached(of_label(detail)),
            _ => StepKind::Left(of_label(detail)),
        }
    }
}

/// The number of a kind, and of its detail.
fn packed_kind(kind: StepKind) -> (u64, usize) {
    match kind {
        StepKind::Subscribed => (0, 0),
        StepKind::Unsubscribed => (1, 0),
        StepKind::Accepted { urgency, .. } => (2, urgency as usize),
        StepKind::Refused { why, .. } => (3, why.index()),
        StepKind::Offered(kind) => (4, kind.index()),
        StepKind::Acknowledged => (5, 0),
        StepKind::Removed(why) => (6, why as usize),
        StepKind::Attached(kind) => (7, kind.index()),
        StepKind::Left(why) => (8, why.index()),
    }
}

fn of_label<L: Label>(index: usize) -> L {
    L::ALL[index]
}
