//! Receipt subscriptions: which receipts they expect, and how these are settled (PR-25).

use std::time::Duration;

use push_protocol::capability::{Dialect, KeyId, MessageCapability};
use push_protocol::{Coding, MessageId, MessageNumber, Receipt, ReceiptOutcome};

use super::rig::{Rig, everything, ids, seat, subscribe, user_agent};
use crate::defaults::{RECEIPT_KEPT, RECEIPT_LEASE, RECEIPT_SUBSCRIPTION_KEPT, RETENTION_GRAINS};
use crate::storage::{
    Ending, ExpectReceipt, MessageEnd, Overdue, RECEIPTS, RECEIPTS_NAME, ReceiptExpected, Subscribe,
    Subscribed, WakeUp,
};

const MINUTE: Duration = Duration::from_secs(60);

/// Makes a receipt subscription.
async fn monitored(rig: &Rig, n_agent: u8) {
    let request = Subscribe {
        name: RECEIPTS_NAME,
        fresh_id: RECEIPTS,
        ..subscribe(n_agent, 0)
    };
    let made = rig.storage.subscribe(request).await.unwrap();
    assert_eq!(made, Subscribed::Created(RECEIPTS));
}

/// The receipt of user agent 1's message with this nonce, expected within a minute.
fn expected(nonce: u64) -> ExpectReceipt {
    ExpectReceipt {
        user_agent: user_agent(1),
        nonce,
        dialect: Dialect::Webpush,
        sealed_by: KeyId(5),
        within: MINUTE,
        limit: 100,
    }
}

async fn expect(rig: &Rig, expected: ExpectReceipt) -> ReceiptExpected {
    rig.storage.expect_receipt(user_agent(9), expected).await.unwrap()
}

fn id(nonce: u64) -> MessageId {
    MessageId {
        number: MessageNumber(1_700_000_000_000_000 + nonce),
        nonce,
    }
}

fn outcome(nonce: u64, how: ReceiptOutcome) -> MessageEnd {
    MessageEnd {
        receipts: user_agent(9),
        user_agent: user_agent(1),
        id: id(nonce),
        how,
    }
}

async fn settle(rig: &Rig, outcomes: &[MessageEnd]) {
    rig.storage
        .settle_receipts(user_agent(9), outcomes)
        .await
        .unwrap();
}

/// The receipts that wait: each with its message and outcome.
async fn receipts(rig: &Rig) -> Vec<(MessageId, ReceiptOutcome)> {
    let page = rig.attached(9, seat(0)).await;
    rig.storage.release(user_agent(9), seat(0)).await.unwrap();
    let receipts = page.messages.iter().map(|message| {
        let receipt = Receipt::from_bytes(&message.content.body).unwrap();
        (receipt.message.id, receipt.how)
    });
    receipts.collect()
}

async fn overdue(rig: &Rig, limit: usize) -> Vec<u64> {
    let overdue = rig.storage.overdue(limit).await.unwrap();
    let mut nonces: Vec<_> = overdue.iter().map(|overdue| overdue.nonce).collect();
    nonces.sort_unstable();
    nonces
}

/// PR-25, R30-RDL-2, R30-RDL-3: an expected receipt that is settled waits as a message. It holds everything that the message's URL
/// is made of.
pub(crate) async fn what_is_owed_becomes_a_receipt(rig: &Rig) {
    monitored(rig, 9).await;
    assert_eq!(expect(rig, expected(7)).await, ReceiptExpected::Recorded);
    assert_eq!(receipts(rig).await, []);
    settle(rig, &[outcome(7, ReceiptOutcome::Acknowledged)]).await;
    let page = rig.attached(9, seat(1)).await;
    let message = &page.messages[0];
    let receipt = Receipt {
        message: MessageCapability {
            user_agent: user_agent(1),
            id: id(7),
            dialect: Dialect::Webpush,
        },
        sealed_by: KeyId(5),
        how: ReceiptOutcome::Acknowledged,
    };
    assert_eq!(page.messages.len(), 1);
    assert_eq!(&message.content.body[..], receipt.to_bytes());
    assert_eq!(message.content.coding, Coding::Absent);
    assert_eq!((message.subscription, message.name), (RECEIPTS, RECEIPTS_NAME));
    assert_eq!((message.sealed_by, &message.key), (KeyId(5), &None));
    assert_eq!(Duration::from_millis(message.remaining_ms), RECEIPT_KEPT);
    assert!(
        message.id.number > MessageNumber(1),
        "numbered as all messages are"
    );
    assert_eq!(rig.acknowledged(9, &[message.id]).await, [true]);
    assert_eq!(receipts(rig).await, []);
}

/// PR-25: the end of a message whose receipt is not expected is ignored.
pub(crate) async fn what_is_not_owed_is_passed_over(rig: &Rig) {
    monitored(rig, 9).await;
    monitored(rig, 8).await;
    assert_eq!(expect(rig, expected(7)).await, ReceiptExpected::Recorded);
    let of_another = MessageEnd {
        user_agent: user_agent(2),
        ..outcome(7, ReceiptOutcome::Acknowledged)
    };
    settle(rig, &[outcome(8, ReceiptOutcome::Acknowledged), of_another]).await;
    let to_another = [outcome(7, ReceiptOutcome::Acknowledged)];
    rig.storage
        .settle_receipts(user_agent(8), &to_another)
        .await
        .unwrap();
    rig.storage
        .settle_receipts(user_agent(7), &to_another)
        .await
        .unwrap();
    assert_eq!(receipts(rig).await, []);
    settle(rig, &[outcome(7, ReceiptOutcome::GivenUp)]).await;
    assert_eq!(receipts(rig).await, [(id(7), ReceiptOutcome::GivenUp)]);
}

/// PR-25: of several outcomes of one message the first wins, in one step or in several.
pub(crate) async fn the_first_outcome_wins(rig: &Rig) {
    monitored(rig, 9).await;
    for nonce in [1, 2] {
        assert_eq!(expect(rig, expected(nonce)).await, ReceiptExpected::Recorded);
    }
    let rows = [
        outcome(1, ReceiptOutcome::Acknowledged),
        outcome(1, ReceiptOutcome::GivenUp),
        outcome(2, ReceiptOutcome::GivenUp),
    ];
    settle(rig, &rows).await;
    settle(
        rig,
        &[
            outcome(2, ReceiptOutcome::Acknowledged),
            outcome(1, ReceiptOutcome::GivenUp),
        ],
    )
    .await;
    let told = [
        (id(1), ReceiptOutcome::Acknowledged),
        (id(2), ReceiptOutcome::GivenUp),
    ];
    assert_eq!(receipts(rig).await, told);
}

/// PR-25, R30-RDL-6: a replaced message has no receipt, and none is owed any more.
pub(crate) async fn a_replaced_message_has_no_receipt(rig: &Rig) {
    monitored(rig, 9).await;
    expect(rig, expected(7)).await;
    settle(rig, &[outcome(7, ReceiptOutcome::Replaced)]).await;
    settle(rig, &[outcome(7, ReceiptOutcome::Acknowledged)]).await;
    assert_eq!(receipts(rig).await, []);
    rig.advance(MINUTE);
    assert!(overdue(rig, 10).await.is_empty());
}

/// PR-25: no receipt is owed to an unknown user agent, or to a user agent that has other subscriptions.
pub(crate) async fn nothing_is_owed_to_a_stranger(rig: &Rig) {
    assert_eq!(
        expect(rig, expected(7)).await,
        ReceiptExpected::NoReceiptSubscription
    );
    assert!(rig.storage.is_empty().await.unwrap());
    rig.subscribed(9, 1).await;
    assert_eq!(
        expect(rig, expected(7)).await,
        ReceiptExpected::NoReceiptSubscription
    );
}

/// R30-RCP-7: expected and waiting receipts have one limit together. A receipt that was acknowledged makes room. A receipt that is
/// expected already counts once if it is expected again.
pub(crate) async fn what_is_owed_has_a_limit(rig: &Rig) {
    monitored(rig, 9).await;
    let limited = |nonce| ExpectReceipt {
        limit: 2,
        ..expected(nonce)
    };
    assert_eq!(expect(rig, limited(1)).await, ReceiptExpected::Recorded);
    assert_eq!(expect(rig, limited(2)).await, ReceiptExpected::Recorded);
    assert_eq!(expect(rig, limited(3)).await, ReceiptExpected::TooMany);
    assert_eq!(expect(rig, limited(2)).await, ReceiptExpected::Recorded);
    settle(rig, &[outcome(1, ReceiptOutcome::Acknowledged)]).await;
    assert_eq!(expect(rig, limited(3)).await, ReceiptExpected::TooMany);
    let page = rig.attached(9, seat(1)).await;
    rig.acknowledged(9, &ids(&page)).await;
    assert_eq!(expect(rig, limited(3)).await, ReceiptExpected::Recorded);
    settle(rig, &[outcome(2, ReceiptOutcome::Replaced)]).await;
    assert_eq!(expect(rig, limited(4)).await, ReceiptExpected::Recorded);
}

/// PR-1, PR-25: a monitor is told of a receipt, and finds it.
pub(crate) async fn a_monitor_is_told(rig: &Rig) {
    monitored(rig, 9).await;
    rig.attached(9, seat(1)).await;
    rig.announcements.take();
    expect(rig, expected(7)).await;
    settle(rig, &[outcome(8, ReceiptOutcome::Acknowledged)]).await;
    assert!(rig.announcements.take().is_empty(), "there is nothing to tell");
    settle(rig, &[outcome(7, ReceiptOutcome::GivenUp)]).await;
    let (agent, holder, wake_up) = rig.announcements.next().await;
    assert_eq!((agent, holder), (user_agent(9), seat(1)));
    assert!(
        matches!(wake_up, WakeUp::ReadAgain | WakeUp::Stored { .. }),
        "{wake_up:?}"
    );
    let page = rig.page(9, seat(1), everything()).await;
    assert_eq!(page.messages.len(), 1);
}

/// R30-RDL-3: a receipt that is not delivered expires.
pub(crate) async fn a_receipt_expires(rig: &Rig) {
    monitored(rig, 9).await;
    expect(rig, expected(7)).await;
    settle(rig, &[outcome(7, ReceiptOutcome::GivenUp)]).await;
    rig.advance(RECEIPT_KEPT - Duration::from_secs(1));
    assert_eq!(receipts(rig).await.len(), 1);
    rig.advance(Duration::from_secs(1));
    assert_eq!(receipts(rig).await, []);
}

/// R30-EXP-1: a receipt subscription is kept for a bounded time after it was last monitored, or a receipt was last requested.
pub(crate) async fn a_receipt_subscription_is_forgotten(rig: &Rig) {
    monitored(rig, 9).await;
    assert_eq!(receipts(rig).await, [], "it is in use");
    let nearly = RECEIPT_SUBSCRIPTION_KEPT - MINUTE;
    rig.advance(nearly);
    assert_eq!(expect(rig, expected(1)).await, ReceiptExpected::Recorded);
    rig.advance(nearly);
    assert_eq!(receipts(rig).await, [], "it was asked for");
    rig.advance(nearly);
    assert_eq!(receipts(rig).await, [], "it was monitored");
    rig.advance(RECEIPT_SUBSCRIPTION_KEPT + RECEIPT_SUBSCRIPTION_KEPT / RETENTION_GRAINS as u32);
    assert_eq!(
        expect(rig, expected(2)).await,
        ReceiptExpected::NoReceiptSubscription
    );
}

/// PR-25, R30-TTL-3: a receipt subscription is kept as long as it expects a receipt.
pub(crate) async fn what_is_owed_keeps_its_receipt_subscription(rig: &Rig) {
    monitored(rig, 9).await;
    let late = ExpectReceipt {
        within: RECEIPT_SUBSCRIPTION_KEPT * 2,
        ..expected(1)
    };
    assert_eq!(expect(rig, late).await, ReceiptExpected::Recorded);
    rig.advance(RECEIPT_SUBSCRIPTION_KEPT * 2);
    settle(rig, &[outcome(1, ReceiptOutcome::GivenUp)]).await;
    rig.advance(RECEIPT_KEPT - Duration::from_secs(1));
    assert_eq!(receipts(rig).await.len(), 1);
}

/// R30-RDL-3: a receipt that is settled long after its deadline waits as long as others.
pub(crate) async fn a_late_receipt_keeps_its_receipt_subscription(rig: &Rig) {
    monitored(rig, 9).await;
    expect(rig, expected(1)).await;
    rig.advance(RECEIPT_SUBSCRIPTION_KEPT - MINUTE);
    settle(rig, &[outcome(1, ReceiptOutcome::GivenUp)]).await;
    rig.advance(RECEIPT_KEPT - Duration::from_secs(1));
    assert_eq!(receipts(rig).await.len(), 1);
}

/// PR-25: an overdue receipt is leased to one caller, and to another when the lease is over. A settled one is never overdue.
pub(crate) async fn what_is_overdue_is_leased(rig: &Rig) {
    monitored(rig, 9).await;
    for nonce in 1..=3 {
        expect(rig, expected(nonce)).await;
    }
    let later = ExpectReceipt {
        within: MINUTE * 5,
        ..expected(4)
    };
    expect(rig, later).await;
    assert!(overdue(rig, 10).await.is_empty());
    rig.advance(MINUTE);
    let first = rig.storage.overdue(2).await.unwrap();
    assert_eq!(first.len(), 2);
    let is_ours = |o: &Overdue| (o.receipts, o.user_agent) == (user_agent(9), user_agent(1));
    assert!(first.iter().all(is_ours), "{first:?}");
    let rest = rig.storage.overdue(10).await.unwrap();
    assert_eq!(rest.len(), 1);
    let mut all: Vec<_> = first.iter().chain(&rest).map(|o: &Overdue| o.nonce).collect();
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3]);
    assert!(overdue(rig, 10).await.is_empty(), "all of them are leased");

    rig.advance(RECEIPT_LEASE);
    settle(rig, &[outcome(2, ReceiptOutcome::GivenUp)]).await;
    assert_eq!(overdue(rig, 10).await, [1, 3]);
    rig.advance(MINUTE * 4);
    assert_eq!(overdue(rig, 10).await, [1, 3, 4]);
}

/// PR-25: a receipt that is expected again has a new deadline.
pub(crate) async fn a_deadline_moves_with_its_expectation(rig: &Rig) {
    monitored(rig, 9).await;
    expect(rig, expected(7)).await;
    let later = ExpectReceipt {
        within: MINUTE * 2,
        ..expected(7)
    };
    expect(rig, later).await;
    rig.advance(MINUTE);
    assert!(overdue(rig, 10).await.is_empty());
    rig.advance(MINUTE);
    assert_eq!(overdue(rig, 10).await, [7]);
}

/// R30-RDL-8, R30-EXP-2: a receipt subscription ends like a set: its expected and waiting receipts are gone, and it expects no
/// further one.
pub(crate) async fn a_receipt_subscription_ends(rig: &Rig) {
    monitored(rig, 9).await;
    for nonce in 1..=3 {
        expect(rig, expected(nonce)).await;
    }
    settle(rig, &[outcome(1, ReceiptOutcome::Acknowledged)]).await;
    assert!(rig.storage.end(user_agent(9), Ending::All).await.unwrap());
    settle(rig, &[outcome(2, ReceiptOutcome::Acknowledged)]).await;
    assert_eq!(
        expect(rig, expected(4)).await,
        ReceiptExpected::NoReceiptSubscription
    );
    while rig.storage.expire(2).await.unwrap().total() > 0 {}
    rig.advance(MINUTE);
    assert!(overdue(rig, 10).await.is_empty());
    assert!(rig.storage.is_empty().await.unwrap());
}

/// PR-25: what a user agent is owed belongs to it alone, and does not disturb what it is sent.
pub(crate) async fn what_is_owed_is_no_message(rig: &Rig) {
    monitored(rig, 9).await;
    let before = rig.attached(9, seat(1)).await.upto;
    for nonce in 1..=3 {
        expect(rig, expected(nonce)).await;
    }
    let page = rig.page(9, seat(1), everything()).await;
    assert_eq!((ids(&page), page.upto), (vec![], before));
    assert_eq!(rig.usage().await.messages, 0);
    settle(rig, &[outcome(1, ReceiptOutcome::GivenUp)]).await;
    assert_eq!(receipts(rig).await, [(id(1), ReceiptOutcome::GivenUp)]);
}
