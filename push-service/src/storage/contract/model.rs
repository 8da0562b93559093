//! Steps drawn at random and taken by two storages, which have to answer and to announce alike.

use std::time::{SystemTime, UNIX_EPOCH};

use push_protocol::{MessageId, MessageNumber, SubscriptionId, SubscriptionName, Ttl, Urgency, UserAgentId};

use super::{enqueue, everything, name, seat, subscribe, user_agent};
use crate::storage::memory::Memory;
use crate::storage::{
    Budget, Confirm, Enqueue, Manner, PageRequest, Paged, Rate, Removal, Scope, Seat, Storage, Subscribe,
};

/// User agents that take part.
pub(crate) const AGENTS: u8 = 4;
/// Sessions that compete for each one's seat.
pub(crate) const SEATS: u64 = 3;

/// Small numbers that are the same for the same seed (the generator of Steele, Lea and Flood's SplitMix).
pub(crate) struct Dice {
    state: u64,
    /// The subscriptions drawn so far; no id comes twice, as in life.
    made: Vec<(u8, SubscriptionId)>,
}

impl Dice {
    /// From the environment's `SEED`, or from the clock; printed, so that a failure can be repeated.
    pub(crate) fn seeded() -> (Self, u64) {
        let from_clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = std::env::var("SEED").map_or(from_clock, |seed| seed.parse().unwrap());
        println!("SEED={seed}");
        let dice = Self {
            state: seed,
            made: Vec::new(),
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

    fn new_subscription(&mut self, agent: u8) -> SubscriptionId {
        // Scattered, so that ties and sorting do not follow the order of creation.
        let id = (self.made.len() as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.made.push((agent, SubscriptionId(id.to_be_bytes())));
        SubscriptionId(id.to_be_bytes())
    }

    /// One of the last that were drawn for this user agent, whether or not it came to be.
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

/// A step, drawn once and taken by both.
#[derive(Clone, Debug)]
pub(crate) enum Draw {
    Subscribe(Subscribe),
    Unsubscribe(UserAgentId, SubscriptionName),
    Enqueue(Enqueue),
    Attach(UserAgentId, Seat, PageRequest),
    Page(UserAgentId, Seat, PageRequest),
    Release(UserAgentId, Seat),
    Acknowledge(UserAgentId, Vec<MessageId>, Confirm, Option<Seat>),
    Expire(usize),
    Inspect(UserAgentId),
}

impl Draw {
    pub(crate) fn next(dice: &mut Dice, known: &[(UserAgentId, MessageId)]) -> Self {
        let agent = dice.below(u64::from(AGENTS)) as u8;
        let (user, n) = (user_agent(agent), dice.below(4) as u8);
        let holder = seat(dice.below(SEATS));
        match dice.below(20) {
            0..=2 => Self::Subscribe(Subscribe {
                fresh_id: dice.new_subscription(agent),
                seat: (dice.below(2) == 0).then_some(holder),
                limit: 3,
                ..subscribe(agent, n)
            }),
            3 => Self::Unsubscribe(user, name(n)),
            4..=10 => Self::Enqueue(draw_enqueue(dice, agent, n)),
            11..=12 => Self::Attach(user, holder, draw_page(dice, agent)),
            13 => Self::Page(user, holder, draw_page(dice, agent)),
            14 => Self::Release(user, holder),
            15..=17 => {
                let confirm = if dice.below(2) == 0 {
                    Confirm::Soon
                } else {
                    Confirm::Durably
                };
                let picked: Vec<_> = (0..dice.below(4)).filter_map(|_| dice.one_of(known)).collect();
                let user = picked.first().map_or(user, |(user, _)| *user);
                let ids = picked.into_iter().map(|(_, id)| id).collect();
                Self::Acknowledge(user, ids, confirm, (dice.below(2) == 0).then_some(holder))
            }
            18 => Self::Expire(1 + dice.below(5) as usize),
            _ => Self::Inspect(user),
        }
    }

    /// What comes of it, spelled out.
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
            Self::Acknowledge(user, ids, confirm, by) => {
                let removal = Removal::Acknowledged;
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

fn draw_enqueue(dice: &mut Dice, agent: u8, n: u8) -> Enqueue {
    let body = vec![n; dice.below(300) as usize];
    let topic = ["a", "b"].get(dice.below(4) as usize);
    Enqueue {
        subscription: dice.some_subscription(agent),
        nonce: dice.below(u64::MAX),
        ttl: Ttl::from_secs([0, 5, 50, 500][dice.below(4) as usize]),
        urgency: Urgency::ALL[dice.below(4) as usize],
        topic: topic.and_then(|topic| push_protocol::Topic::parse(topic)),
        budget: Budget {
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

/// Keeps the ids of what waits, for acknowledgements to name; those that are gone are named as well.
pub(crate) async fn remember(draw: &Draw, memory: &Memory, known: &mut Vec<(UserAgentId, MessageId)>) {
    if let Draw::Attach(user, seat, _) = draw {
        let paged = memory.page(*user, *seat, everything()).await.unwrap();
        if let Paged::Page(page) = paged {
            known.extend(page.messages.iter().map(|m| (*user, m.id)));
        }
        let surplus = known.len().saturating_sub(40);
        known.drain(..surplus);
    }
}
