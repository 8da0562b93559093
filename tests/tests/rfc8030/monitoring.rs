//! Monitoring requests: what they begin with, how long they last, and what they are answered with.

use push_tests::application_server::Push;
use push_tests::monitor::{Connection, Next};

use crate::rfc8030::world::{ORIGIN, Storage, World};

/// R30-MON-15, R30-MON-1, R30-ACK-5, R30-URG-7: what was sent while there was no monitor comes at once, in its order, to
/// the next monitor, and again until it is acknowledged.
pub(crate) async fn what_waited_comes_when_monitoring_resumes(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made) = world.subscriber().await;
    for (text, urgency) in [("1", "very-low"), ("2", "high"), ("3", "normal")] {
        let push = Push::new(&made.push, text).header("urgency", urgency);
        world.accepts(&push).await;
    }
    let mut monitor = agent.monitor(&made.subscription).await;
    let mut urls = Vec::new();
    for text in ["1", "2", "3"] {
        urls.push(monitor.receives(text).await);
    }
    assert_eq!(agent.delete(&urls[0]).await.status, 204);
    drop((monitor, agent));
    let elsewhere = world.elsewhere().await;
    let mut monitor = elsewhere.monitor(&made.set).await;
    for (text, url) in [("2", &urls[1]), ("3", &urls[2])] {
        assert_eq!(
            monitor.receives(text).await,
            *url,
            "the same message has the same URL"
        );
    }
    world.accepts(&Push::new(&made.push, "4")).await;
    monitor.receives("4").await;
}

/// R30-MON-11 to R30-MON-13: a request that does not wait is brought all that waits, however much more than the window it
/// is, then answered 200; with nothing there, 204. Nothing of it is acknowledged by that.
pub(crate) async fn no_wait_is_once_through(storage: Storage) {
    let small = |settings: push_tests::settings::Settings| settings.set("channels.in_flight", 4);
    let world = World::start_with(storage, small).await;
    let (agent, made) = world.subscriber().await;
    let other = agent.subscribe_in(ORIGIN, &made.set).await;
    let no_wait = [("prefer", "wait=0")];
    for url in [&made.subscription, &made.set] {
        let answer = agent.monitor_with(url, &no_wait).await.over().await;
        assert_eq!(answer.status, 204);
        assert!(answer.body.is_empty());
    }
    let texts: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    for text in &texts {
        world.accepts(&Push::new(&made.push, text)).await;
    }
    for _ in 0..2 {
        assert_eq!(world.waits(&made.subscription).await, texts);
    }
    assert_eq!(world.waits(&made.set).await, texts);
    assert!(world.waits(&other.subscription).await.is_empty());
}

/// R30-MON-16: a request that waits is answered when its time is over: 204 if nothing came, 200 if something did.
pub(crate) async fn a_wait_has_an_end(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made) = world.subscriber().await;
    let mut monitor = agent
        .monitor_with(&made.subscription, &[("prefer", "wait=1")])
        .await;
    assert_eq!(monitor.over().await.status, 204);
    let mut monitor = agent
        .monitor_with(&made.subscription, &[("prefer", "respond-async, wait=2; a=b")])
        .await;
    world.accepts(&Push::new(&made.push, "within it")).await;
    monitor.receives("within it").await;
    assert_eq!(monitor.over().await.status, 200);
    // What is not understood is no reason to refuse.
    let mut monitor = agent
        .monitor_with(&made.subscription, &[("prefer", "wait=long")])
        .await;
    monitor.receives("within it").await;
    world.accepts(&Push::new(&made.push, "later")).await;
    monitor.receives("later").await;
}

/// R30-URG-5 to R30-URG-7, PR-22: what is less urgent than asked for stays stored until a request asks for less.
pub(crate) async fn urgency_is_a_threshold(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made) = world.subscriber().await;
    for urgency in ["very-low", "low", "normal", "high"] {
        let push = Push::new(&made.push, urgency).header("urgency", urgency);
        world.accepts(&push).await;
    }
    let asks = |urgency: &'static str| {
        let agent = &agent;
        let url = &made.subscription;
        async move {
            agent
                .monitor_with(url, &[("urgency", urgency), ("prefer", "wait=0")])
                .await
        }
    };
    let mut high = asks("high").await;
    high.receives("high").await;
    assert_eq!(high.over().await.status, 200);
    let mut low = asks("low").await;
    for urgency in ["low", "normal", "high"] {
        low.receives(urgency).await;
    }
    assert_eq!(low.over().await.status, 200);
    for wrong in ["urgent", "", "low, high", "HIGH!"] {
        let answer = agent
            .monitor_with(&made.subscription, &[("urgency", wrong)])
            .await
            .over()
            .await;
        assert_eq!(answer.status, 400, "{wrong}");
    }
    // While it is being monitored, too.
    let mut monitor = agent.monitor_with(&made.set, &[("urgency", "high")]).await;
    monitor.receives("high").await;
    for (text, urgency) in [("later", "normal"), ("now", "high")] {
        let push = Push::new(&made.push, text).header("urgency", urgency);
        world.accepts(&push).await;
    }
    monitor.receives("now").await;
    let elsewhere = world.elsewhere().await;
    let mut all = elsewhere.monitor(&made.subscription).await;
    for text in ["very-low", "low", "normal", "high", "later", "now"] {
        all.receives(text).await;
    }
}

/// R30-MON-18, PR-15: a monitor over another connection, at whichever node, takes over; the older is answered 200, and what
/// comes then comes to the newer alone.
pub(crate) async fn the_newest_monitor_wins(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made, mut older) = world.monitoring().await;
    let mut agents: Vec<Connection> = vec![agent];
    for round in 0..3 {
        let next = match round % 2 {
            0 => world.elsewhere().await,
            _ => world.user_agent().await,
        };
        let mut newer = next.monitor(&made.set).await;
        agents.push(next);
        let answer = older.over().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = format!("round {round}");
        world.accepts(&Push::new(&made.push, &text)).await;
        let url = newer.receives(&text).await;
        assert_eq!(world.user_agent().await.delete(url).await.status, 204);
        older = newer;
    }
}

/// PR-15, R30-MON-18: monitors of one set over one connection stand beside each other, and each message comes by one.
pub(crate) async fn monitors_of_one_connection_share(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, first, mut monitor) = world.monitoring().await;
    let second = agent.subscribe_in(ORIGIN, &first.set).await;
    let mut other = world.seated(&agent, &second.subscription, &second.push).await;
    for round in 0..3 {
        for (made, monitor) in [(&first, &mut monitor), (&second, &mut other)] {
            let text = format!("round {round}");
            world.accepts(&Push::new(&made.push, &text)).await;
            let url = monitor.receives(&text).await;
            assert_eq!(agent.delete(url).await.status, 204);
        }
    }
    // One that leaves takes the other nothing.
    drop(monitor);
    world.accepts(&Push::new(&second.push, "still here")).await;
    other.receives("still here").await;
    assert!(other.is_quiet());
}

/// R30-MON-12, R30-MON-18, PR-19: a request that does not wait is brought all that is not acknowledged, however much the
/// window of a monitor beside it holds back, so it takes over from one on its own connection as well. That one is told,
/// nothing is lost, and it may begin anew at once.
pub(crate) async fn a_poll_takes_over_and_gives_up_at_once(storage: Storage) {
    let small = |settings: push_tests::settings::Settings| settings.set("channels.in_flight", 4);
    let world = World::start_with(storage, small).await;
    let (agent, made, mut monitor) = world.monitoring().await;
    for text in ["1", "2", "3"] {
        world.accepts(&Push::new(&made.push, text)).await;
    }
    // One subscription holds at most half of the window (PR-17).
    monitor.receives("1").await;
    monitor.receives("2").await;
    let mut poll = agent
        .monitor_with(&made.subscription, &[("prefer", "wait=0")])
        .await;
    let mut urls = Vec::new();
    for text in ["1", "2", "3"] {
        urls.push(poll.receives(text).await);
    }
    assert_eq!(poll.over().await.status, 200);
    assert_eq!(monitor.over().await.status, 200);
    for url in urls {
        assert_eq!(agent.delete(url).await.status, 204);
    }
    let mut monitor = world.seated(&agent, &made.subscription, &made.push).await;
    assert!(monitor.is_quiet());
}

/// R30-MON-18, R30-URG-6, PR-4: a newer monitor of the same, over the same connection, takes the older one's place, whatever
/// urgency either wants: the older is answered 200, and nothing gets lost between them or comes by both.
pub(crate) async fn a_newer_monitor_takes_the_place(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made, mut older) = world.monitoring().await;
    world.accepts(&Push::new(&made.push, "before")).await;
    older.receives("before").await;
    for round in 0..4 {
        let (urgency, wanted, other) = match round % 2 {
            0 => ("high", "high", "low"),
            _ => ("low", "low", "very-low"),
        };
        let mut newer = agent
            .monitor_with(&made.subscription, &[("urgency", urgency)])
            .await;
        assert_eq!(older.over().await.status, 200);
        if round % 2 == 1 {
            // What the older one did not want. That from before is on the wire still, and comes no second time.
            newer.receives("low").await;
        }
        for urgency in [other, wanted] {
            let push = Push::new(&made.push, urgency).header("urgency", urgency);
            world.accepts(&push).await;
        }
        let url = newer.receives(wanted).await;
        assert_eq!(agent.delete(url).await.status, 204);
        assert!(newer.is_quiet());
        older = newer;
    }
}

/// R30-V-2, R30-H2-1: who can't be pushed to is refused with the reason, and no monitor is displaced by it.
pub(crate) async fn who_takes_no_push_is_told(storage: Storage) {
    let world = World::start(storage).await;
    let (_agent, made, mut monitor) = world.monitoring().await;
    let connector = world.user_agents_connector();
    let without = [
        Connection::open_with(&connector, |builder| {
            builder.enable_push(false);
        })
        .await,
        Connection::open_with(&connector, |builder| {
            builder.max_concurrent_streams(0);
        })
        .await,
    ];
    let mut answers = Vec::new();
    for connection in &without {
        let mut refused = connection.monitor(&made.subscription).await;
        answers.push(match refused.next().await {
            Next::Over(answer) => answer,
            Next::Pushed(pushed) => panic!("{} was pushed", pushed.url()),
        });
    }
    let mut old = push_tests::application_server::Http::connect(&connector)
        .await
        .expect("the node listens");
    let path = made.subscription.strip_prefix(ORIGIN).expect("our origin");
    answers.push(old.get(path).await.expect("an answer"));
    for answer in answers {
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert!(answer.text().contains("server push"), "{}", answer.text());
        assert!(answer.text().contains("text/event-stream"), "{}", answer.text());
    }
    // All else works for them.
    assert_eq!(without[0].subscribe(ORIGIN).await.push.len(), made.push.len());
    world.accepts(&Push::new(&made.push, "still mine")).await;
    monitor.receives("still mine").await;
}
