//! A whole user agent over HTTP/2 (RFC 8030), against a service in the same process.

use http::Method;
use push_protocol::encryption::Recipient;
use ring::rand::SystemRandom;
use tokio::net::TcpListener;

use super::*;
use crate::http2::tests::service::{Asked, Peer, push_resource};

struct Http2Service {
    listener: TcpListener,
    origin: String,
}

impl Http2Service {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        Self { listener, origin }
    }

    fn start_agent(&self, state: State) -> (UserAgent, Events) {
        let url = ServerUrl::parse(&format!("{}/a-secret", self.origin)).unwrap();
        UserAgent::start(url, Trust::system(), state, &options()).unwrap()
    }

    async fn peer(&self) -> Peer {
        let (stream, _) = self.listener.accept().await.unwrap();
        Peer::on(stream, &self.origin).await
    }

    /// The next connection, on which the set is monitored.
    async fn monitored(&self, set: &str) -> (Peer, Asked) {
        within("another connection", async {
            let mut peer = self.peer().await;
            let monitor = peer.expects(Method::GET, &format!("/subscriptions/{set}")).await;
            (peer, monitor)
        })
        .await
    }
}

/// A user agent with one subscription, `news`, in the set `a`.
async fn over_http2(service: &Http2Service, state: State) -> (UserAgent, Events, Peer, Asked, Subscription) {
    let (agent, events) = service.start_agent(state);
    let enrolling = async {
        let mut peer = service.peer().await;
        let asked = peer.expects(Method::POST, "/subscribe/a-secret").await;
        asked.enrolls(1, "a");
        let monitor = peer.expects(Method::GET, "/subscriptions/a").await;
        (peer, monitor)
    };
    let (subscription, (peer, monitor)) = within("a subscription", async {
        tokio::join!(agent.subscribe("news", None), enrolling)
    })
    .await;
    (agent, events, peer, monitor, subscription.unwrap())
}

/// A text, encrypted for this subscription.
fn encrypted(to: &Subscription, text: &str) -> Vec<u8> {
    let recipient = Recipient::parse(&to.p256dh(), &to.auth()).unwrap();
    let body = recipient.encrypt(text.as_bytes(), 0, &SystemRandom::new());
    body.unwrap().to_vec()
}

async fn acknowledged(peer: &mut Peer, path: &str) {
    let asked = within("an acknowledgement", peer.expects(Method::DELETE, path)).await;
    asked.answers(204, &[]);
}

/// R30-SUB-2, R30-MON-3, R30-ACK-1, WP-RCV-4, WP-RCV-5: subscribe, receive decrypted, acknowledge after the work, leave.
#[tokio::test]
async fn a_message_over_http2() {
    let service = Http2Service::start().await;
    let (agent, mut events, mut peer, mut monitor, subscription) =
        over_http2(&service, State::in_memory()).await;
    let push_resource = push_resource(&service.origin, 1);
    assert_eq!(
        subscription.push_resource.as_ref().unwrap().as_str(),
        push_resource
    );
    monitor.pushes("/message/1", 1, &encrypted(&subscription, "Grüße"));
    monitor.pushes("/message/2", 1, b"");
    let first = message(&mut events).await;
    assert_eq!((first.subscription(), first.id()), ("news", "/message/1"));
    assert_eq!(first.data().unwrap().text(), "Grüße");
    let second = message(&mut events).await;
    assert!(second.data().is_none());
    second.acknowledge();
    acknowledged(&mut peer, "/message/2").await;
    first.acknowledge();
    acknowledged(&mut peer, "/message/1").await;
    within("the end", agent.stop()).await;
    within("goodbye", monitor.given_up()).await;
    assert!(peer.asked_or_left().await.is_none());
}

/// WP-RCV-1, WP-RCV-2, E91-15: what is for no subscription, and what can't be decrypted, is acknowledged and never seen.
#[tokio::test]
async fn unusable_messages_over_http2() {
    let service = Http2Service::start().await;
    let (agent, mut events, mut peer, mut monitor, subscription) =
        over_http2(&service, State::in_memory()).await;
    monitor.pushes("/message/stranger", 9, &encrypted(&subscription, "x"));
    acknowledged(&mut peer, "/message/stranger").await;
    monitor.pushes("/message/garbage", 1, &[7; 200]);
    acknowledged(&mut peer, "/message/garbage").await;
    monitor.pushes("/message/good", 1, &encrypted(&subscription, "still here"));
    assert_eq!(message(&mut events).await.data().unwrap().text(), "still here");
    let counters = agent.counters().await;
    assert_eq!((counters.unknown_subscription, counters.not_decrypted), (1, 1));
}

/// PR-1, PR-4, R30-ACK-5, R30-MON-15: after a restart the set is monitored again without being asked for, and what was done
/// isn't done again.
#[tokio::test]
async fn a_restart_over_http2() {
    let directory = tempfile::tempdir().unwrap();
    let service = Http2Service::start().await;
    let state = State::open(directory.path()).unwrap();
    let (agent, mut events, mut peer, mut monitor, subscription) = over_http2(&service, state).await;
    monitor.pushes("/message/done", 1, &encrypted(&subscription, "x"));
    message(&mut events).await.acknowledge();
    // The service never hears of it.
    within(
        "an acknowledgement",
        peer.expects(Method::DELETE, "/message/done"),
    )
    .await;
    peer.breaks();
    within("the end", agent.stop()).await;

    let (agent, mut events) = service.start_agent(State::open(directory.path()).unwrap());
    let (mut peer, mut monitor) = service.monitored("a").await;
    monitor.pushes("/message/done", 1, &encrypted(&subscription, "x"));
    monitor.pushes("/message/new", 1, &encrypted(&subscription, "new"));
    acknowledged(&mut peer, "/message/done").await;
    assert_eq!(message(&mut events).await.id(), "/message/new");
    assert_eq!(agent.counters().await.duplicates, 1);
}

/// WS-CLS-1, R30-LB-3: a connection that breaks or a service that leaves is come back to, again and again.
#[tokio::test]
async fn a_lost_connection_over_http2() {
    let service = Http2Service::start().await;
    let (_agent, mut events, mut peer, mut monitor, subscription) =
        over_http2(&service, State::in_memory()).await;
    for round in 0..4 {
        if round % 2 == 0 {
            peer.breaks();
        } else {
            peer.leaves();
            monitor.answers(200, &[]);
        }
        (peer, monitor) = service.monitored("a").await;
    }
    monitor.pushes("/message/1", 1, &encrypted(&subscription, "here"));
    assert_eq!(message(&mut events).await.data().unwrap().text(), "here");
}

/// PR-48: after GOAWAY, while the monitored stream stays open, messages in hand are acknowledged on another connection, which is
/// opened at once.
#[tokio::test]
async fn a_goodbye_with_messages_in_hand() {
    let service = Http2Service::start().await;
    let (_agent, mut events, mut peer, mut monitor, subscription) =
        over_http2(&service, State::in_memory()).await;
    for number in 1..=3 {
        monitor.pushes(&format!("/message/{number}"), 1, &encrypted(&subscription, "x"));
    }
    let mut in_hand = Vec::new();
    for _ in 1..=3 {
        in_hand.push(message(&mut events).await);
    }
    in_hand.remove(0).acknowledge();
    // Never answered there.
    let unanswered = within("one", peer.expects(Method::DELETE, "/message/1")).await;
    peer.leaves();
    let mut next = within("another connection", service.peer()).await;
    in_hand.remove(0).acknowledge();
    let mut asked = Vec::new();
    for _ in 0..3 {
        let request = within("a request", next.asked()).await;
        asked.push(request.path.clone());
        if request.method == Method::DELETE {
            request.answers(204, &[]);
        } else {
            monitor = request;
        }
    }
    asked.sort();
    assert_eq!(asked, ["/message/1", "/message/2", "/subscriptions/a"]);
    in_hand.remove(0).acknowledge();
    acknowledged(&mut next, "/message/3").await;
    drop((unanswered, monitor));
}

/// PR-47, R30-MON-17: a single 404, as a proxy says it in the middle of a deployment, changes nothing for good.
#[tokio::test]
async fn a_set_that_was_gone_for_a_moment() {
    for during_deployment in [false, true] {
        let service = Http2Service::start().await;
        let (agent, mut events, _peer, monitor, before) = over_http2(&service, State::in_memory()).await;
        monitor.answers(404, &[]);
        if during_deployment {
            // It says so for everything, and for longer.
            for _ in 0..3 {
                let (mut peer, monitor) = service.monitored("a").await;
                monitor.answers(404, &[]);
                if let Some(asked) = within("a request, or the end", peer.asked_or_left()).await {
                    assert_eq!(asked.method, Method::POST);
                    asked.answers(404, &[]);
                }
            }
        }
        let (_peer, mut monitor) = service.monitored("a").await;
        monitor.pushes("/message/1", 1, &encrypted(&before, "here"));
        assert_eq!(message(&mut events).await.data().unwrap().text(), "here");
        let after = agent.subscriptions().await.remove(0);
        assert_eq!(after.push_resource, before.push_resource);
        assert_eq!((after.p256dh(), after.auth()), (before.p256dh(), before.auth()));
    }
}

/// R30-SUB-7, R30-ACK-5: a service that takes no acknowledgements for an hour: that is told, with the time.
#[tokio::test]
async fn acknowledgements_that_wait_are_told() {
    let service = Http2Service::start().await;
    let (_agent, mut events, mut peer, mut monitor, subscription) =
        over_http2(&service, State::in_memory()).await;
    monitor.pushes("/message/1", 1, &encrypted(&subscription, "x"));
    message(&mut events).await.acknowledge();
    let asked = within("an acknowledgement", peer.expects(Method::DELETE, "/message/1")).await;
    asked.answers(503, &[("retry-after", "3600")]);
    let told = async {
        loop {
            match events.next().await {
                Some(Event::AcknowledgementsWait { again_in }) => return again_in,
                Some(_) => {}
                None => panic!("the user agent has stopped"),
            }
        }
    };
    let again_in = within("it is told", told).await.as_secs_f64();
    assert!((3_599.0..=3_600.0).contains(&again_in), "{again_in}");
}

/// R30-MON-17, WS-HEL-6, WP-RFR-1, WP-RFR-2, PR-47: a set that is gone, and is said to be so twice, is made anew, with new keys,
/// and the application is told.
#[tokio::test]
async fn a_set_that_the_service_forgot() {
    let service = Http2Service::start().await;
    let (_agent, mut events, mut peer, monitor, before) = over_http2(&service, State::in_memory()).await;
    monitor.answers(404, &[]);
    within("another connection", async {
        assert!(peer.asked_or_left().await.is_none());
    })
    .await;
    let (mut peer, monitor) = service.monitored("a").await;
    monitor.answers(404, &[]);
    let asked = within("all anew", peer.expects(Method::POST, "/subscribe/a-secret")).await;
    assert_eq!(asked.header("link"), None);
    asked.enrolls(2, "b");
    let mut monitor = within("the new set", peer.expects(Method::GET, "/subscriptions/b")).await;
    let after = renewed(&mut events).await;
    assert_eq!(
        after.push_resource.as_ref().unwrap().as_str(),
        push_resource(&service.origin, 2)
    );
    assert_ne!((after.p256dh(), after.auth()), (before.p256dh(), before.auth()));
    monitor.pushes("/message/1", 2, &encrypted(&after, "with new keys"));
    assert_eq!(message(&mut events).await.data().unwrap().text(), "with new keys");
}

/// WP-SUB-10, R30-EXP-4: over at once for the application; the service is told where it said, also after a restart.
#[tokio::test]
async fn unsubscribe_over_http2() {
    let directory = tempfile::tempdir().unwrap();
    let service = Http2Service::start().await;
    let state = State::open(directory.path()).unwrap();
    let (agent, _events, mut peer, _monitor, _) = over_http2(&service, state).await;
    assert!(agent.unsubscribe("news").await.unwrap());
    assert!(agent.subscriptions().await.is_empty());
    within("it is told", peer.expects(Method::DELETE, "/subscription/1")).await;
    peer.breaks();
    within("the end", agent.stop()).await;

    let (agent, _events) = service.start_agent(State::open(directory.path()).unwrap());
    let (mut peer, _monitor) = service.monitored("a").await;
    let asked = within(
        "it is told again",
        peer.expects(Method::DELETE, "/subscription/1"),
    )
    .await;
    asked.answers(204, &[]);
    within("it is ended", agent.wait_until_unsubscribed()).await;
}

/// R30-URG-5, R30-URG-6, R30-MON-18: another lowest urgency is asked for on the same connection, and on every later one.
#[tokio::test]
async fn the_lowest_urgency_over_http2() {
    let service = Http2Service::start().await;
    let (agent, mut events, mut peer, mut older, subscription) =
        over_http2(&service, State::in_memory()).await;
    older.pushes("/message/1", 1, &encrypted(&subscription, "before"));
    let first = message(&mut events).await;
    agent.set_lowest_urgency(Urgency::High).await;
    let mut newer = within("another request", peer.expects(Method::GET, "/subscriptions/a")).await;
    assert_eq!(newer.header("urgency"), Some("high"));
    older.answers(200, &[]);
    newer.pushes("/message/2", 1, &encrypted(&subscription, "behind"));
    let second = message(&mut events).await;
    assert_eq!(second.data().unwrap().text(), "behind");
    for (message, path) in [(first, "/message/1"), (second, "/message/2")] {
        message.acknowledge();
        acknowledged(&mut peer, path).await;
    }
    peer.breaks();
    let (_peer, monitor) = service.monitored("a").await;
    assert_eq!(monitor.header("urgency"), Some("high"));
}

/// R30-MON-12, R30-MON-13, R30-ACK-1: what waits is handed over, round by round, and acknowledged, until nothing waits; a
/// message that fails is tried until it is done.
#[tokio::test]
async fn until_nothing_waits() {
    let service = Http2Service::start().await;
    let directory = tempfile::tempdir().unwrap();
    let state = || State::open(directory.path()).unwrap();
    let (agent, _events, _peer, _monitor, subscription) = over_http2(&service, state()).await;
    within("the end", agent.stop()).await;
    let options = Options {
        until_empty: true,
        lowest_urgency: Urgency::Low,
        ..options()
    };
    let url = ServerUrl::parse(&service.origin).unwrap();
    let (agent, mut events) = UserAgent::start(url, Trust::system(), state(), &options).unwrap();
    let (mut peer, mut round) = service.monitored("a").await;
    for text in ["one", "two"] {
        assert_eq!(
            (round.header("prefer"), round.header("urgency")),
            (Some("wait=0"), Some("low"))
        );
        let path = format!("/message/{text}");
        round.pushes(&path, 1, &encrypted(&subscription, text));
        round.answers(200, &[]);
        message(&mut events).await.fail();
        let again = message(&mut events).await;
        assert_eq!((again.data().unwrap().text(), again.attempt()), (text.into(), 2));
        assert!(
            !peer.asked_now(),
            "nothing is asked for while there is something to do"
        );
        again.acknowledge();
        acknowledged(&mut peer, &path).await;
        round = within("another round", peer.expects(Method::GET, "/subscriptions/a")).await;
    }
    round.answers(204, &[]);
    loop {
        match within("it is told", events.next()).await {
            Some(Event::Empty) => break,
            Some(Event::Message(message)) => panic!("{message:?}"),
            Some(_) => {}
            None => panic!("the user agent has stopped"),
        }
    }
    within("the end", agent.stop()).await;
    assert!(peer.asked_or_left().await.is_none());
}

/// R30-SUB-7: what the service won't make is told with its status.
#[tokio::test]
async fn refused_over_http2() {
    let service = Http2Service::start().await;
    let (agent, _events) = service.start_agent(State::in_memory());
    let refusing = async {
        let mut peer = service.peer().await;
        peer.asked()
            .await
            .explains(404, &[], r#"{"detail":"Is the secret right?"}"#);
        peer
    };
    let (answer, _peer) = within("a refusal", async {
        tokio::join!(agent.subscribe("news", None), refusing)
    })
    .await;
    let why = answer.unwrap_err().to_string();
    assert!(
        why.ends_with("with status 404. It says: Is the secret right?"),
        "{why}"
    );
}

/// R30-MON-2, PR-1: without server push messages come as events; that is told once, and the next channel asks for events at once.
#[tokio::test]
async fn messages_without_push() {
    let service = Http2Service::start().await;
    let (_agent, mut events, mut peer, monitor, subscription) =
        over_http2(&service, State::in_memory()).await;
    monitor.explains(400, &[], r#"{"detail":"No push here."}"#);
    let mut told = 0;
    for round in 0..2 {
        let asked = within("events", peer.expects(Method::GET, "/subscriptions/a")).await;
        assert_eq!(asked.header("accept"), Some("text/event-stream"));
        let mut stream = asked.begins_events();
        let path = format!("/message/{round}");
        stream.brings(&path, 1, &encrypted(&subscription, "an event"));
        let message = loop {
            match within("a message", events.next()).await {
                Some(Event::Message(message)) => break message,
                Some(Event::WithoutPush) => told += 1,
                Some(_) => {}
                None => panic!("the user agent has stopped"),
            }
        };
        assert_eq!(
            (message.id(), message.data().unwrap().text()),
            (path.as_str(), "an event".into())
        );
        message.acknowledge();
        acknowledged(&mut peer, &path).await;
        stream.tells_end(200, "Again.");
        if round == 0 {
            peer = within("another connection", service.peer()).await;
        }
    }
    assert_eq!(told, 1);
}

/// R30-MON-17, RFC 9457 §3.1: why monitoring is refused is told in the service's words.
#[tokio::test]
async fn refused_monitoring_is_explained() {
    let service = Http2Service::start().await;
    let (_agent, mut events, _peer, monitor, _) = over_http2(&service, State::in_memory()).await;
    monitor.explains(503, &[], r#"{"detail":"Storage is away."}"#);
    loop {
        match within("it is told", events.next()).await {
            Some(Event::Disconnected { why, .. }) => {
                assert!(why.contains("503") && why.ends_with("Storage is away."), "{why}");
                break;
            }
            Some(_) => {}
            None => panic!("the user agent has stopped"),
        }
    }
}

/// PR-36: a service that neither answers nor hangs up is given up, and an application that stops doesn't wait for it.
#[tokio::test]
async fn a_service_that_says_nothing() {
    let service = Http2Service::start().await;
    let mut options = options();
    Arc::make_mut(&mut options.limits).answer_within = Duration::from_millis(20);
    let url = ServerUrl::parse(&service.origin).unwrap();
    let (agent, mut events) = UserAgent::start(url, Trust::system(), State::in_memory(), &options).unwrap();
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(within("another attempt", service.listener.accept()).await);
    }
    match within("it is told", events.next()).await {
        Some(Event::Disconnected { why, .. }) => assert!(why.contains("in time"), "{why}"),
        other => panic!("{other:?}"),
    }
    within("the end", agent.stop()).await;
}

/// R30-SUB-3: subscriptions are of one transport; a state with some is refused over the other before anything is said.
#[tokio::test]
async fn a_state_stays_with_its_transport() {
    let service = Http2Service::start().await;
    let directory = tempfile::tempdir().unwrap();
    let state = State::open(directory.path()).unwrap();
    let (agent, ..) = over_http2(&service, state).await;
    within("the end", agent.stop()).await;
    let url = ServerUrl::parse(&service.origin).unwrap();
    let url = url.over(crate::server_url::Transport::WebSocket).unwrap();
    let state = State::open(directory.path()).unwrap();
    let refused = UserAgent::start(url, Trust::system(), state, &options());
    assert!(matches!(refused, Err(StateError::OtherTransport(_))));
}
