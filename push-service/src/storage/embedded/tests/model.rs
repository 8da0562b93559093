//! Embedded storage does what memory storage does, step by step, restarts included.

use std::time::Duration;

use super::*;
use crate::storage::Caps;
use crate::storage::clock::ManualClock;
use crate::storage::contract::model::{AGENTS, Dice, Draw, SEATS, remember};
use crate::storage::contract::{Announcements, seat, user_agent};
use crate::storage::memory::Memory;

const STEPS: usize = 2_000;
const RETENTION: Retention = Retention {
    whole: Duration::from_secs(4_000),
    unused: Duration::from_secs(300),
};

/// Two storages and what they were told.
struct Pair {
    memory: Memory,
    memory_announcements: Arc<Announcements>,
    embedded: Embedded,
    embedded_announcements: Arc<Announcements>,
    clock: Arc<ManualClock>,
}

impl Pair {
    fn open(directory: &Path) -> Self {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000_000));
        let memory_announcements = Arc::new(Announcements::default());
        let announce: Arc<dyn Announce> = Arc::clone(&memory_announcements) as _;
        let memory = Memory::new(announce, Arc::clone(&clock) as _, RETENTION);
        let embedded_announcements = Arc::new(Announcements::default());
        let embedded = open_embedded(directory, &embedded_announcements, &clock);
        Self {
            memory,
            memory_announcements,
            embedded,
            embedded_announcements,
            clock,
        }
    }

    /// Memory "restarts" by giving up its seats, and what else a restart loses.
    async fn restart(&mut self, directory: &Path) {
        for agent in 0..AGENTS {
            for holder in 0..SEATS {
                self.memory
                    .release(user_agent(agent), seat(holder))
                    .await
                    .unwrap();
            }
        }
        self.memory.forget_what_restarts_lose();
        self.embedded.close().await.unwrap();
        // Numbers may be ahead of a clock that stands still, and the store's time starts behind all of them.
        self.clock.advance(Duration::from_millis(1));
        self.embedded = open_embedded(directory, &self.embedded_announcements, &self.clock);
        // A record that only a seat kept goes with the first step that meets it, or with a later sweep.
        for agent in 0..AGENTS {
            self.embedded
                .release(user_agent(agent), seat(SEATS))
                .await
                .unwrap();
        }
    }
}

fn open_embedded(directory: &Path, announcements: &Arc<Announcements>, clock: &Arc<ManualClock>) -> Embedded {
    let announce: Arc<dyn Announce> = Arc::clone(announcements) as _;
    let options = Options {
        clock: Arc::clone(clock) as _,
        retention: RETENTION,
        ..Options::new(directory, announce)
    };
    Embedded::open(options).unwrap()
}

/// PR-43: every answer, every wake-up, every gauge and every sender's sum is the same on both, whatever happens in
/// whatever order.
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
    let directory = tempfile::tempdir().unwrap();
    let mut pair = Pair::open(directory.path());
    let (mut dice, seed) = Dice::seeded();
    let mut known = Vec::new();
    for step in 0..STEPS {
        if dice.below(10) == 0 {
            pair.clock.advance(Duration::from_millis(dice.below(60_000)));
        }
        if steps_between_restarts.is_some_and(|steps| dice.below(steps) == 0) {
            pair.restart(directory.path()).await;
        }
        let mut draw = Draw::next(&mut dice, &known);
        if let (Draw::Expire(limit), Some(_)) = (&mut draw, steps_between_restarts) {
            // Of several that are due either storage may come to another one first, after a restart.
            *limit = usize::MAX;
        }
        if let Draw::Enqueue(enqueue) = &mut draw {
            enqueue.caps = Caps {
                sender_bytes: [0, 1_500][dice.below(2) as usize],
                store_bytes: [0, 5_000][dice.below(2) as usize],
            };
        }
        let mut in_memory = vec![draw.clone().take(&pair.memory).await];
        let mut embedded = vec![draw.clone().take(&pair.embedded).await];
        // Gauges are those of the last batch.
        pair.embedded.flush().await.unwrap();
        in_memory.push(format!(
            "{:?} {:?}",
            pair.memory_announcements.take(),
            pair.memory.usage()
        ));
        embedded.push(format!(
            "{:?} {:?}",
            pair.embedded_announcements.take(),
            pair.embedded.usage()
        ));
        if steps_between_restarts.is_some() {
            in_memory.iter_mut().for_each(without_what_restarts_lose);
            embedded.iter_mut().for_each(without_what_restarts_lose);
        }
        assert_eq!(embedded, in_memory, "SEED={seed} step {step}: {draw:?}");
        let senders = (pair.embedded.shared.senders().all(), pair.memory.senders());
        assert_eq!(senders.0, senders.1, "SEED={seed} step {step}: {draw:?}");
        remember(&draw, &pair.memory, &mut known).await;
    }
    pair.embedded.close().await.unwrap();
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
