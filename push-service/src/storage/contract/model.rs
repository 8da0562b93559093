//! Random steps that two storages take: both have to give the same answers and the same announcements.

use std::time::{SystemTime, UNIX_EPOCH};

use push_protocol::capability::{Dialect, KeyId};
use push_protocol::{
    MessageId, MessageNumber, ReceiptOutcome, SubscriptionId, SubscriptionName, Ttl, Urgency, UserAgentId,
};

use super::senders::sender;
use super::{enqueue, everything, name, seat, subscribe, user_agent};
use crate::storage::memory::Memory;
use crate::storage::{
    Confirm, Ending, Enqueue, ExpectReceipt, Manner, MessageEnd, PASSING_WITH_RECEIPT, PageRequest, Paged,
    QueueLimits, RECEIPTS, RECEIPTS_NAME, Rate, Removal, Scope, Seat, Storage, Subscribe,
};

/// How many user agents there are; the last one is a receipt subscription.
pub(crate) const AGENTS: u8 = 5;
const RECEIPT_SUBSCRIPTION: u8 = AGENTS - 1;
/// How many sessions compete for each seat.
pub(crate) const SEATS: u64 = 3;

/// Small numbers that are the same for the same seed (the generator of Steele, Lea and Flood's SplitMix).
pub(crate) struct Dice {
    state: u64,
    /// How many subscriptions were drawn. No id is drawn twice: in the service ids are random.
    made: Vec<(u8, SubscriptionId)>,
    /// How many nonces were drawn. None is drawn twice, for the same reason.
    nonces: u64,
}

impl Dice {
    /// The seed is the environment variable `SEED`, or the clock. It is printed, so that a failure can be repeated.
    pub(crate) fn seeded() -> (Self, u64) {
        let from_clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = std::env::var("SEED").map_or(from_clock, |seed| seed.parse().unwrap());
        println!("SEED={seed}");
        let dice = Self {
            state: seed,
            made: Vec::new(),
            nonces: 0,
        };
        (dice, seed)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn new_nonce(&mut self) -> u64 {
        self.nonces += 1;
        self.nonces
    }

    fn new_subscription(&mut self, agent: u8) -> SubscriptionId {
        // Scattered, so that ties and sorting do not follow the order of creation.
        let id = (self.made.len() as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.made.push((agent, SubscriptionId(id.to_be_bytes())));
        SubscriptionId(id.to_be_bytes())
    }

    /// One of the last that were drawn for this user agent, whether or not it was made.
    fn some_subscription(&mut self, agent: u8) -> SubscriptionId {
        let back = self.below(5) as usize;
        let mut recent = self.made.iter().rev().filter(|(owner, _)| *owner == agent);
        recent.nth(back).map_or(SubscriptionId([0; 8]), |(_, id)| *id)
    }

    fn one_of<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        let count = items.len() as u64;
        (count > 0).then(|| items[self.below(count) as usize])
    }
}

/// A step: drawn once, and taken by both storages.
#[derive(Clone, Debug)]
pub(crate) enum Draw {
    Subscribe(Subscribe),
    Unsubscribe(UserAgentId, SubscriptionName),
    Enqueue(Enqueue),
    Attach(UserAgentId, Seat, PageRequest),
    Page(UserAgentId, Seat, PageRequest),
    Release(UserAgentId, Seat),
    Acknowledge(UserAgentId, Vec<MessageId>, Removal, Confirm, Option<Seat>),
    End(UserAgentId, Ending),
    Expect(ExpectReceipt),
    /// Relays an outbox, and clears so many of its entries.
    Relay(UserAgentId, usize),
    Settle(Vec<MessageEnd>),
    Overdue,
    Owing,
    Trace(UserAgentId, u64),
    Expire(usize),
    Inspect(UserAgentId),
}

impl Draw {
    pub(crate) fn next(dice: &mut Dice, known: &[(UserAgentId, MessageId)]) -> Self {
        let agent = dice.below(u64::from(AGENTS)) as u8;
        let (user, n) = (user_agent(agent), dice.below(4) as u8);
        let holder = seat(dice.below(SEATS));
        let receipts = user_agent(RECEIPT_SUBSCRIPTION);
        match dice.below(28) {
            0..=2 if user == receipts => Self::Subscribe(Subscribe {
                name: RECEIPTS_NAME,
                fresh_id: RECEIPTS,
                ..subscribe(agent, n)
            }),
            0..=2 => Self::Subscribe(Subscribe {
                only_known: dice.below(8) == 0,
                fresh_id: dice.new_subscription(agent),
                seat: (dice.below(2) == 0).then_some(holder),
                limit: 3,
                ..subscribe(agent, n)
            }),
            3 => Self::Unsubscribe(user, name(n)),
            4..=10 if user != receipts => Self::Enqueue(draw_enqueue(dice, agent, n)),
            11..=12 => Self::Attach(user, holder, draw_page(dice, agent)),
            13 => Self::Page(user, holder, draw_page(dice, agent)),
            14 => Self::Release(user, holder),
            15 if dice.below(4) == 0 => Self::End(user, Ending::All),
            15 => Self::End(user, Ending::One(dice.some_subscription(agent))),
            16..=17 => Self::Expect(draw_expected(dice, agent, known)),
            18..=19 => Self::Relay(user, dice.below(20) as usize),
            20 => Self::Settle(draw_outcomes(dice, known)),
            21 => Self::Overdue,
            22 => Self::Owing,
            23 => Self::Trace(user, dice.one_of(known).map_or(0, |(_, id)| id.nonce)),
            24..=25 => {
                let confirm = if dice.below(2) == 0 {
                    Confirm::Soon
                } else {
                    Confirm::Durably
                };
                let picked: Vec<_> = (0..dice.below(4)).filter_map(|_| dice.one_of(known)).collect();
                let user = picked.first().map_or(user, |(user, _)| *user);
                let ids = picked.into_iter().map(|(_, id)| id).collect();
                let removal = [Removal::Acknowledged, Removal::Cancelled][dice.below(2) as usize];
                Self::Acknowledge(
                    user,
                    ids,
                    removal,
                    confirm,
                    (dice.below(2) == 0).then_some(holder),
                )
            }
            26 => Self::Expire(1 + dice.below(5) as usize),
            _ => Self::Inspect(user),
        }
    }

    /// Takes the step, and returns its answer as text.
    pub(crate) async fn take(self, storage: &dyn Storage) -> String {
        match self {
            Self::Subscribe(request) => format!("{:?}", storage.subscribe(request).await),
            Self::Unsubscribe(user, name) => format!("{:?}", storage.unsubscribe(user, name).await),
            Self::Enqueue(request) => format!("{:?}", storage.enqueue(request).await),
            Self::Attach(user, seat, page) => {
                format!("{:?}", storage.attach(user, seat, page, Manner::Insisting).await)
            }
            Self::Page(user, seat, page) => format!("{:?}", storage.page(user, seat, page).await),
            Self::Release(user, seat) => format!("{:?}", storage.release(user, seat).await),
            Self::End(user, ending) => format!("{:?}", storage.end(user, ending).await),
            Self::Expect(expected) => {
                let receipts = user_agent(RECEIPT_SUBSCRIPTION);
                format!("{:?}", storage.expect_receipt(receipts, expected).await)
            }
            Self::Relay(user, cleared) => {
                // Storages may return messages that ended in one step in any order.
                let mut outcomes = storage.outbox(user, 100).await.unwrap();
                outcomes.sort_unstable_by_key(|outcome| outcome.id);
                let ids: Vec<_> = outcomes.iter().map(|outcome| outcome.id).take(cleared).collect();
                storage.clear_outbox(user, &ids).await.unwrap();
                format!("{outcomes:?} {}", Self::settle(storage, &outcomes).await)
            }
            Self::Settle(outcomes) => Self::settle(storage, &outcomes).await,
            Self::Overdue => {
                // With a limit above all of them, because storages may return them in any order.
                let mut overdue = storage.overdue(usize::MAX).await.unwrap();
                overdue.sort_unstable_by_key(|overdue| (overdue.user_agent, overdue.nonce));
                format!("{overdue:?}")
            }
            Self::Owing => format!("{:?}", storage.with_outbox(10).await),
            Self::Trace(user, nonce) => format!("{:?}", storage.trace(user, nonce).await),
            Self::Acknowledge(user, ids, removal, confirm, by) => {
                format!(
                    "{:?}",
                    storage.acknowledge(user, &ids, removal, confirm, by).await
                )
            }
            Self::Expire(limit) => format!("{:?}", storage.expire(limit).await),
            Self::Inspect(user) => format!("{:?}", storage.inspect(user).await),
        }
    }
}

impl Draw {
    async fn settle(storage: &dyn Storage, outcomes: &[MessageEnd]) -> String {
        let receipts = user_agent(RECEIPT_SUBSCRIPTION);
        format!("{:?}", storage.settle_receipts(receipts, outcomes).await)
    }
}

fn draw_expected(dice: &mut Dice, agent: u8, known: &[(UserAgentId, MessageId)]) -> ExpectReceipt {
    // Of a message that was drawn before, or of one that will be drawn.
    let fresh = (user_agent(agent), dice.below(dice.nonces + 10));
    let (user_agent, nonce) = match dice.below(2) {
        0 => fresh,
        _ => dice.one_of(known).map_or(fresh, |(user, id)| (user, id.nonce)),
    };
    ExpectReceipt {
        user_agent,
        nonce,
        dialect: [Dialect::Rfc8030, Dialect::Webpush][dice.below(2) as usize],
        sealed_by: KeyId(dice.below(3) as u8),
        within: std::time::Duration::from_secs(dice.below(600)),
        limit: 20,
    }
}

fn draw_outcomes(dice: &mut Dice, known: &[(UserAgentId, MessageId)]) -> Vec<MessageEnd> {
    let picked: Vec<_> = (0..dice.below(4)).filter_map(|_| dice.one_of(known)).collect();
    let outcome = |(user_agent, id)| MessageEnd {
        receipts: self::user_agent(RECEIPT_SUBSCRIPTION),
        user_agent,
        id,
        how: [
            ReceiptOutcome::Acknowledged,
            ReceiptOutcome::GivenUp,
            ReceiptOutcome::Replaced,
        ][dice.below(3) as usize],
    };
    picked.into_iter().map(outcome).collect()
}

fn draw_enqueue(dice: &mut Dice, agent: u8, n: u8) -> Enqueue {
    let body = vec![n; dice.below(300) as usize];
    let topic = ["a", "b"].get(dice.below(4) as usize);
    Enqueue {
        subscription: dice.some_subscription(agent),
        nonce: dice.new_nonce(),
        key: (dice.below(4) == 0).then_some(push_protocol::KeyDigest([n; 32])),
        sender: [None, Some(sender(1)), Some(sender(2)), Some(sender(3))][dice.below(4) as usize],
        receipts: (dice.below(3) > 0).then_some(user_agent(RECEIPT_SUBSCRIPTION)),
        ttl: Ttl::from_secs([0, 5, 50, 500][dice.below(4) as usize]),
        urgency: Urgency::ALL[dice.below(4) as usize],
        topic: topic.and_then(|topic| push_protocol::Topic::parse(topic)),
        queue_limits: QueueLimits {
            messages: 8 + dice.below(4) as u32,
            bytes: 2_000,
        },
        rate: (dice.below(4) == 0).then_some(Rate {
            per_second: 0.25,
            burst: 1_000.0,
        }),
        ..enqueue(agent, n, &body)
    }
}

fn draw_page(dice: &mut Dice, agent: u8) -> PageRequest {
    let scope = match dice.below(3) {
        0 => Scope::These(vec![dice.some_subscription(agent)]),
        1 => Scope::AllBut(vec![dice.some_subscription(agent)]),
        _ => Scope::AllBut(Vec::new()),
    };
    PageRequest {
        after: MessageNumber([0, 1_700_000_100_000_000][dice.below(2) as usize]),
        scope,
        minimum: Urgency::ALL[dice.below(4) as usize],
        messages: 1 + dice.below(10) as usize,
        bytes: 100 + dice.below(2_000) as usize,
    }
}

/// Remembers the ids of stored messages, so that acknowledgements can name them, also after they were removed.
pub(crate) async fn remember(draw: &Draw, memory: &Memory, known: &mut Vec<(UserAgentId, MessageId)>) {
    if let Draw::Enqueue(Enqueue {
        user_agent,
        nonce,
        receipts: Some(_),
        ttl: Ttl::ZERO,
        ..
    }) = draw
    {
        let number = PASSING_WITH_RECEIPT;
        known.push((
            *user_agent,
            MessageId {
                number,
                nonce: *nonce,
            },
        ));
    }
    if let Draw::Attach(user, seat, _) = draw {
        let paged = memory.page(*user, *seat, everything()).await.unwrap();
        if let Paged::Page(page) = paged {
            known.extend(page.messages.iter().map(|m| (*user, m.id)));
        }
        let surplus = known.len().saturating_sub(40);
        known.drain(..surplus);
    }
}
