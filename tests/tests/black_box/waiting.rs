//! Messages that wait: stored while their user agent is away, replaced, expired, cancelled, and there after a crash.

use std::time::Duration;

use push_tests::application_server::{Http, Push};
use push_tests::node::Node;
use push_tests::settings::Settings;
use push_tests::user_agent::{Subscription, UserAgent};

/// A user agent that has a subscription and is away.
struct Absent {
    node: Node,
    uaid: String,
    subscription: Subscription,
    server: Http,
}

impl Absent {
    async fn with(settings: Settings) -> Self {
        let node = Node::start(settings).await;
        let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
        let subscription = agent.subscribe(None).await;
        agent.leave().await;
        let server = Http::connect(&node.connector()).await.expect("the node listens");
        Self {
            node,
            uaid,
            subscription,
            server,
        }
    }

    fn message(&self, text: &str) -> Push {
        Push::new(&self.subscription.push_resource, text)
    }

    async fn accepts(&mut self, push: &Push) {
        self.server.accepts(push).await;
    }

    async fn returns(&self) -> UserAgent {
        let (agent, uaid) = UserAgent::arrive(&self.node.connector(), Some(&self.uaid)).await;
        assert_eq!(uaid, self.uaid);
        agent
    }
}

/// WS-HEL-12, PR-4: what was sent while a user agent was away follows its hello at once, in the order of acceptance.
#[tokio::test]
async fn what_waited_arrives_in_order() {
    let mut absent = Absent::with(Settings::new()).await;
    for number in 0..5 {
        absent.accepts(&absent.message(&format!("{number}"))).await;
    }
    let mut agent = absent.returns().await;
    for number in 0..5 {
        agent.receives(&format!("{number}")).await;
    }
}

/// RFC 8030 §5.4: a message takes the place of the one with its topic that waits; one of another topic stays.
#[tokio::test]
async fn a_topic_replaces_what_waits() {
    let mut absent = Absent::with(Settings::new()).await;
    absent
        .accepts(&absent.message("old").header("topic", "weather"))
        .await;
    absent
        .accepts(&absent.message("other").header("topic", "mail"))
        .await;
    absent
        .accepts(&absent.message("new").header("topic", "weather"))
        .await;
    let mut agent = absent.returns().await;
    agent.receives("other").await;
    agent.receives("new").await;
    absent.accepts(&absent.message("last")).await;
    agent.receives("last").await;
}

/// WS-ACK-8, PR-21: a message with TTL 0 reaches a user agent that is there, once, and is nowhere for one that is away.
#[tokio::test]
async fn ttl_0_is_now_or_never() {
    let mut absent = Absent::with(Settings::new()).await;
    let answer = absent
        .server
        .push(&absent.message("it is not connected").ttl(0))
        .await;
    assert_eq!((answer.status.as_u16(), answer.header("ttl")), (201, "0"));
    absent.accepts(&absent.message("stored")).await;
    let mut agent = absent.returns().await;
    agent.receives("stored").await;
    absent.accepts(&absent.message("now").ttl(0)).await;
    assert_eq!(agent.notification().await.text().as_deref(), Some("now"));
    agent.leave().await;
    absent.accepts(&absent.message("afterwards")).await;
    absent.returns().await.receives("afterwards").await;
}

/// WS-ACK-9, RFC 8030 §5.2: a message whose time is over is not delivered.
#[tokio::test]
async fn an_expired_message_stays_away() {
    let mut absent = Absent::with(Settings::new()).await;
    absent.accepts(&absent.message("short-lived").ttl(1)).await;
    absent.accepts(&absent.message("long-lived")).await;
    // The event waited for is the passing of time itself.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    absent.returns().await.receives("long-lived").await;
}

/// RFC 8030 §5.2, WP-3: a TTL beyond the limit is clamped, and the sender is told.
#[tokio::test]
async fn a_long_ttl_is_clamped() {
    let mut absent = Absent::with(Settings::new()).await;
    for ttl in ["2592001", "2147483648", "99999999999999999999"] {
        let answer = absent.server.push(&absent.message("x").header("ttl", ttl)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("ttl")),
            (201, "2592000"),
            "{ttl}"
        );
    }
}

/// PR-26, WP-11: the sender cancels a message that waits; doing so twice is no error.
#[tokio::test]
async fn a_sender_cancels_what_waits() {
    let mut absent = Absent::with(Settings::new()).await;
    let answer = absent.server.push(&absent.message("regretted")).await;
    for _ in 0..2 {
        let deleted = absent.server.delete(answer.header("location")).await;
        assert_eq!(deleted.expect("an answer").status, 204);
    }
    absent.accepts(&absent.message("meant")).await;
    absent.returns().await.receives("meant").await;
}

/// WS-ACK-5, R30-ACK-5, PR-4: what is not acknowledged comes again on the next connection, with the same id.
#[tokio::test]
async fn what_was_not_acknowledged_comes_again() {
    let mut absent = Absent::with(Settings::new()).await;
    absent.accepts(&absent.message("again and again")).await;
    let mut agent = absent.returns().await;
    let first = agent.notification().await;
    agent.leave().await;
    let mut agent = absent.returns().await;
    assert_eq!(agent.notification().await, first);
    agent.acknowledge_and_settle(&first).await;
    agent.leave().await;
    absent.accepts(&absent.message("next")).await;
    absent.returns().await.receives("next").await;
}

/// PR-1, PR-27, PR-28: identity, subscriptions, their URLs and what waits survive SIGKILL, and a stop as well.
#[tokio::test]
async fn everything_confirmed_survives_a_restart() {
    let mut absent = Absent::with(Settings::new().set("drain.delay", "0s")).await;
    for (number, gently) in [(1, false), (2, true), (3, false)] {
        absent
            .accepts(&absent.message(&format!("before restart {number}")))
            .await;
        if gently {
            absent.node.terminate();
            let (status, log) = absent.node.ended().await;
            assert!(status.success(), "{status}: {}", log.text());
        } else {
            absent.node.kill().await;
        }
        absent.node.start_again().await;
        absent.server = Http::connect(&absent.node.connector()).await.unwrap();
        let mut agent = absent.returns().await;
        let arrived = agent.notification().await;
        assert_eq!(arrived.text(), Some(format!("before restart {number}")));
        agent.acknowledge_and_settle(&arrived).await;
        agent.leave().await;
    }
}

/// PR-1: an ended subscription stays ended after SIGKILL.
#[tokio::test]
async fn an_end_survives_a_restart() {
    let mut absent = Absent::with(Settings::new()).await;
    let mut agent = absent.returns().await;
    agent.unsubscribe(&absent.subscription.name).await;
    absent.node.kill().await;
    absent.node.start_again().await;
    let mut server = Http::connect(&absent.node.connector()).await.unwrap();
    assert_eq!(server.push(&absent.message("too late")).await.status, 410);
}

/// WS-REG-8, V-RES-7, PR-9: registering a known name again keeps the subscription: the old URL goes on working, another key gives
/// another URL.
#[tokio::test]
async fn registering_again_keeps_the_subscription() {
    let mut absent = Absent::with(Settings::new()).await;
    let mut agent = absent.returns().await;
    let name = absent.subscription.name.clone();
    let again = agent.subscribe_as(&name, None).await;
    let key = push_tests::vapid::Signer::generate().public_key();
    let restricted = agent.subscribe_as(&name, Some(&key)).await;
    assert_ne!(restricted.push_resource, again.push_resource);
    for push_resource in [&absent.subscription.push_resource, &again.push_resource] {
        assert_eq!(
            absent
                .server
                .push(&Push::new(push_resource, "known"))
                .await
                .status,
            201
        );
        agent.receives("known").await;
    }
}

/// WS-HEL-1, PR-8: unknown, malformed, empty and missing identities are given a fresh one, never the one that was sent.
#[tokio::test]
async fn an_unknown_identity_is_replaced() {
    let node = Node::start(Settings::new()).await;
    for sent in ["", "0123456789abcdef0123456789abcdef", "not hexadecimal", "0123"] {
        let (_agent, given) = UserAgent::arrive(&node.connector(), Some(sent)).await;
        assert_eq!(given.len(), 32);
        assert_ne!(given, sent);
    }
    let mut agent = UserAgent::connect(&node.connector()).await;
    agent
        .send(&serde_json::json!({"messageType": "hello", "uaid": null}))
        .await;
    assert_eq!(agent.reply("hello").await["status"], 200);
}

/// WS-HEL-11, PR-10: a user agent that connects twice keeps the newer channel; the older one is closed and told why.
#[tokio::test]
async fn the_newer_channel_wins() {
    let mut absent = Absent::with(Settings::new()).await;
    let mut older = absent.returns().await;
    let mut newer = absent.returns().await;
    assert_eq!(older.closed().await.code, 1011);
    absent.accepts(&absent.message("to the newer one")).await;
    newer.receives("to the newer one").await;
}
