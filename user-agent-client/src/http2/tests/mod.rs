//! The channel against a service in the same process. Where something takes its time, time is simulated.

mod acknowledging;
mod events;
mod http1;
mod monitoring;
pub(crate) mod service;
mod subscribing;
mod tls;
mod wishes;

use std::sync::Arc;

use http::Method;
use push_protocol::identifiers::SubscriptionName;
use push_protocol::session::user_agent::{
    Arrived, Change, ChannelEnd, Disposition, Durable, Extent, Farewell, Identity, Registered, Say,
    SubscriptionResource,
};
use service::Peer;
use tokio::io::duplex;

use super::*;

const ORIGIN: &str = "https://push.example.net";

fn name(number: u8) -> SubscriptionName {
    SubscriptionName([number; 16])
}

fn set(path: &str) -> Identity {
    Identity::of_set(&format!("{ORIGIN}/subscriptions/{path}")).unwrap()
}

/// Both ends of a connection.
struct Rig {
    channel: Channel,
    peer: Peer,
    known: Durable,
}

impl Rig {
    async fn new() -> Self {
        Self::at(&format!("{ORIGIN}/")).await
    }

    async fn at(url: &str) -> Self {
        let (ours, theirs) = duplex(1 << 20);
        let url = ServerUrl::parse(url).unwrap();
        let trust = Trust::insecure();
        let origin = home(&url).unwrap();
        let origin = origin.as_str().trim_end_matches('/');
        let (channel, peer) = tokio::join!(Channel::begin(ours, &url, &trust), Peer::on(theirs, origin));
        Self {
            channel: channel.unwrap(),
            peer,
            known: Durable::default(),
        }
    }

    /// A set is monitored; also the request that does.
    async fn monitoring() -> (Self, service::Asked) {
        let mut rig = Self::new().await;
        rig.say(&Say::Hello(Some(set("a")), Wish::default()));
        assert_eq!(rig.next().await, Incoming::Monitoring(set("a")));
        let monitor = rig.peer.expects(Method::GET, "/subscriptions/a").await;
        (rig, monitor)
    }

    fn say(&mut self, say: &Say) {
        self.channel.say(say, &self.known);
    }

    fn register(&mut self, number: u8) {
        self.say(&Say::Register {
            name: name(number),
            application_server: None,
        });
    }

    fn acknowledge(&mut self, path: &str) {
        let message = Arrived {
            subscription: "".into(),
            id: path.into(),
            content: None,
            metadata: None,
        };
        self.say(&Say::Acknowledge {
            message: Arc::new(message),
            disposition: Disposition::Delivered,
        });
    }

    async fn next(&mut self) -> Incoming {
        self.channel.next().await
    }

    /// The next request, while the channel is held.
    async fn asked(&mut self) -> service::Asked {
        tokio::select! {
            asked = self.peer.asked() => asked,
            incoming = self.channel.next() => panic!("{incoming:?}"),
        }
    }

    async fn asked_for(&mut self, method: Method, path: &str) -> service::Asked {
        let asked = self.asked().await;
        assert_eq!((&asked.method, asked.path.as_str()), (&method, path));
        asked
    }

    async fn pushed(&mut self) -> Pushed {
        match self.next().await {
            Incoming::Pushed(pushed) => pushed,
            other => panic!("{other:?}"),
        }
    }
}

/// WS-PNG-1, R30-H2-1: without a set the channel is live as soon as the service answers, and every later answer to a ping is
/// a sign of life; pushes are asked for, and so many streams only.
#[tokio::test]
async fn a_ping_says_that_the_service_is_there() {
    let mut rig = Rig::new().await;
    rig.say(&Say::Hello(None, Wish::default()));
    assert_eq!(rig.next().await, Incoming::WithoutSet);
    rig.channel.ping();
    rig.channel.ping();
    assert_eq!(rig.next().await, Incoming::SignOfLife);
    assert!(!rig.peer.asked_now());
    assert_eq!(
        rig.channel
            .http2
            .as_ref()
            .unwrap()
            .connection
            .max_concurrent_recv_streams(),
        PUSHED_STREAMS as usize
    );
}

/// R30-LB-3, PR-48: a connection that breaks, and a service that says goodbye, end the channel, each in its words; also while the
/// monitored stream stays open.
#[tokio::test]
async fn the_connection_ends() {
    let (mut rig, _monitor) = Rig::monitoring().await;
    rig.peer.breaks();
    assert_eq!(rig.next().await, Incoming::Ended(ChannelEnd::Lost));
    assert_eq!(
        rig.next().await,
        Incoming::Ended(ChannelEnd::Lost),
        "and that is all there is"
    );

    let (mut rig, monitor) = Rig::monitoring().await;
    rig.peer.leaves();
    assert_eq!(rig.next().await, Incoming::Ended(ChannelEnd::Closed(Some(1001))));
    drop(monitor);

    let (mut rig, monitor) = Rig::monitoring().await;
    monitor.answers(200, &[]);
    assert_eq!(rig.next().await, Incoming::Ended(ChannelEnd::Closed(None)));
}

/// PR-48: after GOAWAY no acknowledgement is taken on that connection. What could not be said, and what was not answered, is left
/// for the next one; what was on its way then is still handed over.
#[tokio::test]
async fn what_a_goodbye_leaves() {
    let (mut rig, mut monitor) = Rig::monitoring().await;
    rig.acknowledge("/message/answered");
    let answered = rig.asked_for(Method::DELETE, "/message/answered").await;
    let late = monitor.promises("/message/late", 1);
    rig.channel.ping();
    assert_eq!(rig.next().await, Incoming::SignOfLife);
    rig.peer.leaves();
    // Answered by the connection itself, behind the GOAWAY.
    rig.channel.ping();
    assert_eq!(rig.next().await, Incoming::SignOfLife);
    rig.acknowledge("/message/1");
    rig.acknowledge("/message/2");
    service::delivers(late, &[], b"");
    assert_eq!(&*rig.pushed().await.path, "/message/late");
    answered.answers(204, &[]);
    assert_eq!(rig.next().await, Incoming::SignOfLife);
    assert_eq!(rig.next().await, Incoming::Ended(ChannelEnd::Closed(Some(1001))));
    let left = rig.channel.unacknowledged();
    assert_eq!(left, ["/message/1", "/message/2"].map(Box::from));
    assert!(rig.channel.unacknowledged().is_empty());

    let (mut rig, _monitor) = Rig::monitoring().await;
    rig.channel.acknowledge(&left);
    for path in ["/message/1", "/message/2"] {
        rig.asked_for(Method::DELETE, path).await.answers(204, &[]);
        assert_eq!(rig.next().await, Incoming::SignOfLife);
    }
}

/// PR-48: a service that says goodbye and owes the rest of a message, or an answer, is not waited for longer than so.
#[tokio::test(start_paused = true)]
async fn a_goodbye_has_an_end() {
    for owes_answer in [false, true] {
        let (mut rig, mut monitor) = Rig::monitoring().await;
        let mut owed = None;
        if owes_answer {
            rig.acknowledge("/message/1");
            rig.asked_for(Method::DELETE, "/message/1").await;
        } else {
            owed = Some(monitor.promises("/message/2", 1));
        }
        rig.channel.ping();
        assert_eq!(rig.next().await, Incoming::SignOfLife);
        rig.peer.leaves();
        let begin = Instant::now();
        assert_eq!(rig.next().await, Incoming::Ended(ChannelEnd::Closed(Some(1001))));
        let waited = begin.elapsed();
        assert!(
            waited <= crate::defaults::LEAVE_WITHIN + Duration::from_millis(100),
            "{waited:?}"
        );
        assert_eq!(rig.channel.unacknowledged().len(), usize::from(owes_answer));
        drop(owed);
    }
}

/// PR-48: so it is with a connection that breaks.
#[tokio::test]
async fn what_a_lost_connection_leaves() {
    let (mut rig, _monitor) = Rig::monitoring().await;
    rig.acknowledge("/message/1");
    rig.asked_for(Method::DELETE, "/message/1").await;
    rig.peer.breaks();
    assert_eq!(rig.next().await, Incoming::Ended(ChannelEnd::Lost));
    assert_eq!(rig.channel.unacknowledged(), [Box::from("/message/1")]);
}

/// R30-LB-3, PR-18: a channel that is closed sends its acknowledgements first, gives its requests up, and says goodbye.
#[tokio::test]
async fn taking_leave() {
    let (mut rig, monitor) = Rig::monitoring().await;
    rig.acknowledge("/message/1");
    let Rig {
        channel, mut peer, ..
    } = rig;
    let leaving = tokio::spawn(channel.close(Farewell::Leaving));
    peer.expects(Method::DELETE, "/message/1").await.answers(204, &[]);
    monitor.given_up().await;
    leaving.await.unwrap();
    assert!(peer.asked_or_left().await.is_none());
}

/// PR-36: a service that owes an answer is not waited for longer than a farewell may take, and not at all when it is gone.
#[tokio::test(start_paused = true)]
async fn taking_leave_has_an_end() {
    for (farewell, patience) in [
        (Farewell::Leaving, CLOSE_WITHIN),
        (Farewell::TimedOut, Duration::ZERO),
    ] {
        let (mut rig, _monitor) = Rig::monitoring().await;
        rig.acknowledge("/message/1");
        let begin = Instant::now();
        let Rig {
            channel, peer: _peer, ..
        } = rig;
        channel.close(farewell).await;
        assert!(begin.elapsed() <= patience + Duration::from_millis(10));
    }
}

/// R30-SEC-7: nothing that opens anything is printed.
#[tokio::test]
async fn debug_hides_urls() {
    let (rig, _monitor) = Rig::monitoring().await;
    let pushed = Pushed {
        push_resource: "secret".into(),
        path: "secret".into(),
        content: None,
        metadata: None,
    };
    let debug = format!(
        "{:?} {:?} {:?}",
        rig.channel,
        pushed,
        Incoming::Monitoring(set("secret"))
    );
    assert!(
        !debug.contains("secret") && !debug.contains("subscriptions"),
        "{debug}"
    );
}
