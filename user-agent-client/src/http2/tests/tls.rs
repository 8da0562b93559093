//! Over TLS: HTTP/2 is agreed on, or it isn't.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

struct Service {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    certificate: String,
}

impl Service {
    async fn new(protocols: &[&str]) -> Self {
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
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate: own.cert.pem(),
        }
    }

    fn url(&self) -> ServerUrl {
        ServerUrl::parse(&format!("https://{}/", self.listener.local_addr().unwrap())).unwrap()
    }

    async fn peer(&self) -> Option<Peer> {
        let (stream, _) = self.listener.accept().await.unwrap();
        let stream = self.acceptor.accept(stream).await.ok()?;
        let origin = self.url().as_str().trim_end_matches('/').to_owned();
        (stream.get_ref().1.alpn_protocol() == Some(b"h2")).then_some(())?;
        Some(Peer::on(stream, &origin).await)
    }
}

/// R30-TLS-1, R30-TLS-2, WS-CON-4: over TLS, with the certificate that is given, and what is promised at this origin is
/// taken.
#[tokio::test]
async fn a_message_over_tls() {
    let service = Service::new(&["h2", "http/1.1"]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &service.certificate).unwrap();
    let (url, trust) = (service.url(), Trust::with_certificates(&file));
    let set = Identity::of_set(&format!("{}subscriptions/a", url.as_str())).unwrap();
    let (channel, peer) = tokio::join!(
        Channel::open(&url, &trust, Some(&set), Form::Push),
        service.peer()
    );
    let (mut channel, mut peer) = (channel.unwrap(), peer.unwrap());
    channel.say(
        &Say::Hello(Some(set.clone()), Wish::default()),
        &Durable::default(),
    );
    assert_eq!(channel.next().await, Incoming::Monitoring(set));
    let mut monitor = peer.expects(Method::GET, "/subscriptions/a").await;
    monitor.pushes("/message/1", 1, b"body");
    let Incoming::Pushed(pushed) = channel.next().await else {
        panic!("a message is expected");
    };
    assert_eq!(
        (&*pushed.path, &pushed.content.unwrap().body[..]),
        ("/message/1", &b"body"[..])
    );
}

/// RFC 9113 §3.2: a server that doesn't agree on HTTP/2, or says nothing of it, is asked over HTTP/1.1.
#[tokio::test]
async fn a_server_without_http2() {
    for protocols in [&["http/1.1"][..], &[]] {
        let service = Service::new(protocols).await;
        let (url, trust) = (service.url(), Trust::insecure());
        let (opened, _) = tokio::join!(Channel::open(&url, &trust, None, Form::Push), service.peer());
        let mut channel = opened.unwrap();
        assert!(channel.http2.is_none());
        channel.say(&Say::Hello(None, Wish::default()), &Durable::default());
        assert_eq!(channel.next().await, Incoming::WithoutSet);
    }
}

/// R30-TLS-2: a server that agrees on neither is told so.
#[tokio::test]
async fn a_server_without_http() {
    let service = Service::new(&["mqtt"]).await;
    let (url, trust) = (service.url(), Trust::insecure());
    let (opened, _) = tokio::join!(Channel::open(&url, &trust, None, Form::Push), service.peer());
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("neither HTTP/2 nor HTTP/1.1"), "{error}");
}

/// R30-TLS-1: neither a set nor anything else is looked for in clear where the service is not.
#[tokio::test]
async fn a_set_in_clear() {
    let service = ServerUrl::parse("https://127.0.0.1/").unwrap();
    for (set, safe) in [("http://127.0.0.1/s", false), ("https://127.0.0.1:1/s", true)] {
        let set = Identity::of_set(set).unwrap();
        assert_eq!(server_of(&set, &service).is_some(), safe);
    }
}
