//! What the service is asked to bring, and how another wish takes the place of one.

use push_protocol::Urgency;

use super::service::{Asked, is_refused};
use super::*;
use crate::defaults::REPLACED_WITHIN;

fn at_least(lowest: Urgency) -> Wish {
    Wish {
        lowest,
        ..Wish::default()
    }
}

fn for_now(extent: Extent) -> Wish {
    Wish {
        extent,
        ..Wish::default()
    }
}

impl Rig {
    /// As [`Rig::monitoring`], with this wish.
    async fn wishing(wish: Wish) -> (Self, Asked) {
        let mut rig = Self::new().await;
        rig.say(&Say::Hello(Some(set("a")), wish));
        assert_eq!(rig.next().await, Incoming::Monitoring(set("a")));
        let monitor = rig.peer.expects(Method::GET, "/subscriptions/a").await;
        (rig, monitor)
    }

    /// All that the service has done by now is here, and none of it worth a word.
    async fn is_quiet(&mut self) {
        self.channel.ping();
        assert_eq!(self.next().await, Incoming::SignOfLife);
    }
}

/// R30-URG-5, R30-URG-7: the lowest urgency stands in the request; who wants everything says nothing of it.
#[tokio::test]
async fn the_lowest_urgency_is_a_field() {
    for urgency in Urgency::ALL {
        let (_rig, monitor) = Rig::wishing(at_least(urgency)).await;
        let expected = (urgency != Urgency::VeryLow).then_some(urgency.as_str());
        assert_eq!(monitor.header("urgency"), expected);
        assert_eq!(monitor.header("prefer"), None);
    }
}

/// R30-MON-18, PR-20: another wish is another request on the same connection. What was promised on the older one is taken first,
/// and its end is not the end of the channel.
#[tokio::test]
async fn another_wish_takes_the_place() {
    let (mut rig, mut older) = Rig::monitoring().await;
    rig.say(&Say::Bring(Wish::default()));
    rig.is_quiet().await;
    assert!(!rig.peer.asked_now(), "the hello said that");

    let slow = older.promises("/message/1", 1);
    rig.say(&Say::Bring(at_least(Urgency::High)));
    let mut newer = rig.asked_for(Method::GET, "/subscriptions/a").await;
    assert_eq!(newer.header("urgency"), Some("high"));
    older.pushes("/message/2", 1, b"");
    newer.pushes("/message/3", 1, b"");
    older.answers(200, &[]);
    newer.pushes("/message/4", 1, b"");
    rig.is_quiet().await;
    service::delivers(slow, &[], b"");
    for number in 1..=4 {
        assert_eq!(*rig.pushed().await.path, *format!("/message/{number}"));
    }
    rig.is_quiet().await;
    rig.say(&Say::Bring(Wish::default()));
    let last = rig.asked_for(Method::GET, "/subscriptions/a").await;
    assert_eq!(last.header("urgency"), None);
}

/// R30-MON-18: a service that doesn't end the older request is not listened to twice for ever.
#[tokio::test(start_paused = true)]
async fn an_older_request_is_given_up() {
    let (mut rig, mut older) = Rig::monitoring().await;
    rig.say(&Say::Bring(at_least(Urgency::High)));
    let mut newer = rig.asked_for(Method::GET, "/subscriptions/a").await;
    older.pushes("/message/1", 1, b"");
    assert_eq!(&*rig.pushed().await.path, "/message/1");
    let begin = Instant::now();
    tokio::select! {
        () = older.given_up() => {}
        incoming = rig.channel.next() => panic!("{incoming:?}"),
    }
    assert!(begin.elapsed() <= REPLACED_WITHIN + Duration::from_millis(10));
    newer.pushes("/message/2", 1, b"");
    assert_eq!(&*rig.pushed().await.path, "/message/2");
}

/// R30-MON-12, R30-MON-13: what waits is asked for as such; its end is told when all of it has come, and whether there was
/// nothing.
#[tokio::test]
async fn what_waits_has_an_end() {
    let (mut rig, mut monitor) = Rig::wishing(for_now(Extent::Waiting)).await;
    assert_eq!(monitor.header("prefer"), Some("wait=0"));
    let slow = monitor.promises("/message/1", 1);
    monitor.pushes("/message/2", 2, b"");
    monitor.answers(200, &[]);
    assert_eq!(&*rig.pushed().await.path, "/message/2");
    rig.is_quiet().await;
    service::delivers(slow, &[], b"");
    assert_eq!(&*rig.pushed().await.path, "/message/1");
    assert_eq!(rig.next().await, Incoming::CaughtUp(false));

    rig.say(&Say::Bring(for_now(Extent::Waiting)));
    let monitor = rig.asked_for(Method::GET, "/subscriptions/a").await;
    monitor.answers(204, &[]);
    assert_eq!(rig.next().await, Incoming::CaughtUp(true));
    rig.is_quiet().await;
}

/// R30-MON-13, R30-ACK-1: what waits is asked for again when the service has answered every acknowledgement: else what is done
/// would come again.
#[tokio::test]
async fn acknowledged_before_the_next_round() {
    let (mut rig, monitor) = Rig::wishing(for_now(Extent::Waiting)).await;
    monitor.answers(200, &[]);
    assert_eq!(rig.next().await, Incoming::CaughtUp(false));
    for path in ["/message/1", "/message/2"] {
        rig.acknowledge(path);
    }
    rig.say(&Say::Bring(for_now(Extent::Waiting)));
    let first = rig.asked_for(Method::DELETE, "/message/1").await;
    let second = rig.asked_for(Method::DELETE, "/message/2").await;
    first.answers(204, &[]);
    assert_eq!(rig.next().await, Incoming::SignOfLife);
    rig.is_quiet().await;
    assert!(!rig.peer.asked_now());
    second.answers(204, &[]);
    assert_eq!(rig.next().await, Incoming::SignOfLife);
    rig.asked_for(Method::GET, "/subscriptions/a").await;
}

/// R30-H2-4, PR-16: who wants nothing more gives up the request and refuses what was promised; the channel lives on.
#[tokio::test]
async fn nothing_more_is_wanted() {
    let (mut rig, mut monitor) = Rig::wishing(for_now(Extent::Waiting)).await;
    let promised = monitor.promises("/message/1", 1);
    rig.is_quiet().await;
    rig.say(&Say::Bring(for_now(Extent::Nothing)));
    rig.is_quiet().await;
    is_refused(promised).await;
    monitor.given_up().await;
    rig.say(&Say::Bring(for_now(Extent::Waiting)));
    let mut monitor = rig.asked_for(Method::GET, "/subscriptions/a").await;
    monitor.pushes("/message/1", 1, b"");
    assert_eq!(&*rig.pushed().await.path, "/message/1");
}

/// R30-MON-17, R30-SUB-2: a wish outlives the set: the next one is monitored with it.
#[tokio::test]
async fn a_wish_outlives_the_set() {
    let (mut rig, monitor) = Rig::monitoring().await;
    monitor.answers(404, &[]);
    assert_eq!(rig.next().await, Incoming::Forgotten);
    rig.say(&Say::Bring(at_least(Urgency::Low)));
    rig.register(1);
    rig.asked_for(Method::POST, "/subscribe").await.enrolls(1, "b");
    assert!(matches!(rig.next().await, Incoming::SubscriptionMade(..)));
    let monitor = rig.asked_for(Method::GET, "/subscriptions/b").await;
    assert_eq!(monitor.header("urgency"), Some("low"));
}
