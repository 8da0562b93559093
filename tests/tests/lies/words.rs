//! What the command says, and how it ends, when a service does not do what it should.

use std::time::Duration;

use push_tests::liar::{Answer, Lie, Step, http2, web_socket};
use push_tests::listener::Agent;
use push_tests::node::Node;
use push_tests::settings::Settings;
use push_tests::vapid::Signer;

/// "the command line, or a file that it names, has to be changed"
const USAGE: i32 = 2;
/// "the push service can't be reached, refuses, or didn't answer in time"
const UNREACHABLE: i32 = 4;

/// What the command waits for a service that refuses, in seconds.
const SOON: [&str; 2] = ["--timeout", "2"];

/// What the command says without an explanation of the service.
const NO_WORD: &str = "did not answer";

/// WS-CON-5: what a service says with a refusal of the WebSocket is shown.
#[tokio::test]
async fn the_body_of_a_refused_upgrade_is_shown() {
    let refusal = Answer::status(403).body("Only user agents of this house are let in.");
    let upgrade = Lie::always(refusal);
    let liar = web_socket::Liar::start(web_socket::Lies {
        upgrade,
        ..Default::default()
    })
    .await;
    let refused = Agent::of(&liar.url()).try_subscribe("door", &SOON).await;
    refused.fails_with(UNREACHABLE, &["403", "Only user agents of this house"]);
}

/// WS-CLS-1: the reason of a close frame is shown, with each code that has a meaning.
#[tokio::test]
async fn the_reason_of_a_close_is_shown() {
    for code in [1008, 1011, 1013, 4774] {
        let liar = web_socket::Liar::start(web_socket::Lies {
            closes_greeted: Some((code, "we move house".to_owned())),
            ..Default::default()
        })
        .await;
        let refused = Agent::of(&liar.url()).try_subscribe("door", &SOON).await;
        refused.fails_with(UNREACHABLE, &["we move house"]);
    }
}

/// R30-SUB-1: a service that answers 500 to `subscribe` is said to have trouble, with its own words.
#[tokio::test]
async fn a_500_to_subscribe_is_said() {
    let answer = Answer::status(500).body("The disk is full.");
    subscribing(answer, &["500", "The disk is full"]).await;
}

/// R30-LB-1: redirections in a circle are told as such.
#[tokio::test]
async fn a_circle_of_redirections_is_said() {
    let answer = Answer::status(307).field("location", "/subscribe");
    subscribing(answer, &["redirect"]).await;
}

async fn subscribing(answer: Answer, words: &[&str]) {
    let liar = http2::Liar::start(http2::Lies {
        subscribing: Lie::always(answer),
        ..Default::default()
    })
    .await;
    let refused = Agent::of(&liar.url()).try_subscribe("door", &SOON).await;
    refused.fails_with(UNREACHABLE, words);
    assert!(!refused.said.contains(NO_WORD), "{}", refused.said);
}

/// WS-REG-4: a push resource that is not a URL can't be used, and `subscribe` says so.
#[tokio::test]
async fn an_unusable_push_resource_is_said() {
    let liar = web_socket::Liar::start(web_socket::Lies {
        push_resource: Some("not a URL".to_owned()),
        ..Default::default()
    })
    .await;
    let refused = Agent::of(&liar.url()).try_subscribe("door", &SOON).await;
    refused.fails_with(UNREACHABLE, &[]);
    assert!(!refused.said.contains(NO_WORD), "{}", refused.said);
}

/// RFC 8291 §4: a message that is a byte too long is the command line's fault.
#[tokio::test]
async fn a_message_too_long_is_a_usage_error() {
    let node = Node::start(Settings::new()).await;
    let agent = Agent::at(&node.connector());
    let subscription = agent.subscribe("door", &[]).await;
    let sent = agent.try_send(&subscription, &"a".repeat(3_994)).await;
    sent.fails_with(USAGE, &["3993"]);
}

/// R30-MON-2: a service without server push brings messages as Server-Sent Events.
#[tokio::test]
async fn without_server_push_there_are_events() {
    let liar = http2::Liar::start(http2::Lies {
        only_events: true,
        ..Default::default()
    })
    .await;
    let agent = Agent::of(&liar.url());
    let subscription = agent.subscribe("door", &[]).await;
    liar.pushes(&subscription, "1", "as an event");
    let mut listener = agent.listen(&[]);
    listener.receives("door", "as an event").await;
    liar.record().shows_acknowledged("1").await;
    listener.terminate();
    assert!(listener.ended().await.success());
}

/// A service that delays its answer to hello, as ours does after too many attaches, is waited for, and `listen` says so.
#[tokio::test]
async fn a_delayed_hello_is_said() {
    let liar = web_socket::Liar::start(web_socket::Lies {
        holds_hello: true,
        ..Default::default()
    })
    .await;
    let agent = Agent::of(&liar.url());
    let answers = async {
        let greeted = |step: &Step| matches!(step, Step::Greeted(_));
        liar.record().shows("a hello", 1, greeted).await;
        // Long enough for the sentence, and less than the 10 s for which an answer is waited for.
        tokio::time::sleep(Duration::from_secs(4)).await;
        liar.changes(|lies| lies.holds_hello = false);
    };
    let (subscribed, ()) = tokio::join!(agent.try_subscribe("door", &[]), answers);
    assert_eq!(subscribed.code, Some(0), "{}", subscribed.said);
    assert!(
        subscribed.said.contains("waiting for the service's answer"),
        "{}",
        subscribed.said
    );
}

/// RFC 8292 §4.2: without a key, a 401 says that one is needed, and the exit code is that of a refusal.
#[tokio::test]
async fn a_missing_key_is_not_a_wrong_one() {
    let node = Node::start(Settings::new()).await;
    let agent = Agent::at(&node.connector());
    let key = Signer::generate().public_key();
    let subscription = agent.subscribe("door", &["--application-server-key", &key]).await;
    let sent = agent.try_send(&subscription, "unsigned").await;
    sent.fails_with(UNREACHABLE, &["needs a VAPID key", "401"]);
}
