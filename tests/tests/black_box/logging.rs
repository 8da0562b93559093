//! What the log says of connections.

use push_tests::node::Node;
use push_tests::settings::Settings;
use push_tests::within;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// One line at the level debug says whose connection it is: its number, its listener, its peer, and the client that a trusted
/// proxy named.
#[tokio::test]
async fn a_debug_line_says_whose_connection_it_is() {
    let settings = Settings::new()
        .environment("PUSH_SERVICE_LOG", "push_service=debug")
        .set("listen.trusted_proxies", vec!["127.0.0.0/8"]);
    let node = Node::start(settings).await;
    let mut stream = TcpStream::connect(node.connector().address).await.unwrap();
    let peer = stream.local_addr().unwrap();
    let said = b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\nPRI * HT";
    stream.write_all(said).await.unwrap();
    stream.shutdown().await.unwrap();
    let line = node
        .log()
        .wait_for_line(&["a connection ended before its first request"]);
    let line = within("the end is logged", line).await.expect("the node runs");
    for part in [
        "\"id\":1".to_owned(),
        "\"listener\":\"http\"".to_owned(),
        format!("\"peer\":\"{peer}\""),
        "\"client\":\"203.0.113.7\"".to_owned(),
    ] {
        assert!(line.contains(&part), "{part}: {line}");
    }
}
