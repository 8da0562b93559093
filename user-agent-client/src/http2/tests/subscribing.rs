//! Subscriptions are made and ended.

use push_protocol::encryption::SubscriptionKeys;
use push_protocol::session::user_agent::{Enrolled, PushResource};
use tokio::net::TcpListener;

use super::service::push_resource;
use super::*;

fn enrolled(origin: &str, number: u32, set: &str) -> Enrolled {
    Enrolled {
        set: Identity::of_set(&format!("{origin}/subscriptions/{set}")).unwrap(),
        resource: SubscriptionResource::parse(&format!("{origin}/subscription/{number}")).unwrap(),
        push_resource: PushResource::parse(&push_resource(origin, number)).unwrap(),
    }
}

impl Rig {
    /// Live, with nothing to monitor.
    async fn as_nobody() -> Self {
        let mut rig = Self::new().await;
        rig.say(&Say::Hello(None, Wish::default()));
        assert_eq!(rig.next().await, Incoming::Nobody);
        rig
    }
}

/// R30-SUB-1 to R30-SUB-5, R30-SET-2, R30-MON-2, R30-LB-4, RFC 8292 §4.1: subscriptions are asked for one at a time; the
/// first answer says the set, which is monitored from then on and named in every later request.
#[tokio::test]
async fn the_first_answer_says_the_set() {
    let mut rig = Rig::as_nobody().await;
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
        Incoming::Enrolled(name(1), enrolled(ORIGIN, 1, "a"))
    );
    let _monitor = rig.asked_for(Method::GET, "/subscriptions/a").await;
    let second = rig.asked_for(Method::POST, "/subscribe").await;
    let named = format!("<{ORIGIN}/subscriptions/a>; rel=\"urn:ietf:params:push:set\"");
    assert_eq!(second.header("link"), Some(named.as_str()));
    assert_eq!((second.header("content-type"), second.body.len()), (None, 0));
    second.enrolls(2, "a");
    assert_eq!(
        rig.next().await,
        Incoming::Enrolled(name(2), enrolled(ORIGIN, 2, "a"))
    );
}

/// R30-SUB-1: the secret in the service's URL stands in the path of the push service resource.
#[tokio::test]
async fn the_secret_is_in_the_path() {
    let mut rig = Rig::at(&format!("{ORIGIN}/a-secret")).await;
    rig.say(&Say::Hello(None, Wish::default()));
    assert_eq!(rig.next().await, Incoming::Nobody);
    rig.register(1);
    rig.asked_for(Method::POST, "/subscribe/a-secret").await;
}

/// R30-LB-1: redirections are followed at the same origin, not for ever, and not out of TLS.
#[tokio::test]
async fn redirections() {
    let mut rig = Rig::as_nobody().await;
    rig.register(1);
    let asked = rig.asked_for(Method::POST, "/subscribe").await;
    asked.answers(307, &[("location", "/here")]);
    let asked = rig.asked_for(Method::POST, "/here").await;
    asked.answers(307, &[("location", &format!("{ORIGIN}/there?x=y"))]);
    rig.asked_for(Method::POST, "/there?x=y").await.enrolls(1, "a");
    assert_eq!(
        rig.next().await,
        Incoming::Enrolled(name(1), enrolled(ORIGIN, 1, "a"))
    );

    for target in ["http://push.example.net/", "data:,", "//"] {
        let mut rig = Rig::as_nobody().await;
        rig.register(1);
        let asked = rig.asked_for(Method::POST, "/subscribe").await;
        asked.answers(307, &[("location", target)]);
        assert_eq!(
            rig.next().await,
            Incoming::NotEnrolled(name(1), Registered::Trouble),
            "{target}"
        );
    }

    let mut rig = Rig::as_nobody().await;
    rig.register(1);
    for _ in 0..=crate::defaults::REDIRECTIONS {
        rig.asked().await.answers(307, &[("location", "/round")]);
    }
    assert_eq!(
        rig.next().await,
        Incoming::NotEnrolled(name(1), Registered::Trouble)
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
    assert_eq!(rig.next().await, Incoming::Nobody);
    rig.register(1);
    let asked = rig.asked_for(Method::POST, "/subscribe").await;
    asked.answers(307, &[("location", &format!("{origin}/subscribe"))]);
    let (incoming, _peer) = tokio::join!(rig.channel.next(), other);
    assert_eq!(
        incoming,
        Incoming::Enrolled(name(1), enrolled(&origin, 1, "there"))
    );
    assert_eq!(rig.next().await, Incoming::Ended(Ended::Closed(Some(1001))));

    let set = enrolled(&origin, 1, "there").set;
    let server = ServerUrl::parse("http://127.0.0.1:1/").unwrap();
    let trust = Trust::system();
    let opening = Channel::open(&server, &trust, Some(&set));
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

/// R30-SET-4: a service that doesn't know the set is asked without it, once on a channel; what it gives then is another
/// set. If that is refused as well, the set was not the reason, and stays.
#[tokio::test]
async fn a_set_that_the_service_does_not_know() {
    let (mut rig, monitor) = Rig::monitoring().await;
    rig.register(1);
    rig.asked_for(Method::POST, "/subscribe").await.answers(400, &[]);
    let again = rig.asked_for(Method::POST, "/subscribe").await;
    assert_eq!(again.header("link"), None);
    again.answers(400, &[]);
    assert_eq!(
        rig.next().await,
        Incoming::NotEnrolled(name(1), Registered::Refused(400))
    );

    rig.register(1);
    rig.asked_for(Method::POST, "/subscribe").await.answers(400, &[]);
    rig.asked_for(Method::POST, "/subscribe").await.enrolls(1, "b");
    assert_eq!(
        rig.next().await,
        Incoming::Enrolled(name(1), enrolled(ORIGIN, 1, "b"))
    );
    let _monitor = rig.asked_for(Method::GET, "/subscriptions/b").await;
    monitor.given_up().await;
    rig.register(2);
    rig.asked_for(Method::POST, "/subscribe").await.answers(400, &[]);
    assert_eq!(
        rig.next().await,
        Incoming::NotEnrolled(name(2), Registered::Refused(400))
    );
}

/// R30-SET-3: a subscription in another set than that of the others is of no use, and taken back.
#[tokio::test]
async fn a_set_that_nobody_asked_for() {
    let (mut rig, _monitor) = Rig::monitoring().await;
    rig.register(1);
    rig.asked_for(Method::POST, "/subscribe").await.enrolls(1, "b");
    rig.asked_for(Method::DELETE, "/subscription/1")
        .await
        .answers(204, &[]);
    assert_eq!(
        rig.next().await,
        Incoming::NotEnrolled(name(1), Registered::Trouble)
    );
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
    let rows: [(u16, Fields<'_>, Registered); 13] = [
        (400, &[], Registered::Refused(400)),
        (404, retry, Registered::Refused(404)),
        (429, retry, minute.clone()),
        (503, retry, minute),
        (429, &[], Registered::Trouble),
        (500, &[], Registered::Trouble),
        (200, &[], Registered::Trouble),
        (302, &[("location", "/")], Registered::Trouble),
        (307, &[], Registered::Trouble),
        (201, &[("location", "/s/1"), ("link", push)], Registered::Trouble),
        (201, &[("location", "/s/1"), ("link", set)], Registered::Trouble),
        (201, &[("link", push), ("link", set)], Registered::Trouble),
        (
            201,
            &[
                ("location", "http://push.example.net/s/1"),
                ("link", push),
                ("link", clear),
            ],
            Registered::Trouble,
        ),
    ];
    let mut rig = Rig::as_nobody().await;
    for (status, headers, expected) in rows {
        rig.register(1);
        let asked = rig.asked_for(Method::POST, "/subscribe").await;
        asked.answers(status, headers);
        let incoming = rig.next().await;
        assert_eq!(incoming, Incoming::NotEnrolled(name(1), expected), "{status}");
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
    assert!(matches!(rig.next().await, Incoming::NotEnrolled(..)));
    assert_eq!(rig.channel.take_explanation().as_deref(), Some("Ask the owner."));
    assert_eq!(rig.channel.take_explanation(), None);

    rig.known.apply(&Change::Asked {
        name: name(1),
        application_server: None,
    });
    rig.known.apply(&Change::Located {
        name: name(1),
        resource: enrolled(ORIGIN, 1, "a").resource,
    });
    rig.say(&Say::Unregister(name(1)));
    let asked = rig.asked_for(Method::DELETE, "/subscription/1").await;
    asked.explains(
        503,
        &[],
        r#"{"code":503,"errno":201,"message":"Storage is away"}"#,
    );
    assert_eq!(rig.next().await, Incoming::Unregistered(name(1), false));
    assert_eq!(rig.channel.take_explanation().as_deref(), Some("Storage is away"));

    monitor.explains(429, &problem, r#"{"detail":"Too many at once."}"#);
    assert!(matches!(
        rig.next().await,
        Incoming::Ended(Ended::Refused { status: 429, .. })
    ));
    assert_eq!(
        rig.channel.take_explanation().as_deref(),
        Some("Too many at once.")
    );
}

/// R30-EXP-4, R30-EXP-8: a subscription is ended where the service said; one that is gone is ended, and so is one of which
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
    assert_eq!(rig.next().await, Incoming::Unregistered(name(1), true));
    rig.known.apply(&Change::Located {
        name: name(1),
        resource: enrolled(ORIGIN, 1, "a").resource,
    });
    for (status, done) in [(204, true), (404, true), (503, false)] {
        rig.say(&Say::Unregister(name(1)));
        let asked = rig.asked_for(Method::DELETE, "/subscription/1").await;
        asked.answers(status, &[]);
        assert_eq!(
            rig.next().await,
            Incoming::Unregistered(name(1), done),
            "{status}"
        );
    }
}
