//! User agents that do not keep to the protocol: each gets its close code, and the service goes on.

use push_tests::frames::{RawWebSocket, frame, opcode};
use push_tests::node::Node;
use push_tests::settings::Settings;
use push_tests::user_agent::{UserAgent, new_name};
use push_tests::within;
use serde_json::json;

/// The first byte of a frame: its message ends here.
const FINAL: u8 = 0x80;

const HELLO: &[u8] = br#"{"messageType":"hello","use_webpush":true}"#;

/// What a peer does wrong, the bytes of it, and the close code that it gets.
type Row = (&'static str, Vec<u8>, u16);

fn text(payload: &[u8]) -> Vec<u8> {
    frame(FINAL | opcode::TEXT, payload)
}

/// A frame's head that announces more than follows.
fn announced(length: u64) -> Vec<u8> {
    let mut head = vec![FINAL | opcode::TEXT, 0x80 | 127];
    head.extend(length.to_be_bytes());
    head.extend([0; 4]);
    head
}

/// Wrong at any time.
fn wrong_frames() -> Vec<Row> {
    vec![
        ("not JSON", text(b"good morning"), 1011),
        ("half a JSON object", text(br#"{"messageType":"hel"#), 1011),
        ("JSON, but no object", text(b"[1,2,3]"), 1011),
        (
            "deeply nested and never closed",
            text(&b"{\"a\":".repeat(300)),
            1011,
        ),
        (
            "an unknown message",
            text(br#"{"messageType":"good morning"}"#),
            1011,
        ),
        ("not UTF-8", text(b"{\"messageType\":\"\xff\xfe\"}"), 1007),
        ("half a character at the end", text(b"{}\xc3"), 1007),
        ("a binary frame", frame(FINAL | opcode::BINARY, HELLO), 1003),
        ("a mebibyte", text(&vec![b' '; 1 << 20]), 1009),
        ("a mebibyte, announced", announced(1 << 20), 1009),
        ("more than there is memory, announced", announced(1 << 62), 1009),
        ("a negative length", announced(1 << 63), 1009),
        ("a frame type that does not exist", frame(FINAL | 0x3, b""), 1002),
        ("a reserved bit", frame(FINAL | 0x40 | opcode::TEXT, HELLO), 1002),
        (
            "a frame without a mask",
            [&[FINAL | opcode::TEXT, HELLO.len() as u8], HELLO].concat(),
            1002,
        ),
        ("a ping in pieces", frame(opcode::PING, b"there?"), 1002),
        (
            "a ping that is too long",
            frame(FINAL | opcode::PING, &[0; 126]),
            1002,
        ),
        (
            "the rest of nothing",
            frame(FINAL | opcode::CONTINUATION, b"there?"),
            1002,
        ),
        (
            "a message within a message",
            [frame(opcode::TEXT, b"{"), text(b"}")].concat(),
            1002,
        ),
        (
            "this close code must not be sent",
            frame(FINAL | opcode::CLOSE, &1005_u16.to_be_bytes()),
            1002,
        ),
        (
            "a close reason that is not UTF-8",
            frame(FINAL | opcode::CLOSE, b"\x03\xe8\xff"),
            1007,
        ),
    ]
}

/// Wrong unless said after hello.
fn wrong_before_hello() -> Vec<Row> {
    let register = json!({"messageType": "register", "channelID": new_name()}).to_string();
    vec![
        ("a register", text(register.as_bytes()), 1011),
        (
            "an acknowledgement",
            text(br#"{"messageType":"ack","updates":[]}"#),
            1011,
        ),
        ("a ping", text(b"{}"), 1011),
    ]
}

/// Wrong after hello.
fn wrong_after_hello() -> Vec<Row> {
    let nested = format!(
        r#"{{"messageType":"ack","updates":{}{}}}"#,
        "[".repeat(300),
        "]".repeat(300)
    );
    vec![
        (
            "an acknowledgement of lists in lists",
            text(nested.as_bytes()),
            1011,
        ),
        ("a second hello", text(HELLO), 1011),
        (
            "a register without a name",
            text(br#"{"messageType":"register"}"#),
            1011,
        ),
        (
            "an acknowledgement of a number",
            text(br#"{"messageType":"ack","updates":[{"version":7}]}"#),
            1011,
        ),
    ]
}

async fn are_refused(node: &Node, rows: Vec<Row>, after_hello: bool) {
    for (why, bytes, expected) in rows {
        let mut socket = RawWebSocket::connect(&node.connector())
            .await
            .expect("the service takes connections");
        if after_hello {
            socket.send(opcode::TEXT, HELLO).await.expect("hello is taken");
            within("hello is answered", socket.receive())
                .await
                .expect("hello is answered");
        }
        // A service that has seen enough may close before it has read all of a long frame.
        let _ = socket.send_bytes(&bytes).await;
        let code = within(why, socket.close_code()).await;
        assert_eq!(code, expected, "{why}, after hello: {after_hello}");
    }
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    agent.subscribe(None).await;
}

/// WS-CON-3, WS-CON-5, WS-CON-6: before hello every wrong frame has its close code, and the service goes on.
#[tokio::test]
async fn wrong_frames_before_hello_close() {
    let node = Node::start(Settings::new()).await;
    are_refused(&node, wrong_frames(), false).await;
    are_refused(&node, wrong_before_hello(), false).await;
}

/// WS-HEL-9, WS-TYP-2: after hello as well.
#[tokio::test]
async fn wrong_frames_after_hello_close() {
    let node = Node::start(Settings::new()).await;
    are_refused(&node, wrong_frames(), true).await;
    are_refused(&node, wrong_after_hello(), true).await;
}

/// WS-CON-5: a hello that never comes is not waited for, whether the peer is silent or busy with other frames.
#[tokio::test]
async fn a_hello_that_never_comes_is_not_waited_for() {
    let node = Node::start(Settings::new().set("limits.hello_within", "300ms")).await;
    let mut silent = RawWebSocket::connect(&node.connector()).await.unwrap();
    assert_eq!(
        within("the silent one is closed", silent.close_code()).await,
        1011
    );
    let mut halfway = RawWebSocket::connect(&node.connector()).await.unwrap();
    halfway.send_bytes(&text(HELLO)[..12]).await.unwrap();
    assert_eq!(
        within("the one in mid-word is closed", halfway.close_code()).await,
        1011
    );
}

/// RFC 6455 §5.4: a message in pieces, with a ping between them, is as good as a whole one.
#[tokio::test]
async fn a_message_in_pieces_is_understood() {
    let node = Node::start(Settings::new()).await;
    let mut socket = RawWebSocket::connect(&node.connector()).await.unwrap();
    let pieces = [
        frame(opcode::TEXT, &HELLO[..10]),
        frame(FINAL | opcode::PING, b"there?"),
        frame(opcode::CONTINUATION, &HELLO[10..20]),
        frame(FINAL | opcode::CONTINUATION, &HELLO[20..]),
    ];
    for byte in pieces.concat() {
        socket.send_bytes(&[byte]).await.unwrap();
    }
    let (pong, payload) = within("a pong", socket.receive()).await.unwrap();
    assert_eq!((pong, &payload[..]), (0xa, &b"there?"[..]));
    let (_, reply) = within("hello is answered", socket.receive()).await.unwrap();
    let reply: serde_json::Value = serde_json::from_slice(&reply).unwrap();
    assert_eq!(reply["status"], 200, "{reply}");
}

/// WS-REG-1: a name that is no canonical UUID is refused, kindly or not, and never echoed changed.
#[tokio::test]
async fn a_name_that_is_none_is_refused() {
    let node = Node::start(Settings::new()).await;
    for name in [
        "",
        "x",
        "DEADBEEF-0000-4000-8000-0123456789AB",
        "deadbeef00004000800000123456789ab",
    ] {
        let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
        agent
            .send(&json!({"messageType": "register", "channelID": name}))
            .await;
        match within("an answer", agent.event()).await {
            push_tests::user_agent::Event::Closed(closed) => assert_eq!(closed.code, 1011, "{name}"),
            push_tests::user_agent::Event::Reply(reply) => {
                assert_eq!(
                    (&reply["status"], &reply["channelID"]),
                    (&json!(400), &json!(name))
                );
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// WS-PNG-3: a user agent that keeps pinging faster than it may is closed.
#[tokio::test]
async fn endless_pings_are_not_answered_for_ever() {
    let node = Node::start(Settings::new().set("channels.min_ping_interval", "60s")).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    for _ in 0..100 {
        agent.send(&json!({})).await;
    }
    assert_eq!(agent.closed().await.code, 1008);
}

/// WS-BRD-1, WS-BRD-3, WS-HEL-13: unknown broadcasts and members, however deeply nested, are no offence.
#[tokio::test]
async fn what_is_merely_unknown_is_no_offence() {
    let node = Node::start(Settings::new()).await;
    let mut agent = UserAgent::connect(&node.connector()).await;
    let nested = format!("{}1{}", r#"{"a":"#.repeat(300), "}".repeat(300));
    let broadcasts = r#"{"remote-settings/monitor_changes":"\"1234\""}"#;
    let hello = format!(
        r#"{{"messageType":"hello","use_webpush":true,"channelIDs":[],"mood":{nested},"broadcasts":{broadcasts}}}"#
    );
    agent.send_text(&hello).await;
    let reply = agent.reply("hello").await;
    assert!(reply["broadcasts"].is_object(), "{reply}");
    for kind in ["broadcast_subscribe", "broadcastsubscribe"] {
        agent
            .send(&json!({"messageType": kind, "broadcasts": {"a": "v1"}}))
            .await;
        assert_eq!(agent.reply("broadcast").await["broadcasts"], json!({}));
    }
    agent.subscribe(None).await;
}
