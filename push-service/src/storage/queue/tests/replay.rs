//! Random steps, whose changes are applied to a journal. After each step the journal has what the state has, and the sums and
//! the sweep entry are right.

use std::collections::BTreeMap;

use push_protocol::{KeyDigest, ReceiptOutcome, Ttl, Urgency};

use super::*;
use crate::storage::contract::model::Dice;
use crate::storage::contract::{everything, name, seat, topic, user_agent};
use crate::storage::portable::ExportPage;
use crate::storage::reports::UsageChange;
use crate::storage::{
    Ending, ExpectReceipt, Manner, MessageEnd, QueueLimits, RECEIPTS, RECEIPTS_NAME, Removal, SenderTag,
    Subscribe,
};

/// What a storage keeps under a number.
#[derive(Clone, PartialEq, Debug)]
enum Item {
    Message,
    Outbox(OutboxEntry),
    Passing(PassingMessage),
    Expected(Expectation),
}

/// A record, without the last number: messages have that.
#[derive(PartialEq, Debug)]
struct Record {
    retained_until_ms: u64,
    unused: bool,
    sweep_at_ms: Option<u64>,
    subscriptions: Vec<(SubscriptionId, SubscriptionName, u64, Option<KeyDigest>)>,
}

impl Record {
    fn of(state: &UserAgent) -> Self {
        let subscriptions = state.subscriptions.iter();
        let subscriptions =
            subscriptions.map(|s| (s.id, s.name, s.created_at_secs, s.key.as_deref().copied()));
        Self {
            retained_until_ms: state.retained_until_ms,
            unused: state.unused,
            sweep_at_ms: state.sweep_at_ms,
            subscriptions: subscriptions.collect(),
        }
    }
}

/// What a storage has after it wrote the changes of each step.
#[derive(Default)]
struct Journal {
    record: Option<Record>,
    items: BTreeMap<MessageNumber, Item>,
    listed: bool,
    sweep: Option<u64>,
    usage: UsageChange,
    senders: BTreeMap<SenderTag, i64>,
}

impl Journal {
    fn apply(&mut self, state: &UserAgent, changes: &Changes) {
        if changes.record {
            self.record = state.recorded.then(|| Record::of(state));
        }
        for number in &changes.removed {
            assert!(self.items.remove(number).is_some(), "{number:?} was not there");
        }
        if let Some(stored) = &changes.stored {
            self.join(stored);
        }
        if let Some(receipts) = &changes.receipts {
            self.apply_receipts(receipts);
        }
        if let Some(sweep) = changes.sweep {
            assert_eq!(self.sweep, sweep.from_ms);
            self.sweep = sweep.to_ms;
        }
        self.usage.messages += changes.usage.messages;
        self.usage.bytes += changes.usage.bytes;
        self.usage.user_agents += changes.usage.user_agents;
        for (sender, by) in changes.senders.iter() {
            *self.senders.entry(sender).or_default() += by;
        }
    }

    fn apply_receipts(&mut self, changes: &ReceiptChanges) {
        for forgotten in &changes.forgotten {
            let item = self.items.remove(&forgotten.number);
            assert_eq!(item, Some(Item::Expected(*forgotten)));
        }
        if let Some(expected) = changes.expected {
            self.items.insert(expected.number, Item::Expected(expected));
        }
        if let Some(passing) = changes.passing {
            self.items.insert(passing.number, Item::Passing(passing));
        }
        for (number, ended) in &changes.outbox {
            self.items.insert(*number, Item::Outbox(*ended));
        }
        for stored in &changes.joined {
            self.join(stored);
        }
        self.listed = changes.listed.unwrap_or(self.listed);
    }

    fn join(&mut self, stored: &Stored) {
        let taken = self.items.insert(stored.message.id.number, Item::Message);
        assert_eq!(taken, None, "a number comes once");
    }

    /// Whether it has what the state has, and the state is right in itself.
    fn check(&self, state: &UserAgent, now: Now) {
        assert_eq!(self.record, state.recorded.then(|| Record::of(state)));
        assert_eq!(self.sweep, state.sweep_at_ms);
        if state.recorded {
            assert!(
                self.sweep.is_some_and(|at_ms| at_ms <= state.due_ms(now)),
                "swept in time"
            );
        }

        let waiting = state.waiting.all().map(|w| w.id.number);
        let messages = waiting.chain(state.to_free.iter().copied());
        let messages = messages.map(|number| (number, Item::Message));
        let outbox = state.receipt_state.outbox();
        let outbox = outbox.map(|(number, ended)| (number, Item::Outbox(*ended)));
        let passing = state.receipt_state.passing().iter();
        let passing = passing.map(|passing| (passing.number, Item::Passing(*passing)));
        let expected = state.receipt_state.expectations().into_iter();
        let expected = expected.map(|expected| (expected.number, Item::Expected(*expected)));
        let of_state: BTreeMap<_, _> = messages.chain(outbox).chain(passing).chain(expected).collect();
        let mut items = self.items.clone();
        if state.receipt_state.has_orphaned() {
            // Those of a receipt subscription that has ended are freed later.
            items.retain(|number, item| of_state.contains_key(number) || !matches!(item, Item::Expected(_)));
        }
        assert_eq!(items, of_state);
        assert_eq!(self.listed, state.receipt_state.outbox().next().is_some());

        let usage = UsageChange {
            messages: state.waiting.len() as i64,
            bytes: state.total_bytes as i64,
            user_agents: state.recorded.into(),
        };
        assert_eq!(self.usage, usage);
        let mut senders: BTreeMap<SenderTag, i64> = self.senders.keys().map(|tag| (*tag, 0)).collect();
        let mut shares: BTreeMap<SubscriptionId, Share> = BTreeMap::new();
        for waiting in state.waiting.all() {
            let share = shares.entry(waiting.subscription).or_default();
            share.messages += 1;
            share.bytes += waiting.counted_bytes();
            if let Some(sender) = waiting.sender {
                *senders.entry(sender).or_default() += waiting.counted_bytes() as i64;
            }
        }
        assert_eq!(self.senders, senders);
        assert_eq!(
            state.total_bytes,
            shares.values().map(|share| share.bytes).sum::<u64>()
        );
        for subscription in &state.subscriptions {
            let share = shares.remove(&subscription.id).unwrap_or_default();
            assert_eq!(subscription.share, share);
        }
        assert!(shares.is_empty(), "messages wait only for subscriptions");
    }
}

/// A state, its journal, and the time.
struct Checked {
    state: UserAgent,
    journal: Journal,
    now_ms: u64,
    dice: Dice,
    known: Vec<MessageId>,
    nonces: u64,
}

impl Checked {
    fn step<T>(&mut self, decide: impl FnOnce(&mut UserAgent, Now) -> Step<T>) -> T {
        let now = at(self.now_ms);
        let Step { outcome, changes } = decide(&mut self.state, now);
        self.journal.apply(&self.state, &changes);
        self.journal.check(&self.state, now);
        outcome
    }

    fn nonce(&mut self) -> u64 {
        self.nonces += 1;
        self.nonces
    }

    fn enqueue(&mut self) {
        let (nonce, dice) = (self.nonce(), &mut self.dice);
        let length = dice.below(60) as usize;
        let of = dice.below(4) as u8;
        let request = Enqueue {
            nonce,
            ttl: Ttl::from_secs([0, 1, 5, 20][dice.below(4) as usize]),
            urgency: Urgency::ALL[dice.below(4) as usize],
            topic: [None, None, topic("one"), topic("two")][dice.below(4) as usize],
            receipts: (dice.below(3) == 0).then(|| user_agent(9)),
            sender: SenderTag::from_bytes([dice.below(3) as u8; 8]),
            queue_limits: QueueLimits {
                messages: 6,
                bytes: 900,
            },
            ..enqueue(1, of, &vec![7; length])
        };
        let enqueued = self.step(|state, now| state.enqueue(request, RETENTION, now));
        if let Enqueued::Stored { id, .. } | Enqueued::Passed { id, .. } = enqueued {
            self.known.push(id);
        }
    }

    fn some_ids(&mut self) -> Vec<MessageId> {
        let count = self.known.len() as u64;
        let draws = self.dice.below(4).min(count);
        (0..draws)
            .map(|_| self.known[self.dice.below(count) as usize])
            .collect()
    }

    fn some_seat(&mut self) -> Seat {
        seat(self.dice.below(2))
    }

    fn receipts(&mut self) {
        let nonce = self.dice.below(6);
        match self.dice.below(4) {
            0 => {
                let request = Subscribe {
                    name: RECEIPTS_NAME,
                    fresh_id: RECEIPTS,
                    ..subscribe(1, 0)
                };
                self.step(|state, now| state.subscribe(&request, RETENTION, now));
            }
            1 | 2 => {
                let expected = ExpectReceipt {
                    user_agent: user_agent(2),
                    nonce,
                    dialect: push_protocol::Dialect::Rfc8030,
                    sealed_by: push_protocol::capability::KeyId(3),
                    within: Duration::from_secs(30),
                    limit: 4,
                };
                self.step(|state, now| state.expect_receipt(&expected, now));
            }
            _ => {
                let all = [
                    ReceiptOutcome::Acknowledged,
                    ReceiptOutcome::GivenUp,
                    ReceiptOutcome::Replaced,
                ];
                let end = MessageEnd {
                    receipts: user_agent(1),
                    user_agent: user_agent(2),
                    id: MessageId {
                        number: MessageNumber(7),
                        nonce,
                    },
                    how: all[self.dice.below(3) as usize],
                };
                self.step(|state, now| state.settle_receipts(&[end], now));
            }
        }
    }

    /// Exports everything and imports it again, after it was abandoned or not.
    fn import(&mut self) {
        let mut page = ExportPage::new(1 << 20);
        self.state.export(user_agent(1), None, &mut page, at(self.now_ms));
        if self.dice.below(2) == 0 {
            self.step(|state, now| state.end(Ending::All, now));
            self.step(|state, now| state.sweep(100, RETENTION, now));
        }
        for part in page.finish(None).user_agents {
            self.step(|state, now| state.import_record(&part, now));
            for message in &part.messages {
                let until_ms = part.retained_until_ms;
                self.step(|state, now| state.import_message(message, until_ms, now));
            }
            for end in &part.outbox {
                self.step(|state, now| state.import_message_end(end, now));
            }
            for expected in &part.expected {
                self.step(|state, now| state.import_expectation(expected, now));
            }
        }
    }

    fn any(&mut self) {
        let holder = self.some_seat();
        let n = self.dice.below(4) as u8;
        match self.dice.below(20) {
            0..=1 => {
                let request = Subscribe {
                    seat: (n == 0).then_some(holder),
                    key: (n == 1).then_some(KeyDigest([4; 32])),
                    limit: 4,
                    ..subscribe(1, n)
                };
                self.step(|state, now| state.subscribe(&request, RETENTION, now));
            }
            2 => _ = self.step(|state, now| state.unsubscribe(name(n), now)),
            3 if n == 0 => _ = self.step(|state, now| state.end(Ending::All, now)),
            3 => _ = self.step(|state, now| state.end(Ending::One(SubscriptionId([n; 8])), now)),
            4..=10 => self.enqueue(),
            11 => {
                let (head, manner) = (everything(), Manner::Insisting);
                self.step(|state, now| state.attach(holder, &head, manner, RETENTION, now));
            }
            12 => _ = self.step(|state, now| state.page(holder, &everything(), now)),
            13 => self.step(|state, now| state.release(holder, now)),
            14 => _ = self.step(|state, now| state.refresh(holder, RETENTION, now)),
            15..=16 => {
                let ids = self.some_ids();
                let removal = if n == 0 {
                    Removal::Cancelled
                } else {
                    Removal::Acknowledged
                };
                self.step(|state, now| state.acknowledge(&ids, removal, Some(holder), now));
            }
            17 => {
                let ids = self.some_ids();
                self.step(|state, now| state.clear_outbox(&ids, now));
            }
            18 => {
                let limit = 1 + usize::from(n);
                self.step(|state, now| state.sweep(limit, RETENTION, now));
            }
            _ if n == 0 => self.import(),
            _ => self.receipts(),
        }
        self.now_ms += match self.dice.below(60) {
            0 => 200_000,
            1..=5 => 7_000,
            _ => self.dice.below(300),
        };
    }
}

/// The changes of a user agent's steps, applied in their order, are its state; sums, shares and gauges are those of the waiting
/// messages; a user agent is never swept too late. (PR-1, PR-25, PR-29, PR-37, PR-43)
#[test]
fn the_changes_are_the_state() {
    let (dice, seed) = Dice::seeded();
    let mut dice = Some(dice);
    for round in 0..60 {
        let mut checked = Checked {
            state: UserAgent::default(),
            journal: Journal::default(),
            now_ms: 0,
            dice: dice.take().expect("given back"),
            known: Vec::new(),
            nonces: 0,
        };
        let before = checked.dice.below(u64::MAX);
        println!("round {round} of SEED={seed}, {before:x}");
        for _ in 0..400 {
            checked.any();
        }
        dice = Some(checked.dice);
    }
}
