//! A whole user agent against a service in the same process.

mod http2;
mod service;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use service::{IDENTITY, Peer, Said, Service, endpoint, hello};

use super::*;
use crate::state::State;

/// How long a test waits for what takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(15);

async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(PATIENCE, event).await;
    outcome.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// Impatient, so that no test waits.
fn options() -> Options {
    let mut limits = defaults::limits();
    limits.backoff_base = Duration::from_millis(1);
    limits.backoff_least = Duration::from_millis(1);
    limits.retry_after = Duration::from_millis(1);
    limits.ask_again_after = Duration::from_millis(1);
    let limits = Arc::new(limits);
    Options {
        limits,
        ..Options::default()
    }
}

fn start(service: &Service, state: State) -> (UserAgent, Events) {
    UserAgent::start(service.url(), Trust::system(), state, &options()).unwrap()
}

/// A user agent with one subscription, `news`, on an open channel.
async fn subscribed(service: &Service, state: State) -> (UserAgent, Events, Peer, Subscription) {
    let (agent, events) = start(service, state);
    let (subscription, peer) = within("a subscription", async {
        let subscribing = agent.subscribe("news", None);
        let confirming = async {
            let (mut peer, _) = service.welcome(IDENTITY).await;
            peer.confirms(1).await;
            peer
        };
        tokio::join!(subscribing, confirming)
    })
    .await;
    (agent, events, peer, subscription.unwrap())
}

/// The next message, whatever else happens before.
async fn message(events: &mut Events) -> Message {
    let next = async {
        loop {
            match events.next().await {
                Some(Event::Message(message)) => return message,
                Some(_) => {}
                None => panic!("the user agent has stopped"),
            }
        }
    };
    within("a message", next).await
}

async fn renewed(events: &mut Events) -> Subscription {
    let next = async {
        loop {
            match events.next().await {
                Some(Event::Renewed(subscription)) => return subscription,
                Some(_) => {}
                None => panic!("the user agent has stopped"),
            }
        }
    };
    within("a renewed subscription", next).await
}

fn ack(version: &str, code: u64) -> Said {
    Said::Ack(version.into(), code)
}

async fn expect(peer: &mut Peer, said: Said) {
    assert_eq!(within("something is said", peer.hears()).await, said);
}

/// WP-RCV-4, WP-RCV-5, WS-ACK-1: subscribe, receive decrypted, acknowledge after the work.
#[tokio::test]
async fn a_message_from_end_to_end() {
    let service = Service::start().await;
    let (agent, mut events, mut peer, subscription) = subscribed(&service, State::in_memory()).await;
    assert_eq!(subscription.push_resource.as_ref().unwrap().as_str(), endpoint(1));
    assert_eq!(
        agent.subscribe("news", None).await.unwrap().name,
        subscription.name
    );
    peer.pushes(&subscription, "v1", "Grüße").await;
    let first = message(&mut events).await;
    assert_eq!(
        (first.subscription(), first.id(), first.attempt()),
        ("news", "v1", 1)
    );
    assert_eq!(first.data().unwrap().text(), "Grüße");
    peer.pushes(&subscription, "v2", "").await;
    let second = message(&mut events).await;
    assert_eq!(second.data().unwrap().bytes(), b"");
    // In the order of the work, not of arrival.
    second.acknowledge();
    expect(&mut peer, ack("v2", 100)).await;
    first.acknowledge();
    expect(&mut peer, ack("v1", 100)).await;
    let stopping = agent.stop();
    let closing = async { expect(&mut peer, Said::Closed(Some(1000))).await };
    within("the end", async { tokio::join!(stopping, closing) }).await;
    assert!(agent.subscriptions().await.is_empty());
}

/// R30-URG-5, WS-URG-1: the lowest urgency comes with each hello, and behind it for services that know it only there; a change
/// is said at once. What waits and no more can't be asked for.
#[tokio::test]
async fn the_lowest_urgency_over_a_websocket() {
    let service = Service::start().await;
    let wishing = Options {
        lowest_urgency: Urgency::High,
        ..options()
    };
    let start = |options: &Options| {
        let (state, trust) = (State::in_memory(), Trust::system());
        UserAgent::start(service.url(), trust, state, options)
    };
    let (agent, _events) = start(&wishing).unwrap();
    let mut peer = within("a channel", service.channel()).await;
    expect(&mut peer, Said::HelloFrom(Urgency::High)).await;
    peer.says(&hello(IDENTITY)).await;
    expect(&mut peer, Said::Urgency(Urgency::High)).await;
    peer.says(r#"{"messageType":"urgency","status":200}"#).await;
    agent.set_lowest_urgency(Urgency::VeryLow).await;
    expect(&mut peer, Said::Urgency(Urgency::VeryLow)).await;
    within("the end", agent.stop()).await;

    let until_empty = Options {
        until_empty: true,
        ..options()
    };
    assert!(matches!(start(&until_empty), Err(StateError::NeverEmpty)));
}

/// WP-RCV-3, UP-SRV-4: a message without a body has no data.
#[tokio::test]
async fn no_body_is_no_data() {
    let service = Service::start().await;
    let (_agent, mut events, mut peer, subscription) = subscribed(&service, State::in_memory()).await;
    let name = &subscription.name;
    peer.says(&format!(
        r#"{{"messageType":"notification","channelID":"{name}","version":"v"}}"#
    ))
    .await;
    assert!(message(&mut events).await.data().is_none());
}

/// WP-RCV-6, WS-ACK-5: a failed message is tried again and given up after the third time.
#[tokio::test]
async fn a_failing_application() {
    let service = Service::start().await;
    let (_agent, mut events, mut peer, subscription) = subscribed(&service, State::in_memory()).await;
    peer.pushes(&subscription, "v", "x").await;
    for attempt in 1..=3 {
        let failing = message(&mut events).await;
        assert_eq!(failing.attempt(), attempt);
        if attempt == 2 {
            drop(failing);
        } else {
            failing.fail();
        }
    }
    expect(&mut peer, ack("v", 102)).await;
}

/// PR-4, WS-NOT-2, WS-HEL-2: after a lost connection the same identity comes back, and what was done isn't done again.
#[tokio::test]
async fn a_lost_connection() {
    let service = Service::start().await;
    let (agent, mut events, mut peer, subscription) = subscribed(&service, State::in_memory()).await;
    peer.pushes(&subscription, "done", "x").await;
    message(&mut events).await.acknowledge();
    expect(&mut peer, ack("done", 100)).await;
    drop(peer);
    let (mut peer, shown) = within("another channel", service.welcome(IDENTITY)).await;
    assert_eq!(shown.as_deref(), Some(IDENTITY));
    for version in ["done", "new"] {
        peer.pushes(&subscription, version, version).await;
    }
    expect(&mut peer, ack("done", 100)).await;
    let new = message(&mut events).await;
    assert_eq!(new.id(), "new");
    assert_eq!(agent.counters().await.duplicates, 1);
}

/// WS-HEL-6, WP-RFR-1, WP-RFR-2, WP-SUB-4: a service that forgot us gets everything anew, with new keys, and the
/// application is told until it says that it knows.
#[tokio::test]
async fn a_service_that_forgot_us() {
    let directory = tempfile::tempdir().unwrap();
    let service = Service::start().await;
    let state = State::open(directory.path()).unwrap();
    let (agent, mut events, peer, before) = subscribed(&service, state).await;
    drop(peer);
    let (mut peer, _) = within("another channel", service.welcome("another")).await;
    let name = peer.confirms(2).await;
    assert_eq!(name, before.name.to_string());
    let after = renewed(&mut events).await;
    assert_eq!(after.push_resource.as_ref().unwrap().as_str(), endpoint(2));
    assert_ne!((after.p256dh(), after.auth()), (before.p256dh(), before.auth()));
    peer.pushes(&after, "v", "with new keys").await;
    message(&mut events).await.acknowledge();
    within("the end", agent.stop()).await;

    let (agent, mut events) = start(&service, State::open(directory.path()).unwrap());
    assert_eq!(renewed(&mut events).await.p256dh(), after.p256dh());
    agent.told(&after).await;
    within("the end", agent.stop()).await;
    let (agent, mut events) = start(&service, State::open(directory.path()).unwrap());
    agent.stop().await;
    while let Some(event) = events.next().await {
        assert!(!matches!(event, Event::Renewed(_)), "{event:?}");
    }
}

/// WP-RCV-1, WP-RCV-2, E91-15, WS-ACK-1, WS-TYP-1: whatever a service makes up, the user agent goes on.
#[tokio::test]
async fn a_service_that_lies() {
    let service = Service::start().await;
    let (agent, mut events, mut peer, subscription) = subscribed(&service, State::in_memory()).await;
    let name = subscription.name.to_string();
    for text in [
        "not json",
        r#"{"messageType":"surprise","channelID":{}}"#,
        r#"{"messageType":"notification","channelID":"x"}"#,
        r#"{"messageType":"register","channelID":"x","status":200,"pushEndpoint":"https://h/"}"#,
        &service::hello("somebody else"),
    ] {
        peer.says(text).await;
    }
    peer.pushes_body("00000000-0000-4000-8000-000000000000", "stranger", b"x")
        .await;
    peer.pushes_body(&name, "garbage", &[7; 200]).await;
    expect(&mut peer, ack("stranger", 102)).await;
    expect(&mut peer, ack("garbage", 101)).await;
    peer.pushes(&subscription, "good", "still here").await;
    assert_eq!(message(&mut events).await.data().unwrap().text(), "still here");
    let counters = agent.counters().await;
    assert_eq!((counters.unknown_subscription, counters.not_decrypted), (1, 1));
    assert_eq!(counters.nonsense, 4);
}

/// WS-CLS-1, R30-LB-4: closed at once again and again, or never upgraded at all: it comes back each time.
#[tokio::test]
async fn a_service_that_closes_at_once() {
    let service = Service::start().await;
    let (agent, mut events) = start(&service, State::in_memory());
    for round in 0..6 {
        within("another attempt", async {
            match round % 3 {
                0 => drop(service.connection().await),
                1 => drop(service.channel().await),
                _ => {
                    let (peer, _) = service.welcome(IDENTITY).await;
                    peer.closes(1011).await;
                }
            }
        })
        .await;
    }
    let next = async {
        loop {
            if let Some(Event::Disconnected { again_in, .. }) = events.next().await {
                return again_in;
            }
        }
    };
    assert!(within("it's told", next).await.is_some());
    within("the end", agent.stop()).await;
}

/// PR-36, WS-PNG-4: a service that never stops talking holds up neither what the application asks nor a deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_never_stops_talking() {
    let service = Service::start().await;
    let mut options = options();
    Arc::make_mut(&mut options.limits).stop_within = Duration::from_millis(100);
    let (agent, mut events) =
        UserAgent::start(service.url(), Trust::system(), State::in_memory(), &options).unwrap();
    let (mut peer, _) = service.welcome(IDENTITY).await;
    let (subscription, _) = tokio::join!(agent.subscribe("news", None), peer.confirms(1));
    peer.pushes(&subscription.unwrap(), "v", "for ever in hand").await;
    let in_hand = message(&mut events).await;
    peer.raves("{}");
    assert_eq!(within("an answer", agent.subscriptions()).await.len(), 1);
    within("the end", agent.stop()).await;
    drop(in_hand);
}

/// WP-RCV-6, WP-RFR-1: a message that failed is tried again although the service forgot us in between, and its keys are gone.
#[tokio::test]
async fn a_failed_message_outlives_its_keys() {
    let service = Service::start().await;
    let mut options = options();
    Arc::make_mut(&mut options.limits).retry_after = Duration::from_secs(1);
    let (agent, mut events) =
        UserAgent::start(service.url(), Trust::system(), State::in_memory(), &options).unwrap();
    let (mut peer, _) = service.welcome(IDENTITY).await;
    let (subscription, _) = tokio::join!(agent.subscribe("news", None), peer.confirms(1));
    peer.pushes(&subscription.unwrap(), "v", "twice").await;
    message(&mut events).await.fail();
    drop(peer);
    let (mut peer, _) = within("another channel", service.welcome("somebody else")).await;
    peer.confirms(2).await;
    renewed(&mut events).await;
    let again = message(&mut events).await;
    assert_eq!(
        (again.attempt(), again.data().unwrap().text()),
        (2, "twice".to_owned())
    );
    again.acknowledge();
    expect(&mut peer, ack("v", 100)).await;
}

/// WP-SUB-10: over at once for the application, asked of the service, confirmed.
#[tokio::test]
async fn unsubscribe() {
    let service = Service::start().await;
    let (agent, _events, mut peer, subscription) = subscribed(&service, State::in_memory()).await;
    assert!(agent.unsubscribe("news").await.unwrap());
    assert!(!agent.unsubscribe("news").await.unwrap());
    assert!(agent.subscriptions().await.is_empty());
    let name = subscription.name.to_string();
    expect(&mut peer, Said::Unregister(name.clone())).await;
    peer.says(&format!(
        r#"{{"messageType":"unregister","channelID":"{name}","status":200}}"#
    ))
    .await;
    within("it is settled", agent.settled()).await;
}

/// WP-SUB-10: what the application did not take before it unsubscribed, it never gets.
#[tokio::test]
async fn unsubscribe_takes_back_what_waits() {
    let service = Service::start().await;
    let (agent, mut events, mut peer, subscription) = subscribed(&service, State::in_memory()).await;
    peer.pushes(&subscription, "waits", "waits").await;
    peer.pushes_body("00000000-0000-4000-8000-000000000000", "stranger", b"x")
        .await;
    expect(&mut peer, ack("stranger", 102)).await;
    assert!(agent.unsubscribe("news").await.unwrap());
    expect(&mut peer, Said::Unregister(subscription.name.to_string())).await;
    expect(&mut peer, ack("waits", 102)).await;
    agent.stop().await;
    while let Some(event) = events.next().await {
        assert!(!matches!(event, Event::Message(_)), "{event:?}");
    }
}

/// WP-RFR-2: however many subscriptions are renewed at once, and however late it is heard, each is told.
#[tokio::test]
async fn many_are_renewed() {
    const MANY: usize = defaults::NEWS + 10;
    let service = Service::start().await;
    let (agent, mut events) = start(&service, State::in_memory());
    let (mut peer, _) = service.welcome(IDENTITY).await;
    for number in 0..MANY as u32 {
        let label = number.to_string();
        let (subscription, _) = tokio::join!(agent.subscribe(&label, None), peer.confirms(number));
        subscription.unwrap();
    }
    drop(peer);
    let (mut peer, _) = within("another channel", service.welcome("somebody else")).await;
    for number in 0..MANY as u32 {
        within("all are asked for", peer.confirms(number)).await;
    }
    let is_renewed =
        |subscription: &Subscription| subscription.replaced && subscription.push_resource.is_some();
    while !agent.subscriptions().await.iter().all(is_renewed) {}
    let mut labels = std::collections::HashSet::new();
    while labels.len() < MANY {
        labels.insert(renewed(&mut events).await.label);
    }
}

/// WP-SUB-6: the same name and key is the same subscription, another key an error, a refusal is told.
#[tokio::test]
async fn subscribe_again_and_refused() {
    let service = Service::start().await;
    let (agent, _events, mut peer, _) = subscribed(&service, State::in_memory()).await;
    let key =
        push_protocol::encryption::SubscriptionKeys::generate(&ring::rand::SystemRandom::new()).unwrap();
    let other = agent.subscribe("news", Some(*key.public_key())).await;
    assert!(matches!(other, Err(SubscribeError::OtherKey)), "{other:?}");
    let refusing = async {
        let Said::Register(name, sent) = peer.hears().await else {
            panic!()
        };
        assert_eq!(sent, Some(key.p256dh()));
        peer.says(&format!(
            r#"{{"messageType":"register","channelID":"{name}","status":400,"pushEndpoint":"no"}}"#
        ))
        .await;
    };
    let asking = agent.subscribe("other", Some(*key.public_key()));
    let (answer, ()) = within("a refusal", async { tokio::join!(asking, refusing) }).await;
    assert!(matches!(answer, Err(SubscribeError::Refused(400))), "{answer:?}");
    assert_eq!(agent.subscriptions().await.len(), 1);
}

/// PR-16, SW-4: messages that nobody took out when the events are dropped were never attempted: they come again.
#[tokio::test]
async fn dropping_the_events_stops() {
    let directory = tempfile::tempdir().unwrap();
    let service = Service::start().await;
    let state = State::open(directory.path()).unwrap();
    let (agent, mut events, mut peer, subscription) = subscribed(&service, state).await;
    for version in ["1", "2", "3"] {
        peer.pushes(&subscription, version, version).await;
    }
    message(&mut events).await.acknowledge();
    expect(&mut peer, ack("1", 100)).await;
    drop(events);
    within("the end", agent.stop()).await;

    let (_agent, mut events) = start(&service, State::open(directory.path()).unwrap());
    let (mut peer, _) = within("another channel", service.welcome(IDENTITY)).await;
    peer.pushes(&subscription, "2", "2").await;
    assert_eq!(message(&mut events).await.attempt(), 1);
}

/// WP-RCV-6: who only subscribes takes no message. A message that waits costs neither the channel on which the
/// subscription is asked for nor an attempt.
#[tokio::test]
async fn news_leave_messages_alone() {
    let service = Service::start().await;
    let (agent, mut events, mut peer, subscription) = subscribed(&service, State::in_memory()).await;
    peer.pushes(&subscription, "v", "").await;
    let other = async {
        let confirming = peer.confirms(2);
        tokio::join!(agent.subscribe("other", None), confirming)
            .0
            .unwrap()
    };
    let news = async { while events.next_news().await.is_some() {} };
    let other = within("another subscription", async {
        tokio::select! {
            other = other => other,
            () = news => panic!("the user agent has stopped"),
        }
    })
    .await;
    assert_eq!(other.push_resource.unwrap().as_str(), endpoint(2));
    assert_eq!(message(&mut events).await.attempt(), 1);
}

/// WS-CLS-3: a state is for one service; another host is refused before anything is said to it.
#[tokio::test]
async fn a_state_belongs_to_one_service() {
    let service = Service::start().await;
    let mut state = State::in_memory();
    let known = ServerUrl::parse("wss://push.example.net/").unwrap();
    state.set_server(&known).unwrap();
    let refused = UserAgent::start(service.url(), Trust::system(), state, &options());
    assert!(matches!(refused, Err(StateError::OtherService(_))));
}
