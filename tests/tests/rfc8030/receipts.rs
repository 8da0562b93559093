//! Receipts: what a sender learns about the end of its message.

use std::time::Duration;

use push_tests::application_server::Push;
use push_tests::events::{Event, Events};
use push_tests::monitor::{Connection, Message, Monitor, Next, receipt_link};
use push_tests::settings::Settings;
use push_tests::vapid::Signer;
use push_tests::within;

use crate::rfc8030::world::{ORIGIN, Promised, Storage, World};

/// How late the receipt of a message may be that was not touched again: its sweep, and the look for what is owed.
const SWEPT_WITHIN: Duration = Duration::from_secs(60);

/// R30-RCP-1 to R30-RCP-3, R30-RCP-8, R30-RCP-9: who asks for a receipt is answered 202 with the receipt subscription, who
/// does not, or only in the words of old drafts, 201 without.
pub(crate) async fn a_receipt_is_promised(storage: Storage) {
    let world = World::start(storage).await;
    let (_, made) = world.subscriber().await;
    let push = Push::new(&made.push, "hello");
    for prefer in ["respond-async", "wait=10, respond-async; a=b", "Respond-Async"] {
        let answer = world.push(&push.clone().header("prefer", prefer)).await;
        let promised = Promised::read(&answer);
        assert!(promised.receipts.starts_with(&format!("{ORIGIN}/receipts/")));
        assert_eq!(answer.header("preference-applied"), "respond-async");
        assert_eq!(answer.header("ttl"), "600");
    }
    for (name, value) in [
        ("prefer", "wait=10"),
        ("push-receipt", "https://sender.example.test/receipts"),
    ] {
        let answer = world.push(&push.clone().header(name, value)).await;
        assert_eq!(answer.status, 201, "{name}: {value}");
        assert!(!answer.headers.contains_key("link"));
    }
    // A subscription that has ended makes no promise.
    let agent = world.user_agent().await;
    assert_eq!(agent.delete(&made.subscription).await.status, 204);
    let late = push.header("prefer", "respond-async");
    assert_eq!(world.push(&late).await.status, 404);
}

/// R30-RCP-4 to R30-RCP-6: a receipt subscription that is named is kept, for other subscriptions and at other nodes too; who
/// has proved who it is is given the same one unasked; what is none is refused.
pub(crate) async fn a_receipt_subscription_is_kept(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made) = world.subscriber().await;
    let other = agent.subscribe(ORIGIN).await;
    let first = world.promises(&Push::new(&made.push, "1")).await;
    let relative = first.receipts.strip_prefix(ORIGIN).expect("our origin");
    for name in [first.receipts.as_str(), relative] {
        for to in [&made.push, &other.push] {
            let push = Push::new(to, "2").header("link", &receipt_link(name));
            assert_eq!(world.promises(&push).await.receipts, first.receipts);
        }
    }
    assert_ne!(
        world.promises(&Push::new(&made.push, "3")).await.receipts,
        first.receipts,
        "a stranger must not see them"
    );
    let signer = Signer::generate();
    let signed = Push::new(&made.push, "4").header("authorization", &signer.authorization(ORIGIN));
    let of_signer = world.promises(&signed).await.receipts;
    assert_eq!(world.promises(&signed).await.receipts, of_signer);
    for wrong in [
        made.push.clone(),
        made.set.clone(),
        format!("{ORIGIN}/receipts/none"),
        first.receipts.replace(ORIGIN, "https://elsewhere.example.test"),
    ] {
        let push = Push::new(&made.push, "5")
            .header("prefer", "respond-async")
            .header("link", &receipt_link(&wrong));
        let answer = world.push(&push).await;
        assert_eq!(answer.status, 400, "{wrong}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    let waiting = world.waits(&made.subscription).await;
    assert!(!waiting.contains(&"5".to_owned()), "what is refused is not sent");
}

/// R30-ACK-4, R30-RDL-1, R30-RDL-2, R30-MSG-3: the user agent acknowledges at one node, and the monitor of the receipts at
/// another is pushed a 204 under the URL of the message; not before.
pub(crate) async fn an_acknowledgement_becomes_a_receipt(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made, mut monitor) = world.monitoring().await;
    let first = world.promises(&Push::new(&made.push, "1")).await;
    let mut awaiting = world.elsewhere().await;
    let mut receipts = awaiting.monitor(&first.receipts).await;
    let url = monitor.receives("1").await;
    awaiting.ping().await;
    assert!(receipts.is_quiet(), "it is not acknowledged yet");
    assert_eq!(agent.delete(url).await.status, 204);
    is_receipt(&receipts.message().await, &first, 204);
    // And on it goes, over the same request.
    for text in ["2", "3"] {
        let push = Push::new(&made.push, text).header("link", &receipt_link(&first.receipts));
        let promised = world.promises(&push).await;
        let url = monitor.receives(text).await;
        assert_eq!(agent.delete(url).await.status, 204);
        is_receipt(&receipts.message().await, &promised, 204);
    }
    assert!(receipts.is_quiet());
}

/// R30-RDL-3, R30-RDL-7: receipts wait for a monitor; a request that does not wait is pushed what is there, and what
/// has arrived comes no more.
pub(crate) async fn receipts_wait_to_be_monitored(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made, mut monitor) = world.monitoring().await;
    let first = world.promises(&Push::new(&made.push, "1")).await;
    let awaiting = world.elsewhere().await;
    assert_eq!(
        look(&awaiting, &first.receipts).await.1,
        204,
        "nothing is known yet"
    );
    let push = Push::new(&made.push, "2").header("link", &receipt_link(&first.receipts));
    let second = world.promises(&push).await;
    for text in ["1", "2"] {
        let url = monitor.receives(text).await;
        assert_eq!(agent.delete(url).await.status, 204);
    }
    let mut told = Vec::new();
    while told.len() < 2 {
        let (receipts, _) = look(&awaiting, &first.receipts).await;
        for receipt in receipts {
            assert_eq!(receipt.answer.status, 204);
            let url = receipt.url.to_string();
            if !told.contains(&url) {
                told.push(url);
            }
        }
    }
    assert_eq!(told, [first.message.as_str(), second.message.as_str()]);
    // Whether they have arrived is known when a PING behind them was answered.
    let gone = async { while look(&awaiting, &first.receipts).await.1 != 204 {} };
    within("what has arrived is over", gone).await;
}

/// R30-RDL-2, R30-ACK-7, PR-26: a message that its sender takes back is reported as failed.
pub(crate) async fn a_message_taken_back_fails(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made, mut monitor) = world.monitoring().await;
    let promised = world.promises(&Push::new(&made.push, "taken back")).await;
    let url = monitor.receives("taken back").await;
    let mut sender = world.sender().await;
    let answer = sender.delete(&promised.message).await.expect("an answer");
    assert_eq!(answer.status, 204);
    // Too late: the first outcome counts.
    assert_eq!(agent.delete(url).await.status, 404);
    let (_awaiting, mut receipts) = awaits(&world, &promised).await;
    is_receipt(&receipts.message().await, &promised, 410);
}

/// R30-RDL-4: a message that was not fetched in its time is reported as failed.
pub(crate) async fn an_expired_message_fails(storage: Storage) {
    let world = World::start(storage).await;
    let (_, made) = world.subscriber().await;
    let promised = world.promises(&Push::new(&made.push, "short").ttl(1)).await;
    let (_awaiting, mut receipts) = awaits(&world, &promised).await;
    is_receipt(&swept(&mut receipts).await, &promised, 410);
}

/// R30-TTL-8, R30-ACK-6, PR-23: a message that had to make room is reported as failed, early as it is.
pub(crate) async fn a_message_that_made_room_fails(storage: Storage) {
    let narrow = |settings: Settings| settings.set("limits.queue_messages", 3);
    let world = World::start_with(storage, narrow).await;
    let (_, made) = world.subscriber().await;
    let push = |urgency: &str| Push::new(&made.push, urgency).header("urgency", urgency);
    let promised = world.promises(&push("low")).await;
    let (_awaiting, mut receipts) = awaits(&world, &promised).await;
    for _ in 0..3 {
        world.accepts(&push("high")).await;
    }
    is_receipt(&receipts.message().await, &promised, 410);
    // And one that finds no room itself is refused, and nothing is owed.
    let refused = push("low")
        .header("prefer", "respond-async")
        .header("link", &receipt_link(&promised.receipts));
    assert_eq!(world.push(&refused).await.status, 429);
    assert!(receipts.is_quiet());
}

/// R30-EXP-7, PR-25: what waits when its subscription ends is reported as failed.
pub(crate) async fn messages_of_an_ended_subscription_fail(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made) = world.subscriber().await;
    let first = world.promises(&Push::new(&made.push, "1")).await;
    let push = Push::new(&made.push, "2").header("link", &receipt_link(&first.receipts));
    let second = world.promises(&push).await;
    let (_awaiting, mut receipts) = awaits(&world, &first).await;
    assert_eq!(agent.delete(&made.set).await.status, 204);
    let mut told = Vec::new();
    for _ in 0..2 {
        let receipt = receipts.message().await;
        assert_eq!(receipt.answer.status, 410);
        told.push(receipt.url.to_string());
    }
    told.sort_unstable();
    let mut expected = [first.message, second.message];
    expected.sort_unstable();
    assert_eq!(told, expected);
}

/// R30-RDL-6, R30-TOP-5, R30-TOP-4: of a message that was replaced nothing is reported, even if it is acknowledged after
/// that; what replaced it has its own receipt subscription.
pub(crate) async fn a_replaced_message_says_nothing(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made, mut monitor) = world.monitoring().await;
    let push = |text: &str| Push::new(&made.push, text).header("topic", "weather");
    let old = world.promises(&push("old")).await;
    let (_awaiting, mut receipts) = awaits(&world, &old).await;
    let late = monitor.receives("old").await;
    let new = world
        .promises(&push("new").header("link", &receipt_link(&old.receipts)))
        .await;
    let url = monitor.receives("new").await;
    assert_eq!(agent.delete(late).await.status, 404);
    assert_eq!(agent.delete(url).await.status, 204);
    // Only the new one's.
    is_receipt(&receipts.message().await, &new, 204);
    let last = Push::new(&made.push, "last").header("link", &receipt_link(&old.receipts));
    let last = world.promises(&last).await;
    let url = monitor.receives("last").await;
    assert_eq!(agent.delete(url).await.status, 204);
    is_receipt(&receipts.message().await, &last, 204);
}

/// R30-RDL-8, R30-EXP-2, R30-EXP-8, R30-RCP-6: DELETE ends a receipt subscription: its monitor is told 404, it is gone at
/// every node, and can't be named any more. The message goes its way.
pub(crate) async fn a_receipt_subscription_ends(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made) = world.subscriber().await;
    let promised = world.promises(&Push::new(&made.push, "sent")).await;
    let (_awaiting, mut receipts) = awaits(&world, &promised).await;
    assert!(receipts.is_quiet());
    assert_eq!(agent.delete(&promised.receipts).await.status, 204);
    assert_eq!(receipts.over().await.status, 404);
    for visitor in [&agent, &world.elsewhere().await] {
        assert_eq!(visitor.delete(&promised.receipts).await.status, 404);
        let answer = visitor.monitor(&promised.receipts).await.over().await;
        assert_eq!(answer.status, 404);
    }
    let named = Push::new(&made.push, "named")
        .header("prefer", "respond-async")
        .header("link", &receipt_link(&promised.receipts));
    assert_eq!(world.push(&named).await.status, 400);
    let mut monitor = agent.monitor(&made.subscription).await;
    let url = monitor.receives("sent").await;
    assert_eq!(agent.delete(url).await.status, 204);
}

/// R30-RDL-5, PR-21: a message with TTL 0 that was acknowledged is reported so.
pub(crate) async fn a_message_without_time_is_confirmed(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made, mut monitor) = world.monitoring().await;
    let promised = world.promises(&Push::new(&made.push, "now").ttl(0)).await;
    let url = monitor.receives("now").await;
    assert_eq!(agent.delete(url).await.status, 204);
    let (_awaiting, mut receipts) = awaits(&world, &promised).await;
    is_receipt(&receipts.message().await, &promised, 204);
}

/// R30-RDL-1 to R30-RDL-3, R30-RDL-7: receipts come as events, too. One is over when its URL is deleted, or when the reader
/// comes back and names it, or a later one, as the last that arrived.
pub(crate) async fn receipts_come_as_events(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made, mut monitor) = world.monitoring().await;
    let connector = world.receipts_connector();
    let first = world.promises(&Push::new(&made.push, "0")).await;
    let url = monitor.receives("0").await;
    assert_eq!(agent.delete(url).await.status, 204);
    let mut events = Events::open(&connector, &first.receipts, &[]).await;
    let event = events.next().await;
    assert_eq!(event.event, "receipt");
    assert_eq!(event.url("message"), first.message);
    assert_eq!(event.data["status"], 204);
    assert_eq!(agent.delete(event.url("acknowledge")).await.status, 204);
    assert_eq!(agent.delete(event.url("acknowledge")).await.status, 404);
    let mut seen = Vec::new();
    for text in ["1", "2", "3"] {
        let push = Push::new(&made.push, text).header("link", &receipt_link(&first.receipts));
        let promised = world.promises(&push).await;
        let url = monitor.receives(text).await;
        assert_eq!(agent.delete(url).await.status, 204);
        let event = events.next().await;
        assert_eq!(event.url("message"), promised.message);
        seen.push(event);
    }
    drop(events);
    // It came back and had seen the second: that is written down soon after.
    let last = [("last-event-id", seen[1].id.as_str())];
    let mut events = Events::open(&connector, &first.receipts, &last).await;
    assert_eq!(events.next().await, seen[2]);
    drop(events);
    let only_the_third = async { while waiting_events(&world, &first.receipts).await != seen[2..] {} };
    within("two of three are over", only_the_third).await;
    let forged = [("last-event-id", "AH____________________")];
    let mut events = Events::open(&connector, &first.receipts, &forged).await;
    assert_eq!(events.next().await, seen[2], "what was made up confirms nothing");
    drop(events);
    assert_eq!(waiting_events(&world, &first.receipts).await, seen[2..]);
    assert_eq!(agent.delete(seen[2].url("acknowledge")).await.status, 204);
    assert!(waiting_events(&world, &first.receipts).await.is_empty());
}

/// The receipts that wait, by a request that does not wait and confirms nothing.
async fn waiting_events(world: &World, receipts: &str) -> Vec<Event> {
    let no_wait = [("prefer", "wait=0")];
    let mut waiting = Vec::new();
    match Events::try_open(&world.receipts_connector(), receipts, &no_wait).await {
        Err(answer) => assert_eq!(answer.status, 204),
        Ok(mut events) => {
            while let Some(event) = events.try_next().await {
                waiting.extend((event.event == "receipt").then_some(event));
            }
        }
    }
    waiting
}

/// Monitors the receipts at a node of its own.
async fn awaits(world: &World, promised: &Promised) -> (Connection, Monitor) {
    let awaiting = world.elsewhere().await;
    let monitor = awaiting.monitor(&promised.receipts).await;
    (awaiting, monitor)
}

/// What comes after a sweep, whenever that is.
async fn swept(monitor: &mut Monitor) -> Message {
    let next = tokio::time::timeout(SWEPT_WITHIN, monitor.next_whenever());
    match next.await.expect("a receipt, after a sweep") {
        Next::Pushed(pushed) => pushed.read().await,
        Next::Over(answer) => panic!("a receipt is expected, not {}", answer.status),
    }
}

/// What a request is pushed that does not wait, and its answer's status.
async fn look(awaiting: &Connection, receipts: &str) -> (Vec<Message>, u16) {
    let mut monitor = awaiting.monitor_with(receipts, &[("prefer", "wait=0")]).await;
    let mut told = Vec::new();
    loop {
        match monitor.next().await {
            Next::Pushed(pushed) => told.push(pushed.read().await),
            Next::Over(answer) => return (told, answer.status.as_u16()),
        }
    }
}

fn is_receipt(receipt: &Message, promised: &Promised, status: u16) {
    assert_eq!(receipt.method, "GET");
    assert_eq!(receipt.url.to_string(), promised.message);
    assert_eq!(receipt.answer.status, status);
    assert!(receipt.answer.body.is_empty());
    assert!(httpdate::parse_http_date(receipt.answer.header("date")).is_ok());
}
