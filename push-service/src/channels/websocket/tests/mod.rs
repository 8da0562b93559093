//! Whole channels over an in-memory connection: what a user agent sees, whatever storage and its own reading do.

mod budgets;
mod ends;
pub(crate) mod rig;
mod trouble;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use self::rig::{Rig, limits, name};
use crate::defaults;

/// WS-HEL-1, WS-HEL-2, WS-HEL-12, PR-12: a new user agent gets an identity; with it, what waited comes right behind the hello.
#[tokio::test]
async fn hello_and_what_waited() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    let uaid = agent.hello(None).await;
    let subscription = agent.register(1).await;
    agent.close().await;
    rig.push(subscription, b"while away").await;

    let mut agent = rig.connect();
    assert_eq!(agent.hello(Some(&uaid)).await, uaid);
    let message = agent.receive().await;
    assert_eq!(
        (&message["messageType"], &message["data"]),
        (&json!("notification"), &json!("d2hpbGUgYXdheQ"))
    );
}

/// WS-HEL-1: requests may stand in one write with the hello, and are served in order.
#[tokio::test]
async fn requests_in_one_write() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    let hello = json!({"messageType": "hello", "use_webpush": true});
    let register = json!({"messageType": "register", "channelID": name(1)});
    agent.send_together(&[hello, register, json!({})]).await;
    assert_eq!(agent.receive().await["messageType"], "hello");
    assert_eq!(agent.receive().await["messageType"], "register");
    assert_eq!(agent.receive().await, json!({}));
}

/// PR-3, WS-REG-7, WS-UNR-2: trouble with storage is never "unknown": hello is closed with 1013, and register and
/// unregister are answered 500; when it's over, everything is as it was.
#[tokio::test]
async fn trouble_is_not_unknown() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    let uaid = agent.hello(None).await;
    agent.register(1).await;

    rig.storage.trouble(true);
    agent
        .send(&json!({"messageType": "register", "channelID": name(2)}))
        .await;
    let refused = agent.receive().await;
    assert_eq!(
        (&refused["status"], &refused["pushEndpoint"]),
        (&json!(500), &json!(""))
    );
    agent
        .send(&json!({"messageType": "unregister", "channelID": name(1)}))
        .await;
    assert_eq!(agent.receive().await["status"], 500);
    let mut other = rig.connect();
    other.send(&json!({"messageType": "hello", "uaid": uaid})).await;
    assert_eq!(other.closed().await, 1013);

    rig.storage.trouble(false);
    let mut agent = rig.connect();
    assert_eq!(agent.hello(Some(&uaid)).await, uaid);
}

/// PR-4, PR-18: acknowledgements that storage could not take are kept and handed over again.
#[tokio::test(start_paused = true)]
async fn acknowledgements_survive_trouble() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    let subscription = agent.register(1).await;
    rig.push(subscription, b"x").await;
    let message = agent.receive().await;
    rig.storage.trouble(true);
    agent.acknowledge(&message).await;
    agent.ping().await;
    assert_eq!(rig.waiting(), 1);
    rig.storage.trouble(false);
    rig.until(|rig| rig.waiting() == 0).await;
}

/// PR-18: what is acknowledged with the last breath is flushed before the channel is gone.
#[tokio::test]
async fn the_last_acknowledgement_counts() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    let subscription = agent.register(1).await;
    rig.push(subscription, b"x").await;
    let message = agent.receive().await;
    agent.acknowledge(&message).await;
    drop(agent);
    rig.emptied().await;
    assert_eq!(rig.waiting(), 0);
}

/// PR-10, WS-HEL-11: the newer channel of a user agent has it, and the older one closes with 1011.
#[tokio::test]
async fn the_newer_channel_wins() {
    let rig = Rig::new();
    let mut old = rig.connect();
    let uaid = old.hello(None).await;
    let subscription = old.register(1).await;
    let mut new = rig.connect();
    new.hello(Some(&uaid)).await;
    assert_eq!(old.closed().await, 1011);
    rig.push(subscription, b"x").await;
    assert_eq!(new.receive().await["messageType"], "notification");
}

/// WS-NOT-8, UP-SRV-4: the largest body that is accepted arrives whole and unchanged.
#[tokio::test]
async fn the_largest_body() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    let subscription = agent.register(1).await;
    let body: Vec<u8> = (0..defaults::BODY_BYTES).map(|at| (at % 251) as u8).collect();
    rig.push(subscription, &body).await;
    let message = agent.receive().await;
    let data = message["data"].as_str().unwrap();
    assert_eq!(URL_SAFE_NO_PAD.decode(data).unwrap(), body);
}

/// WS-ACK-3, WS-ACK-10: an acknowledgement is answered by nothing, and each message goes by its own: the one between two
/// that were acknowledged comes again.
#[tokio::test]
async fn each_message_is_acknowledged_by_itself() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    let uaid = agent.hello(None).await;
    let subscription = agent.register(1).await;
    let mut messages = Vec::new();
    for body in [b"1", b"2", b"3"] {
        rig.push(subscription, body).await;
        messages.push(agent.receive().await);
    }
    for acknowledged in [2, 0] {
        agent.acknowledge(&messages[acknowledged]).await;
        agent.ping().await;
    }
    agent.close().await;
    let mut agent = rig.connect();
    agent.hello(Some(&uaid)).await;
    assert_eq!(agent.receive().await, messages[1]);
    agent.ping().await;
}

/// WS-ACK-7, PR-23: a backlog, however large, never costs a user agent its identity: all of it comes.
#[tokio::test]
async fn a_backlog_is_delivered() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    let uaid = agent.hello(None).await;
    let subscription = agent.register(1).await;
    agent.close().await;
    for _ in 0..300 {
        rig.push(subscription, b"x").await;
    }
    let mut agent = rig.connect();
    assert_eq!(agent.hello(Some(&uaid)).await, uaid);
    for _ in 0..300 {
        let message = agent.receive().await;
        agent.acknowledge(&message).await;
    }
    rig.until(|rig| rig.waiting() == 0).await;
}

/// WS-CON-3, KU-7, SU-1: a ping frame is answered with its payload, before the hello and after it.
#[tokio::test]
async fn ping_frames_are_answered() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    agent.send_bytes(b"\x89\x82\0\0\0\0hi").await;
    assert_eq!(&agent.receive_bytes::<4>().await, b"\x8a\x02hi");
    agent.hello(None).await;
    agent.send_bytes(b"\x89\x82\0\0\0\0ho").await;
    assert_eq!(&agent.receive_bytes::<4>().await, b"\x8a\x02ho");
}

/// PR-10, PR-11: two channels of one user agent may attach in the other order than they came: the one that stays hears
/// what is sent, without a later word of its own.
#[tokio::test]
async fn the_newer_channel_hears_whatever_the_order() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    let uaid = agent.hello(None).await;
    let subscription = agent.register(1).await;
    agent.close().await;

    let go = rig.storage.attach.next();
    let mut old = rig.connect();
    old.send(&json!({"messageType": "hello", "uaid": uaid})).await;
    rig.until(|rig| rig.storage.attach.has_come()).await;
    let mut new = rig.connect();
    new.hello(Some(&uaid)).await;
    go.send(()).unwrap();
    assert_eq!(old.closed().await, 1011);
    rig.until(|rig| rig.channels() == 1).await;
    rig.push(subscription, b"x").await;
    assert_eq!(new.receive().await["messageType"], "notification");
}

/// PR-16, WS-CLS-2: a hello is answered although others keep every share of the delivery bytes, and what waits comes when
/// there is one.
#[tokio::test]
async fn a_hello_waits_for_no_share() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    let uaid = agent.hello(None).await;
    let subscription = agent.register(1).await;
    agent.close().await;
    rig.push(subscription, b"x").await;
    let all = rig.take_all_shares().await;
    let mut agent = rig.connect();
    agent.hello(Some(&uaid)).await;
    agent.ping().await;
    drop(all);
    assert_eq!(agent.receive().await["messageType"], "notification");
}

/// PR-4: what was acknowledged is not offered again, even if the queue is read from its start right behind.
#[tokio::test]
async fn acknowledged_before_the_next_page() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    let subscription = agent.register(1).await;
    for _ in 0..limits().answer_burst {
        rig.push(subscription, b"x").await;
        let message = agent.receive().await;
        let update = json!({"channelID": message["channelID"], "version": message["version"]});
        let acknowledge = json!({"messageType": "ack", "updates": [update]});
        let urgency = json!({"messageType": "urgency", "min": "low"});
        agent.send_together(&[acknowledge, urgency]).await;
        assert_eq!(agent.receive().await["messageType"], "urgency");
    }
    assert_eq!(rig.waiting(), 0);
}

/// PR-36: a channel that is opened while the last ones leave is closed at once, and holds nothing up.
#[tokio::test(start_paused = true)]
async fn latecomers_of_a_drain() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    rig.drain(Duration::ZERO).await;
    assert_eq!(agent.closed().await, 1001);
    assert_eq!(rig.connect().closed().await, 1001);
}

/// PR-36, WS-REG-9: a register under way when the node leaves is answered before the close.
#[tokio::test]
async fn a_register_under_way_is_answered_first() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    let go = rig.storage.subscribe.next();
    agent
        .send(&json!({"messageType": "register", "channelID": name(1)}))
        .await;
    rig.until(|rig| rig.storage.subscribe.has_come()).await;
    let draining = rig.drain(Duration::ZERO);
    let answered = async {
        tokio::task::yield_now().await;
        go.send(()).unwrap();
        assert_eq!(agent.receive().await["status"], 200);
        assert_eq!(agent.closed().await, 1001);
    };
    tokio::join!(draining, answered);
}

/// PR-16: a user agent that does not read costs a bounded amount, is closed in the end, and loses nothing.
#[tokio::test(start_paused = true)]
async fn one_that_never_reads() {
    let rig = Rig::new();
    let mut agent = rig.connect_with_room(2_000);
    let uaid = agent.hello(None).await;
    let subscription = agent.register(1).await;
    for _ in 0..40 {
        rig.push(subscription, &[b'x'; 1_000]).await;
    }
    rig.emptied().await;
    let mut agent = rig.connect();
    agent.hello(Some(&uaid)).await;
    for _ in 0..40 {
        let message = agent.receive().await;
        agent.acknowledge(&message).await;
    }
    rig.until(|rig| rig.waiting() == 0).await;
}

/// PR-16: a channel that finds nothing to read holds no share of the node's delivery bytes: more channels than there are shares
/// go on together.
#[tokio::test(start_paused = true)]
async fn an_empty_page_holds_nothing() {
    let rig = Rig::new();
    let mut agents = Vec::new();
    for n in 0..rig::DELIVERY_SHARES + 4 {
        let mut agent = rig.connect();
        let uaid = agent.hello(None).await;
        agent.register(n as u8).await;
        agent.close().await;
        let mut agent = rig.connect();
        agent.hello(Some(&uaid)).await;
        agent.send(&json!({"messageType": "urgency", "min": "low"})).await;
        assert_eq!(agent.receive().await["status"], 200);
        agents.push(agent);
    }
}

/// WS-CON-8, WS-CON-5: a silent channel is pinged and then closed; so is a channel without a hello.
#[tokio::test(start_paused = true)]
async fn silence() {
    let rig = Rig::new();
    assert_eq!(rig.connect().closed().await, 1011);
    let mut agent = rig.connect();
    agent.hello(None).await;
    agent.answers_pings(false);
    assert_eq!(agent.closed().await, 1011);
}

/// WS-CON-8: a user agent that answers pings stays for as long as it likes.
#[tokio::test(start_paused = true)]
async fn pings_are_enough() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    let end = tokio::time::Instant::now() + Duration::from_secs(3_600);
    assert!(
        tokio::time::timeout_at(end, agent.receive()).await.is_err(),
        "nothing but pings comes"
    );
    agent.ping().await;
}

/// WS-CON-3, WS-CON-6, WS-TYP-2, WS-HEL-9: each kind of nonsense has its close code, before and after the hello.
#[tokio::test]
async fn nonsense() {
    let rows: &[(&[u8], u16)] = &[
        (b"\x81\x85\0\0\0\0hello", 1011),
        (b"\x81\x82\0\0\0\0[]", 1011),
        (b"\x82\x81\0\0\0\0x", 1003),
        (b"\x81\x82\0\0\0\0\xc3\x28", 1007),
        (b"\x81\xff\0\0\0\0\xff\xff\xff\xff\0\0\0\0", 1009),
        (b"\x81\x05hello", 1002),
        (b"\xf1\x80\0\0\0\0", 1002),
        (b"\x80\x80\0\0\0\0", 1002),
    ];
    let rig = Rig::new();
    for (bytes, code) in rows {
        let mut agent = rig.connect();
        agent.send_bytes(bytes).await;
        assert_eq!(agent.closed().await, *code, "{bytes:x?} first");
        let mut agent = rig.connect();
        agent.hello(None).await;
        agent.send_bytes(bytes).await;
        assert_eq!(agent.closed().await, *code, "{bytes:x?} after hello");
    }
    let mut agent = rig.connect();
    agent.hello(None).await;
    agent.send(&json!({"messageType": "hello"})).await;
    assert_eq!(agent.closed().await, 1011);
}

/// PR-36: drain closes with 1001, after what is on the wire was acknowledged, and gives every seat up.
#[tokio::test(start_paused = true)]
async fn drain() {
    let rig = Rig::new();
    let mut agents = Vec::new();
    for n in 0..10 {
        let mut agent = rig.connect();
        agent.hello(None).await;
        let subscription = agent.register(n).await;
        rig.push(subscription, b"x").await;
        agents.push((agent, subscription));
    }
    let draining = rig.drain(Duration::from_secs(10));
    let closing = async {
        for (agent, _) in &mut agents {
            let message = agent.receive().await;
            agent.acknowledge(&message).await;
            assert_eq!(agent.closed().await, 1001);
        }
    };
    tokio::join!(draining, closing);
    assert_eq!(rig.waiting(), 0);
    assert!(!rig.seated(agents[0].1.user_agent).await);
}

/// PR-5: when storage has failed for good, every channel closes with 1012.
#[tokio::test]
async fn stop() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    let ((), code) = tokio::join!(rig.stop(), agent.closed());
    assert_eq!(code, 1012);
}

/// WS-PNG-3: pings are answered, a flood of them is closed.
#[tokio::test]
async fn a_flood_of_pings() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    for _ in 0..limits().answer_burst {
        agent.ping().await;
    }
    agent.send(&json!({})).await;
    assert_eq!(agent.closed().await, 1008);
}

/// WS-URG-1, SU-5, PR-22, UP-SRV-7: the filter can be set and lowered over the wire.
#[tokio::test]
async fn urgency() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    let subscription = agent.register(1).await;
    agent
        .send(&json!({"messageType": "urgency", "min": "high"}))
        .await;
    assert_eq!(
        agent.receive().await,
        json!({"messageType": "urgency", "status": 200})
    );
    rig.push(subscription, b"normal").await;
    agent
        .send(&json!({"messageType": "urgency", "min": "loud"}))
        .await;
    assert_eq!(
        agent.receive().await,
        json!({"messageType": "urgency", "status": 400})
    );
    agent.send(&json!({"messageType": "urgency", "min": "low"})).await;
    assert_eq!(
        agent.receive().await,
        json!({"messageType": "urgency", "status": 200})
    );
    assert_eq!(agent.receive().await["messageType"], "notification");
}

/// WS-REG-1, WS-REG-2, WS-REG-3, WS-REG-8, WS-REG-11, KU-3, UP-SRV-2, V-RES-9: names and keys in every spelling.
#[tokio::test]
async fn register() {
    const KEY: &str =
        "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";
    let rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    let rows = [
        (name(1), json!(null), 200, "/wpush/v1/"),
        (name(1), json!(KEY), 200, "/wpush/v2/"),
        (name(1), json!(format!("{KEY}=")), 200, "/wpush/v2/"),
        (
            name(1),
            json!(KEY.replace('-', "+").replace('_', "/")),
            200,
            "/wpush/v2/",
        ),
        (name(1), json!("AAAA"), 400, "key must be"),
        (name(0xab).to_uppercase(), json!(null), 400, "channelID must be"),
    ];
    for (name, key, status, part) in rows {
        let mut request = json!({"messageType": "register", "channelID": name});
        if !key.is_null() {
            request["key"] = key;
        }
        agent.send(&request).await;
        let reply = agent.receive().await;
        assert_eq!(
            (&reply["channelID"], &reply["status"]),
            (&json!(name), &json!(status)),
            "{request}"
        );
        let endpoint = reply["pushEndpoint"].as_str().unwrap();
        assert!(endpoint.contains(part) && endpoint.len() <= 1_000, "{endpoint}");
    }
}
