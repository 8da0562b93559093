//! Through a proxy: a real one, as small as it can be, in front of a service on this machine.

use std::sync::Arc;

use push_protocol::session::user_agent::ChannelEnd;
use rustls::ServerConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::super::Channel;
use super::rig::{agree, field, read_request};
use crate::defaults::UPGRADE_HEAD_BYTES;
use crate::http2;
use crate::http2::tests::service::Peer;
use crate::proxy::Proxies;
use crate::server_url::ServerUrl;
use crate::tls::Trust;

/// A proxy that opens tunnels.
pub(crate) struct Proxy {
    listener: TcpListener,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// Trusts anybody, and goes through this proxy.
    pub(crate) fn trust(&self) -> Trust {
        let proxies = Proxies::all(&format!("http://user:pass%20word@{}", self.address()));
        Trust::insecure().through(proxies.unwrap())
    }

    /// Opens one tunnel, and returns how it was asked for when the tunnel is over.
    pub(crate) async fn serve(&self) -> String {
        let (stream, _) = self.listener.accept().await.unwrap();
        tunnel(stream).await
    }

    /// Answers one request with this, and hangs up when nothing more comes.
    async fn answers(&self, answer: &[u8]) {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        read_request(&mut stream).await;
        // The user agent may have heard enough before the end.
        let _ = stream.write_all(answer).await;
    }
}

/// Opens a tunnel to where it was asked for; what the service says first comes with the answer.
async fn tunnel(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    let request = read_request(&mut stream).await;
    let target = request.split(' ').nth(1).unwrap();
    let mut service = TcpStream::connect(target).await.unwrap();
    stream
        .write_all(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")
        .await
        .unwrap();
    stream.flush().await.unwrap();
    let _ = copy_bidirectional(&mut stream, &mut service).await;
    request
}

async fn url(scheme: &str, listener: &TcpListener) -> ServerUrl {
    ServerUrl::parse(&format!("{scheme}://{}/secret", listener.local_addr().unwrap())).unwrap()
}

fn acceptor() -> TlsAcceptor {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![own.cert.der().clone()],
            PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()).into(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// WS-CON-4: a WebSocket through a proxy, in clear and over TLS; the proxy learns the host and who asks, and nothing else.
#[tokio::test]
async fn a_websocket_through_a_proxy() {
    for scheme in ["ws", "wss"] {
        let (proxy, listener) = (
            Proxy::start().await,
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        );
        let service = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            if scheme == "ws" {
                agree(&mut stream).await;
            } else {
                agree(&mut acceptor().accept(stream).await.unwrap()).await;
            }
        };
        let (url, trust) = (url(scheme, &listener).await, proxy.trust());
        let opening = async { drop(Channel::open(&url, &trust).await.unwrap()) };
        let ((), (), request) = tokio::join!(opening, service, proxy.serve());
        let target = listener.local_addr().unwrap().to_string();
        assert!(
            request.starts_with(&format!("CONNECT {target} HTTP/1.1\r\n")),
            "{request}"
        );
        assert_eq!(field(&request, "Host"), target);
        assert_eq!(
            field(&request, "Proxy-Authorization"),
            "Basic dXNlcjpwYXNzIHdvcmQ="
        );
        assert!(!request.contains("secret"), "{request}");
    }
}

/// R30-TLS-1: HTTP/2 through a proxy, in clear, where the service speaks first, and over TLS.
#[tokio::test]
async fn http2_through_a_proxy() {
    for scheme in ["http", "https"] {
        let (proxy, listener) = (
            Proxy::start().await,
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        );
        let service = async {
            let (stream, _) = listener.accept().await.unwrap();
            if scheme == "http" {
                Peer::on(stream, "http://127.0.0.1").await
            } else {
                Peer::on(acceptor().accept(stream).await.unwrap(), "https://127.0.0.1").await
            }
        };
        let (url, trust) = (url(scheme, &listener).await, proxy.trust());
        let opening = async {
            drop(
                http2::Channel::open(&url, &trust, None, http2::Form::Push)
                    .await
                    .unwrap(),
            );
        };
        let serving = async {
            let ((), peer) = tokio::join!(opening, service);
            drop(peer);
        };
        let ((), request) = tokio::join!(serving, proxy.serve());
        assert!(request.starts_with("CONNECT 127.0.0.1:"), "{request}");
    }
}

/// What came in one piece with the proxy's answer is not lost.
#[tokio::test]
async fn a_service_that_speaks_first() {
    let (ours, mut theirs) = tokio::io::duplex(1 << 10);
    let proxies = Proxies::all("http://p:1").unwrap();
    let proxy = proxies.of(true, "push.example.net", 443).unwrap();
    let answering = async {
        let request = read_request(&mut theirs).await;
        assert!(request.starts_with("CONNECT push.example.net:443 "), "{request}");
        theirs.write_all(b"HTTP/1.0 200 OK\r\n\r\nfirst ").await.unwrap();
        theirs.write_all(b"second").await.unwrap();
        drop(theirs);
    };
    let asking = crate::connection::through(Box::new(ours), &proxy, "push.example.net:443");
    let (wire, ()) = tokio::join!(asking, answering);
    let mut said = String::new();
    wire.unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "first second");
}

/// A proxy over TLS is asked over TLS; one whose certificate is not trusted learns nothing.
#[tokio::test]
async fn a_proxy_over_tls() {
    for is_trusted in [true, false] {
        let (proxy, listener) = (
            Proxy::start().await,
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        );
        let proxies = Proxies::all(&format!("https://{}", proxy.address())).unwrap();
        let trust = if is_trusted {
            Trust::insecure()
        } else {
            strangers()
        };
        let (url, trust) = (url("ws", &listener).await, trust.through(proxies));
        let serving = async {
            let (stream, _) = proxy.listener.accept().await.unwrap();
            match acceptor().accept(stream).await {
                Ok(stream) => drop(tunnel(stream).await),
                Err(_) => assert!(!is_trusted),
            }
        };
        let service = async {
            if is_trusted {
                agree(&mut listener.accept().await.unwrap().0).await;
            }
        };
        let opening = async { Channel::open(&url, &trust).await.map(drop) };
        let (opened, (), ()) = tokio::join!(opening, serving, service);
        assert_eq!(opened.is_ok(), is_trusted);
        if let Err(error) = opened {
            let sentence = error.to_string();
            assert!(sentence.contains("with the proxy itself"), "{sentence}");
        }
    }
}

fn strangers() -> Trust {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Trust::with_config(Arc::new(config))
}

/// WS-CON-4: a proxy that says no, or isn't one, is told with its status and its address, and without the password.
#[tokio::test]
async fn a_proxy_that_opens_nothing() {
    let endless = [
        b"HTTP/1.1 200 OK\r\nX: ".as_slice(),
        &vec![b'x'; 2 * UPGRADE_HEAD_BYTES],
    ]
    .concat();
    let rows: [(&[u8], &str); 7] = [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            "status 407: it needs a user",
        ),
        (
            b"HTTP/1.1 403 Forbidden\r\n\r\n<html>",
            "status 403: it does not allow connections",
        ),
        (
            b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
            "status 502: it cannot reach the service",
        ),
        (b"SSH-2.0-OpenSSH\r\n", "is not an HTTP proxy"),
        (b"", "without an answer"),
        (b"HTTP/1.1 200 OK\r\n", "without an answer"),
        (&endless, "is not an HTTP proxy"),
    ];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = url("wss", &listener).await;
    for (answer, words) in rows {
        let proxy = Proxy::start().await;
        let trust = proxy.trust();
        let (opened, ()) = tokio::join!(Channel::open(&url, &trust), proxy.answers(answer));
        let error = opened.unwrap_err();
        assert_eq!(error.to_channel_end(), ChannelEnd::Unreachable);
        let sentence = error.to_string();
        let begins = format!("the proxy at {} does not lead to the service: ", proxy.address());
        assert!(
            sentence.starts_with(&begins) && sentence.contains(words),
            "{sentence}"
        );
        assert!(
            !sentence.contains("pass word")
                && !sentence.contains("pass%20word")
                && !sentence.contains("secret"),
            "{sentence}"
        );
    }
    let gone = Proxy::start().await;
    let trust = gone.trust();
    drop(gone);
    let sentence = Channel::open(&url, &trust).await.unwrap_err().to_string();
    assert!(sentence.contains("cannot be connected to"), "{sentence}");
}
