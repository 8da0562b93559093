//! Messages: decrypted, handed over, acknowledged after the work; and which of them are wanted.

use super::*;

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

/// WP-RCV-6, WP-RFR-1: a message that failed is tried again although the service forgot us in between, and its keys are gone.
#[tokio::test]
async fn a_failed_message_outlives_its_keys() {
    let service = Service::start().await;
    let mut options = options();
    Arc::make_mut(&mut options.limits).retry_base = Duration::from_secs(1);
    let (agent, mut events) =
        UserAgent::start(service.url(), Trust::system(), State::in_memory(), &options).unwrap();
    let (mut peer, _) = service.welcome(IDENTITY).await;
    let (subscription, _) = tokio::join!(agent.subscribe("news", None), peer.confirms(1));
    peer.pushes(&subscription.unwrap(), "v", "twice").await;
    message(&mut events).await.fail();
    drop(peer);
    let mut peer = within("another channel", service.forgets("somebody else")).await;
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

/// PR-16, SW-4: messages that were not taken out when the events are dropped were never attempted: they come again.
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

/// PR-45: the application says that it can't work. The message comes again after a pause, and the next ones with it; that was no
/// attempt, and both are told.
#[tokio::test]
async fn an_application_that_cannot_work() {
    let service = Service::start().await;
    let (_agent, mut events, mut peer, subscription) = subscribed(&service, State::in_memory()).await;
    for version in ["1", "2"] {
        peer.pushes(&subscription, version, version).await;
    }
    message(&mut events).await.unable();
    let mut seen = Vec::new();
    while seen.len() < 4 {
        match within("a pause and its end", events.next()).await.unwrap() {
            Event::Message(message) => {
                seen.push(format!("{} {}", message.id(), message.attempt()));
                message.acknowledge();
            }
            Event::Paused { label, again_in } => {
                assert!(again_in <= defaults::PAUSE_BASE);
                seen.push(format!("{label} paused"));
            }
            Event::Resumed { label } => seen.push(format!("{label} resumed")),
            _ => {}
        }
    }
    // What was never tried is tried first.
    assert_eq!(seen, ["news paused", "2 1", "news resumed", "1 1"]);
    expect(&mut peer, ack("2", 100)).await;
    expect(&mut peer, ack("1", 100)).await;
}

/// PR-45: an application that stops drops what it has, as a process does that is told to end: that is no failure, and no crash.
#[tokio::test]
async fn what_is_dropped_at_the_end_is_released() {
    let directory = tempfile::tempdir().unwrap();
    let service = Service::start().await;
    let state = State::open(directory.path()).unwrap();
    let (agent, mut events, mut peer, subscription) = subscribed(&service, state).await;
    peer.pushes(&subscription, "1", "1").await;
    let in_hand = message(&mut events).await;
    drop(events);
    drop(in_hand);
    within("the end", agent.stop()).await;

    let (_agent, mut events) = start(&service, State::open(directory.path()).unwrap());
    let (mut peer, _) = within("another channel", service.welcome(IDENTITY)).await;
    peer.pushes(&subscription, "1", "1").await;
    assert_eq!(message(&mut events).await.attempt(), 1);
}

/// PR-45: what an application does not finish before the end is released, too: the time was too short.
#[tokio::test]
async fn what_is_not_finished_at_the_end_is_released() {
    let directory = tempfile::tempdir().unwrap();
    let service = Service::start().await;
    let mut options = options();
    Arc::make_mut(&mut options.limits).stop_within = Duration::from_millis(10);
    let start = |state: State| UserAgent::start(service.url(), Trust::system(), state, &options).unwrap();
    let (agent, mut events) = start(State::open(directory.path()).unwrap());
    let (mut peer, _) = service.welcome(IDENTITY).await;
    let (subscription, _) = tokio::join!(agent.subscribe("news", None), peer.confirms(1));
    let subscription = subscription.unwrap();
    peer.pushes(&subscription, "1", "1").await;
    let in_hand = message(&mut events).await;
    within("the end", agent.stop()).await;
    in_hand.acknowledge();

    let state = State::open(directory.path()).unwrap();
    assert_eq!(
        state.durable().messages,
        push_protocol::session::user_agent::Messages::default()
    );
    let (_agent, mut events) = start(state);
    let (mut peer, _) = within("another channel", service.welcome(IDENTITY)).await;
    peer.pushes(&subscription, "1", "1").await;
    assert_eq!(message(&mut events).await.attempt(), 1);
}

/// PR-46: two subscriptions may have messages of the same id: each is handed over and acknowledged.
#[tokio::test]
async fn equal_ids_of_two_subscriptions() {
    let service = Service::start().await;
    let (agent, mut events, mut peer, news) = subscribed(&service, State::in_memory()).await;
    let (mail, _) = tokio::join!(agent.subscribe("mail", None), peer.confirms(2));
    for subscription in [&news, &mail.unwrap()] {
        peer.pushes(subscription, "v", &subscription.label).await;
    }
    let (first, second) = (message(&mut events).await, message(&mut events).await);
    for message in [&first, &second] {
        assert_eq!(message.data().unwrap().text(), message.subscription());
    }
    assert_ne!(first.subscription(), second.subscription());
    for message in [first, second] {
        message.acknowledge();
        expect(&mut peer, ack("v", 100)).await;
    }
}

/// PR-46: a message of one subscription does not wait for all of another one that came before it.
#[tokio::test]
async fn subscriptions_take_turns() {
    let service = Service::start().await;
    let (agent, mut events, mut peer, slow) = subscribed(&service, State::in_memory()).await;
    let (fast, _) = tokio::join!(agent.subscribe("fast", None), peer.confirms(2));
    let fast = fast.unwrap();
    let most = defaults::HELD_MESSAGES;
    for number in 0..most {
        peer.pushes(&slow, &format!("slow {number}"), "").await;
    }
    peer.pushes(&fast, "fast", "").await;
    // Half of what may be held, and one more.
    while within("the counters", agent.counters()).await.handed_over <= most as u64 / 2 {
        tokio::task::yield_now().await;
    }
    let order = [
        message(&mut events).await,
        message(&mut events).await,
        message(&mut events).await,
    ];
    let is_fast = |message: &Message| message.subscription() == "fast";
    assert!(order[1..].iter().any(is_fast), "{order:?}");
}
