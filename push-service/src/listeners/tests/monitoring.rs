//! Requests that monitor, as far as they are requests like any other: what their answers carry, and what they pay for.

use bytes::Bytes;
use http::{Method, Request};
use push_tests::application_server::{Http, Push};
use push_tests::events::Events;
use push_tests::monitor::{Connection, Subscribed};
use push_tests::raw_http2::{RawPeer, flag, frame, kind, request};

use super::rig::{Node, Setting};
use crate::defaults::{
    ATTACH_DELAY_LONGEST, ATTACHES_PER_MINUTE, HEADER_FIELDS, HTTP2_FRAME_CREDIT, HTTP2_RESET_STREAMS,
};
use crate::resources::tests::rig::ORIGIN;

const ELSEWHERE: &str = "h2=\":1001\"; ma=86400";
const NO_WAIT: (&str, &str) = ("prefer", "wait=0");
const EVENTS: (&str, &str) = ("accept", "text/event-stream");
const PAGE: (&str, &str) = ("origin", "https://page.example");

async fn elsewhere() -> Node {
    let setting = Setting {
        alternatives: Some(ELSEWHERE),
        ..Setting::default()
    };
    Node::with(setting).await
}

/// A user agent, what it monitors, and the same that has ended.
async fn subscriber(node: &Node) -> (Connection, Subscribed, Subscribed) {
    let agent = Connection::open(&node.connector()).await;
    let (made, ended) = (agent.subscribe(ORIGIN).await, agent.subscribe(ORIGIN).await);
    assert_eq!(agent.delete(&ended.set).await.status, 204);
    (agent, made, ended)
}

/// R30-PORT-1, R30-LB-2: the answer to a monitor by server push says where else the service is, whatever its status.
#[tokio::test]
async fn answers_to_monitors_say_where_else_the_service_is() {
    let node = elsewhere().await;
    let (agent, made, ended) = subscriber(&node).await;
    for (url, status) in [(&made.subscription, 204), (&made.set, 204), (&ended.set, 404)] {
        let answer = agent.monitor_with(url, &[NO_WAIT, PAGE]).await.over().await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("alt-svc"), ELSEWHERE, "{status}");
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{status}");
    }
    let connector = node.connector();
    let without = Connection::open_with(&connector, |builder| {
        builder.enable_push(false);
    });
    let without = without.await;
    let answer = without.monitor_with(&made.set, &[PAGE]).await.over().await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("alt-svc"), ELSEWHERE);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
}

/// R30-PORT-1, R30-LB-2: so does the answer to a monitor by events, over either HTTP, and at once.
#[tokio::test]
async fn streams_of_events_say_where_else_the_service_is() {
    let node = elsewhere().await;
    let (agent, made, ended) = subscriber(&node).await;
    let events = Events::open(&node.connector(), &made.set, &[]).await;
    assert_eq!(events.headers["alt-svc"], ELSEWHERE);
    let gone = Events::try_open(&node.connector(), &ended.set, &[PAGE])
        .await
        .unwrap_err();
    assert_eq!(gone.status, 404);
    assert_eq!(gone.header("alt-svc"), ELSEWHERE);
    assert_eq!(
        gone.header("access-control-allow-origin"),
        "*",
        "a page may read why"
    );
    for url in [&made.subscription, &ended.set] {
        let answer = agent.ask(Method::GET, url, &[EVENTS, NO_WAIT]).await;
        assert_eq!(answer.header("alt-svc"), ELSEWHERE, "{}", answer.status);
    }
}

/// R30-PORT-1: so is who is refused before anybody asks what for; not whose connection speaks HTTP no more.
#[tokio::test]
async fn refusals_say_where_else_the_service_is() {
    let node = elsewhere().await;
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    ] {
        let mut peer = node.peer().await;
        peer.say(head).await;
        let answer = peer.hear().await;
        assert!(answer.starts_with("http/1.1 400 "), "{answer}");
        assert!(
            answer.contains("\r\nalt-svc: h2=\":1001\"; ma=86400\r\n"),
            "{answer}"
        );
    }
    let mut peer = node.peer().await;
    peer.say(super::rig::UPGRADE).await;
    let answer = peer.hear().await;
    assert!(
        answer.starts_with("http/1.1 101 ") && !answer.contains("alt-svc"),
        "{answer}"
    );
    let agent = Connection::open(&node.connector()).await;
    let fields: Vec<_> = (0..=HEADER_FIELDS).map(|_| ("a", "b")).collect();
    let answer = agent.ask(Method::GET, ORIGIN, &fields).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("alt-svc")),
        (431, ELSEWHERE)
    );
}

/// Caches store no answer, no peer takes one for another media type, and a pushed message that calls itself a page runs
/// nothing: whatever makes the answer.
#[tokio::test]
async fn no_answer_is_stored_or_run() {
    let node = elsewhere().await;
    let (agent, made, ended) = subscriber(&node).await;
    let fields: Vec<_> = (0..=HEADER_FIELDS).map(|_| ("a", "b")).collect();
    let answers = [
        agent.monitor_with(&made.set, &[NO_WAIT]).await.over().await,
        agent.monitor_with(&ended.set, &[NO_WAIT]).await.over().await,
        agent.ask(Method::GET, &made.set, &[EVENTS, NO_WAIT]).await,
        agent.ask(Method::GET, &ended.set, &[EVENTS, NO_WAIT]).await,
        agent.ask(Method::GET, ORIGIN, &fields).await,
        agent.ask(Method::PATCH, &made.set, &[]).await,
        agent.ask(Method::OPTIONS, &made.set, &[]).await,
    ];
    for answer in &answers {
        assert_eq!(answer.header("cache-control"), "no-store", "{}", answer.status);
        assert_eq!(
            answer.header("x-content-type-options"),
            "nosniff",
            "{}",
            answer.status
        );
        assert_eq!(answer.header("vary"), "Origin", "{}", answer.status);
    }
    let mut peer = node.peer().await;
    peer.say("GET / HTTP/1.1\r\n\r\n").await;
    let answer = peer.hear().await;
    assert!(answer.starts_with("http/1.1 400 ") && answer.contains("\r\ncache-control: no-store\r\n"));

    let mut sender = Http::connect(&node.connector()).await.unwrap();
    let page = Push::new(&made.push, "<script>").header("content-type", "text/html");
    assert_eq!(sender.push(&page).await.status, 201);
    let mut monitor = agent.monitor(&made.set).await;
    let pushed = monitor.message().await.answer;
    assert_eq!(pushed.header("content-type"), "text/html");
    assert_eq!(pushed.header("content-security-policy"), "sandbox");
    assert_eq!(pushed.header("x-content-type-options"), "nosniff");
    assert_eq!(pushed.header("cache-control"), "private");
}

/// R30-V-2, RFC 9110 §12.5.1: who gives events no quality gets none.
#[tokio::test]
async fn a_quality_of_zero_is_no_wish() {
    let node = Node::start().await;
    let (agent, made, _) = subscriber(&node).await;
    let refused = ("accept", "text/event-stream;q=0");
    let answer = agent
        .monitor_with(&made.set, &[refused, NO_WAIT])
        .await
        .over()
        .await;
    assert_eq!(answer.status, 204, "server push, of nothing");
    let mut old = Http::connect(&node.connector()).await.unwrap();
    let request = Request::get(&made.set).header(refused.0, refused.1);
    let answer = old.request(request.body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status, 400, "there is no server push in HTTP/1.1");
}

/// PR-16: who polls is answered, and may go on as long as anybody whose requests are answered.
#[tokio::test]
async fn who_polls_is_not_cut_off() {
    let node = Node::start().await;
    let mut polls = requests(&node, &[NO_WAIT]).await;
    let mut peer = RawPeer::connect(node.address, &[]).await;
    for stream in (1..HTTP2_FRAME_CREDIT).step_by(2) {
        let beside = [
            frame(kind::PRIORITY, 0, stream, &[0, 0, 0, 0, 16]),
            monitor(stream, &polls.next().unwrap()),
            frame(kind::WINDOW_UPDATE, 0, 0, &100_u32.to_be_bytes()),
            frame(kind::PING, 0, 0, &[0; 8]),
        ];
        peer.say(beside.concat()).await;
        let answer = peer.hear_a(kind::HEADERS).await.expect("no goodbye");
        assert_eq!(answer.stream, stream);
    }
    assert_eq!(node.cut("excess"), 0);
}

/// PR-15, PR-16: a poll that has to wait and is answered, because a newer one takes its place, leaves nothing behind.
#[tokio::test]
async fn polls_that_come_too_often_leave_nothing_behind() {
    let node = Node::start().await;
    let poll = requests(&node, &[NO_WAIT]).await.next().unwrap();
    let mut peer = RawPeer::connect(node.address, &[]).await;
    assert!(peer.round_trip().await);
    let tasks = tokio::runtime::Handle::current().metrics();
    let before = tasks.num_alive_tasks();
    for stream in (1..200).step_by(2) {
        peer.say(monitor(stream, &poll)).await;
    }
    for _ in 1..100 {
        assert!(peer.hear_a(kind::HEADERS).await.is_some());
    }
    let few = async {
        while tasks.num_alive_tasks() > before + 10 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(ATTACH_DELAY_LONGEST / 2, few)
        .await
        .expect("they are gone before their delay is over");
}

/// RFC 9113 §10.5 (CVE-2023-44487): monitors that are taken back unanswered pay for nothing, whether they have begun or not.
#[tokio::test]
async fn monitors_that_are_taken_back_end_the_connection() {
    for (fields, has_begun) in [(&[NO_WAIT][..], false), (&[], true)] {
        let node = Node::start().await;
        let mut monitors = requests(&node, fields).await;
        let mut peer = RawPeer::connect(node.address, &[]).await;
        let mut streams = (1_u32..).step_by(2);
        let mut frames = 0;
        loop {
            let streams: Vec<_> = streams.by_ref().take(HTTP2_RESET_STREAMS / 2).collect();
            let opened = streams
                .iter()
                .map(|stream| monitor(*stream, &monitors.next().unwrap()));
            let reset = streams
                .iter()
                .map(|stream| frame(kind::RST_STREAM, 0, *stream, &8_u32.to_be_bytes()));
            let said = if has_begun {
                peer.try_say(&opened.collect::<Vec<_>>().concat()).await
                    && peer.round_trip().await
                    && peer.try_say(&reset.collect::<Vec<_>>().concat()).await
            } else {
                let both: Vec<_> = opened
                    .zip(reset)
                    .map(|(opened, reset)| [opened, reset].concat())
                    .collect();
                peer.try_say(&both.concat()).await
            };
            frames += HTTP2_RESET_STREAMS as u32;
            if !said || !peer.round_trip().await {
                break;
            }
        }
        assert_eq!(node.cut("excess"), 1, "begun: {has_begun}");
        assert!(frames < 2 * HTTP2_FRAME_CREDIT, "only after {frames}");
    }
}

/// Field blocks of requests that monitor one set after the other: enough of them that none of those asked for comes too
/// often (PR-15).
async fn requests(node: &Node, fields: &[(&str, &str)]) -> impl Iterator<Item = Vec<u8>> {
    let agent = Connection::open(&node.connector()).await;
    let mut blocks = Vec::new();
    for _ in 0..HTTP2_FRAME_CREDIT / 2 / u32::from(ATTACHES_PER_MINUTE) + 1 {
        let made = agent.subscribe(ORIGIN).await;
        blocks.push(request("GET", made.set.strip_prefix(ORIGIN).unwrap(), fields));
    }
    blocks.into_iter().cycle()
}

fn monitor(stream: u32, block: &[u8]) -> Vec<u8> {
    frame(kind::HEADERS, flag::END_STREAM | flag::END_HEADERS, stream, block)
}
