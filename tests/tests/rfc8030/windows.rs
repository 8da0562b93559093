//! What the user agent's connection takes: its streams and its windows bound what is pushed, and what they leave out stays
//! stored.

use push_tests::application_server::Push;
use push_tests::monitor::{Connection, Subscribed};
use push_tests::payload;

use crate::rfc8030::world::{Storage, World};

/// As long as a message may be, and longer than the windows below.
const LONG: usize = 4_096;

/// Messages that wait: more than the streams below, and fewer than a channel brings without an acknowledgement.
const MESSAGES: usize = 12;

/// R30-H2-2, PR-19: who takes one stream, or two, is never promised more at a time, and gets everything all the same. The
/// library that reads here drops the connection of a service that promises too much.
pub(crate) async fn the_peers_streams_are_the_window(storage: Storage) {
    let world = World::start(storage).await;
    let (_, made) = world.subscriber().await;
    let texts = many_wait(&world, &made).await;
    for streams in [1, 2] {
        let mut agent = Connection::open_with(&world.user_agents_connector(), |builder| {
            builder.max_concurrent_streams(streams);
        })
        .await;
        let mut monitor = agent.monitor(&made.subscription).await;
        for text in &texts {
            let message = monitor.message().await;
            assert_eq!(message.answer.body, payload::body_of(text, LONG));
        }
        agent.ping().await;
        assert!(monitor.is_quiet());
    }
}

/// R30-H2-4, PR-19: a push that is refused is no acknowledgement: it does not come again by this request, the next ones do,
/// and it comes by the next request.
pub(crate) async fn a_refused_push_comes_with_the_next_request(storage: Storage) {
    let world = World::start(storage).await;
    let (_, made) = world.subscriber().await;
    let texts = many_wait(&world, &made).await;
    let agent = narrow(&world).await;
    let mut monitor = agent.monitor(&made.subscription).await;
    // Its window takes less than the body, so it is under way still.
    monitor.promise().await.refuse().await;
    for text in &texts[1..] {
        let message = monitor.message().await;
        assert_eq!(message.answer.body, payload::body_of(text, LONG));
        assert_eq!(agent.delete(&message.url).await.status, 204);
    }
    assert!(monitor.is_quiet());
    let other = world.elsewhere().await;
    let mut next = other.monitor(&made.subscription).await;
    assert_eq!(monitor.over().await.status, 200);
    let refused = next.message().await;
    assert_eq!(refused.answer.body, payload::body_of(&texts[0], LONG));
    assert_eq!(other.delete(&refused.url).await.status, 204);
    assert!(next.is_quiet());
}

/// R30-H2-3, R30-ACK-5: who opens no window is sent no more, and when it reads, or comes back over another connection, all
/// is there.
pub(crate) async fn a_closed_window_loses_nothing(storage: Storage) {
    let world = World::start(storage).await;
    let (_, made) = world.subscriber().await;
    let texts = many_wait(&world, &made).await;
    let mut agent = narrow(&world).await;
    let mut monitor = agent.monitor(&made.subscription).await;
    for text in &texts[..3] {
        let unread = monitor.promise().await;
        agent.ping().await;
        assert!(monitor.is_quiet(), "one body is under way, and nothing behind it");
        let message = unread.read().await;
        assert_eq!(message.answer.body, payload::body_of(text, LONG));
    }
    let _unread = monitor.promise().await;
    let other = world.elsewhere().await;
    let mut next = other.monitor(&made.subscription).await;
    for text in &texts {
        let message = next.message().await;
        assert_eq!(message.answer.body, payload::body_of(text, LONG));
    }
}

/// A connection whose windows take a few bytes of a message at a time.
async fn narrow(world: &World) -> Connection {
    Connection::open_with(&world.user_agents_connector(), |builder| {
        builder.initial_window_size(100);
    })
    .await
}

/// Sends messages, and returns the texts that they begin with.
async fn many_wait(world: &World, made: &Subscribed) -> Vec<String> {
    let mut sender = world.sender().await;
    let mut texts = Vec::new();
    for number in 0..MESSAGES {
        let text = format!("number {number}");
        let push = Push::new(&made.push, "").body(payload::body_of(&text, LONG));
        assert_eq!(sender.push(&push).await.status, 201);
        texts.push(text);
    }
    texts
}
