//! Messages are accepted, numbered, paged, replaced and acknowledged.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use push_protocol::capability::KeyId;
use push_protocol::{Coding, Content, KeyDigest, MessageId, MessageNumber, Urgency};

use super::rig::{Rig, bodies, enqueue, everything, ids, seat, subscription, topic, user_agent};
use crate::defaults::MESSAGE_OVERHEAD_BYTES;
use crate::storage::{Enqueue, Enqueued, PageRequest, Scope, Usage};

/// PR-4: first offers of a subscription come in the order of acceptance.
pub(crate) async fn messages_come_in_the_order_of_acceptance(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let mut sent = Vec::new();
    for n in 0..20_u8 {
        let urgency = Urgency::ALL[usize::from(n % 4)];
        let request = Enqueue {
            urgency,
            ..enqueue(1, 1, &[n])
        };
        sent.push(rig.stored(request).await);
    }
    assert!(sent.is_sorted());
    assert_eq!(rig.waiting(1).await, sent);
}

/// R30-MSG-1, RFC 8030 §5: what the application server sent is what the user agent gets, byte for byte.
pub(crate) async fn an_accepted_message_comes_back_whole(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let contents = [
        content(Coding::Absent, None, b""),
        content(Coding::Aes128gcm, None, &[7; 4096]),
        content(aesgcm(), Some("text/plain"), b"legacy"),
        content(Coding::Other("zstd".into()), Some("a/b"), b"\0\xff"),
    ];
    for content in &contents {
        let request = Enqueue {
            content: content.clone(),
            topic: topic(&format!("t{}", content.body.len())),
            urgency: Urgency::High,
            key: (!content.body.is_empty()).then_some(KeyDigest([5; 32])),
            sealed_by: KeyId(content.body.len() as u8),
            ..enqueue(1, 1, b"")
        };
        rig.stored(request).await;
    }
    let page = rig.attached(1, seat(1)).await;
    for (message, content) in page.messages.iter().zip(&contents) {
        assert_eq!(&message.content, content);
        assert_eq!(message.urgency, Urgency::High);
        let key = message.key.as_deref().copied();
        assert_eq!(key, (!content.body.is_empty()).then_some(KeyDigest([5; 32])));
        assert_eq!(message.sealed_by, KeyId(content.body.len() as u8));
        assert_eq!(message.subscription, subscription(1));
        assert_eq!(message.accepted_at_ms, super::rig::START_US / 1_000);
    }
    assert_eq!(page.messages.len(), contents.len());
}

fn aesgcm() -> Coding {
    Coding::Aesgcm {
        encryption: "salt=c2FsdA".into(),
        crypto_key: "dh=ZGg".into(),
    }
}

fn content(coding: Coding, media_type: Option<&str>, body: &[u8]) -> Content {
    Content {
        coding,
        media_type: media_type.map(Into::into),
        body: Bytes::copy_from_slice(body),
    }
}

/// PR-7, PR-30: a number is above the one before it, and close to the time, even if the clock stands still or is set back.
pub(crate) async fn numbers_rise_even_when_the_clock_stands_or_falls(rig: &Rig) {
    let start_us = super::rig::START_US;
    rig.subscribed(1, 1).await;
    let first = rig.stored(enqueue(1, 1, b"a")).await;
    let second = rig.stored(enqueue(1, 1, b"b")).await;
    rig.clock.step_wall_to(start_us - 1_000_000);
    let third = rig.stored(enqueue(1, 1, b"c")).await;
    rig.clock.step_wall_to(start_us + 5_000);
    let fourth = rig.stored(enqueue(1, 1, b"d")).await;
    let numbers = [first, second, third, fourth].map(|id| id.number.0);
    assert_eq!(numbers, [start_us, start_us + 1, start_us + 2, start_us + 5_000]);
}

/// PR-6: an id with the right number and a wrong nonce names no message.
pub(crate) async fn only_the_whole_id_names_a_message(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let id = rig.stored(enqueue(1, 1, b"a")).await;
    let stranger = MessageId {
        nonce: id.nonce ^ 1,
        ..id
    };
    assert_eq!(rig.acknowledged(1, &[stranger]).await, [false]);
    assert_eq!(rig.waiting(1).await, [id]);
}

/// PR-18: any session can acknowledge a message. A second acknowledgement finds nothing, and the message never comes back.
pub(crate) async fn an_acknowledgement_is_idempotent_and_final(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let a = rig.stored(enqueue(1, 1, b"a")).await;
    let b = rig.stored(enqueue(1, 1, b"b")).await;
    let c = rig.stored(enqueue(1, 1, b"c")).await;
    assert_eq!(rig.acknowledged(1, &[b, a, b]).await, [true, true, false]);
    assert_eq!(rig.acknowledged(1, &[a, b]).await, [false, false]);
    assert_eq!(rig.acknowledged(2, &[c]).await, [false]);
    assert_eq!(rig.waiting(1).await, [c]);
}

/// PR-16: a page is bounded in messages and bytes, has at least one message, and says where the next page starts.
pub(crate) async fn a_page_is_bounded_and_says_where_it_ends(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let mut sent = Vec::new();
    for n in 0..5_u8 {
        sent.push(rig.stored(enqueue(1, 1, &[n; 100])).await);
    }
    rig.attached(1, seat(1)).await;
    let by_count = PageRequest {
        messages: 2,
        ..everything()
    };
    let page = rig.page(1, seat(1), by_count).await;
    assert_eq!(
        (ids(&page), page.upto, page.more),
        (sent[..2].to_vec(), sent[1].number, true)
    );
    let by_bytes = |bytes| PageRequest {
        after: sent[1].number,
        bytes,
        ..everything()
    };
    let page = rig.page(1, seat(1), by_bytes(1)).await;
    assert_eq!((ids(&page), page.more), (sent[2..3].to_vec(), true));
    let page = rig.page(1, seat(1), by_bytes(299)).await;
    assert_eq!((ids(&page), page.more), (sent[2..4].to_vec(), true));
    let page = rig.page(1, seat(1), by_bytes(300)).await;
    assert_eq!(
        (ids(&page), page.upto, page.more),
        (sent[2..].to_vec(), sent[4].number, false)
    );
}

/// PR-22: messages below the lowest urgency stay, and the page says the last number of the whole queue.
pub(crate) async fn a_page_skips_what_is_not_urgent_enough(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let with = |urgency, body: &[u8]| Enqueue {
        urgency,
        ..enqueue(1, 1, body)
    };
    let high = rig.stored(with(Urgency::High, b"high")).await;
    rig.stored(with(Urgency::VeryLow, b"very-low")).await;
    let normal = rig.stored(with(Urgency::Normal, b"normal")).await;
    let low = rig.stored(with(Urgency::Low, b"low")).await;
    let urgent = PageRequest {
        minimum: Urgency::Normal,
        ..everything()
    };
    let page = rig.page(1, seat(1), urgent).await;
    assert_eq!((ids(&page), page.more), (vec![high, normal], false));
    assert_eq!(page.upto, low.number);
}

/// PR-15: a page is about one subscription, or about all but some.
pub(crate) async fn a_page_keeps_to_its_scope(rig: &Rig) {
    let mut sent = Vec::new();
    for n in [1, 2, 3] {
        rig.subscribed(1, n).await;
        sent.push(rig.stored(enqueue(1, n, &[n])).await);
    }
    let with = |scope| PageRequest {
        scope,
        ..everything()
    };
    let only = with(Scope::These(vec![subscription(2)]));
    assert_eq!(ids(&rig.page(1, seat(1), only).await), [sent[1]]);
    let all_but = with(Scope::AllBut(vec![subscription(1), subscription(2)]));
    assert_eq!(ids(&rig.page(1, seat(1), all_but).await), [sent[2]]);
    let unknown = with(Scope::These(vec![subscription(9)]));
    let page = rig.page(1, seat(1), unknown).await;
    assert_eq!((ids(&page), page.upto), (vec![], sent[2].number));
}

/// R30-TOP-3, R30-TOP-4, R30-TOP-6: a message replaces the waiting one of its topic; body, TTL and urgency are those of the new
/// one.
pub(crate) async fn a_message_replaces_the_one_of_its_topic(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let with = |body: &[u8], urgency| Enqueue {
        topic: topic("news"),
        urgency,
        ..enqueue(1, 1, body)
    };
    rig.stored(with(b"old", Urgency::High)).await;
    let other = rig.stored(enqueue(1, 1, b"other")).await;
    let answer = rig.storage.enqueue(with(b"new", Urgency::Low)).await.unwrap();
    assert!(matches!(
        answer,
        Enqueued::Stored {
            replaced: true,
            evicted: 0,
            expired: 0,
            ..
        }
    ));
    let page = rig.attached(1, seat(1)).await;
    assert_eq!(bodies(&page.messages), [&b"other"[..], b"new"]);
    assert_eq!(page.messages[1].urgency, Urgency::Low);
    assert_eq!(page.messages[0].id, other);

    rig.acknowledged(1, &ids(&page)).await;
    let first = rig.storage.enqueue(with(b"x", Urgency::Low)).await.unwrap();
    assert!(matches!(first, Enqueued::Stored { replaced: false, .. }));
}

/// R30-TOP-2: topics are compared within one subscription, character by character.
pub(crate) async fn topics_do_not_reach_across_subscriptions(rig: &Rig) {
    rig.subscribed(1, 1).await;
    rig.subscribed(1, 2).await;
    let mut sent = Vec::new();
    for (n, text) in [(1, "a"), (2, "a"), (1, "A"), (1, "aa")] {
        let request = Enqueue {
            topic: topic(text),
            ..enqueue(1, n, text.as_bytes())
        };
        sent.push(rig.stored(request).await);
    }
    assert_eq!(rig.waiting(1).await, sent);
}

/// R30-TOP-8: a message without a topic never replaces and is never replaced.
pub(crate) async fn a_message_without_topic_replaces_nothing(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let with_topic = Enqueue {
        topic: topic("a"),
        ..enqueue(1, 1, b"1")
    };
    let sent = [
        rig.stored(enqueue(1, 1, b"0")).await,
        rig.stored(with_topic).await,
        rig.stored(enqueue(1, 1, b"2")).await,
    ];
    assert_eq!(rig.waiting(1).await, sent);
}

/// R30-TOP-5: the acknowledgement of a message that was replaced finds nothing.
pub(crate) async fn a_replaced_message_cannot_be_acknowledged(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let with = |body: &[u8]| Enqueue {
        topic: topic("a"),
        ..enqueue(1, 1, body)
    };
    let old = rig.stored(with(b"old")).await;
    let new = rig.stored(with(b"new")).await;
    assert_eq!(rig.acknowledged(1, &[old]).await, [false]);
    assert_eq!(rig.waiting(1).await, [new]);
}

/// R30-TOP-9: of many pushes with one topic at the same time, one message is left.
pub(crate) async fn concurrent_messages_of_one_topic_leave_one(rig: &Rig) {
    rig.subscribed(1, 1).await;
    let pushes = (0..20_u8).map(|n| {
        rig.stored(Enqueue {
            topic: topic("a"),
            ..enqueue(1, 1, &[n])
        })
    });
    let newest = join_all(pushes).await.into_iter().max().unwrap();
    assert_eq!(rig.waiting(1).await, [newest]);
    let share = rig.storage.inspect(user_agent(1)).await.unwrap().unwrap();
    assert_eq!((share.messages, share.subscriptions[0].messages), (1, 1));
}

/// The gauges are equal to what waits.
pub(crate) async fn gauges_follow_the_queue(rig: &Rig) {
    for agent in [1, 2] {
        rig.subscribed(agent, 1).await;
    }
    let id = rig.stored(enqueue(1, 1, &[0; 50])).await;
    rig.stored(enqueue(2, 1, &[0; 70])).await;
    let usage = Usage {
        messages: 2,
        bytes: 120 + 2 * MESSAGE_OVERHEAD_BYTES,
        user_agents: 2,
    };
    assert_eq!(rig.usage().await, usage);
    rig.acknowledged(1, &[id]).await;
    rig.advance(Duration::from_secs(86_400));
    rig.storage.expire(10).await.unwrap();
    let usage = rig.usage().await;
    assert_eq!((usage.messages, usage.bytes, usage.user_agents), (0, 0, 2));
    let page = rig.attached(1, seat(1)).await;
    assert_ne!(page.upto, MessageNumber::START);
}
