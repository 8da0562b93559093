//! HTTP/2 peers that make work and want nothing: each is told to calm down at a stated bound, and counted.

use push_tests::raw_http2::{ENHANCE_YOUR_CALM, GET, RawPeer, flag, frame, get, kind, setting};

use super::rig::Node;
use crate::defaults::{HEADER_FIELDS, HTTP2_FRAME_CREDIT, HTTP2_HEADS_BYTES, HTTP2_RESET_STREAMS};

/// PR-16, RFC 9113 §10.5: frames that are all allowed and of which nothing comes (CVE-2019-9511, -9512, -9515, -9518) end
/// their connection with ENHANCE_YOUR_CALM and are counted.
#[tokio::test]
async fn floods_of_frames_are_cut_off() {
    let settings = setting(0x4, 0xffff);
    let one = 1_u32.to_be_bytes();
    let floods = [
        ("pings", frame(kind::PING, 0, 0, &[0; 8])),
        ("answers to no ping", frame(kind::PING, flag::ACK, 0, &[0; 8])),
        ("settings", frame(kind::SETTINGS, 0, 0, &settings)),
        ("empty settings", frame(kind::SETTINGS, 0, 0, &[])),
        ("priorities", frame(kind::PRIORITY, 0, 3, &[0, 0, 0, 0, 16])),
        ("small windows", frame(kind::WINDOW_UPDATE, 0, 0, &one)),
        ("unknown frames", frame(0xfa, 0, 0, &[])),
        ("goodbyes", frame(kind::GOAWAY, 0, 0, &[0; 8])),
    ];
    for (what, flood) in floods {
        let node = Node::start().await;
        let mut peer = RawPeer::connect(node.address, &[]).await;
        // A request that is under way: a peer that says goodbye and has none is let go.
        peer.say(frame(kind::HEADERS, flag::END_HEADERS, 1, &post(&node)))
            .await;
        let dismissed = peer.flood(&flood.repeat(100)).await;
        let (code, _) = dismissed.unwrap_or_else(|| panic!("{what}: not told why"));
        assert_eq!(code, ENHANCE_YOUR_CALM, "{what}");
        assert_eq!(node.cut("excess"), 1, "{what}");
    }
}

/// The field block of a push whose body is still to come.
fn post(node: &Node) -> Vec<u8> {
    let mut block = b"\x83\x86".to_vec();
    let path = node.path.as_bytes();
    block.extend([0x04, path.len() as u8]);
    assert!(path.len() < 127);
    block.extend(path);
    block.extend(b"\x41\x01x\x00\x03ttl\x0260");
    block.extend(b"\x00\x10content-encoding\x09aes128gcm");
    block
}

/// RFC 9113 §10.5 (CVE-2023-44487): requests that are taken back as soon as they are made end the connection, also when
/// they come in small portions, of which none is over a limit.
#[tokio::test]
async fn rapid_resets_in_portions_end_the_connection() {
    let node = Node::start().await;
    let mut peer = RawPeer::connect(node.address, &[]).await;
    let mut streams = (1_u32..).step_by(2);
    let mut portions = 0;
    loop {
        let mut portion = Vec::new();
        for stream in streams.by_ref().take(HTTP2_RESET_STREAMS / 2) {
            portion.extend(get(stream));
            portion.extend(frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        }
        peer.say(portion).await;
        portions += 1;
        if !peer.round_trip().await {
            break;
        }
    }
    assert_eq!(node.cut("excess"), 1);
    let frames = portions * (HTTP2_RESET_STREAMS as u32 + 1);
    assert!(frames < 2 * HTTP2_FRAME_CREDIT, "only after {frames}");
}

/// RFC 9113 §5.4.2 (CVE-2025-8671): a peer that makes the service reset its streams, here by windows that grow too large,
/// is cut off at the same bound as one that resets them itself.
#[tokio::test]
async fn resets_that_are_provoked_count_too() {
    let node = Node::start().await;
    let mut peer = RawPeer::connect(node.address, &[]).await;
    let mut flood = Vec::new();
    for stream in (1_u32..).step_by(2).take(2 * HTTP2_RESET_STREAMS) {
        flood.extend(frame(kind::HEADERS, flag::END_HEADERS, stream, &post(&node)));
        flood.extend(frame(
            kind::WINDOW_UPDATE,
            0,
            stream,
            &0x7fff_ffff_u32.to_be_bytes(),
        ));
    }
    peer.say(flood).await;
    let (code, _) = peer.dismissal().await.unwrap();
    assert_eq!(code, ENHANCE_YOUR_CALM);
    assert_eq!(node.cut("limit"), 1);
}

/// RFC 9113 §5.1.2: a peer that opens more streams than it may is refused some, and cut off when it goes on.
#[tokio::test]
async fn too_many_streams_are_refused_and_then_cut_off() {
    let node = Node::start().await;
    let mut peer = RawPeer::connect(node.address, &[]).await;
    let mut streams = (1_u32..).step_by(2);
    let open = |stream| frame(kind::HEADERS, flag::END_HEADERS, stream, &post(&node));
    let allowed: Vec<u8> = streams.by_ref().take(256).flat_map(open).collect();
    peer.say(allowed).await;
    peer.say(open(streams.next().unwrap())).await;
    let refused = peer.hear_a(kind::RST_STREAM).await.unwrap();
    assert_eq!((refused.stream, refused.payload[3]), (513, 7), "REFUSED_STREAM");
    let beyond: Vec<u8> = streams.take(HTTP2_RESET_STREAMS).flat_map(open).collect();
    peer.say(beyond).await;
    assert_eq!(peer.dismissal().await.unwrap().0, ENHANCE_YOUR_CALM);
    assert_eq!(node.cut("limit"), 1);
}

/// RFC 9113 §10.5 (CVE-2024-27316): a field block in endless CONTINUATION frames, empty or not, is cut off.
#[tokio::test]
async fn endless_field_blocks_are_cut_off() {
    for piece in [&b""[..], b"\x00\x01a\x01b"] {
        let node = Node::start().await;
        let mut peer = RawPeer::connect(node.address, &[]).await;
        peer.say(frame(kind::HEADERS, flag::END_STREAM, 1, GET)).await;
        let dismissed = peer.flood(&frame(kind::CONTINUATION, 0, 1, piece)).await;
        assert_eq!(dismissed.unwrap().0, ENHANCE_YOUR_CALM);
        assert_eq!(node.cut("limit"), 1);
    }
}

/// RFC 9113 §10.5 (CVE-2019-9518, RUSTSEC-2026-0258): DATA that carries nothing, or next to nothing, is cut off.
#[tokio::test]
async fn bodies_in_tiny_pieces_are_cut_off() {
    for payload in [&b""[..], b"a"] {
        let node = Node::start().await;
        let mut peer = RawPeer::connect(node.address, &[]).await;
        let mut flood = Vec::new();
        for stream in [1, 3, 5] {
            flood.extend(frame(kind::HEADERS, flag::END_HEADERS, stream, &post(&node)));
            flood.extend(frame(kind::DATA, 0, stream, payload).repeat(1_000));
        }
        peer.say(flood).await;
        assert_eq!(peer.dismissal().await.unwrap().0, ENHANCE_YOUR_CALM);
        assert_eq!(node.cut("limit") + node.cut("excess"), 1);
    }
}

/// The same from a peer that waits until each portion was read, so that none of it is kept.
#[tokio::test]
async fn tiny_pieces_in_portions_are_cut_off() {
    let node = Node::start().await;
    let mut peer = RawPeer::connect(node.address, &[]).await;
    peer.say(frame(kind::HEADERS, flag::END_HEADERS, 1, &post(&node)))
        .await;
    let mut portions = 0;
    while peer.round_trip().await {
        portions += 1;
        if !peer.try_say(&frame(kind::DATA, 0, 1, b"a").repeat(50)).await {
            break;
        }
    }
    assert_eq!(node.cut("excess"), 1);
    assert!(portions < 2 * HTTP2_FRAME_CREDIT / 50, "only after {portions}");
}

/// RFC 9113 §10.5.1, RFC 7541 §7.3: a few bytes that stand for a long list of fields get 431; a far longer list ends the
/// connection. The limit is one for the whole list, and for the number of its fields.
#[tokio::test]
async fn lists_that_expand_are_refused() {
    let node = Node::start().await;
    let mut peer = RawPeer::connect(node.address, &[]).await;
    // A field of 3,900 bytes goes into the table with the first request; a byte each repeats it.
    let long = [&b"\x40\x01a\x7f\xbd\x1d"[..], &[b'v'; 3_900]].concat();
    let blocks = [
        ([GET, &long].concat(), b"\x88"),
        ([GET, &[0xbe; 5]].concat(), b"\x08"),
        (
            [GET, &b"\x00\x01b\x01c".repeat(HEADER_FIELDS + 1)].concat(),
            b"\x08",
        ),
        (GET.to_vec(), b"\x88"),
    ];
    for (stream, (block, status)) in (1..).step_by(2).zip(blocks) {
        let whole = flag::END_STREAM | flag::END_HEADERS;
        peer.say(frame(kind::HEADERS, whole, stream, &block)).await;
        let answer = peer.hear_a(kind::HEADERS).await.unwrap();
        assert_eq!(answer.stream, stream);
        // 200 is one byte of the table (§A), 431 a literal.
        assert_eq!(answer.payload[0] == 0x88, status == b"\x88", "stream {stream}");
    }
    let whole = flag::END_STREAM | flag::END_HEADERS;
    peer.say(frame(kind::HEADERS, whole, 9, &[GET, &[0xbe; 15_000]].concat()))
        .await;
    assert_eq!(peer.dismissal().await.unwrap().0, ENHANCE_YOUR_CALM);
    assert_eq!(node.cut("limit"), 1);
}

/// A peer whose requests are answered may send as many as it likes, with all the frames that libraries send beside them.
#[tokio::test]
async fn who_is_answered_is_not_cut_off() {
    let node = Node::start().await;
    let mut peer = RawPeer::connect(node.address, &[]).await;
    for stream in (1..2 * 2 * HTTP2_FRAME_CREDIT).step_by(2) {
        let beside = [
            frame(kind::PRIORITY, 0, stream, &[0, 0, 0, 0, 16]),
            get(stream),
            frame(kind::WINDOW_UPDATE, 0, 0, &100_u32.to_be_bytes()),
            frame(kind::PING, 0, 0, &[0; 8]),
        ];
        peer.say(beside.concat()).await;
        assert_eq!(peer.hear_a(kind::HEADERS).await.unwrap().stream, stream);
    }
    assert_eq!(node.cut("excess"), 0);
}

/// PR-16: requests that are refused for the number of their fields are not answers that renew the credit.
#[tokio::test]
async fn long_lists_are_not_paid_for() {
    let node = Node::start().await;
    let mut peer = RawPeer::connect(node.address, &[]).await;
    // Room for the sentences of all answers.
    let window = 0x00ff_ffff_u32.to_be_bytes();
    peer.say(frame(kind::WINDOW_UPDATE, 0, 0, &window)).await;
    let block = [GET, &b"\x00\x01b\x01c".repeat(HEADER_FIELDS + 1)].concat();
    let mut streams = (1_u32..).step_by(2);
    let mut requests = 0;
    loop {
        let stream = streams.next().unwrap();
        let whole = flag::END_STREAM | flag::END_HEADERS;
        if !peer.try_say(&frame(kind::HEADERS, whole, stream, &block)).await {
            break;
        }
        requests += 1;
        if peer.hear_a(kind::HEADERS).await.is_none() {
            break;
        }
    }
    assert_eq!(node.cut("excess"), 1);
    assert!(requests < 2 * HTTP2_FRAME_CREDIT, "only after {requests}");
}

/// PR-16: header fields of requests under way have a bound for the whole connection. One more gets 431, and there is room
/// again when others were answered.
#[tokio::test]
async fn fields_under_way_are_bounded() {
    const BYTES: usize = 15_000;
    let node = Node::start().await;
    let mut peer = RawPeer::connect(node.address, &[]).await;
    let long = [&b"\x00\x01v\x7f\x99\x74"[..], &[b'v'; BYTES]].concat();
    let block = [post(&node), long].concat();
    let room = (HTTP2_HEADS_BYTES / BYTES) as u32;
    for nth in 0..=room {
        peer.say(frame(kind::HEADERS, flag::END_HEADERS, 2 * nth + 1, &block))
            .await;
    }
    let refused = peer.hear_a(kind::HEADERS).await.unwrap();
    assert_eq!(refused.stream, 2 * room + 1, "the last one is too many");
    peer.say(frame(kind::DATA, flag::END_STREAM, 1, b"body")).await;
    assert_eq!(peer.hear_a(kind::HEADERS).await.unwrap().stream, 1);
    peer.say(frame(kind::HEADERS, flag::END_HEADERS, 2 * room + 3, &block))
        .await;
    peer.say(frame(kind::DATA, flag::END_STREAM, 3, b"body")).await;
    assert_eq!(
        peer.hear_a(kind::HEADERS).await.unwrap().stream,
        3,
        "not the new one"
    );
}
