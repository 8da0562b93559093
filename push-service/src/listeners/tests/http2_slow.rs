//! HTTP/2 peers that keep a connection and do nothing with it: each has its time.

use std::time::Duration;

use push_tests::raw_http2::{ENHANCE_YOUR_CALM, GET, RawPeer, flag, frame, get, kind, setting};
use tokio::time::Instant;

use super::rig::{Node, Setting};

/// `limits.header_within`, RFC 9113 §3.4, §6.10: SETTINGS that never come, a field block that never ends and a frame that
/// is never whole end the connection in time, also while a request of it is under way.
#[tokio::test(start_paused = true)]
async fn what_began_and_does_not_end_is_cut_off() {
    let slow = [
        Vec::new(),
        [
            frame(kind::SETTINGS, 0, 0, &[]),
            frame(kind::HEADERS, flag::END_STREAM, 1, GET),
        ]
        .concat(),
        [
            frame(kind::SETTINGS, 0, 0, &[]),
            frame(kind::HEADERS, flag::END_STREAM, 1, GET),
            frame(kind::CONTINUATION, 0, 1, b"\x00\x01a\x01b"),
        ]
        .concat(),
        [
            frame(kind::SETTINGS, 0, 0, &[]),
            get(1),
            frame(kind::PING, 0, 0, &[0; 8])[..16].to_vec(),
        ]
        .concat(),
        [frame(kind::SETTINGS, 0, 0, &[]), vec![0]].concat(),
    ];
    for (which, bytes) in slow.into_iter().enumerate() {
        let node = Node::start().await;
        let mut peer = RawPeer::silent(node.address).await;
        let started = Instant::now();
        peer.say(bytes).await;
        assert_eq!(peer.dismissal().await.unwrap().0, ENHANCE_YOUR_CALM, "{which}");
        assert!(started.elapsed() < Duration::from_secs(12), "{which}");
        assert_eq!(node.cut("slow"), 1, "{which}");
    }
}

/// `limits.header_within`: a connection in clear that does not even say which HTTP it speaks is closed and counted.
#[tokio::test(start_paused = true)]
async fn half_a_preface_is_cut_off() {
    let node = Node::start().await;
    let mut peer = node.peer().await;
    peer.say("PRI * HTTP/2.0\r\n\r\n").await;
    assert_eq!(peer.hear_all().await, "");
    assert_eq!(node.cut("slow"), 1);
}

/// RFC 9113 §6.9.2 (CVE-2019-9517): a peer that opens no window and asks on keeps what a connection may keep at most, and is
/// closed when it has asked nothing for `limits.idle_for`.
#[tokio::test(start_paused = true)]
async fn answers_that_are_not_read_do_not_keep_a_connection() {
    let node = Node::start().await;
    let mut peer = RawPeer::connect(node.address, &setting(0x4, 0)).await;
    for stream in (1..2 * 256).step_by(2) {
        peer.say(get(stream)).await;
    }
    assert!(peer.round_trip().await);
    let (code, _) = peer.dismissal().await.unwrap();
    assert_eq!(code, 0, "NO_ERROR");
}

/// RFC 9113 §6.8: a peer that says goodbye and stays is let go when it has no request under way.
#[tokio::test]
async fn who_says_goodbye_is_let_go() {
    let node = Node::with(Setting::default()).await;
    let mut peer = RawPeer::connect(node.address, &[]).await;
    peer.say(get(1)).await;
    assert_eq!(peer.hear_a(kind::HEADERS).await.unwrap().stream, 1);
    peer.say(frame(kind::GOAWAY, 0, 0, &[0; 8])).await;
    assert_eq!(peer.dismissal().await.unwrap().0, 0);
}
