//! Attacks from outside that belong to no single kind of peer. docs/attacks.md lists all of them with their tests.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use push_tests::application_server::{Http, Push};
use push_tests::connector::Connector;
use push_tests::node::Node;
use push_tests::settings::Settings;
use push_tests::user_agent::UserAgent;
use push_tests::within;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// PR-6, PR-18: an acknowledgement counts for messages of one's own user agent alone. Acknowledging another user
/// agent's message, an invented message, or the same message repeatedly changes nothing for other user agents.
#[tokio::test]
async fn acknowledgements_count_for_ones_own_messages() {
    let node = Node::start(Settings::new()).await;
    let (mut victim, uaid) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = victim.subscribe(None).await;
    let (mut attacker, _) = UserAgent::arrive(&node.connector(), None).await;
    let own = attacker.subscribe(None).await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    server
        .accepts(&Push::new(&subscription.push_resource, "kept"))
        .await;
    let message = victim.notification().await;
    server.accepts(&Push::new(&own.push_resource, "own")).await;
    let mine = attacker.notification().await;

    let ack = |name: &str, version: &str| {
        let update = json!({"channelID": name, "version": version, "code": 100});
        json!({"messageType": "ack", "updates": [update]})
    };
    for name in [&message.name, &mine.name] {
        attacker.send(&ack(name, &message.version)).await;
    }
    attacker.send(&ack(&mine.name, "AAAAAAAAAAAAAAAAAAAAAA")).await;
    for _ in 0..20 {
        attacker.send(&ack(&mine.name, &mine.version)).await;
    }
    attacker.ping().await;
    victim.leave().await;
    let (mut victim, again) = UserAgent::arrive(&node.connector(), Some(&uaid)).await;
    assert_eq!(again, uaid);
    victim.receives("kept").await;
}

/// PR-4, PR-7: if senders push to one subscription at the same moment, each message is delivered once, and each
/// sender's messages in their order.
#[tokio::test]
async fn senders_at_the_same_moment() {
    const SENDERS: usize = 8;
    const EACH: usize = 10;
    let node = Node::start(Settings::new()).await;
    let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    agent.leave().await;
    let sending = (0..SENDERS).map(|sender| {
        let (connector, push_resource) = (node.connector(), subscription.push_resource.clone());
        async move {
            let mut server = Http::connect(&connector).await.unwrap();
            for nth in 0..EACH {
                let push = Push::new(&push_resource, &format!("{sender} {nth}"));
                server.accepts(&push).await;
            }
        }
    });
    join_all(sending).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), Some(&uaid)).await;
    let mut next = [0; SENDERS];
    for _ in 0..SENDERS * EACH {
        let arrived = agent.notification().await;
        let text = arrived.text().unwrap();
        let (sender, nth) = text.split_once(' ').unwrap();
        let (sender, nth): (usize, usize) = (sender.parse().unwrap(), nth.parse().unwrap());
        assert_eq!(nth, next[sender], "of sender {sender}");
        next[sender] += 1;
        agent.acknowledge(&arrived).await;
    }
    assert_eq!(next, [EACH; SENDERS]);
}

/// PR-23: a new topic with each message takes no more room than messages without one: the queue's budget holds.
#[tokio::test]
async fn a_flood_of_topics_is_a_full_queue() {
    let node = Node::start(Settings::new().set("limits.queue_messages", 5)).await;
    let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    agent.leave().await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    for nth in 0..40 {
        let push = Push::new(&subscription.push_resource, &nth.to_string());
        let answer = server.push(&push.header("topic", &format!("topic-{nth}"))).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    let (mut agent, _) = UserAgent::arrive(&node.connector(), Some(&uaid)).await;
    for nth in 35..40 {
        let arrived = agent.notification().await;
        assert_eq!(arrived.text(), Some(nth.to_string()));
        agent.acknowledge(&arrived).await;
    }
}

/// Text from peers never becomes a label of a metric: labels come from closed sets.
#[tokio::test]
async fn labels_do_not_grow_with_what_peers_say() {
    let node = Node::start(Settings::new()).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let before = series(&node).await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    for nth in 0..20 {
        let odd = format!("odd-{nth}");
        for field in [
            "topic",
            "urgency",
            "content-encoding",
            "user-agent",
            "ttl",
            "prefer",
            "authorization",
        ] {
            let push = Push::new(&subscription.push_resource, "x");
            server.push(&push.header(field, &odd)).await;
        }
        server
            .push(&Push::new(&format!("{}/{odd}/x", node.public_url()), "x"))
            .await;
        let text = format!(
            "{} /{odd} HTTP/1.1\r\nhost: {odd}\r\nconnection: close\r\n\r\n",
            odd.to_uppercase()
        );
        said_and_heard(&node.connector(), text.as_bytes()).await;
    }
    agent
        .send(&json!({"messageType": "nack", "code": 12_345, "version": "odd"}))
        .await;
    agent.send(&json!({"messageType": "odd"})).await;
    agent.closed().await;
    let new: Vec<_> = series(&node).await.difference(&before).cloned().collect();
    assert!(new.is_empty(), "{new:?}");
}

/// The names of all metrics, with their labels.
async fn series(node: &Node) -> BTreeSet<String> {
    let text = node.ask_admin("/metrics").await.text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' ').map(|(name, _)| name.to_owned()))
        .collect()
}

/// R30-SEC-7: text from peers never makes a line in the log: each line is one JSON object that the service wrote.
#[tokio::test]
async fn peers_write_no_lines_into_the_log() {
    const FORGED: &str = r#"{"level":"ERROR","fields":{"message":"forged"},"message":"forged"}"#;
    let mut node = Node::start(Settings::new().environment("PUSH_SERVICE_LOG", "trace")).await;
    let line = format!("x\n{FORGED}\n");
    for request in [
        format!(
            "GET /{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            line.replace(' ', "")
        ),
        format!("POST /wpush/v2/x HTTP/1.1\r\nhost: x\r\nuser-agent: {FORGED}\r\ntopic: {FORGED}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: {line}\r\n\r\n"),
        format!("{line}{line}\r\n\r\n"),
        format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{line}"),
    ] {
        said_and_heard(&node.connector(), request.as_bytes()).await;
    }
    for message in [
        json!({"messageType": line}),
        json!({"messageType": "register", "channelID": line, "key": line}),
    ] {
        let mut agent = UserAgent::connect(&node.connector()).await;
        agent.send(&message).await;
        agent.closed().await;
    }
    let mut agent = UserAgent::connect(&node.connector()).await;
    agent
        .send(&json!({"messageType": "hello", "use_webpush": true, "uaid": line}))
        .await;
    agent.reply("hello").await;
    node.terminate();
    let (_, log) = node.ended().await;
    let text = log.text();
    assert!(text.lines().count() > 1);
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no record: {line}"));
        let message = record["fields"].get("message").or(record.get("message"));
        assert_ne!(message, Some(&json!("forged")), "{line}");
    }
}

/// Sends this on its own connection, and reads until the service closes it or is silent for a moment.
async fn said_and_heard(connector: &Connector, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(connector.address)
        .await
        .expect("the node listens");
    // The service may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut heard = Vec::new();
    let _ = within("the service closes", stream.read_to_end(&mut heard)).await;
    String::from_utf8_lossy(&heard).into_owned()
}
