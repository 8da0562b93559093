//! Subscriptions are made and ended.

use push_protocol::encryption::SubscriptionKeys;
use push_protocol::session::user_agent::{NewSubscription, PushResource, Unregistered};
use tokio::net::TcpListener;

use super::service::push_resource;
use super::*;

fn new_subscription(origin: &str, number: u32, set: &str) -> NewSubscription {
    NewSubscription {
        set: Identity::of_set(&format!("{origin}/subscriptions/{set}")).unwrap(),
        resource: SubscriptionResource::parse(&format!("{origin}/subscription/{number}")).unwrap(),
        push_resource: PushResource::parse(&push_resource(origin, number)).unwrap(),
    }
}

impl Rig {
    /// Live, with nothing to monitor.
    async fn without_set() -> Self {
        let mut rig = Self::new().await;
        rig.say(&Say::Hello(None, Wish::default()));
        assert_eq!(rig.next().await, Incoming::WithoutSet);
        rig
    }

    /// What the session is told of a request that was not done, and what people are.
    async fn not_enrolled(&mut self, number: u8) -> (Registered, String) {
        match self.next().await {
            Incoming::SubscriptionNotMade(of, answer, why) if of == name(number) => (answer, why.to_string()),
            other => panic!("{other:?}"),
        }
    }
}

/// R30-SUB-1 to R30-SUB-5, R30-SET-2, R30-MON-2, R30-LB-4, RFC 8292 §4.1: subscriptions are asked for one at a time; the
/// first answer says the set, which is monitored from then on and named in every later request.
#[tokio::test]
async fn the_first_answer_says_the_set() {
    let mut rig = Rig::without_set().await;
    let keys = SubscriptionKeys::generate(&ring::rand::SystemRandom::new()).unwrap();
    rig.say(&Say::Register {
        name: name(1),
        application_server: Some(*keys.public_key()),
    });
    rig.register(2);
    let first = rig.asked_for(Method::POST, "/subscribe").await;
    assert_eq!(first.header("link"), None);
    assert_eq!(
        first.header("content-type"),
        Some("application/webpush-options+json")
    );
    let options: serde_json::Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!(options, serde_json::json!({"vapid": keys.p256dh()}));
    assert!(!rig.peer.asked_now(), "one at a time");
    first.enrolls(1, "a");
    assert_eq!(
        rig.next().await,
        Incoming::SubscriptionMade(name(1), new_subscription(ORIGIN, 1, "a"))
    );
    let _monitor = rig.asked_for(Method::GET, "/subscriptions/a").await;
    let second = rig.asked_for(Method::POST, "/subscribe").await;
    let named = format!("<{ORIGIN}/subscriptions/a>; rel=\"urn:ietf:params:push:set\"");
    assert_eq!(second.header("link"), Some(named.as_str()));
    assert_eq!((second.header("content-type"), second.body.len()), (None, 0));
    second.enrolls(2, "a");
    assert_eq!(
        rig.next().await,
        Incoming::SubscriptionMade(name(2), new_subscription(ORIGIN, 2, "a"))
    );
}

/// R30-SUB-1: the secret in the service's URL stands in the path of the push service resource.
#[tokio::test]
async fn the_secret_is_in_the_path() {
    let mut rig = Rig::at(&format!("{ORIGIN}/a-secret")).await;
    rig.say(&Say::Hello(None, Wish::default()));
    assert_eq!(rig.next().await, Incoming::WithoutSet);
    rig.register(1);
    rig.asked_for(Method::POST, "/subscribe/a-secret").await;
}

/// R30-LB-1: redirections are followed at the same origin, not for ever, and not out of TLS.
#[tokio::test]
async fn redirections() {
    let mut rig = Rig::without_set().await;
    rig.register(1);
    let asked = rig.asked_for(Method::POST, "/subscribe").await;
    asked.answers(307, &[("location", "/here")]);
    let asked = rig.asked_for(Method::POST, "/here").await;
    asked.answers(307, &[("location", &format!("{ORIGIN}/there?x=y"))]);
    rig.asked_for(Method::POST, "/there?x=y").await.enrolls(1, "a");
    assert_eq!(
        rig.next().await,
        Incoming::SubscriptionMade(name(1), new_subscription(ORIGIN, 1, "a"))
    );

    for target in ["http://push.example.net/", "data:,", "//"] {
        let mut rig = Rig::without_set().await;
        rig.register(1);
        let asked = rig.asked_for(Method::POST, "/subscribe").await;
        asked.answers(307, &[("location", target)]);
        let (answer, why) = rig.not_enrolled(1).await;
        assert_eq!(answer, Registered::Trouble, "{target}");
        let words = if target.starts_with("http:") {
            "from https:// to http://"
        } else {
            "Location"
        };
        assert!(why.contains(words), "{target}: {why}");
    }

    let mut rig = Rig::without_set().await;
    rig.register(1);
    for _ in 0..=crate::defaults::REDIRECTIONS {
        rig.asked().await.answers(307, &[("location", "/round")]);
    }
    let (answer, why) = rig.not_enrolled(1).await;
    assert_eq!(answer, Registered::Trouble);
    assert!(
        why.contains("more than 4 times, last to push.example.net"),
        "{why}"
    );
}

/// R30-LB-1: a redirection to another server is followed there, and the set that this one gives is monitored there: on the
/// next channel.
#[tokio::test]
async fn a_redirection_to_another_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let other = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = Peer::on(stream, &origin).await;
        peer.expects(Method::POST, "/subscribe").await.enrolls(1, "there");
        peer
    };
    let mut rig = Rig::at("http://127.0.0.1:1/").await;
    rig.say(&Say::Hello(None, Wish::default()));
    assert_eq!(rig.next().await, Incoming::WithoutSet);
    rig.register(1);
    let asked = rig.asked_for(Method::POST, "/subscribe").await;
    asked.answers(307, &[("location", &format!("{origin}/subscribe"))]);
    let (incoming, _peer) = tokio::join!(rig.channel.next(), other);
    assert_eq!(
        incoming,
        Incoming::SubscriptionMade(name(1), new_subscription(&origin, 1, "there"))
    );
    assert_eq!(rig.next().await, Incoming::Ended(ChannelEnd::Closed(Some(1001))));

    let set = new_subscription(&origin, 1, "there").set;
    let server = ServerUrl::parse("http://127.0.0.1:1/").unwrap();
    let trust = Trust::system();
    let opening = Channel::open(&server, &trust, Some(&set), Form::Push);
    let accepting = async {
        let (stream, _) = listener.accept().await.unwrap();
        Peer::on(stream, &origin).await
    };
    let (channel, mut peer) = tokio::join!(opening, accepting);
    let mut channel = channel.unwrap();
    channel.say(
        &Say::Hello(Some(set.clone()), Wish::default()),
        &Durable::default(),
    );
    assert_eq!(channel.next().await, Incoming::Monitoring(set));
    peer.expects(Method::GET, "/subscriptions/there").await;
}

/// R30-SET-4, PR-47: a service that doesn't know the set is asked without it. If that is refused as well, the set was not the
/// reason, and stays. What it gives then is in another set: that is taken back, unless the service is believed, once on a
/// channel.
#[tokio::test]
async fn a_set_that_the_service_does_not_know() {
    let (mut rig, monitor) = Rig::monitoring().await;
    for status in [400, 404, 410] {
        rig.register(1);
        rig.asked_for(Method::POST, "/subscribe")
            .await
            .answers(status, &[]);
        let again = rig.asked_for(Method::POST, "/subscribe").await;
        assert_eq!(again.header("link"), None);
        again.answers(status, &[]);
        assert_eq!(rig.not_enrolled(1).await.0, Registered::Refused(status));
    }

    rig.register(1);
    rig.asked_for(Method::POST, "/subscribe").await.answers(404, &[]);
    rig.asked_for(Method::POST, "/subscribe").await.enrolls(7, "b");
    rig.asked_for(Method::DELETE, "/subscription/7")
        .await
        .answers(204, &[]);
    assert_eq!(rig.not_enrolled(1).await.0, Registered::Unknown);

    rig.channel.believe();
    rig.register(1);
    rig.asked_for(Method::POST, "/subscribe").await.answers(400, &[]);
    rig.asked_for(Method::POST, "/subscribe").await.enrolls(1, "b");
    assert_eq!(
        rig.next().await,
        Incoming::SubscriptionMade(name(1), new_subscription(ORIGIN, 1, "b"))
    );
    let _monitor = rig.asked_for(Method::GET, "/subscriptions/b").await;
    monitor.given_up().await;
    rig.register(2);
    rig.asked_for(Method::POST, "/subscribe").await.answers(400, &[]);
    rig.asked_for(Method::POST, "/subscribe").await.enrolls(2, "c");
    rig.asked_for(Method::DELETE, "/subscription/2")
        .await
        .answers(204, &[]);
    assert_eq!(rig.not_enrolled(2).await.0, Registered::Unknown);
}

/// R30-SET-3: a subscription in another set than that of the others is of no use, and taken back.
#[tokio::test]
async fn a_set_that_was_not_asked_for() {
    let (mut rig, _monitor) = Rig::monitoring().await;
    rig.register(1);
    rig.asked_for(Method::POST, "/subscribe").await.enrolls(1, "b");
    rig.asked_for(Method::DELETE, "/subscription/1")
        .await
        .answers(204, &[]);
    let (answer, why) = rig.not_enrolled(1).await;
    assert_eq!(answer, Registered::Trouble);
    assert!(why.contains("another subscription set"), "{why}");
}

/// R30-SUB-7, R30-SET-5: what is refused, what is in trouble, and for how long; and an answer that lacks a part.
#[tokio::test]
async fn refusals() {
    let minute = Registered::Later(Duration::from_secs(60));
    let retry: &[_] = &[("retry-after", "60")];
    let set = &format!("<{ORIGIN}/subscriptions/a>; rel=\"urn:ietf:params:push:set\"");
    let clear = "<http://push.example.net/s/a>; rel=\"urn:ietf:params:push:set\"";
    let push = "</push/1>; rel=\"urn:ietf:params:push\"";
    type Fields<'a> = &'a [(&'a str, &'a str)];
    let far = "<https://other.example/s/a>; rel=\"urn:ietf:params:push:set\"";
    let ftp = "<ftp://push.example.net/1>; rel=\"urn:ietf:params:push\"";
    let trouble = || Registered::Trouble;
    let rows: [(u16, Fields<'_>, Registered, &str); 16] = [
        (400, &[], Registered::Refused(400), "refused the request"),
        (404, retry, Registered::Refused(404), "is the URL right"),
        (429, retry, minute.clone(), "too many requests"),
        (503, retry, minute, "status 503: it has an error"),
        (429, &[], trouble(), "too many requests"),
        (500, &[], trouble(), "status 500: it has an error"),
        (200, &[], trouble(), "status 200"),
        (302, &[("location", "/")], trouble(), "status 302: it redirects"),
        (307, &[], trouble(), "its Location is missing"),
        (
            201,
            &[("location", "/s/1"), ("link", push)],
            trouble(),
            "no usable subscription set",
        ),
        (
            201,
            &[("location", "/s/1"), ("link", set)],
            trouble(),
            "no usable push resource",
        ),
        (
            201,
            &[("location", "/s/1"), ("link", set), ("link", ftp)],
            trouble(),
            "no usable push resource",
        ),
        (
            201,
            &[("link", push), ("link", set)],
            trouble(),
            "no usable subscription resource",
        ),
        (
            201,
            &[("location", "ftp://h/"), ("link", push), ("link", set)],
            trouble(),
            "no usable subscription resource",
        ),
        (
            201,
            &[("location", "/s/1"), ("link", push), ("link", far)],
            trouble(),
            "at two origins",
        ),
        (
            201,
            &[
                ("location", "http://push.example.net/s/1"),
                ("link", push),
                ("link", clear),
            ],
            trouble(),
            "at an http:// URL",
        ),
    ];
    let mut rig = Rig::without_set().await;
    for (status, headers, expected, words) in rows {
        rig.register(1);
        let asked = rig.asked_for(Method::POST, "/subscribe").await;
        asked.answers(status, headers);
        let (answer, why) = rig.not_enrolled(1).await;
        assert_eq!(answer, expected, "{status}");
        assert!(why.contains(words), "{status}: {why}");
    }
}

/// R30-SUB-7, RFC 9457 §3.1: what the service says about a refusal is there for people; on POST, on DELETE and when monitoring
/// ends.
#[tokio::test]
async fn refusals_are_explained() {
    let (mut rig, monitor) = Rig::monitoring().await;
    let problem = [("content-type", "application/problem+json")];
    rig.register(1);
    let asked = rig.asked_for(Method::POST, "/subscribe").await;
    asked.explains(403, &problem, r#"{"title":"No","detail":"Ask the owner."}"#);
    let (_, why) = rig.not_enrolled(1).await;
    assert!(why.ends_with("status 403. It says: Ask the owner."), "{why}");

    rig.known.apply(&Change::Asked {
        name: name(1),
        application_server: None,
    });
    rig.known.apply(&Change::ResourceGiven {
        name: name(1),
        resource: new_subscription(ORIGIN, 1, "a").resource,
    });
    rig.say(&Say::Unregister(name(1)));
    let asked = rig.asked_for(Method::DELETE, "/subscription/1").await;
    asked.explains(
        503,
        &[],
        r#"{"code":503,"errno":201,"message":"Storage is away"}"#,
    );
    let Incoming::Unregistered(_, Unregistered::Trouble, Some(why)) = rig.next().await else {
        panic!("it is not ended");
    };
    assert!(why.to_string().ends_with("It says: Storage is away"), "{why}");

    monitor.explains(429, &problem, r#"{"detail":"Too many at once."}"#);
    assert!(matches!(
        rig.next().await,
        Incoming::Ended(ChannelEnd::Refused { status: 429, .. })
    ));
    assert_eq!(
        rig.channel.take_explanation().as_deref(),
        Some("Too many at once.")
    );
}

/// R30-SUB-7: a page is not shown, and an explanation without end takes nothing from the status.
#[tokio::test(start_paused = true)]
async fn explanations_that_are_none() {
    let mut rig = Rig::without_set().await;
    rig.register(1);
    let asked = rig.asked_for(Method::POST, "/subscribe").await;
    asked.explains(503, &[], "<html>502</html>");
    let (answer, why) = rig.not_enrolled(1).await;
    assert_eq!(answer, Registered::Trouble);
    assert!(why.contains("status 503: it has an error"), "{why}");
    rig.register(1);
    let asked = rig.asked_for(Method::POST, "/subscribe").await;
    let _open = asked.begins_to_explain(503, &[], "no more today");
    let (_, why) = rig.not_enrolled(1).await;
    assert!(why.contains("status 503. It says: no more today"), "{why}");
}

/// R30-LB-1: a redirection to where no server is, and an answer that never comes, are told as what they are.
#[tokio::test]
async fn no_answer_is_no_status() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}/subscribe", gone.local_addr().unwrap());
    drop(gone);
    let mut rig = Rig::at("http://127.0.0.1:1/").await;
    rig.say(&Say::Hello(None, Wish::default()));
    assert_eq!(rig.next().await, Incoming::WithoutSet);
    rig.register(1);
    let asked = rig.asked_for(Method::POST, "/subscribe").await;
    asked.answers(307, &[("location", &closed)]);
    let (_, why) = rig.not_enrolled(1).await;
    assert!(
        why.contains("redirects to 127.0.0.1, and cannot connect to"),
        "{why}"
    );
    rig.register(1);
    drop(rig.asked_for(Method::POST, "/subscribe").await);
    let (_, why) = rig.not_enrolled(1).await;
    assert!(why.contains("before the service answered"), "{why}");
}

/// R30-EXP-4, R30-EXP-8, R30-SUB-7: a subscription is ended where the service said; one that is gone is ended, and so is one of which
/// it was never said where.
#[tokio::test]
async fn ending_a_subscription() {
    let (mut rig, _monitor) = Rig::monitoring().await;
    let asked = Change::Asked {
        name: name(1),
        application_server: None,
    };
    rig.known.apply(&asked);
    rig.say(&Say::Unregister(name(1)));
    assert_eq!(
        rig.next().await,
        Incoming::Unregistered(name(1), Unregistered::Done, None)
    );
    rig.known.apply(&Change::ResourceGiven {
        name: name(1),
        resource: new_subscription(ORIGIN, 1, "a").resource,
    });
    let hour = Unregistered::Later(Duration::from_secs(3_600));
    let retry: &[_] = &[("retry-after", "3600")];
    let rows: [(_, &[_], _); 5] = [
        (204, &[], Unregistered::Done),
        (404, &[], Unregistered::Done),
        (503, &[], Unregistered::Trouble),
        (503, retry, hour),
        (429, retry, hour),
    ];
    for (status, headers, done) in rows {
        rig.say(&Say::Unregister(name(1)));
        let asked = rig.asked_for(Method::DELETE, "/subscription/1").await;
        asked.answers(status, headers);
        let Incoming::Unregistered(of, answer, why) = rig.next().await else {
            panic!("{status}");
        };
        assert_eq!((of, answer), (name(1), done), "{status}");
        assert_eq!(why.is_none(), done == Unregistered::Done);
    }
}
