//! What operators see: what waits, and which user agents there are.

use std::collections::BTreeMap;
use std::time::Duration;

use push_protocol::{MessageId, MessageNumber, Ttl, Urgency};

use super::rig::{Rig, enqueue, name, seat, subscribe, subscription, topic, user_agent};
use crate::defaults::{LIST_STEP, MESSAGE_OVERHEAD_BYTES, RETENTION_GRAINS, UNUSED_RETENTION, WAITING_STEP};
use crate::storage::{
    Cursor, Ending, Enqueue, RECEIPTS, RECEIPTS_NAME, Subscribe, UserAgentSummary, WaitingMessage, Which,
};

async fn first(rig: &Rig, n_agent: u8, limit: usize) -> Vec<WaitingMessage> {
    let first = rig.storage.waiting(user_agent(n_agent), Which::First(limit));
    first.await.unwrap()
}

async fn one(rig: &Rig, n_agent: u8, id: MessageId) -> Vec<WaitingMessage> {
    rig.storage
        .waiting(user_agent(n_agent), Which::One(id))
        .await
        .unwrap()
}

/// All user agents, and in how many steps.
async fn listed(rig: &Rig) -> (BTreeMap<[u8; 16], UserAgentSummary>, usize) {
    let (mut all, mut steps, mut after) = (BTreeMap::new(), 0, None::<Cursor>);
    loop {
        let page = rig.storage.list(after.as_ref()).await.unwrap();
        all.extend(page.user_agents.into_iter().map(|one| (one.user_agent.0, one)));
        steps += 1;
        after = page.next;
        if after.is_none() {
            return (all, steps);
        }
    }
}

/// What waits is shown without content: the least urgent first, and of equal urgency the oldest. Nothing is taken or changed.
pub(crate) async fn what_waits_is_shown(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.subscribed(1, 2).await;
    let low = |urgency, body: &[u8]| Enqueue {
        urgency,
        ..enqueue(1, 1, body)
    };
    let normal = rig.stored(low(Urgency::Normal, b"normal")).await;
    assert_eq!(
        first(rig, 1, 10).await,
        [WaitingMessage {
            id: normal,
            subscription: subscription(1),
            urgency: Urgency::Normal,
            bytes: 6 + MESSAGE_OVERHEAD_BYTES,
            expires_at_ms: rig.clock_ms() + 86_400_000,
            has_topic: false,
        }],
        "the only message of its queue"
    );
    let very_low = rig.stored(low(Urgency::VeryLow, b"least")).await;
    let other = Enqueue {
        topic: topic("weather"),
        ..enqueue(1, 2, b"other")
    };
    let other = rig.stored(other).await;
    let high = rig.stored(low(Urgency::High, b"high")).await;
    let all = first(rig, 1, 10).await;
    let ids: Vec<_> = all.iter().map(|message| message.id).collect();
    assert_eq!(ids, [very_low, normal, other, high]);
    assert_eq!(all[2].subscription, subscription(2));
    assert!(all[2].has_topic && !all[3].has_topic);
    assert_eq!(first(rig, 1, 2).await, all[..2]);
    for message in &all {
        assert_eq!(one(rig, 1, message.id).await, [*message]);
    }
    assert_eq!(rig.waiting(1).await.len(), 4);
    assert!(first(rig, 9, 10).await.is_empty());
}

/// Only the whole id names a message; what has left, expired or lost its subscription is not shown.
pub(crate) async fn what_is_over_is_not_shown(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.subscribed(1, 2).await;
    let brief = Enqueue {
        ttl: Ttl::from_secs(10),
        ..enqueue(1, 1, b"brief")
    };
    let brief = rig.stored(brief).await;
    let gone = rig.stored(enqueue(1, 1, b"gone")).await;
    let ended = rig.stored(enqueue(1, 2, b"ended")).await;
    let stays = rig.stored(enqueue(1, 1, b"stays")).await;
    rig.acknowledged(1, &[gone]).await;
    let ending = Ending::One(subscription(2));
    assert!(rig.storage.end(user_agent(1), ending).await.unwrap());
    rig.clock.advance(Duration::from_secs(11));
    for over in [brief, gone, ended] {
        assert_eq!(one(rig, 1, over).await, []);
    }
    let shown = first(rig, 1, 10).await;
    assert_eq!(shown.iter().map(|m| m.id).collect::<Vec<_>>(), [stays]);
    for wrong in [
        MessageId {
            nonce: stays.nonce ^ 1,
            ..stays
        },
        MessageId {
            number: MessageNumber(stays.number.0 + 1),
            ..stays
        },
        MessageId {
            number: MessageNumber(0),
            ..stays
        },
        MessageId {
            number: MessageNumber(u64::MAX),
            ..stays
        },
    ] {
        assert_eq!(one(rig, 1, wrong).await, [], "{wrong:?}");
    }
}

/// However much waits, one step tells of a bounded number of messages.
pub(crate) async fn what_waits_is_shown_in_bounded_steps(rig: &Rig) {
    rig.subscribed(1, 1).await;
    for number in 0..WAITING_STEP + 5 {
        rig.stored(enqueue(1, 1, number.to_string().as_bytes())).await;
    }
    assert_eq!(first(rig, 1, usize::MAX).await.len(), WAITING_STEP);
}

/// Every user agent is listed once or more, step by step, with what waits and whether it is there.
pub(crate) async fn user_agents_are_listed(rig: &Rig) {
    assert_eq!(listed(rig).await.0.len(), 0);
    for n in 1..=3 {
        rig.subscribed(n, 1).await;
    }
    rig.stored(enqueue(1, 1, b"12345")).await;
    rig.stored(enqueue(1, 1, b"67890")).await;
    rig.attached(2, seat(1)).await;
    let receipts = Subscribe {
        name: RECEIPTS_NAME,
        fresh_id: RECEIPTS,
        ..subscribe(4, 4)
    };
    rig.storage.subscribe(receipts).await.unwrap();
    rig.subscribed(5, 1).await;
    assert!(rig.storage.end(user_agent(5), Ending::All).await.unwrap());
    let (all, _) = listed(rig).await;
    let seen: Vec<_> = all
        .values()
        .map(|one| (one.user_agent, one.messages, one.bytes, one.seated, one.receipts))
        .collect();
    let bytes = 2 * (5 + MESSAGE_OVERHEAD_BYTES);
    assert_eq!(
        seen,
        [
            (user_agent(1), 2, bytes, false, false),
            (user_agent(2), 0, 0, true, false),
            (user_agent(3), 0, 0, false, false),
            (user_agent(4), 0, 0, false, true),
        ]
    );
    assert_eq!(
        rig.storage.unsubscribe(user_agent(3), name(1)).await.unwrap(),
        Some(subscription(1))
    );
}

/// However many user agents there are, one step lists a bounded number.
pub(crate) async fn user_agents_are_listed_in_bounded_steps(rig: &Rig) {
    let mut made = 0;
    for first in 0..=255 {
        for second in [1, 2] {
            let mut id = [second; 16];
            id[0] = first;
            let subscribe = Subscribe {
                user_agent: push_protocol::UserAgentId(id),
                ..subscribe(1, 1)
            };
            rig.storage.subscribe(subscribe).await.unwrap();
            made += 1;
        }
    }
    let (all, steps) = listed(rig).await;
    assert_eq!(all.len(), made);
    assert!(steps > made / LIST_STEP, "{steps}");
}

/// A user agent was last seen when it came, to within a grain of its retention; one that is there, now.
pub(crate) async fn a_user_agent_was_last_seen_when_it_came(rig: &Rig) {
    let last_seen = async || {
        let report = rig.storage.inspect(user_agent(1)).await.unwrap().unwrap();
        let (all, _) = listed(rig).await;
        let summary = all[&user_agent(1).0];
        assert_eq!(summary.last_seen_ms / 1_000, report.last_seen);
        summary.last_seen_ms
    };
    let near = |shown: u64, expected: u64, kept: Duration| {
        let grain_ms = kept.as_millis() as u64 / RETENTION_GRAINS;
        shown <= expected && expected - shown <= grain_ms
    };
    rig.subscribed(1, 1).await;
    let made = rig.clock_ms();
    let shown = last_seen().await;
    assert!(near(shown, made, UNUSED_RETENTION), "{shown} {made}");
    rig.clock.advance(Duration::from_secs(7_200));
    rig.attached(1, seat(1)).await;
    let came = rig.clock_ms();
    assert_eq!(last_seen().await, came);
    rig.clock.advance(Duration::from_secs(3_600));
    assert_eq!(last_seen().await, rig.clock_ms(), "it is there");
    rig.storage.release(user_agent(1), seat(1)).await.unwrap();
    rig.clock.advance(Duration::from_secs(30 * 86_400));
    let shown = last_seen().await;
    assert!(near(shown, came, crate::defaults::RETENTION), "{shown} {came}");
}
