//! A service that goes away, forgets, lies, or talks without end.

use super::*;

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

/// WS-HEL-6, WP-RFR-1, WP-RFR-2, WP-SUB-4, PR-47: a service that forgot us, and says so twice, makes everything anew, with new
/// keys, and the application is told until it says that it knows. Until then the old keys are the ones that hold.
#[tokio::test]
async fn a_service_that_forgot_us() {
    let directory = tempfile::tempdir().unwrap();
    let service = Service::start().await;
    let state = State::open(directory.path()).unwrap();
    let (agent, mut events, peer, before) = subscribed(&service, state).await;
    drop(peer);
    let (mut peer, shown) = within("another channel", service.welcome("another")).await;
    assert_eq!(shown.as_deref(), Some(IDENTITY));
    expect(&mut peer, Said::Closed(Some(1000))).await;
    let why = within("it is told", disconnected_by(&mut events, "does not know")).await;
    assert!(why.contains("asked again"), "{why}");
    let (mut peer, shown) = within("the question again", service.welcome("a third")).await;
    assert_eq!(shown.as_deref(), Some(IDENTITY));
    let Said::Register(name, _) = within("a registration", peer.hears()).await else {
        panic!("a registration is expected")
    };
    assert_eq!(name, before.name.to_string());
    peer.pushes(&before, "old", "with old keys").await;
    let old = message(&mut events).await;
    assert_eq!(old.data().unwrap().text(), "with old keys");
    old.acknowledge();
    expect(&mut peer, ack("old", 100)).await;
    peer.says(&format!(
        r#"{{"messageType":"register","channelID":"{name}","status":200,"pushEndpoint":"{}"}}"#,
        endpoint(2)
    ))
    .await;
    let after = renewed(&mut events).await;
    assert_eq!(after.push_resource.as_ref().unwrap().as_str(), endpoint(2));
    assert_ne!((after.p256dh(), after.auth()), (before.p256dh(), before.auth()));
    peer.pushes(&after, "v", "with new keys").await;
    message(&mut events).await.acknowledge();
    within("the end", agent.stop()).await;

    let (agent, mut events) = start(&service, State::open(directory.path()).unwrap());
    assert_eq!(renewed(&mut events).await.p256dh(), after.p256dh());
    agent.confirm_renewal(&after).await;
    within("the end", agent.stop()).await;
    let (agent, mut events) = start(&service, State::open(directory.path()).unwrap());
    agent.stop().await;
    while let Some(event) = events.next().await {
        assert!(!matches!(event, Event::Renewed(_)), "{event:?}");
    }
}

/// PR-47, WS-HEL-6: one hello with another identity changes nothing for good: the next one shows the old identity, and the old
/// push resource and keys hold.
#[tokio::test]
async fn a_service_that_forgot_us_for_a_moment() {
    let service = Service::start().await;
    let (agent, mut events, peer, before) = subscribed(&service, State::in_memory()).await;
    drop(peer);
    let (mut peer, _) = within("another channel", service.welcome("another")).await;
    expect(&mut peer, Said::Closed(Some(1000))).await;
    let (mut peer, shown) = within("the question again", service.welcome(IDENTITY)).await;
    assert_eq!(shown.as_deref(), Some(IDENTITY));
    peer.pushes(&before, "v", "here").await;
    assert_eq!(message(&mut events).await.data().unwrap().text(), "here");
    let after = agent.subscriptions().await.remove(0);
    assert_eq!(after.push_resource, before.push_resource);
    assert_eq!((after.p256dh(), after.auth()), (before.p256dh(), before.auth()));
}

/// PR-48, WS-ACK-5: a service that leaves, or a connection that breaks, while messages are in hand: what is finished meanwhile is
/// acknowledged first thing on the next channel, without coming again.
#[tokio::test]
async fn a_channel_that_ends_with_messages_in_hand() {
    let service = Service::start().await;
    let (_agent, mut events, mut peer, subscription) = subscribed(&service, State::in_memory()).await;
    for leaves in [true, false] {
        let version = format!("v{leaves}");
        peer.pushes(&subscription, &version, "x").await;
        let in_hand = message(&mut events).await;
        match leaves {
            true => peer.closes(1001).await,
            false => drop(peer),
        }
        let mut next = within("another channel", service.channel()).await;
        in_hand.acknowledge();
        assert!(matches!(
            within("a hello", next.hears()).await,
            Said::Hello(Some(_))
        ));
        next.says(&hello(IDENTITY)).await;
        expect(&mut next, ack(&version, 100)).await;
        peer = next;
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

/// WS-HEL-1: a service that takes its time over the hello, as ours does with those who come often, is said to do so; and not one
/// that answers.
#[tokio::test]
async fn a_delayed_hello_is_told() {
    let service = Service::start().await;
    let (_agent, mut events) = start(&service, State::in_memory());
    let mut peer = within("a channel", service.channel()).await;
    assert!(matches!(within("a hello", peer.hears()).await, Said::Hello(None)));
    let event = within("it is told", events.next()).await;
    assert!(matches!(event, Some(Event::Delayed)), "{event:?}");
    peer.says(&hello(IDENTITY)).await;
    let event = within("then it is there", events.next()).await;
    assert!(matches!(event, Some(Event::Connected)), "{event:?}");
}

/// WS-HEL-11: a service that gives our seat to another one again and again is explained; once is not.
#[tokio::test]
async fn a_copy_of_the_state_is_guessed() {
    let service = Service::start().await;
    let (_agent, mut events) = start(&service, State::in_memory());
    for number in 1..=defaults::TAKEOVERS {
        let (peer, _) = within("a channel", service.welcome(IDENTITY)).await;
        peer.closes(1011).await;
        let why = within("its end", async {
            loop {
                if let Some(Event::Disconnected { why, .. }) = events.next().await {
                    return why;
                }
            }
        })
        .await;
        let is_guessed = why.contains("a copy of this state");
        assert_eq!(is_guessed, number == defaults::TAKEOVERS, "{why}");
    }
}

/// The next sentence about a channel that ended, with these words in it.
async fn disconnected_by(events: &mut Events, words: &str) -> String {
    loop {
        match events.next().await {
            Some(Event::Disconnected { why, .. }) if why.contains(words) => return why,
            Some(_) => {}
            None => panic!("the user agent has stopped"),
        }
    }
}
