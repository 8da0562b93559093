//! Server-Sent Events: what server push brings, for user agents that can't take pushes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use push_tests::application_server::Push;
use push_tests::events::Events;
use push_tests::payload;
use serde_json::json;

use crate::rfc8030::world::{ORIGIN, Storage, World};

/// R30-V-2, R30-MON-4, R30-MON-7, R30-MON-9, R30-ACK-1: a message is one event with its content and both its URLs; the first
/// acknowledges it, over any connection, and what is not acknowledged comes again.
pub(crate) async fn a_message_is_an_event(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made) = world.subscriber().await;
    let mut events = Events::open(&world.user_agents_connector(), &made.set, &[]).await;
    assert_eq!(events.headers["cache-control"], "no-store");
    assert_eq!(events.headers["x-accel-buffering"], "no");
    let body = payload::body_of("as long as may be", 4_096);
    let push = Push::new(&made.push, "")
        .body(body.clone())
        .header("content-type", "text/plain")
        .header("topic", "weather")
        .header("urgency", "high");
    let location = world.accepts(&push).await;
    let event = events.next().await;
    assert_eq!(event.event, "message");
    assert_eq!(event.url("push"), made.push);
    assert_eq!(event.data["body"], URL_SAFE_NO_PAD.encode(&body));
    let mut headers = event.data["headers"].clone();
    let modified = headers["last-modified"].take();
    httpdate::parse_http_date(modified.as_str().expect("a date")).expect("a date");
    assert_eq!(
        headers,
        json!({"content-encoding": "aes128gcm", "content-type": "text/plain", "last-modified": null})
    );
    assert!(event.url("message").starts_with(&format!("{ORIGIN}/message/")));
    assert_ne!(event.url("message"), location);
    world.accepts(&Push::new(&made.push, "next")).await;
    let next = events.next().await;
    assert_eq!(agent.delete(event.url("message")).await.status, 204);
    // The last id that arrived acknowledges no message: only DELETE does.
    drop(events);
    let mut events = Events::open(
        &world.receipts_connector(),
        &made.subscription,
        &[("last-event-id", &next.id)],
    )
    .await;
    assert_eq!(events.next().await, next);
    assert_eq!(
        world.elsewhere().await.delete(next.url("message")).await.status,
        204
    );
    assert!(world.waits(&made.set).await.is_empty());
    assert_eq!(events.end().await, 200, "a newer monitor has taken over");
}

/// R30-MON-12, R30-MON-13, R30-MON-16 to R30-MON-18: events end as a monitoring request would be answered: where nothing
/// was sent by that status, else by a last event that tells it.
pub(crate) async fn events_end_with_a_reason(storage: Storage) {
    let world = World::start(storage).await;
    let (_, made) = world.subscriber().await;
    let connector = world.user_agents_connector();
    let no_wait = [("prefer", "wait=0")];
    let missing = format!("{}x", made.subscription);
    for (url, status) in [(&made.subscription, 204), (&missing, 404)] {
        let answer = match Events::try_open(&connector, url, &no_wait).await {
            Err(answer) => answer,
            Ok(mut events) => {
                // A request that was answered 200 already is told the rest by the last event.
                assert_eq!(events.end().await, 200);
                continue;
            }
        };
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    for text in ["1", "2"] {
        world.accepts(&Push::new(&made.push, text)).await;
    }
    let mut once = Events::open(&connector, &made.subscription, &no_wait).await;
    assert_eq!(once.next().await.event, "message");
    assert_eq!(once.next().await.event, "message");
    assert_eq!(once.end().await, 200);
    let mut older = Events::open(&connector, &made.subscription, &[]).await;
    let (elsewhere, a_second) = (world.receipts_connector(), [("prefer", "wait=1")]);
    let mut newer = Events::open(&elsewhere, &made.subscription, &a_second).await;
    for events in [&mut older, &mut newer] {
        assert_eq!(events.next().await.event, "message");
        assert_eq!(events.next().await.event, "message");
        assert_eq!(events.end().await, 200);
    }
}

/// R30-V-2: a page of another origin may read what it monitors.
pub(crate) async fn pages_may_listen(storage: Storage) {
    let world = World::start(storage).await;
    let (_, made) = world.subscriber().await;
    let from_a_page = [("origin", "https://page.example.test")];
    let events = Events::open(&world.user_agents_connector(), &made.set, &from_a_page).await;
    assert_eq!(events.headers["access-control-allow-origin"], "*");
    let events = Events::open(&world.user_agents_connector(), &made.set, &[]).await;
    assert!(!events.headers.contains_key("access-control-allow-origin"));
}

/// R30-URG-5, R30-URG-6: events keep to the threshold as well; and between the two ways to monitor the newest wins.
pub(crate) async fn the_urgent_comes_first_and_the_rest_later(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made, mut pushes) = world.monitoring().await;
    let urgent = [("urgency", "high")];
    let mut events = Events::open(&world.receipts_connector(), &made.set, &urgent).await;
    assert_eq!(pushes.over().await.status, 200);
    for (text, urgency) in [("later", "normal"), ("now", "high")] {
        let push = Push::new(&made.push, text).header("urgency", urgency);
        world.accepts(&push).await;
    }
    let event = events.next().await;
    assert_eq!(event.data["body"], URL_SAFE_NO_PAD.encode(payload::body("now")));
    assert_eq!(agent.delete(event.url("message")).await.status, 204);
    let mut pushes = agent.monitor(&made.subscription).await;
    assert_eq!(events.end().await, 200);
    pushes.receives("later").await;
}
