//! Parts of the decision core by themselves: the index, the receipt state as it is loaded, what a step reports, and imports.

use push_protocol::{ReceiptOutcome, Ttl};

use super::*;
use crate::storage::contract::{everything, seat, topic, user_agent};
use crate::storage::portable::{ExportPage, Portable};
use crate::storage::{
    Ending, ExpectReceipt, Manner, MessageEnd, QueueLimits, RECEIPTS, RECEIPTS_NAME, ReceiptExpected,
    Subscribe,
};

fn exported(state: &UserAgent, upto: Option<MessageNumber>, now: Now) -> Portable {
    let mut page = ExportPage::new(1 << 20);
    state.export(user_agent(1), upto, &mut page, now);
    page.finish(None).user_agents.pop().unwrap_or(Portable {
        messages: Vec::new(),
        outbox: Vec::new(),
        expected: Vec::new(),
        ..state.portable(user_agent(1))
    })
}

fn expectation(number: u64) -> Expectation {
    Expectation {
        number: MessageNumber(FIRST_RECEIPT_NUMBER.0 + number),
        user_agent: user_agent(2),
        nonce: number,
        dialect: push_protocol::Dialect::Rfc8030,
        sealed_by: push_protocol::capability::KeyId(3),
        deadline_ms: 7,
    }
}

fn passing(number: u64) -> PassingMessage {
    PassingMessage {
        number: MessageNumber(FIRST_RECEIPT_NUMBER.0 + number),
        nonce: number,
        subscription: subscribe(1, 1).fresh_id,
        receipts: user_agent(9),
        until_ms: at(1_000).ms(),
    }
}

/// The admin API shows whole seconds of the retention that is left, and what waits.
#[test]
fn a_report_counts_in_seconds() {
    let mut state = with_subscriptions(1);
    store(&mut state, message(1, 1), at(0));
    let left_ms = state.retained_until_ms - at(500).ms();
    let report = state.report(RETENTION, at(500)).expect("it is known");
    assert_eq!(report.retained_for_secs, left_ms / 1_000);
    assert_eq!((report.messages, report.bytes), (1, state.total_bytes));
}

/// RFC 8030 §5.4: the newer of two messages of a topic is the one that is replaced, whichever of them leaves first.
#[test]
fn a_topic_is_that_of_its_newest_message() {
    let mut state = with_subscriptions(1);
    let news = Enqueue {
        topic: topic("news"),
        ttl: Ttl::from_secs(1),
        ..message(1, 1)
    };
    let old = store(&mut state, news.clone(), at(0));
    let mut part = exported(&state, None, at(0));
    let mut arriving = part.messages.remove(0);
    arriving.id.number.0 += 5_000_000;
    arriving.expires_at_ms = at(60_000).ms();
    let until_ms = part.retained_until_ms;
    let imported = state.import_message(&arriving, until_ms, at(1_000));
    assert_eq!(imported.outcome.messages, 1, "the one that waits has expired");
    let taken_in = imported.changes.stored.expect("it waits");
    assert_eq!(taken_in.message.remaining_ms, 59_000);
    state.sweep(10, RETENTION, at(1_000));
    assert_eq!(waiting(&state), [arriving.id.number], "not {old:?}");
    let replaced = state.enqueue(news, RETENTION, at(2_000)).outcome;
    assert!(
        matches!(
            replaced,
            Enqueued::Stored {
                replaced: true,
                expired: 0,
                ..
            }
        ),
        "{replaced:?}"
    );
}

/// RFC 8030 §5.4: a message that has expired was not replaced by the next one of its topic: it counts as expired.
#[test]
fn what_has_expired_is_not_replaced() {
    for (now, is_replaced) in [(at(999), true), (at(1_000), false)] {
        let mut state = with_subscriptions(1);
        let news = Enqueue {
            topic: topic("news"),
            ttl: Ttl::from_secs(1),
            ..message(1, 1)
        };
        store(&mut state, news.clone(), at(0));
        let Enqueued::Stored {
            replaced, expired, ..
        } = state.enqueue(news, RETENTION, now).outcome
        else {
            panic!("it is stored");
        };
        assert_eq!((replaced, expired), (is_replaced, u32::from(!is_replaced)));
    }
}

/// The body of a message can be taken from its entry when it can be read from disk.
#[test]
fn an_entry_can_be_changed() {
    let mut state = with_subscriptions(1);
    let ids = [1, 2].map(|n| store(&mut state, message(1, n), at(n)));
    for id in ids {
        let entry = state.waiting.get_mut(id.number).expect("it waits");
        assert_eq!(entry.id, id);
        entry.message = None;
    }
    assert!(state.waiting.all().all(|entry| entry.message.is_none()));
    assert!(state.waiting.get_mut(MessageNumber(7)).is_none());
}

/// PR-30: the sweep entry of a user agent is the first expiry, when that comes before all else.
#[test]
fn a_sweep_comes_with_the_first_expiry() {
    let mut state = with_subscriptions(1);
    for (n, secs) in [(1, 30), (2, 5), (3, 60)] {
        let request = Enqueue {
            ttl: Ttl::from_secs(secs),
            ..message(1, n)
        };
        store(&mut state, request, at(0));
    }
    assert_eq!(state.sweep_at_ms, Some(at(5_000).ms()));
}

/// A step that changed nothing writes nothing, and each kind of change is written.
#[test]
fn what_changed_is_written() {
    assert!(!Changes::default().must_be_written() && !Changes::default().fills_outbox());
    let kinds: [fn(&mut Changes); 5] = [
        |changes| changes.record = true,
        |changes| {
            let mut state = with_subscriptions(1);
            changes.stored = state.enqueue(message(1, 1), RETENTION, at(0)).changes.stored;
        },
        |changes| changes.removed.push(MessageNumber(1)),
        |changes| {
            changes.sweep = Some(SweepMove {
                from_ms: None,
                to_ms: Some(1),
            });
        },
        |changes| changes.receipts_mut().expected = Some(expectation(1)),
    ];
    for (kind, change) in kinds.into_iter().enumerate() {
        let mut changes = Changes::default();
        change(&mut changes);
        assert!(changes.must_be_written(), "{kind}");
        assert!(!changes.fills_outbox(), "{kind}");
    }
    let mut changes = Changes::default();
    let entry = passing(1).ended(ReceiptOutcome::GivenUp);
    changes.receipts_mut().outbox.push((MessageNumber(1), entry));
    assert!(changes.fills_outbox());
}

/// An entry of the sweep index that is not the current one is removed, and nothing else changes.
#[test]
fn a_stale_sweep_entry_is_removed() {
    let state = with_subscriptions(1);
    let changes = state.remove_stale_sweep(5).changes;
    let expected = SweepMove {
        from_ms: Some(5),
        to_ms: None,
    };
    assert_eq!(changes.sweep, Some(expected));
    assert!(!changes.record && changes.removed.is_empty());
}

/// A state of which nothing is known need not be kept: neither a record nor a seat.
#[test]
fn only_an_unknown_user_agent_is_blank() {
    let mut state = UserAgent::default();
    assert!(state.is_blank());
    state.seat = Some(seat(1));
    assert!(!state.is_blank(), "a seat");
    let mut state = with_subscriptions(1);
    assert!(!state.is_blank(), "a record");
    state.attach(seat(1), &everything(), Manner::Asking, RETENTION, at(0));
    assert!(!state.is_blank(), "both");
}

/// PR-25: what was loaded is known: who is listed as having an outbox, messages with TTL 0, and which receipt number is the next.
#[test]
fn a_loaded_receipt_state_goes_on() {
    let mut state = with_subscriptions(1);
    state.receipt_state.load_passing(passing(at(9_000).us));
    state.receipt_state.finish_loading();
    assert_eq!(state.receipt_state.passing(), [passing(at(9_000).us)]);
    let next = state.receipt_state.next_number(at(0));
    assert_eq!(
        next.0,
        passing(at(9_000).us).number.0 + 1,
        "above what was loaded"
    );
    assert_eq!(state.receipt_state.finish_step(), None, "there is no outbox");

    let mut state = with_subscriptions(1);
    let entry = passing(1).ended(ReceiptOutcome::GivenUp);
    state.receipt_state.insert_outbox(passing(1).number, entry);
    state.receipt_state.finish_loading();
    assert_eq!(state.receipt_state.finish_step(), None, "it is listed already");
    state.receipt_state.clear_outbox(entry.id);
    assert_eq!(state.receipt_state.finish_step(), Some(false));
}

/// PR-25: of a receipt subscription that ended, what was expected first is freed first, whether it ended here or before a restart.
#[test]
fn the_oldest_expectation_is_freed_first() {
    for is_loaded in [false, true] {
        let mut state = ReceiptState::default();
        for number in [3, 9, 1, 7, 5, 8, 2, 6, 4] {
            state.add_expectation(expectation(number), !is_loaded);
        }
        if is_loaded {
            state.finish_loading();
        } else {
            state.orphan_expectations();
        }
        let freed: Vec<_> = (0..9)
            .flat_map(|_| state.take_orphaned(1))
            .map(|e| e.nonce)
            .collect();
        assert_eq!(freed, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
}

fn subscribe_receipts(state: &mut UserAgent) -> Changes {
    let request = Subscribe {
        name: RECEIPTS_NAME,
        fresh_id: RECEIPTS,
        ..subscribe(1, 0)
    };
    state.subscribe(&request, RETENTION, at(0)).changes
}

/// PR-25: a new receipt subscription has none of the expectations of the one before it; another subscription frees nothing.
#[test]
fn a_new_receipt_subscription_begins_empty() {
    let mut state = UserAgent::default();
    subscribe_receipts(&mut state);
    let expected = ExpectReceipt {
        user_agent: user_agent(2),
        nonce: 1,
        dialect: push_protocol::Dialect::Rfc8030,
        sealed_by: push_protocol::capability::KeyId(3),
        within: Duration::from_secs(60),
        limit: 2,
    };
    let recorded = state.expect_receipt(&expected, at(0)).outcome;
    assert_eq!(recorded, ReceiptExpected::Recorded);
    state.end(Ending::One(RECEIPTS), at(1));
    state.subscribe(&subscribe(1, 1), RETENTION, at(2));
    assert!(state.receipt_state.has_orphaned(), "a sweep frees it");
    let changes = subscribe_receipts(&mut state);
    assert!(!state.receipt_state.has_orphaned());
    assert_eq!(changes.receipts.expect("freed").forgotten.len(), 1);
}

/// PR-37: an import that changes nothing writes nothing; a subscription more, or a message for an unused record, is written.
#[test]
fn an_import_writes_what_is_new() {
    let mut state = with_subscriptions(2);
    let part = exported(&state, None, at(0));
    let again = state.import_record(&part, at(0));
    assert_eq!(
        (again.outcome.present, again.changes.must_be_written()),
        (2, false)
    );
    let mut without = with_subscriptions(1);
    let more = without.import_record(&part, at(0));
    assert!(more.changes.record && without.subscriptions.len() == 2);

    // Nothing is kept of the times of a record without subscriptions.
    let bare = Portable {
        subscriptions: Vec::new(),
        ..part.clone()
    };
    let mut state = UserAgent::default();
    assert!(!state.import_record(&bare, at(0)).changes.record);
    assert_eq!(state.retained_until_ms, 0);

    let mut from = with_subscriptions(1);
    store(&mut from, message(1, 1), at(0));
    let arriving = exported(&from, None, at(0)).messages.remove(0);
    let mut state = with_subscriptions(1);
    assert!(state.unused);
    let until_ms = state.retained_until_ms;
    let imported = state.import_message(&arriving, until_ms, at(0));
    assert!(imported.changes.record && !state.unused);
}

/// PR-37: an export goes on behind the number that it came to, of whatever kind that is.
#[test]
fn an_export_repeats_nothing() {
    let mut state = with_subscriptions(1);
    state.attach(seat(1), &everything(), Manner::Asking, RETENTION, at(0));
    for n in 1..=2 {
        let request = Enqueue {
            receipts: Some(user_agent(9)),
            ttl: Ttl::ZERO,
            ..message(1, n)
        };
        state.enqueue(request, RETENTION, at(n));
        store(&mut state, message(1, 10 + n), at(n));
    }
    state.receipt_state.add_expectation(expectation(at(5).us), true);
    let ended = MessageEnd {
        receipts: user_agent(9),
        user_agent: user_agent(1),
        id: MessageId {
            number: MessageNumber(77),
            nonce: 77,
        },
        how: ReceiptOutcome::Acknowledged,
    };
    state.import_message_end(&ended, at(6));
    let count = |upto| {
        let part = exported(&state, upto, at(6));
        part.messages.len() + part.outbox.len() + part.expected.len()
    };
    assert_eq!(count(None), 6);
    let messages = waiting(&state);
    let passing: Vec<_> = state.receipt_state.passing().iter().map(|p| p.number).collect();
    let numbers = [
        MessageNumber(77),
        messages[0],
        messages[1],
        passing[0],
        passing[1],
        expectation(at(5).us).number,
    ];
    for (index, number) in numbers.into_iter().enumerate() {
        assert_eq!(count(Some(number)), 5 - index, "{number:?}");
    }
}

/// PR-23: a full queue gives up as many expired messages as one step may, beside one that the newcomer replaces, and no other message
/// for them.
#[test]
fn expired_messages_make_all_the_room() {
    let mut state = with_subscriptions(1);
    let expiring = |n: u64| Enqueue {
        ttl: Ttl::from_secs(1 + n),
        topic: topic("news").filter(|_| n == 0),
        ..message(1, n)
    };
    for n in 0..20 {
        store(&mut state, expiring(n), at(n));
    }
    state.order_if_long();
    assert!(state.order.is_some(), "it is long");
    let newcomer = Enqueue {
        queue_limits: QueueLimits {
            messages: 4,
            bytes: 1 << 20,
        },
        ..expiring(0)
    };
    let stored = state.enqueue(newcomer, RETENTION, at(60_000)).outcome;
    assert!(
        matches!(
            stored,
            Enqueued::Stored {
                replaced: false,
                expired: 17,
                evicted: 0,
                ..
            }
        ),
        "{stored:?}"
    );
}
