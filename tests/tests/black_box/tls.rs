//! Sessions of TLS across nodes, and what an operator hears of the certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use push_tests::certificate::Certificate;
use push_tests::node::Node;
use push_tests::settings::Settings;
use rustix::process::Signal;
use rustls::{ClientConfig, HandshakeKind};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const KEY: &str = "q7Zt1xVhYc0mP4uKfW2dBn9sLr6eJo8gTi3aXvQyEzw";
const NEXT_KEY: &str = "Ej1kq0mT9bXcV5yR2hNwLs8uGf4oZa7dPi6tKxQvMW4";

async fn node(keys: &[&str]) -> (Node, SocketAddr) {
    let node = Node::start(Settings::new().tls().set("security.sealing_keys", keys.to_vec())).await;
    let address = node.tls_connector().address;
    (node, address)
}

/// Asks something, so that the session's ticket has come when the answer has, and tells how the handshake went; `None` if
/// it failed.
async fn ask(address: SocketAddr, config: &Arc<ClientConfig>) -> Option<HandshakeKind> {
    let socket = TcpStream::connect(address).await.expect("the port is open");
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = TlsConnector::from(Arc::clone(config));
    let mut stream = connector.connect(name, socket).await.ok()?;
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("a request");
    stream.read_to_end(&mut Vec::new()).await.expect("an answer");
    stream.get_ref().1.handshake_kind()
}

/// RFC 8446 §2.2: a client of one node resumes at another that has the sealing key, also while the next key is being
/// brought in. The other's certificate is not even trusted, so a full handshake there fails, as it does without the key.
#[tokio::test]
async fn a_session_of_one_node_is_resumed_by_another() {
    let (first, at_first) = node(&[KEY]).await;
    let (_second, at_second) = node(&[NEXT_KEY, KEY]).await;
    let (_stranger, at_stranger) = node(&[NEXT_KEY]).await;
    let came_from_first = async || {
        let config = first.certificate().trusted_by_client(&["http/1.1"]);
        assert_eq!(ask(at_first, &config).await, Some(HandshakeKind::Full));
        config
    };
    let config = came_from_first().await;
    assert_eq!(ask(at_second, &config).await, Some(HandshakeKind::Resumed));
    let config = came_from_first().await;
    assert_eq!(ask(at_stranger, &config).await, None);
}

/// A node that speaks TLS tells its operator when the certificate ends that it presents, and one that does not speak it
/// has nothing to tell.
#[tokio::test]
async fn the_end_of_the_certificate_is_told() {
    let name = "\npush_service_certificate_expiry_timestamp_seconds{certificate=\"service\"} ";
    let (node, _) = node(&[KEY]).await;
    let text = node.ask_admin("/metrics").await.text();
    let (_, told) = text.split_once(name).expect("the metric");
    let seconds: u64 = told.lines().next().unwrap_or_default().parse().expect("seconds");
    // 1 January 4096, which is until when the harness makes certificates.
    assert_eq!(seconds, 67_090_118_400);
    let clear = Node::start(Settings::new()).await;
    let text = clear.ask_admin("/metrics").await.text();
    assert!(!text.contains("certificate_expiry"), "{text}");
}

/// SIGHUP: a renewed certificate is presented at once, and the log says so; if the files cannot be used, it says that, and the
/// old one stays.
#[tokio::test]
async fn a_hang_up_reads_the_certificate_again() {
    let (node, address) = node(&[KEY]).await;
    let old = node.certificate().clone();
    assert!(
        ask(address, &old.trusted_by_client(&["http/1.1"]))
            .await
            .is_some()
    );
    node.signal(Signal::HUP);
    node.log()
        .wait_for_line(&["the certificate files have not changed"])
        .await
        .unwrap();

    let directory = old.certificate.parent().unwrap();
    let new = Certificate::make(address.ip(), directory);
    node.signal(Signal::HUP);
    node.log()
        .wait_for_line(&["the certificate was reloaded"])
        .await
        .unwrap();
    assert_eq!(ask(address, &old.trusted_by_client(&["http/1.1"])).await, None);
    let trusting = new.trusted_by_client(&["http/1.1"]);
    assert_eq!(ask(address, &trusting).await, Some(HandshakeKind::Full));

    std::fs::write(&new.key, "torn").unwrap();
    node.signal(Signal::HUP);
    node.log()
        .wait_for_line(&["cannot be used", "the old certificate stays"])
        .await
        .unwrap();
    assert!(
        ask(address, &new.trusted_by_client(&["http/1.1"]))
            .await
            .is_some()
    );
}
