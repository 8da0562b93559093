//! Embedded storage does what memory storage does, step by step, restarts included.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use push_protocol::{MessageNumber, Ttl, Urgency};

use super::*;
use crate::storage::clock::ManualClock;
use crate::storage::contract::{Told, enqueue, everything, name, seat, subscribe, user_agent};
use crate::storage::memory::Memory;
use crate::storage::{Budget, Manner, Rate, Scope};

const STEPS: usize = 2_000;
const RETENTION: Duration = Duration::from_secs(4_000);

/// Small numbers that are the same for the same seed (the generator of Steele, Lea and Flood's SplitMix).
struct Dice {
    state: u64,
    /// The subscriptions drawn so far; no id comes twice, as in life.
    made: Vec<(u8, SubscriptionId)>,
}

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
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

/// Two storages and what they were told.
struct Pair {
    memory: Memory,
    memory_told: Arc<Told>,
    embedded: Embedded,
    embedded_told: Arc<Told>,
    clock: Arc<ManualClock>,
}

impl Pair {
    fn open(directory: &Path) -> Self {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000_000));
        let memory_told = Arc::new(Told::default());
        let announce: Arc<dyn Announce> = Arc::clone(&memory_told) as _;
        let memory = Memory::new(announce, Arc::clone(&clock) as _, RETENTION);
        let embedded_told = Arc::new(Told::default());
        let embedded = open_embedded(directory, &embedded_told, &clock);
        Self {
            memory,
            memory_told,
            embedded,
            embedded_told,
            clock,
        }
    }

    /// Memory "restarts" by giving up its seats, which is all that a restart loses.
    async fn restart(&mut self, directory: &Path) {
        for agent in 0..AGENTS {
            for holder in 0..SEATS {
                self.memory
                    .release(user_agent(agent), seat(holder))
                    .await
                    .unwrap();
            }
        }
        self.embedded.close().await.unwrap();
        // Numbers may be ahead of a clock that stands still, and the store's time starts behind all of them.
        self.clock.advance(Duration::from_millis(1));
        self.embedded = open_embedded(directory, &self.embedded_told, &self.clock);
        // A record that only a seat kept goes with the first step that meets it, or with a later sweep.
        for agent in 0..AGENTS {
            self.embedded
                .release(user_agent(agent), seat(SEATS))
                .await
                .unwrap();
        }
    }
}

fn open_embedded(directory: &Path, told: &Arc<Told>, clock: &Arc<ManualClock>) -> Embedded {
    let announce: Arc<dyn Announce> = Arc::clone(told) as _;
    let options = Options {
        clock: Arc::clone(clock) as _,
        retention: RETENTION,
        ..Options::new(directory, announce)
    };
    Embedded::open(options).unwrap()
}

const AGENTS: u8 = 4;
const SEATS: u64 = 3;

/// A step, drawn once and taken by both.
#[derive(Clone, Debug)]
enum Draw {
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
    fn next(dice: &mut Dice, known: &[(UserAgentId, MessageId)]) -> Self {
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
    async fn take(self, storage: &dyn Storage) -> String {
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
        0 => Scope::Only(dice.some_subscription(agent)),
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

/// Every answer, every wake-up and every gauge is the same on both, whatever happens in whatever order.
#[tokio::test]
async fn embedded_does_what_memory_does() {
    compare(None).await;
}

/// So it goes on across restarts. They lose seats and, of a message that is gone, that it had the last number.
#[tokio::test]
async fn embedded_does_what_memory_does_across_restarts() {
    compare(Some(100)).await;
}

async fn compare(steps_between_restarts: Option<u64>) {
    let from_clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = std::env::var("SEED").map_or(from_clock, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let directory = tempfile::tempdir().unwrap();
    let mut pair = Pair::open(directory.path());
    let mut dice = Dice {
        state: seed,
        made: Vec::new(),
    };
    let mut known = Vec::new();
    for step in 0..STEPS {
        if dice.below(10) == 0 {
            pair.clock.advance(Duration::from_millis(dice.below(60_000)));
        }
        if steps_between_restarts.is_some_and(|steps| dice.below(steps) == 0) {
            pair.restart(directory.path()).await;
        }
        let draw = Draw::next(&mut dice, &known);
        let mut in_memory = vec![draw.clone().take(&pair.memory).await];
        let mut embedded = vec![draw.clone().take(&pair.embedded).await];
        // Gauges are those of the last batch.
        pair.embedded.pass().await.unwrap();
        in_memory.push(format!("{:?} {:?}", pair.memory_told.take(), pair.memory.usage()));
        embedded.push(format!(
            "{:?} {:?}",
            pair.embedded_told.take(),
            pair.embedded.usage()
        ));
        if steps_between_restarts.is_some() {
            in_memory.iter_mut().for_each(without_what_restarts_lose);
            embedded.iter_mut().for_each(without_what_restarts_lose);
        }
        assert_eq!(embedded, in_memory, "SEED={seed} step {step}: {draw:?}");
        remember(&draw, &pair.memory, &mut known).await;
    }
    pair.embedded.close().await.unwrap();
}

/// Keeps the ids of what waits, for acknowledgements to name; those that are gone are named as well.
async fn remember(draw: &Draw, memory: &Memory, known: &mut Vec<(UserAgentId, MessageId)>) {
    if let Draw::Attach(user, seat, _) = draw {
        let paged = memory.page(*user, *seat, everything()).await.unwrap();
        if let Paged::Page(page) = paged {
            known.extend(page.messages.iter().map(|m| (*user, m.id)));
        }
        let surplus = known.len().saturating_sub(40);
        known.drain(..surplus);
    }
}

/// Blanks the digits behind these words.
fn without_what_restarts_lose(text: &mut String) {
    for word in [
        "upto: MessageNumber(",
        "previous: MessageNumber(",
        "last_number: ",
    ] {
        let mut parts = text.split(word);
        let mut blank = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            blank += word;
            blank += part.trim_start_matches(|c: char| c.is_ascii_digit());
        }
        *text = blank;
    }
}
