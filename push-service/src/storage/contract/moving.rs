//! Export and import: user agents move to another storage, and nothing is lost (PR-37).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use push_protocol::capability::{Dialect, KeyId};
use push_protocol::{Coding, KeyDigest, MessageId, Ttl, Urgency};

use super::rig::{Announcements, Rig, enqueue, name, seat, subscribe, subscription, topic, user_agent};
use super::senders::sender;
use crate::defaults::{RETENTION, UNUSED_RETENTION};
use crate::storage::clock::Clock;
use crate::storage::memory::Memory;
use crate::storage::{
    Announce, Cursor, Ending, Enqueue, Enqueued, ExpectReceipt, Imported, PASSING_WITH_RECEIPT, Portable,
    RECEIPTS, RECEIPTS_NAME, ReceiptExpected, Storage, Subscribe, Subscribed,
};

/// A second storage, empty, with the same clock.
fn elsewhere(rig: &Rig) -> Rig {
    let clock = Arc::clone(&rig.clock);
    let mut other = Rig::new(|announce, _| {
        let announce: Arc<dyn Announce> = announce;
        Arc::new(Memory::new(
            announce,
            Arc::clone(&clock) as Arc<dyn Clock>,
            RETENTION,
        ))
    });
    other.clock = clock;
    other
}

/// Exports everything, and joins the parts of each user agent.
async fn exported(storage: &dyn Storage, bytes: usize) -> Vec<Portable> {
    let mut all: BTreeMap<_, Portable> = BTreeMap::new();
    let mut after: Option<Cursor> = None;
    loop {
        let page = storage.export(after.as_ref(), bytes).await.unwrap();
        for part in page.user_agents {
            let Some(known) = all.get_mut(&part.user_agent) else {
                all.insert(part.user_agent, part);
                continue;
            };
            add_new(&mut known.messages, part.messages);
            add_new(&mut known.outbox, part.outbox);
            add_new(&mut known.expected, part.expected);
        }
        after = page.next;
        if after.is_none() {
            return all.into_values().map(with_last).collect();
        }
    }
}

/// Joins two parts of a user agent; a storage may export any part twice.
fn add_new<T: PartialEq>(known: &mut Vec<T>, part: Vec<T>) {
    for item in part {
        if !known.contains(&item) {
            known.push(item);
        }
    }
}

/// With the last number that its messages say, because some storages compute it from them. Sorts what has no order.
fn with_last(mut whole: Portable) -> Portable {
    let last = whole.messages.last().map(|message| message.id.number);
    whole.last = whole.last.max(last.unwrap_or_default());
    whole.outbox.sort_unstable_by_key(|outcome| outcome.id);
    whole.expected.sort_unstable_by_key(|expected| expected.nonce);
    whole
}

/// Two user agents with everything that can be exported, except receipts.
async fn fill(rig: &Rig) -> Vec<MessageId> {
    let restricted = Subscribe {
        key: Some(KeyDigest([5; 32])),
        ..subscribe(1, 1)
    };
    rig.storage.subscribe(restricted).await.unwrap();
    rig.advance(Duration::from_secs(2));
    rig.subscribed(1, 2).await;
    rig.subscribed(2, 3).await;
    let mut ids = vec![rig.stored(enqueue(1, 1, b"first")).await];
    let urgent = Enqueue {
        urgency: Urgency::High,
        topic: topic("news"),
        ttl: Ttl::from_secs(60),
        sealed_by: push_protocol::capability::KeyId(77),
        sender: Some(sender(4)),
        ..enqueue(1, 2, b"second")
    };
    ids.push(rig.stored(urgent).await);
    let mut legacy = Enqueue {
        sender: Some(sender(5)),
        ..enqueue(1, 1, b"third")
    };
    legacy.content.coding = Coding::Aesgcm {
        encryption: "salt=c2FsdA".into(),
        crypto_key: "dh=ZGg".into(),
    };
    legacy.content.media_type = Some("text/plain".into());
    ids.push(rig.stored(legacy).await);
    ids
}

async fn moved(from: &Rig, to: &Rig) {
    let ids = fill(from).await;
    let user_agents = exported(&*from.storage, usize::MAX).await;
    assert_eq!(user_agents.len(), 2);
    let imported = to.storage.import(user_agents.clone()).await.unwrap();
    let expected = Imported {
        subscriptions: 3,
        messages: 3,
        ..Imported::default()
    };
    assert_eq!(imported, expected);
    assert_eq!(exported(&*to.storage, usize::MAX).await, user_agents);
    assert_eq!(to.usage().await, from.usage().await);

    let there = from.attached(1, seat(1)).await;
    let here = to.attached(1, seat(1)).await;
    assert_eq!(here.messages, there.messages);
    let kept = to.storage.subscribe(subscribe(2, 3)).await.unwrap();
    assert_eq!(kept, Subscribed::Kept(subscription(3)));
    let newer = Enqueue {
        topic: topic("news"),
        ..enqueue(1, 2, b"newer")
    };
    let stored = to.storage.enqueue(newer).await.unwrap();
    assert!(
        matches!(stored, Enqueued::Stored { id, replaced: true, .. } if id.number > ids[2].number),
        "{stored:?}"
    );
    assert_eq!(to.acknowledged(1, &ids).await, [true, false, true]);
}

/// PR-37: what this storage exports, another one imports, with the same ids, numbers and times.
pub(crate) async fn what_waits_moves_to_another_storage(rig: &Rig) {
    moved(rig, &elsewhere(rig)).await;
}

/// PR-37: what another storage exported, this one imports, with the same ids, numbers and times.
pub(crate) async fn what_waited_in_another_storage_is_taken_in(rig: &Rig) {
    moved(&elsewhere(rig), rig).await;
}

/// PR-37: repeating an import adds nothing twice. Only messages that were acknowledged meanwhile come back.
pub(crate) async fn a_repeated_import_changes_nothing(rig: &Rig) {
    let other = elsewhere(rig);
    let ids = fill(&other).await;
    let user_agents = exported(&*other.storage, usize::MAX).await;
    rig.storage.import(user_agents.clone()).await.unwrap();
    let again = rig.storage.import(user_agents.clone()).await.unwrap();
    let present = Imported {
        present: 6,
        ..Imported::default()
    };
    assert_eq!(again, present);
    assert_eq!(rig.waiting(1).await, ids);
    assert_eq!(exported(&*rig.storage, usize::MAX).await, user_agents);

    rig.acknowledged(1, &ids[..1]).await;
    let again = rig.storage.import(user_agents).await.unwrap();
    assert_eq!((again.messages, again.present), (1, 5));
    assert_eq!(rig.waiting(1).await, ids);
}

/// PR-37: a subscription that ended here and is imported again has its messages once, whether the old ones were freed or not.
pub(crate) async fn an_ended_subscription_can_come_back(rig: &Rig) {
    let ids = fill(rig).await;
    let user_agents = exported(&*rig.storage, usize::MAX).await;
    rig.storage.unsubscribe(user_agent(1), name(1)).await.unwrap();
    assert_eq!(rig.waiting(1).await, ids[1..2]);
    let imported = rig.storage.import(user_agents).await.unwrap();
    assert_eq!((imported.subscriptions, imported.messages), (1, 2));
    while rig.storage.expire(100).await.unwrap().total() > 0 {}
    assert_eq!(rig.waiting(1).await, ids);
    assert_eq!(rig.usage().await.messages, 3);
}

/// PR-37: an import into a storage in use ends and replaces nothing.
pub(crate) async fn an_import_ends_nothing_that_is_there(rig: &Rig) {
    let other = elsewhere(rig);
    fill(&other).await;
    let other_id = Subscribe {
        fresh_id: subscription(9),
        ..subscribe(1, 1)
    };
    rig.storage.subscribe(other_id).await.unwrap();
    rig.subscribed(1, 2).await;
    let news = Enqueue {
        topic: topic("news"),
        ..enqueue(1, 2, b"mine")
    };
    let mine = [rig.stored(enqueue(1, 9, b"mine")).await, rig.stored(news).await];

    let imported = rig
        .storage
        .import(exported(&*other.storage, usize::MAX).await)
        .await
        .unwrap();
    let expected = Imported {
        subscriptions: 1,
        present: 1,
        // In the way: a name with another id, its two messages, and a message of a topic that is taken.
        in_the_way: 4,
        ..Imported::default()
    };
    assert_eq!(imported, expected);
    assert_eq!(rig.waiting(1).await, mine);
    let kept = rig.storage.subscribe(subscribe(1, 1)).await.unwrap();
    assert_eq!(kept, Subscribed::Kept(subscription(9)));
}

/// PR-37: a message whose number is taken is not imported, and neither is one with the number 0, which is the record's.
pub(crate) async fn a_number_is_not_taken_away(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let id = rig.stored(enqueue(1, 1, b"mine")).await;
    let mut user_agents = exported(&*rig.storage, usize::MAX).await;
    user_agents[0].messages[0].id.nonce ^= 1;
    let mut zero = user_agents[0].messages[0].clone();
    zero.id.number.0 = 0;
    user_agents[0].messages.push(zero);
    let imported = rig.storage.import(user_agents).await.unwrap();
    assert_eq!((imported.in_the_way, imported.messages), (2, 0));
    assert_eq!(rig.waiting(1).await, [id]);
}

/// PR-37: expired messages and abandoned records are counted, and neither exported nor imported.
pub(crate) async fn what_is_over_stays_behind(rig: &Rig) {
    let ids = fill(rig).await;
    let before = exported(&*rig.storage, usize::MAX).await;
    rig.advance(Duration::from_secs(60));
    let page = rig.storage.export(None, usize::MAX).await.unwrap();
    assert_eq!((page.expired, page.abandoned), (1, 0));
    let given: Vec<_> = page.user_agents.iter().flat_map(|part| &part.messages).collect();
    assert_eq!(given.len(), 2);
    let other = elsewhere(rig);
    let imported = other.storage.import(before.clone()).await.unwrap();
    assert_eq!((imported.messages, imported.expired), (2, 1));
    assert_eq!(other.waiting(1).await, [ids[0], ids[2]]);

    rig.advance(RETENTION * 2);
    let page = rig.storage.export(None, usize::MAX).await.unwrap();
    assert!(page.user_agents.is_empty(), "{:?}", page.user_agents);
    let imported = elsewhere(rig).storage.import(before).await.unwrap();
    assert_eq!(imported.abandoned, 6);
}

/// PR-37: an export in pages of any size has everything.
pub(crate) async fn an_export_comes_page_by_page(rig: &Rig) {
    fill(rig).await;
    for n in 4..10 {
        rig.subscribed(n, n).await;
        for body in [b"a", b"b", b"c"] {
            rig.stored(enqueue(n, n, body)).await;
        }
    }
    let all = exported(&*rig.storage, usize::MAX).await;
    assert_eq!(all.len(), 8);
    assert_eq!(all.iter().map(|whole| whole.messages.len()).sum::<usize>(), 21);
    for bytes in [0, 1, 400, 1_000] {
        assert_eq!(exported(&*rig.storage, bytes).await, all, "{bytes} bytes");
    }
}

/// Everything about receipts that can be exported: an outbox, and one of a user agent that has ended; a stored message and two
/// with TTL 0, one of which may still be acknowledged; the receipts that are expected for them; and a receipt that waits.
pub(crate) async fn fill_with_receipts(rig: &Rig) -> MessageId {
    let monitored = Subscribe {
        name: RECEIPTS_NAME,
        fresh_id: RECEIPTS,
        ..subscribe(9, 0)
    };
    rig.storage.subscribe(monitored).await.unwrap();
    let asking = |n_agent, body: &[u8]| Enqueue {
        receipts: Some(user_agent(9)),
        key: Some(KeyDigest([6; 32])),
        ..enqueue(n_agent, n_agent, body)
    };
    for n_agent in [1, 2] {
        rig.subscribed(n_agent, n_agent).await;
    }
    let mut waiting = Vec::new();
    for (n_agent, body) in [(1, b"acknowledged"), (1, b"still there."), (2, b"ends at once")] {
        let request = asking(n_agent, body);
        let expected = ExpectReceipt {
            user_agent: user_agent(n_agent),
            nonce: request.nonce,
            dialect: Dialect::Webpush,
            sealed_by: KeyId(5),
            within: Duration::from_secs(60),
            limit: 10,
        };
        let answer = rig.storage.expect_receipt(user_agent(9), expected).await.unwrap();
        assert_eq!(answer, ReceiptExpected::Recorded);
        waiting.push(rig.stored(request).await);
    }
    for nonce in [1, 2] {
        if nonce == 2 {
            rig.attached(1, seat(1)).await;
        }
        let passing = Enqueue {
            ttl: Ttl::ZERO,
            nonce,
            ..asking(1, b"")
        };
        rig.storage.enqueue(passing).await.unwrap();
    }
    rig.acknowledged(1, &waiting[..1]).await;
    rig.acknowledged(2, &waiting[2..]).await;
    let settled = rig.storage.outbox(user_agent(2), 10).await.unwrap();
    rig.storage
        .settle_receipts(user_agent(9), &settled)
        .await
        .unwrap();
    rig.storage.end(user_agent(2), Ending::All).await.unwrap();
    while rig.storage.expire(10).await.unwrap().total() > 0 {}
    waiting[1]
}

async fn moved_with_receipts(from: &Rig, to: &Rig) {
    let waits = fill_with_receipts(from).await;
    let user_agents = exported(&*from.storage, usize::MAX).await;
    for bytes in [0, 400] {
        assert_eq!(
            exported(&*from.storage, bytes).await,
            user_agents,
            "{bytes} bytes"
        );
    }
    let imported = to.storage.import(user_agents.clone()).await.unwrap();
    let expected = Imported {
        subscriptions: 2,
        messages: 2,
        // Four entries of outboxes, one of them of an ended set, and two expected receipts.
        receipts: 6,
        ..Imported::default()
    };
    assert_eq!(imported, expected);
    assert_eq!(exported(&*to.storage, usize::MAX).await, user_agents);
    let again = to.storage.import(user_agents).await.unwrap();
    let present = Imported {
        present: 10,
        ..Imported::default()
    };
    assert_eq!(again, present);

    let mut owing = to.storage.with_outbox(10).await.unwrap();
    owing.sort_unstable();
    assert_eq!(owing, [user_agent(1), user_agent(2)]);
    assert_eq!(to.acknowledged(1, &[waits]).await, [true]);
    let outcomes = to.storage.outbox(user_agent(1), 10).await.unwrap();
    assert_eq!(outcomes.len(), 4);
    to.storage
        .settle_receipts(user_agent(9), &outcomes)
        .await
        .unwrap();
    let page = to.attached(9, seat(1)).await;
    assert_eq!(page.messages.len(), 3, "one waited, two were owed");
    to.advance(Duration::from_secs(60));
    assert_eq!(to.storage.overdue(10).await.unwrap(), []);
    assert_eq!(from.storage.overdue(10).await.unwrap().len(), 2);
}

/// PR-25, PR-37: outboxes and expected receipts are exported, and the receipts are settled in the other storage.
pub(crate) async fn receipts_move_to_another_storage(rig: &Rig) {
    moved_with_receipts(rig, &elsewhere(rig)).await;
}

/// PR-25, PR-37: outboxes and expected receipts of another storage are imported, and the receipts are settled here.
pub(crate) async fn receipts_of_another_storage_are_taken_in(rig: &Rig) {
    moved_with_receipts(&elsewhere(rig), rig).await;
}

/// PR-37: no receipt is expected for a receipt subscription that was not imported, and an entry of an outbox replaces no message.
pub(crate) async fn orphans_are_not_imported(rig: &Rig) {
    let other = elsewhere(rig);
    let waits = fill_with_receipts(&other).await;
    let mut user_agents = exported(&*other.storage, usize::MAX).await;
    for part in &mut user_agents {
        part.subscriptions
            .retain(|subscription| subscription.id != RECEIPTS);
        for outcome in &mut part.outbox {
            if outcome.id.number > PASSING_WITH_RECEIPT {
                outcome.id = MessageId { nonce: 0, ..waits };
            }
        }
    }
    let imported = rig.storage.import(user_agents).await.unwrap();
    let expected = Imported {
        subscriptions: 1,
        messages: 1,
        // Both messages with TTL 0, and the one of the ended set.
        receipts: 3,
        // A receipt without its subscription, two that it expects, and the entry of the outbox.
        in_the_way: 4,
        ..Imported::default()
    };
    assert_eq!(imported, expected);
    assert_eq!(rig.waiting(1).await, [waits]);
}

/// PR-37: a storage says whether it has any user agent.
pub(crate) async fn an_empty_store_says_so(rig: &Rig) {
    assert!(rig.storage.is_empty().await.unwrap());
    rig.storage.admit_sealing_keys(&[[1; 8]]).await.unwrap();
    assert!(rig.storage.is_empty().await.unwrap(), "a key is no user agent");
    assert_eq!(exported(&*rig.storage, usize::MAX).await, []);
    rig.subscribed(1, 1).await;
    assert!(!rig.storage.is_empty().await.unwrap());
}

/// PR-37: no seat is told of an import; the next page has its messages.
pub(crate) async fn a_session_finds_what_was_taken_in(rig: &Rig) {
    let other = elsewhere(rig);
    let ids = fill(&other).await;
    rig.subscribed(1, 7).await;
    rig.attached(1, seat(1)).await;
    let announcements: &Announcements = &rig.announcements;
    announcements.take();
    rig.storage
        .import(exported(&*other.storage, usize::MAX).await)
        .await
        .unwrap();
    assert!(announcements.take().is_empty());
    let page = rig.page(1, seat(1), super::everything()).await;
    assert_eq!(super::ids(&page), ids);
}

async fn is_unused(storage: &dyn Storage, n_agent: u8) -> bool {
    let report = storage.inspect(user_agent(n_agent)).await.unwrap();
    report.expect("a record").unused
}

/// PR-29, PR-37: an unused record is unused in the other storage, and is kept no longer than here. A used one is used there.
pub(crate) async fn an_unused_record_stays_unused_when_it_moves(rig: &Rig) {
    let (other, back) = (elsewhere(rig), elsewhere(rig));
    for n in [1, 2] {
        other.subscribed(n, n).await;
    }
    other.stored(enqueue(2, 2, b"a")).await;
    let given = exported(&*other.storage, usize::MAX).await;
    let unused: Vec<_> = given.iter().map(|part| part.unused).collect();
    assert_eq!(unused, [true, false]);
    rig.storage.import(given.clone()).await.unwrap();
    rig.storage.import(given.clone()).await.unwrap();
    assert_eq!(exported(&*rig.storage, usize::MAX).await, given);
    let given = exported(&*rig.storage, usize::MAX).await;
    back.storage.import(given).await.unwrap();
    for storage in [&*rig.storage, &*back.storage] {
        assert!(is_unused(storage, 1).await && !is_unused(storage, 2).await);
    }
    rig.advance(UNUSED_RETENTION * 2);
    for storage in [&*rig.storage, &*back.storage] {
        for (n, kept) in [(1, false), (2, true)] {
            let has = storage.has_subscription(user_agent(n), subscription(n));
            assert_eq!(has.await.unwrap(), kept, "{n}");
        }
    }
}

/// PR-29, PR-37: a record that is used here stays used after an import, and a record that was used elsewhere is used here.
pub(crate) async fn a_record_that_moves_is_used_if_either_storage_used_it(rig: &Rig) {
    let (used, unused) = (elsewhere(rig), elsewhere(rig));
    for storage in [rig, &used, &unused] {
        storage.subscribed(1, 1).await;
        storage.subscribed(2, 2).await;
    }
    for n in [1, 2] {
        used.stored(enqueue(n, n, b"a")).await;
    }
    rig.waiting(1).await;
    let given = exported(&*unused.storage, usize::MAX).await;
    rig.storage.import(given).await.unwrap();
    assert!(!is_unused(&*rig.storage, 1).await && is_unused(&*rig.storage, 2).await);
    let given = exported(&*used.storage, usize::MAX).await;
    rig.storage.import(given).await.unwrap();
    rig.advance(RETENTION / 2);
    for n in [1, 2] {
        assert!(!is_unused(&*rig.storage, n).await, "{n}");
    }
}
