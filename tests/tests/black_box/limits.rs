//! A peer that asks for more than there is gets a stated answer, and other peers do not pay for it.

use futures_util::future::join_all;
use push_tests::application_server::{Http, Push};
use push_tests::frames::{RawWebSocket, opcode};
use push_tests::node::Node;
use push_tests::settings::Settings;
use push_tests::user_agent::UserAgent;
use push_tests::vapid::Signer;
use push_tests::{payload, within};

/// PR-24, RFC 8030 §8.4: a subscription that is sent to too often answers 429 and when to try again; another one of the same
/// user agent is not affected.
#[tokio::test]
async fn too_many_pushes_are_told_to_wait() {
    let settings = Settings::new()
        .set("limits.pushes_per_second", 0.01)
        .set("limits.pushes_burst", 2);
    let node = Node::start(settings).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    let busy = agent.subscribe(None).await;
    let calm = agent.subscribe(None).await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    for text in ["first", "second"] {
        server.accepts(&Push::new(&busy.push_resource, text)).await;
        agent.receives(text).await;
    }
    let refused = server.push(&Push::new(&busy.push_resource, "third")).await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    let later: u32 = refused
        .header("retry-after")
        .parse()
        .expect("Retry-After in seconds");
    assert!((1..=100).contains(&later), "{later}");
    server.accepts(&Push::new(&calm.push_resource, "calm")).await;
    agent.receives("calm").await;
}

/// PR-23: a full queue gives up the least urgent and then the oldest message of the subscription that has the most, and
/// refuses a newcomer that would be the victim itself; subscriptions are never the price.
#[tokio::test]
async fn a_full_queue_gives_up_by_rule() {
    let node = Node::start(Settings::new().set("limits.queue_messages", 3)).await;
    let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
    let modest = agent.subscribe(None).await;
    let greedy = agent.subscribe(None).await;
    agent.leave().await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    let mut sends = async |to: &str, text: &str, urgency: &str| {
        let push = Push::new(to, text).header("urgency", urgency);
        server.push(&push).await
    };
    sends(&modest.push_resource, "modest", "low").await;
    sends(&greedy.push_resource, "greedy 1", "normal").await;
    sends(&greedy.push_resource, "greedy 2", "normal").await;
    let kept = sends(&greedy.push_resource, "greedy 3", "high").await;
    assert_eq!(kept.status, 201, "{}", kept.text());
    let refused = sends(&greedy.push_resource, "greedy 4", "low").await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert_ne!(refused.header("retry-after"), "");

    let (mut agent, again) = UserAgent::arrive(&node.connector(), Some(&uaid)).await;
    assert_eq!(again, uaid);
    for text in ["modest", "greedy 2", "greedy 3"] {
        let arrived = agent.notification().await;
        assert_eq!(arrived.text().as_deref(), Some(text));
        agent.acknowledge_and_settle(&arrived).await;
    }
    assert_eq!(sends(&greedy.push_resource, "greedy 5", "low").await.status, 201);
    agent.receives("greedy 5").await;
}

/// PR-42, R30-MSG-8: an application server over its cap gets 429 and is told when to come back, however many subscriptions it
/// pushes to. Another one goes on. Metrics name the reason and no sender.
#[tokio::test]
async fn a_sender_with_too_much_waiting_is_told_to_wait() {
    let settings = Settings::new()
        .set("limits.queue_bytes", 8_192)
        .set("limits.sender_bytes", 40_000);
    let node = Node::start(settings).await;
    let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
    let mine = agent.subscribe(None).await;
    agent.leave().await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    let hostile = Signer::generate().authorization(node.public_url());
    let mut refused = 0;
    for _ in 0..20 {
        let (mut other, _) = UserAgent::arrive(&node.connector(), None).await;
        let subscription = other.subscribe(None).await;
        other.leave().await;
        let push = Push::new(&subscription.push_resource, "").body(vec![0; 4_000]);
        let answer = server.push(&push.header("authorization", &hostile)).await;
        match answer.status.as_u16() {
            201 => assert_eq!(refused, 0, "room from nowhere"),
            429 => {
                assert_eq!(answer.header("retry-after"), "300");
                assert!(
                    answer.text().contains("Too many bytes of your messages wait"),
                    "{}",
                    answer.text()
                );
                refused += 1;
            }
            other => panic!("{other}: {}", answer.text()),
        }
    }
    // 40,000 bytes hold nine messages of 4,000 and 128.
    assert_eq!(refused, 11);
    let honest = Signer::generate().authorization(node.public_url());
    for sender in [Some(&honest), None] {
        let mut push = Push::new(&mine.push_resource, "honest");
        if let Some(authorization) = sender {
            push = push.header("authorization", authorization);
        }
        let answer = server.push(&push).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    let metrics = node.ask_admin("/metrics").await.text();
    assert!(
        metrics.contains("requests_refused_total{reason=\"sender_full\"} 11"),
        "{metrics}"
    );
    let (mut agent, _) = UserAgent::arrive(&node.connector(), Some(&uaid)).await;
    agent.receives("honest").await;
}

/// PR-42, PR-43: a full store answers 503 and says when to come back. It takes urgent messages longest, keeps what waits, and has
/// room again when messages are fetched.
#[tokio::test]
async fn a_full_store_refuses_the_least_urgent_first() {
    let settings = Settings::new()
        .set("limits.queue_bytes", 100_000)
        .set("limits.store_bytes", 100_000);
    let node = Node::start(settings).await;
    let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    agent.leave().await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    let mut sends = async |urgency: &str| {
        let push = Push::new(&subscription.push_resource, "").body(vec![0; 872]);
        server.push(&push.header("urgency", urgency)).await
    };
    let mut stored = 0;
    for (urgency, upto) in [("very-low", 85), ("low", 90), ("normal", 95), ("high", 100)] {
        let refused = loop {
            let answer = sends(urgency).await;
            if answer.status != 201 {
                break answer;
            }
            stored += 1;
        };
        assert_eq!(stored, upto, "{urgency}");
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert_eq!(refused.header("retry-after"), "120");
    }
    let metrics = node.ask_admin("/metrics").await.text();
    for line in [
        "requests_refused_total{reason=\"store_full\"} 4",
        "push_service_queue_bytes 100000",
        "push_service_queue_messages 100",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let (mut agent, _) = UserAgent::arrive(&node.connector(), Some(&uaid)).await;
    for _ in 0..15 {
        let arrived = agent.notification().await;
        agent.acknowledge(&arrived).await;
    }
    let last = agent.notification().await;
    agent.acknowledge_and_settle(&last).await;
    assert_eq!(sends("very-low").await.status, 201);
}

/// Beyond the limit, in all or from one address, connections are turned away; when one
/// leaves, the next comes in.
#[tokio::test]
async fn too_many_connections_are_turned_away() {
    for limit in ["limits.connections", "limits.connections_per_address"] {
        let node = Node::start(Settings::new().set(limit, 3)).await;
        let mut inside = Vec::new();
        for _ in 0..3 {
            inside.push(UserAgent::arrive(&node.connector(), None).await.0);
        }
        let turned_away = within(
            "the fourth is answered",
            UserAgent::try_connect(&node.connector(), "/"),
        )
        .await;
        assert!(turned_away.is_err(), "{limit}: a fourth connection was let in");
        inside.pop().unwrap().leave().await;
        // The service learns of the end a moment after its peer.
        let next = async {
            while UserAgent::try_connect(&node.connector(), "/").await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        within("another one is let in", next).await;
    }
}

/// PR-44: a node with too few descriptors takes fewer connections, and says so. A peer that tries to hold twice as
/// many stops neither the store nor a probe. The soft limit is raised to the hard one.
#[tokio::test]
async fn connections_leave_descriptors_for_the_rest() {
    let node = Node::start(Settings::new().open_files(64, 320)).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    let subscribed = agent.subscribe(None).await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..400 {
        held.push(
            tokio::net::TcpStream::connect(node.connector().address)
                .await
                .unwrap(),
        );
    }
    for n in 0..200 {
        let text = format!("message {n}");
        let answer = server.push(&Push::new(&subscribed.push_resource, &text)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        agent.receives(&text).await;
    }
    assert_eq!(node.ask_admin("/healthz").await.status, 200);
    let status = node.ask_admin("/status").await.text();
    assert!(
        status.contains("limits.connections is lowered from 100000"),
        "{status}"
    );
    assert!(
        node.log()
            .text()
            .contains("limits.connections is lowered from 100000")
    );
    let refused = Node::refused(Settings::new().open_files(64, 128)).await;
    assert!(
        refused
            .said
            .contains("the limit of open files is too low: it is 128"),
        "{}",
        refused.said
    );
}

/// A user agent has at most so many subscriptions; the rest keep working.
#[tokio::test]
async fn too_many_subscriptions_are_refused() {
    let node = Node::start(Settings::new().set("limits.subscriptions_per_user_agent", 2)).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    let first = agent.subscribe(None).await;
    agent.subscribe(None).await;
    let refused = agent.register(&push_tests::user_agent::new_name(), None).await;
    assert_ne!(refused["status"], 200, "{refused}");
    assert!(refused["pushEndpoint"].is_string(), "{refused}");
    let mut server = Http::connect(&node.connector()).await.unwrap();
    server
        .accepts(&Push::new(&first.push_resource, "still there"))
        .await;
    agent.receives("still there").await;
}

/// PR-16: user agents that never read cost the service a bounded few kilobytes, however much is sent to
/// them, and others go on receiving.
#[tokio::test]
async fn who_never_reads_costs_little() {
    const SILENT: usize = 20;
    const MESSAGES: usize = 60;
    let node = Node::start(Settings::new()).await;
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        let mut socket = RawWebSocket::connect(&node.connector()).await.unwrap();
        socket
            .send(opcode::TEXT, br#"{"messageType":"hello","use_webpush":true}"#)
            .await
            .unwrap();
        socket.receive().await.unwrap();
        let name = push_tests::user_agent::new_name();
        let register = format!(r#"{{"messageType":"register","channelID":"{name}"}}"#);
        socket.send(opcode::TEXT, register.as_bytes()).await.unwrap();
        let (_, reply) = socket.receive().await.unwrap();
        let reply: serde_json::Value = serde_json::from_slice(&reply).unwrap();
        silent.push((socket, reply["pushEndpoint"].as_str().unwrap().to_owned()));
    }
    let before = node.resident_bytes();
    let connector = node.connector();
    let senders = silent.iter().map(async |(_, push_resource)| {
        let mut server = Http::connect(&connector).await.unwrap();
        for _ in 0..MESSAGES {
            let push = Push::new(push_resource, "").body(payload::body_of("x", 5_000));
            server.accepts(&push).await;
        }
    });
    join_all(senders).await;
    let (mut reader, _) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = reader.subscribe(None).await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    server
        .push(&Push::new(&subscription.push_resource, "to one who reads"))
        .await;
    reader.receives("to one who reads").await;
    // What was stored stays in the store's own memory for a while: up to its write buffer, not per user agent.
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(
        grown < 48 << 20,
        "{SILENT} user agents that never read took {grown} bytes"
    );
}
