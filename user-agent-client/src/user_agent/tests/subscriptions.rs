//! Subscriptions: made, found again, renewed, ended; and whose they are.

use super::*;

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
    within("it is ended", agent.wait_until_unsubscribed()).await;
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
    let mut peer = within("another channel", service.forgets("somebody else")).await;
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
    let why = answer.unwrap_err().to_string();
    assert!(why.contains("with status 400. It says: no"), "{why}");
    assert_eq!(agent.subscriptions().await.len(), 1);
}

/// WS-REG-7, WS-UNR-2: what a service can't do now is told with its status and words, each with its own, also if several answers
/// come in one piece; and an answer that can't be used is told as one.
#[tokio::test]
async fn trouble_is_told_with_its_reason() {
    let service = Service::start().await;
    let (agent, mut events, mut peer, _) = subscribed(&service, State::in_memory()).await;
    let answering = async {
        let mut answers = String::new();
        for status in [500, 200] {
            let Said::Register(name, _) = peer.hears().await else {
                panic!()
            };
            let words = if status == 500 { "busy" } else { "no url" };
            answers = format!(
                r#"{answers}{{"messageType":"register","channelID":"{name}","status":{status},"pushEndpoint":"{words}"}}|"#
            );
        }
        let answers: Vec<&str> = answers.trim_end_matches('|').split('|').collect();
        peer.says_all(&answers).await;
    };
    let mut told = Vec::new();
    let hearing = async {
        while told.len() < 2 {
            if let Some(Event::Waiting { why, .. }) = events.next_news().await {
                told.push(why);
            }
        }
    };
    let asking = async {
        let _ = tokio::join!(agent.subscribe("one", None), agent.subscribe("two", None));
    };
    within("both are told", async {
        tokio::select! {
            ((), ()) = async { tokio::join!(answering, hearing) } => {}
            () = asking => panic!("nothing was made"),
        }
    })
    .await;
    assert!(told[0].to_string().contains("500. It says: busy"), "{}", told[0]);
    assert!(told[0].may_pass());
    assert!(
        told[1].to_string().contains("no usable push resource"),
        "{}",
        told[1]
    );
    assert!(!told[1].may_pass());
}

/// WS-CLS-3: a state is for one service; another host is refused before anything is said to it.
#[tokio::test]
async fn a_state_belongs_to_one_service() {
    let service = Service::start().await;
    let mut state = State::in_memory();
    let known = ServerUrl::parse("wss://push.example.net/").unwrap();
    state.set_server(&known).unwrap();
    let identity = push_protocol::session::user_agent::Identity::parse("me").unwrap();
    state
        .save(&push_protocol::session::user_agent::Change::Identified(identity))
        .unwrap();
    let refused = UserAgent::start(service.url(), Trust::system(), state, &options());
    assert!(matches!(refused, Err(StateError::OtherService(_))));
}
