//! Subscriptions and sets that end, and what never was one.

use http::Method;
use push_tests::application_server::Push;
use push_tests::events::Events;
use push_tests::monitor::Connection;

use crate::rfc8030::world::{ORIGIN, Storage, World};

/// R30-EXP-3, R30-EXP-4, R30-EXP-6 to R30-EXP-8, R30-MSG-7, R30-MON-17: a subscription that is removed is gone at every
/// node, with its messages, and its set has it no more; the others of the set stay.
pub(crate) async fn a_subscription_ends(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made) = world.subscriber().await;
    let other = agent.subscribe_in(ORIGIN, &made.set).await;
    let location = world.accepts(&Push::new(&made.push, "too late")).await;
    world.accepts(&Push::new(&other.push, "mine")).await;
    assert_eq!(agent.delete(&made.subscription).await.status, 204);
    for agent in [&agent, &world.elsewhere().await] {
        assert_eq!(agent.delete(&made.subscription).await.status, 404);
        assert_eq!(monitoring_status(agent, &made.subscription).await, 404);
        let look = agent.ask(Method::HEAD, &made.subscription, &[]).await;
        assert_eq!(look.status, 404);
    }
    assert_eq!(world.push(&Push::new(&made.push, "later")).await.status, 404);
    assert_eq!(agent.delete(location).await.status, 404);
    assert_eq!(world.waits(&made.set).await, ["mine"]);
    world.accepts(&Push::new(&other.push, "mine too")).await;
    assert_eq!(agent.subscribe_in(ORIGIN, &made.set).await.set, made.set);
}

/// R30-EXP-5, R30-EXP-8, R30-SET-4: with a set all its subscriptions end, and no other.
pub(crate) async fn a_set_ends_with_all_that_is_in_it(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, first) = world.subscriber().await;
    let second = agent.subscribe_in(ORIGIN, &first.set).await;
    let stranger = agent.subscribe(ORIGIN).await;
    let location = world.accepts(&Push::new(&second.push, "too late")).await;
    assert_eq!(world.elsewhere().await.delete(&first.set).await.status, 204);
    for gone in [&first, &second] {
        assert_eq!(world.push(&Push::new(&gone.push, "later")).await.status, 404);
        for url in [&gone.subscription, &gone.set] {
            assert_eq!(agent.delete(url).await.status, 404);
            assert_eq!(monitoring_status(&agent, url).await, 404);
        }
    }
    assert_eq!(agent.delete(location).await.status, 404);
    world.accepts(&Push::new(&stranger.push, "still here")).await;
    assert_eq!(world.waits(&stranger.set).await, ["still here"]);
}

/// R30-EXP-2, R30-MON-17: a request that monitors what ends is answered 404, at whichever node it ends and however it is monitored;
/// one that monitors the rest of a set goes on.
pub(crate) async fn who_monitors_what_ends_is_told(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made, mut monitor) = world.monitoring().await;
    let other = agent.subscribe_in(ORIGIN, &made.set).await;
    let mut rest = agent.monitor(&made.set).await;
    world.accepts(&Push::new(&other.push, "before")).await;
    rest.receives("before").await;
    let elsewhere = world.elsewhere().await;
    assert_eq!(elsewhere.delete(&made.subscription).await.status, 204);
    assert_eq!(monitor.over().await.status, 404);
    world.accepts(&Push::new(&other.push, "after")).await;
    rest.receives("after").await;
    assert_eq!(elsewhere.delete(&made.set).await.status, 204);
    assert_eq!(rest.over().await.status, 404);
    // And as events, where the status is told last.
    let made = agent.subscribe(ORIGIN).await;
    let mut events = Events::open(&world.user_agents_connector(), &made.subscription, &[]).await;
    assert_eq!(elsewhere.delete(&made.subscription).await.status, 204);
    assert_eq!(events.end().await, 404);
}

/// R30-MON-17, R30-RES-5: what was never handed out is not there, and is answered as what has ended.
pub(crate) async fn what_never_was_is_not_there(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made) = world.subscriber().await;
    let ended = agent.subscribe(ORIGIN).await;
    assert_eq!(agent.delete(&ended.subscription).await.status, 204);
    let expected = agent
        .ask(Method::GET, &ended.subscription, &[("prefer", "wait=0")])
        .await;
    assert_eq!(expected.status, 404);
    for url in [&made.subscription, &made.set, &made.push] {
        let at = url.rfind('/').expect("a path") + 1;
        for token in ["", "x", &url[at..url.len() - 1], &url[at..].to_lowercase()] {
            for path in ["subscription", "subscriptions", "receipts"] {
                let url = format!("{ORIGIN}/{path}/{token}");
                let answer = agent.monitor(&url).await.over().await;
                assert_eq!(
                    (answer.status, &answer.body),
                    (expected.status, &expected.body),
                    "{url}"
                );
                assert_eq!(agent.delete(&url).await.status, 404, "{url}");
                assert_eq!(agent.ask(Method::HEAD, &url, &[]).await.status, 404, "{url}");
            }
            let url = format!("{ORIGIN}/push/{token}");
            assert_eq!(world.push(&Push::new(&url, "ended")).await.status, 404, "{url}");
            let url = format!("{ORIGIN}/message/{token}");
            assert_eq!(agent.delete(&url).await.status, 404, "{url}");
        }
    }
}

/// R30-RES-3: the token of one kind of resource opens no other.
pub(crate) async fn a_url_allows_one_thing(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made) = world.subscriber().await;
    let promised = world.promises(&Push::new(&made.push, "sent")).await;
    let mut monitor = agent.monitor(&made.subscription).await;
    let url = monitor.receives("sent").await;
    let own = [
        ("subscription", &made.subscription),
        ("subscriptions", &made.set),
        ("push", &made.push),
        ("message", &promised.message),
        ("message", &url),
        ("receipts", &promised.receipts),
    ];
    for (path, _) in &own {
        for (kind, url) in own.iter().filter(|(kind, _)| kind != path) {
            let token = url.rsplit('/').next().expect("a token");
            let foreign = format!("{ORIGIN}/{path}/{token}");
            let answer = match *path {
                "push" => world.push(&Push::new(&foreign, "ended")).await,
                _ => agent.delete(&foreign).await,
            };
            assert_eq!(answer.status, 404, "{kind} as {path}");
        }
    }
    // None of it has done anything.
    assert_eq!(world.waits(&made.set).await, ["sent"]);
}

async fn monitoring_status(agent: &Connection, url: &str) -> u16 {
    agent.monitor(url).await.over().await.status.as_u16()
}
