//! DELETE of a message: the user agent acknowledges it, its sender takes it back.

use push_tests::application_server::Push;

use crate::rfc8030::world::{Storage, World};

/// R30-ACK-1 to R30-ACK-3, PR-18: an acknowledgement is taken over any connection at any node, once, and counts everywhere.
pub(crate) async fn an_acknowledged_message_is_gone_everywhere(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made) = world.subscriber().await;
    let mut sender = world.sender().await;
    let mut locations = Vec::new();
    for text in ["1", "2", "3"] {
        locations.push(world.accepts(&Push::new(&made.push, text)).await);
    }
    let mut monitor = agent.monitor(&made.subscription).await;
    let mut urls = Vec::new();
    for text in ["1", "2", "3"] {
        urls.push(monitor.receives(text).await);
    }
    assert_eq!(world.elsewhere().await.delete(&urls[1]).await.status, 204);
    let over_http1 = sender.delete(&urls[0]).await.expect("an answer");
    assert_eq!(over_http1.status, 204);
    assert!(over_http1.body.is_empty());
    for url in &urls[..2] {
        assert_eq!(agent.delete(url).await.status, 404);
        assert_eq!(world.elsewhere().await.delete(url).await.status, 404);
    }
    // What is acknowledged can't be taken back.
    assert_eq!(sender.delete(&locations[0]).await.expect("an answer").status, 404);
    assert_eq!(world.waits(&made.set).await, ["3"]);
}

/// PR-18, PR-16: unacknowledged messages fill the window, and each that is acknowledged, at whichever node, makes room.
pub(crate) async fn an_acknowledgement_frees_the_window(storage: Storage) {
    let small = |settings: push_tests::settings::Settings| settings.set("channels.in_flight", 4);
    let world = World::start_with(storage, small).await;
    let (mut agent, made, mut monitor) = world.monitoring().await;
    for number in 0..12 {
        world.accepts(&Push::new(&made.push, &number.to_string())).await;
    }
    let mut unacknowledged = std::collections::VecDeque::new();
    for number in 0..12 {
        // One subscription takes half the window.
        if unacknowledged.len() == 2 {
            agent.ping().await;
            assert!(monitor.is_quiet());
            let url: String = unacknowledged.pop_front().expect("a message");
            let answer = match number % 2 {
                0 => agent.delete(url).await,
                _ => world.elsewhere().await.delete(url).await,
            };
            assert_eq!(answer.status, 204);
        }
        unacknowledged.push_back(monitor.receives(&number.to_string()).await);
    }
}

/// R30-ACK-7, PR-26: a sender's DELETE takes its message back, whether it was pushed or not.
pub(crate) async fn a_sender_takes_its_message_back(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made) = world.subscriber().await;
    let mut sender = world.sender().await;
    let waits = world.accepts(&Push::new(&made.push, "waits")).await;
    assert_eq!(sender.delete(&waits).await.expect("an answer").status, 204);
    assert_eq!(sender.delete(&waits).await.expect("an answer").status, 404);
    let mut monitor = world.seated(&agent, &made.subscription, &made.push).await;
    let location = world.accepts(&Push::new(&made.push, "pushed")).await;
    let url = monitor.receives("pushed").await;
    assert_eq!(sender.delete(&location).await.expect("an answer").status, 204);
    assert_eq!(agent.delete(url).await.status, 404);
    assert!(world.waits(&made.subscription).await.is_empty());
}
