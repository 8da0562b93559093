//! How many connections there may be.

use super::rig::{Node, Setting};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// `limits.connections`, `limits.connections_per_address`: one connection too many is closed at once, and there is room
/// again when another has ended.
#[tokio::test]
async fn one_too_many_is_closed() {
    for (total, per_address) in [(2, 0), (100, 2)] {
        let mut setting = Setting::default();
        setting.limits.connections = total;
        setting.limits.connections_per_address = per_address;
        let node = Node::with(setting).await;
        let (mut first, mut second) = (node.peer().await, node.peer().await);
        for peer in [&mut first, &mut second] {
            peer.say(GET).await;
            assert!(peer.hear().await.starts_with("http/1.1 200 "));
        }
        assert_eq!(node.peer().await.hear_all().await, "");

        first
            .say(GET.replace("Host: x", "Host: x\r\nConnection: close"))
            .await;
        first.hear_all().await;
        drop(first);
        let mut answer = String::new();
        // The service notices the end of a connection a moment after its peer.
        while answer.is_empty() {
            let mut next = node.peer().await;
            let _ = tokio::io::AsyncWriteExt::write_all(&mut next.0, GET.as_bytes()).await;
            answer = next.hear_some().await;
        }
        assert!(answer.starts_with("http/1.1 200 "));
    }
}

/// A peer that takes no byte of its answers is closed, however many requests it has sent, and the reason counted.
#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_closed() {
    let node = Node::start().await;
    let mut peer = node.peer().await;
    loop {
        let said = tokio::io::AsyncWriteExt::write_all(&mut peer.0, GET.repeat(1000).as_bytes()).await;
        if said.is_err() {
            break;
        }
    }
    assert_eq!(node.cut("stalled"), 1);
}
