//! Thousands of runs in which wake-ups, pages and acknowledgements come late, twice or not at all.

use std::collections::{HashMap, HashSet};

use super::*;

/// PR-4, PR-6, PR-7, PR-17, PR-18: whatever happens to wake-ups, pages and acknowledgements, every message is offered,
/// first offers of one subscription come in order, and the window is never exceeded.
#[test]
fn nothing_is_lost_whatever_happens() {
    for seed in 0..3_000 {
        Scenario::new(seed).run();
    }
}

struct Scenario {
    random: u64,
    seed: u64,
    queue: Queue,
    session: Session,
    now: Moment,
    out: Vec<Action>,
    page: Option<PageRequest>,
    delayed: Vec<WakeUp>,
    on_wire: HashSet<MessageId>,
    first_offers: HashMap<SubscriptionId, Vec<MessageNumber>>,
    stored: HashMap<SubscriptionId, Vec<MessageNumber>>,
    hints_lost: bool,
}

impl Scenario {
    fn new(seed: u64) -> Self {
        let mut out = Vec::new();
        let queue = Queue::default();
        let session = live(&queue, &mut out);
        Self {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            seed,
            queue,
            session,
            now: Moment(0),
            out,
            page: None,
            delayed: Vec::new(),
            on_wire: HashSet::new(),
            first_offers: HashMap::new(),
            stored: HashMap::new(),
            hints_lost: false,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    fn run(mut self) {
        for _ in 0..120 {
            self.step();
            self.perform();
        }
        for _ in 0..400 {
            self.settle();
        }
        for (subscription, stored) in &self.stored {
            let offered = self.first_offers.get(subscription).cloned().unwrap_or_default();
            assert_eq!(&offered, stored, "seed {}: {subscription}", self.seed);
        }
    }

    fn step(&mut self) {
        match self.below(10) {
            0..4 => self.store(),
            4 => self.late_wake_up(),
            5 => self.answer_page(),
            6 => self.acknowledge(),
            7 => {
                let writable = self.below(2) == 0;
                self.session.set_writable(writable, self.now, &mut self.out);
            }
            8 => self.pass_time(),
            _ if self.hints_lost => self.read_again(),
            _ => {}
        }
    }

    fn store(&mut self) {
        let subscription = self.below(3) as u8;
        let wake_up = self.queue.store(subscription, Urgency::Normal);
        self.stored
            .entry(SubscriptionId([subscription; 8]))
            .or_default()
            .push(self.queue.last);
        match self.below(6) {
            0 => self.hints_lost = true,
            1 | 2 => self.delayed.push(wake_up),
            3 => {
                self.session.woken(wake_up.clone(), self.now, &mut self.out);
                self.session.woken(wake_up, self.now, &mut self.out);
            }
            _ => self.session.woken(wake_up, self.now, &mut self.out),
        }
    }

    fn late_wake_up(&mut self) {
        if !self.delayed.is_empty() {
            let at = self.below(self.delayed.len() as u64) as usize;
            let wake_up = self.delayed.swap_remove(at);
            self.session.woken(wake_up, self.now, &mut self.out);
        }
    }

    fn answer_page(&mut self) {
        let Some(request) = self.page.take() else { return };
        let outcome = match self.below(5) {
            0 => PageOutcome::Trouble,
            _ => PageOutcome::Page(self.queue.page(&request)),
        };
        self.session.paged(outcome, self.now, &mut self.out);
    }

    fn acknowledge(&mut self) {
        // The subscription 0 acknowledges late or never.
        let patient = self.below(8) == 0;
        let ready = |id: &&MessageId| {
            patient
                || self
                    .queue
                    .messages
                    .get(&id.number)
                    .is_some_and(|m| m.subscription.0[0] != 0)
        };
        let Some(id) = self.on_wire.iter().filter(ready).min().copied() else {
            return;
        };
        self.on_wire.remove(&id);
        if self.below(4) == 0 {
            // Elsewhere, and the hint is lost.
            self.queue.messages.remove(&id.number);
            self.hints_lost = true;
        } else {
            self.session.acknowledge(vec![id], self.now, &mut self.out);
        }
    }

    fn pass_time(&mut self) {
        self.now.0 += self.below(20_000);
        self.session.heard(self.now);
        if self.session.next_due() <= self.now {
            self.session.tick(self.now, &mut self.out);
        }
    }

    fn read_again(&mut self) {
        self.hints_lost = false;
        self.session.read_again(self.now, &mut self.out);
        let last = WakeUp::Last(self.queue.last);
        self.session.woken(last, self.now, &mut self.out);
    }

    fn settle(&mut self) {
        self.session.set_writable(true, self.now, &mut self.out);
        self.perform();
        while !self.delayed.is_empty() {
            self.late_wake_up();
        }
        if self.hints_lost {
            self.read_again();
        }
        self.perform();
        self.answer_page();
        self.perform();
        self.now.0 += 1_000;
        self.session.heard(self.now);
        self.session.tick(self.now, &mut self.out);
        self.perform();
        while !self.on_wire.is_empty() {
            let id = *self.on_wire.iter().min().unwrap();
            self.on_wire.remove(&id);
            self.session.acknowledge(vec![id], self.now, &mut self.out);
        }
        self.perform();
    }

    fn perform(&mut self) {
        for action in std::mem::take(&mut self.out) {
            match action {
                Action::Ended(_) => {}
                Action::Offer(message) => {
                    assert!(
                        self.queue.messages.contains_key(&message.id.number),
                        "seed {}",
                        self.seed
                    );
                    self.on_wire.insert(message.id);
                    let offers = self.first_offers.entry(message.subscription).or_default();
                    if !offers.contains(&message.id.number) {
                        offers.push(message.id.number);
                    }
                }
                Action::Page(request) => {
                    assert!(request.messages <= limits().page_messages && request.messages > 0);
                    assert_eq!(
                        self.page.replace(request),
                        None,
                        "seed {}: one page at a time",
                        self.seed
                    );
                }
                Action::Acknowledge(ids) => {
                    for id in ids {
                        self.queue.messages.remove(&id.number);
                    }
                }
                Action::Close(CloseReason::SlowReader) => {
                    // Stalled for too long: the scenario goes on with a new channel.
                    self.reconnect();
                }
                Action::Close(reason) => panic!("seed {}: {reason:?}", self.seed),
                Action::Attach { .. } | Action::Welcome { .. } => {}
                Action::Ping | Action::Unheard(_) | Action::Unacknowledged(_) => {}
            }
        }
    }

    fn reconnect(&mut self) {
        self.page = None;
        self.on_wire.clear();
        self.hints_lost = false;
        let mut out = Vec::new();
        self.session = live(&self.queue, &mut out);
        self.out = out;
        self.perform();
    }
}
