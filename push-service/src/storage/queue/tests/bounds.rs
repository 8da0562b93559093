//! Comparisons at their bounds: the last value on one side, the first on the other.

use push_protocol::{ReceiptOutcome, Ttl, Urgency};

use super::*;
use crate::defaults::{
    ACKNOWLEDGE_WITHIN, ATTACHES_PER_MINUTE, EVICTIONS_PER_STEP, MESSAGE_OVERHEAD_BYTES, PASSING_RECEIPTS,
    RETENTION_GRAINS, SEAT_HELD_IS_USE,
};
use crate::storage::contract::{everything, seat, user_agent};
use crate::storage::{
    ExpectReceipt, Manner, MessageEnd, PASSING_WITH_RECEIPT, PageRequest, QueueLimits, RECEIPTS,
    RECEIPTS_NAME, Rate, ReceiptExpected, Refreshed, Removal, Subscribe, Subscribed, Traced,
};

/// What one of these messages counts.
const COUNTED: u64 = 10 + MESSAGE_OVERHEAD_BYTES;

fn request(ttl_secs: u32, n: u64) -> Enqueue {
    Enqueue {
        ttl: Ttl::from_secs(ttl_secs.into()),
        ..message(1, n)
    }
}

fn asking(ttl_secs: u32, n: u64) -> Enqueue {
    Enqueue {
        receipts: Some(user_agent(9)),
        ..request(ttl_secs, n)
    }
}

fn page(state: &UserAgent, request: &PageRequest, now: Now) -> (usize, MessageNumber, bool) {
    let page = state.pick(request, now);
    (page.messages.len(), page.upto, page.more)
}

/// PR-30: a message expires at its expiry and not a millisecond before: for pages, acknowledgements, sweeps and traces.
#[test]
fn a_message_expires_to_the_millisecond() {
    for (now, waits) in [(at(4_999), true), (at(5_000), false)] {
        let mut state = with_subscriptions(1);
        let id = store(&mut state, asking(5, 1), at(0));
        assert_eq!(page(&state, &everything(), now).0, usize::from(waits));
        let traced = state.trace(user_agent(1), 1, now);
        assert_eq!(matches!(traced, Traced::Waiting), waits);
        assert_eq!(
            matches!(traced, Traced::Ended(end) if end.how == ReceiptOutcome::GivenUp),
            !waits
        );
        let swept = state.sweep(10, RETENTION, now).outcome;
        assert_eq!((swept.expired, swept.freed), (usize::from(!waits), 0));

        let mut state = with_subscriptions(1);
        let again = store(&mut state, asking(5, 1), at(0));
        assert_eq!(again, id);
        let found = state.acknowledge(&[id], Removal::Acknowledged, None, now).outcome;
        assert_eq!(found, [waits]);
        let how = state.outbox(user_agent(1), 1)[0].how;
        let expected = if waits {
            ReceiptOutcome::Acknowledged
        } else {
            ReceiptOutcome::GivenUp
        };
        assert_eq!(how, expected);
    }
}

/// PR-21: a message with TTL 0 is acknowledged in time up to the last millisecond of its minute.
#[test]
fn a_passing_message_is_acknowledged_to_the_millisecond() {
    let limit_ms = millis(ACKNOWLEDGE_WITHIN);
    for (now, in_time) in [(at(limit_ms - 1), true), (at(limit_ms), false)] {
        let mut state = with_subscriptions(1);
        state.attach(seat(1), &everything(), Manner::Asking, RETENTION, at(0));
        let passed = state.enqueue(asking(0, 1), RETENTION, at(0)).outcome;
        let Enqueued::Passed { id, seated: true } = passed else {
            panic!("{passed:?}");
        };
        assert_eq!(
            matches!(state.trace(user_agent(1), 1, now), Traced::Waiting),
            in_time
        );
        let found = state.acknowledge(&[id], Removal::Acknowledged, None, now).outcome;
        assert_eq!(found, [in_time]);
    }
}

/// PR-21: as many messages with TTL 0 as allowed are remembered; one more is given up at once.
#[test]
fn passing_messages_are_bounded() {
    let mut state = with_subscriptions(1);
    state.attach(seat(1), &everything(), Manner::Asking, RETENTION, at(0));
    for n in 0..PASSING_RECEIPTS as u64 {
        state.enqueue(asking(0, n), RETENTION, at(0));
        assert_eq!(state.outbox(user_agent(1), 1), []);
    }
    state.enqueue(asking(0, 99), RETENTION, at(0));
    let outbox = state.outbox(user_agent(1), 10);
    assert_eq!(outbox.len(), 1);
    assert_eq!((outbox[0].id.nonce, outbox[0].how), (99, ReceiptOutcome::GivenUp));
}

/// PR-29: an abandoned record is known up to the last millisecond of its retention.
#[test]
fn a_record_is_abandoned_to_the_millisecond() {
    let kept_ms = 100_000 + 100_000 / RETENTION_GRAINS;
    let state = with_subscriptions(1);
    assert_eq!(state.retained_until_ms, at(kept_ms).ms());
    assert!(state.is_known(at(kept_ms - 1)));
    assert!(!state.is_known(at(kept_ms)));
    let mut state = with_subscriptions(1);
    let missing = state.refresh(seat(1), RETENTION, at(kept_ms)).outcome;
    assert_eq!(missing, Refreshed::Unknown);
}

/// PR-29: the retention moves when less than what was promised is left, and not before.
#[test]
fn retention_moves_by_grains() {
    let mut state = with_subscriptions(1);
    let grain_ms = 100_000 / RETENTION_GRAINS;
    let before_ms = state.retained_until_ms;
    let again = state.subscribe(&subscribe(1, 1), RETENTION, at(grain_ms));
    assert!(!again.changes.record);
    assert_eq!(state.retained_until_ms, before_ms);
    let again = state.subscribe(&subscribe(1, 1), RETENTION, at(grain_ms + 1));
    assert!(again.changes.record);
    assert_eq!(state.retained_until_ms, before_ms + grain_ms + 1);
}

/// PR-29: a session that holds the seat of an unused record makes it a used one after that time, and not before.
#[test]
fn a_held_seat_is_use_to_the_millisecond() {
    let mut state = UserAgent::default();
    let with_seat = Subscribe {
        seat: Some(seat(1)),
        ..subscribe(1, 1)
    };
    state.subscribe(&with_seat, RETENTION, at(0));
    let held_ms = millis(SEAT_HELD_IS_USE);
    state.sweep(10, RETENTION, at(held_ms - 1));
    assert!(state.unused);
    assert_eq!(state.sweep_at_ms, Some(at(held_ms).ms()));
    state.sweep(10, RETENTION, at(held_ms));
    assert!(!state.unused);
}

/// PR-24: a bucket gives a message for each whole token, and says to the microsecond when there is one.
#[test]
fn a_bucket_refills_to_the_token() {
    let rate = Rate {
        per_second: 2.0,
        burst: 3.0,
    };
    let push = |state: &mut UserAgent, n, now| {
        let request = Enqueue {
            rate: Some(rate),
            ..request(60, n)
        };
        state.enqueue(request, RETENTION, now).outcome
    };
    let mut state = with_subscriptions(1);
    for n in 0..3 {
        assert!(
            matches!(push(&mut state, n, at(0)), Enqueued::Stored { .. }),
            "{n}"
        );
    }
    let limited = |ms| Enqueued::RateLimited {
        retry_after: Duration::from_millis(ms),
    };
    assert_eq!(push(&mut state, 3, at(0)), limited(500));
    assert_eq!(push(&mut state, 3, at(250)), limited(250));
    assert!(matches!(push(&mut state, 3, at(500)), Enqueued::Stored { .. }));
    assert_eq!(push(&mut state, 4, at(500)), limited(500));
    // A long silence fills it up to the burst and no further.
    for n in 5..8 {
        assert!(
            matches!(push(&mut state, n, at(60_000)), Enqueued::Stored { .. }),
            "{n}"
        );
    }
    assert_eq!(push(&mut state, 8, at(60_000)), limited(500));
}

/// PR-15: the tenth attach within a minute is the last; the next minute begins when this one is over.
#[test]
fn attaches_are_counted_by_the_minute() {
    let mut state = with_subscriptions(1);
    let attach = |state: &mut UserAgent, manner, now| match state
        .attach(seat(1), &everything(), manner, RETENTION, now)
        .outcome
    {
        AttachDecision::Known { .. } => None,
        AttachDecision::TooOften { retry_after } => Some(retry_after.as_millis()),
        AttachDecision::Unknown => panic!("it is known"),
    };
    for n in 0..ATTACHES_PER_MINUTE {
        assert_eq!(attach(&mut state, Manner::Asking, at(0)), None, "{n}");
    }
    assert_eq!(attach(&mut state, Manner::Asking, at(1)), Some(59_999));
    assert_eq!(attach(&mut state, Manner::Insisting, at(1)), None);
    assert_eq!(attach(&mut state, Manner::Asking, at(59_999)), Some(1));
    assert_eq!(attach(&mut state, Manner::Asking, at(60_000)), None);
}

/// PR-22: a page ends at its limits of messages and bytes, has at least one message, and says how far it came.
#[test]
fn a_page_ends_at_its_limits() {
    let mut state = with_subscriptions(1);
    let ids = [1, 2, 3].map(|n| store(&mut state, request(60, n), at(n)));
    let numbers = ids.map(|id| id.number);
    let ask = |after, messages, bytes| PageRequest {
        after,
        messages,
        bytes,
        ..everything()
    };
    let start = MessageNumber::START;
    let now = at(10);
    assert_eq!(page(&state, &ask(start, 3, 30), now), (3, state.last, false));
    assert_eq!(page(&state, &ask(start, 2, 30), now), (2, numbers[1], true));
    assert_eq!(page(&state, &ask(start, 3, 29), now), (2, numbers[1], true));
    assert_eq!(page(&state, &ask(start, 3, 20), now), (2, numbers[1], true));
    assert_eq!(page(&state, &ask(start, 3, 0), now), (1, numbers[0], true));
    assert_eq!(page(&state, &ask(start, 0, 30), now), (0, start, true));
    assert_eq!(page(&state, &ask(numbers[1], 3, 30), now), (1, state.last, false));
    assert_eq!(page(&state, &ask(numbers[2], 3, 30), now), (0, state.last, false));
}

/// PR-23: a queue holds exactly as many messages and bytes as its limits say.
#[test]
fn a_queue_is_full_to_the_byte() {
    let budgets = [
        (2, 10_000, true),
        (3, 10_000, false),
        (10, 3 * COUNTED - 1, true),
        (10, 3 * COUNTED, false),
    ];
    for (messages, bytes, evicts) in budgets {
        let mut state = with_subscriptions(1);
        let ids = [1, 2].map(|n| store(&mut state, request(60, n), at(n)));
        let queue_limits = QueueLimits { messages, bytes };
        let third = Enqueue {
            queue_limits,
            ..request(60, 3)
        };
        let Enqueued::Stored { id, evicted, .. } = state.enqueue(third, RETENTION, at(3)).outcome else {
            panic!("it is stored");
        };
        assert_eq!(evicted, u32::from(evicts), "{queue_limits:?}");
        let left: Vec<_> = ids.into_iter().skip(usize::from(evicts)).chain([id]).collect();
        assert_eq!(
            waiting(&state),
            left.iter().map(|id| id.number).collect::<Vec<_>>()
        );
    }
}

/// PR-23: one step evicts at most so many; a message that needs one more is refused, and nothing changes.
#[test]
fn one_step_evicts_a_bounded_number() {
    let count = EVICTIONS_PER_STEP as u64 + 1;
    for (needed, fits) in [
        (EVICTIONS_PER_STEP as u64, true),
        (EVICTIONS_PER_STEP as u64 + 1, false),
    ] {
        let mut state = with_subscriptions(1);
        for n in 0..count {
            store(&mut state, request(60, n), at(n));
        }
        let before = waiting(&state);
        let queue_limits = QueueLimits {
            messages: 1_000,
            bytes: (count - needed + 1) * COUNTED,
        };
        let step = state.enqueue(
            Enqueue {
                queue_limits,
                ..request(60, 99)
            },
            RETENTION,
            at(100),
        );
        match step.outcome {
            Enqueued::Stored { evicted, .. } => assert_eq!((fits, u64::from(evicted)), (true, needed)),
            Enqueued::QueueFull => {
                assert!(!fits && waiting(&state) == before && step.changes.removed.is_empty());
            }
            other => panic!("{other:?}"),
        }
    }
}

/// PR-23: of equal shares the smaller id loses; the newcomer is refused only if it is less urgent than its victim.
#[test]
fn ties_of_eviction_are_broken_by_rule() {
    let queue_limits = QueueLimits {
        messages: 2,
        bytes: 10_000,
    };
    let mut state = with_subscriptions(3);
    let first = store(&mut state, message(1, 1), at(1));
    let second = store(&mut state, message(2, 2), at(2));
    let third = store(
        &mut state,
        Enqueue {
            queue_limits,
            ..message(3, 3)
        },
        at(3),
    );
    assert_eq!(waiting(&state), [second.number, third.number], "not {first:?}");

    for (urgency, is_refused) in [
        (Urgency::Low, true),
        (Urgency::Normal, false),
        (Urgency::High, false),
    ] {
        let mut state = with_subscriptions(1);
        let old = [1, 2].map(|n| store(&mut state, message(1, n), at(n)));
        let newcomer = Enqueue {
            queue_limits,
            urgency,
            ..message(1, 3)
        };
        let enqueued = state.enqueue(newcomer, RETENTION, at(3)).outcome;
        assert_eq!(enqueued == Enqueued::QueueFull, is_refused, "{urgency:?}");
        assert_eq!(waiting(&state).contains(&old[0].number), is_refused);
    }
}

/// PR-7: a number is the time in microseconds, or one above the last if that is not later.
#[test]
fn numbers_follow_time_and_each_other() {
    let mut state = with_subscriptions(1);
    let numbers = [5, 5, 5, 6].map(|ms| store(&mut state, request(60, ms), at(ms)).number.0);
    let now = at(5).us;
    assert_eq!(numbers, [now, now + 1, now + 2, now + 1_000]);
}

/// A sweep removes at most its limit, expired messages and what ended subscriptions left together, and comes back for the rest.
#[test]
fn a_sweep_keeps_its_limit() {
    let mut state = with_subscriptions(2);
    for n in 0..3 {
        store(&mut state, message(2, n), at(n));
        store(&mut state, request(1, 10 + n), at(n));
    }
    state.unsubscribe(subscribe(1, 2).name, at(10));
    let now = at(60_000);
    let swept = [4, 2].map(|limit| {
        let swept = state.sweep(limit, RETENTION, now).outcome;
        (swept.freed, swept.expired)
    });
    assert_eq!(swept, [(3, 1), (0, 2)]);
    assert!(state.sweep_at_ms > Some(now.ms()));
}

fn receipt_subscription() -> UserAgent {
    let mut state = UserAgent::default();
    let request = Subscribe {
        name: RECEIPTS_NAME,
        fresh_id: RECEIPTS,
        ..subscribe(1, 1)
    };
    let subscribed = state.subscribe(&request, RETENTION, at(0)).outcome;
    assert_eq!(subscribed, Subscribed::Created(RECEIPTS));
    state
}

fn expected(nonce: u64) -> ExpectReceipt {
    ExpectReceipt {
        user_agent: user_agent(2),
        nonce,
        dialect: push_protocol::Dialect::Rfc8030,
        sealed_by: push_protocol::capability::KeyId(3),
        within: Duration::from_secs(60),
        limit: 2,
    }
}

/// PR-25: expected and waiting receipts count for one limit; what is expected again counts once.
#[test]
fn expected_receipts_keep_their_limit() {
    let mut state = receipt_subscription();
    let expect = |state: &mut UserAgent, nonce| state.expect_receipt(&expected(nonce), at(1)).outcome;
    assert_eq!(expect(&mut state, 1), ReceiptExpected::Recorded);
    assert_eq!(expect(&mut state, 2), ReceiptExpected::Recorded);
    assert_eq!(expect(&mut state, 3), ReceiptExpected::TooMany);
    assert_eq!(expect(&mut state, 2), ReceiptExpected::Recorded);
    let end = |nonce, how| MessageEnd {
        receipts: user_agent(1),
        user_agent: user_agent(2),
        id: MessageId {
            number: MessageNumber(7),
            nonce,
        },
        how,
    };
    state.settle_receipts(&[end(1, ReceiptOutcome::Acknowledged)], at(2));
    assert_eq!(waiting(&state).len(), 1);
    assert_eq!(
        expect(&mut state, 3),
        ReceiptExpected::TooMany,
        "the receipt waits"
    );
    state.settle_receipts(&[end(2, ReceiptOutcome::Replaced)], at(3));
    assert_eq!(waiting(&state).len(), 1, "a replaced message has no receipt");
    assert_eq!(expect(&mut state, 3), ReceiptExpected::Recorded);
}

/// PR-37: a number that belongs to something else is no message's: neither that of messages with TTL 0, nor receipt numbers.
#[test]
fn only_numbers_of_messages_are_imported() {
    let first_receipt = FIRST_RECEIPT_NUMBER.0;
    let numbers = [
        (PASSING_WITH_RECEIPT.0, false),
        (PASSING_WITH_RECEIPT.0 + 1, true),
        (first_receipt - 1, true),
        (first_receipt, false),
    ];
    for (number, is_imported) in numbers {
        let mut state = with_subscriptions(1);
        store(&mut state, message(1, 1), at(1));
        let id = MessageId {
            number: MessageNumber(number),
            nonce: 5,
        };
        let mut page = crate::storage::portable::ExportPage::new(1 << 20);
        state.export(user_agent(1), None, &mut page, at(2));
        let part = page.finish(None).user_agents.remove(0);
        let arriving = crate::storage::portable::PortableMessage {
            id,
            ..part.messages[0].clone()
        };
        let until_ms = part.retained_until_ms;
        let imported = state.import_message(&arriving, until_ms, at(2)).outcome;
        assert_eq!(
            (imported.messages, imported.in_the_way),
            (u64::from(is_imported), u64::from(!is_imported))
        );

        let end = MessageEnd {
            receipts: user_agent(9),
            user_agent: user_agent(1),
            id,
            how: ReceiptOutcome::GivenUp,
        };
        let mut state = with_subscriptions(1);
        let imported = state.import_message_end(&end, at(2)).outcome;
        // Of a message with TTL 0 there is no number to be kept.
        let is_imported = is_imported || number == PASSING_WITH_RECEIPT.0;
        assert_eq!(imported.receipts, u64::from(is_imported), "{number}");
        let again = state.import_message_end(&end, at(2)).outcome;
        assert_eq!(again.present, u64::from(is_imported), "{number}");
    }
}
