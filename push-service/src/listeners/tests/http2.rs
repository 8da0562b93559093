//! HTTP/2 with prior knowledge.

use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::rig::{Node, Setting};

/// An HTTP/2 peer, and the task that drives its connection.
pub(super) async fn connect(node: &Node) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let socket = TcpStream::connect(node.address).await.unwrap();
    let (requests, connection) = client::handshake(socket).await.unwrap();
    (requests, tokio::spawn(connection))
}

/// Sends a push of so many bytes and waits for the answer.
pub(super) async fn push(
    requests: &SendRequest<Bytes>,
    path: &str,
    length: usize,
) -> Response<h2::RecvStream> {
    let mut requests = requests.clone().ready().await.unwrap();
    let (response, mut body) = requests.send_request(head(path), false).unwrap();
    body.send_data(vec![b'a'; length].into(), true).unwrap();
    response.await.unwrap()
}

pub(super) fn head(path: &str) -> Request<()> {
    Request::post(format!("http://push.example.net{path}"))
        .header("ttl", "60")
        .header("content-encoding", "aes128gcm")
        .body(())
        .unwrap()
}

/// WP-2, R30-V-1: pushes run side by side on one connection, each with its own answer.
#[tokio::test]
async fn pushes_run_side_by_side() {
    let node = Node::start().await;
    let (requests, _driver) = connect(&node).await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (requests, path) = (requests.clone(), node.path.clone());
        waiting.spawn(async move { push(&requests, &path, 4096).await });
    }
    for response in waiting.join_all().await {
        assert_eq!(response.status(), 201);
        assert!(response.headers().contains_key("location"));
        assert!(response.headers().contains_key("date"));
    }
}

/// WP-5, WP-13: a body that is too long is refused, and the connection goes on.
#[tokio::test]
async fn a_long_body_is_refused() {
    let node = Node::start().await;
    let (requests, _driver) = connect(&node).await;
    for (path, length, status) in [
        (node.path.as_str(), 5633, 413),
        ("/wpush/v1/forged", 5633, 404),
        (node.path.as_str(), 100_000, 413),
        (node.path.as_str(), 5632, 201),
    ] {
        let mut requests = requests.clone().ready().await.unwrap();
        let (response, mut body) = requests.send_request(head(path), false).unwrap();
        let _ = body.send_data(vec![b'a'; length].into(), true);
        let mut response = response.await.unwrap();
        assert_eq!(response.status(), status);
        if status == 413 {
            let told = response.body_mut().data().await.unwrap().unwrap();
            assert!(told.starts_with(b"{\"code\":413,\"errno\":104,"));
        }
    }
}

/// R30-RES-6: HEAD has the length of the answer and no body.
#[tokio::test]
async fn head_has_no_body() {
    let node = Node::start().await;
    let (requests, _driver) = connect(&node).await;
    let mut requests = requests.ready().await.unwrap();
    let head = Request::head("http://x/").body(()).unwrap();
    let (response, _) = requests.send_request(head, true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    assert_ne!(response.headers()["content-length"], "0");
    assert!(response.body().is_end_stream());
}

/// A body that does not come in time is answered 408.
#[tokio::test(start_paused = true)]
async fn a_slow_body_is_told_so() {
    let node = Node::start().await;
    let (requests, _driver) = connect(&node).await;
    let mut requests = requests.ready().await.unwrap();
    let (response, mut body) = requests.send_request(head(&node.path), false).unwrap();
    body.send_data(Bytes::from_static(b"hel"), false).unwrap();
    assert_eq!(response.await.unwrap().status(), 408);
}

/// `limits.idle_for`: a connection without a request is told to go, and goes.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_told_to_go() {
    let node = Node::with(Setting::default()).await;
    let (requests, driver) = connect(&node).await;
    assert_eq!(push(&requests, &node.path, 5).await.status(), 201);
    let started = tokio::time::Instant::now();
    driver.await.unwrap().unwrap();
    assert!(started.elapsed() >= Duration::from_secs(60));
    drop(requests);
}

/// `limits.connections`: an HTTP/2 connection takes one place for as long as it lasts.
#[tokio::test]
async fn a_connection_takes_a_place() {
    let mut setting = Setting::default();
    setting.limits.connections = 1;
    let node = Node::with(setting).await;
    let (requests, driver) = connect(&node).await;
    assert_eq!(push(&requests, &node.path, 5).await.status(), 201);
    assert_eq!(node.peer().await.hear_all().await, "");
    assert_eq!(push(&requests, &node.path, 5).await.status(), 201);
    driver.abort();
}

/// A peer that opens requests and takes them back at once is closed before they pile up ("rapid reset").
#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let node = Node::start().await;
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for stream in (1..2000_u32).step_by(2).map(u32::to_be_bytes) {
        // HEADERS: GET http://x/, END_STREAM and END_HEADERS; RST_STREAM: CANCEL.
        flood.extend([&[0, 0, 6, 1, 5][..], &stream, b"\x82\x86\x84\x41\x01x"].concat());
        flood.extend([&[0, 0, 4, 3, 0][..], &stream, &[0, 0, 0, 8]].concat());
    }
    let mut peer = node.peer().await;
    peer.say(flood).await;
    assert!(peer.hear_all().await.contains("too_many_resets"));
}
