//! The sender against a server that keeps what it is asked and answers what it is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use push_protocol::encryption::{EncryptError, SubscriptionKeys};
use push_protocol::headers;
use push_protocol::origin::Origin;
use push_protocol::vapid::{SigningKey, credentials};
use push_protocol::{Coding, Topic, Ttl, Urgency};
use ring::rand::SystemRandom;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Push, SendError, Sender, VapidKey};
use crate::defaults::SEND_WITHIN;
use crate::push_subscription::PushSubscription;
use crate::tls::Trust;

/// A request as it came.
struct Asked {
    line: String,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

/// A server that takes one request and answers `answer`.
async fn server(answer: Vec<u8>) -> (SocketAddr, JoinHandle<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        let asked = loop {
            if let Some(asked) = read(&bytes) {
                break asked;
            }
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "cut");
        };
        // The sender may have heard enough before the end.
        let _ = stream.write_all(&answer).await;
        asked
    });
    (address, asked)
}

/// The request, once all of it is there.
fn read(bytes: &[u8]) -> Option<Asked> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(head) = request.parse(bytes).unwrap() else {
        return None;
    };
    let line = format!("{} {}", request.method.unwrap(), request.path.unwrap());
    let mut headers = http::HeaderMap::new();
    for field in request.headers.iter() {
        let name = http::HeaderName::from_bytes(field.name.as_bytes()).unwrap();
        headers.append(name, field.value.try_into().unwrap());
    }
    let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
    let body = bytes.get(head..head + length)?.to_vec();
    Some(Asked { line, headers, body })
}

fn sender(within: Duration) -> Sender {
    Sender::new(Trust::system()).within(within)
}

fn push(body: Option<&'static str>) -> Push {
    Push {
        ttl: Ttl::from_secs(60),
        ..body.map_or_else(Push::without_data, Push::new)
    }
}

fn subscription(endpoint: &str, keys: &SubscriptionKeys) -> PushSubscription {
    let json = serde_json::json!({
        "endpoint": endpoint,
        "expirationTime": null,
        "keys": {"p256dh": keys.p256dh(), "auth": keys.auth()},
    });
    PushSubscription::parse(&json.to_string()).unwrap()
}

fn subscription_keys() -> SubscriptionKeys {
    SubscriptionKeys::generate(&SystemRandom::new()).unwrap()
}

/// Sends "hi" to a server that answers `answer`.
async fn answered(answer: impl Into<Vec<u8>>) -> Result<super::Accepted, SendError> {
    let (address, _asked) = server(answer.into()).await;
    let keys = subscription_keys();
    let subscription = subscription(&format!("http://{address}/push/token"), &keys);
    sender(SEND_WITHIN)
        .send(&subscription, &push(Some("hi")), None)
        .await
}

/// R30-MSG-1, R30-TTL-1, R30-URG-1, R30-TOP-1, E91-10, RFC 8292 §3: the request has exactly these fields, the token
/// names the service's origin, and only the subscription's keys read the body.
#[tokio::test]
async fn a_request_is_by_the_letter() {
    let answer = "HTTP/1.1 201 Created\r\nLocation: /message/1\r\nTTL: 30\r\nContent-Length: 0\r\n\r\n";
    let (address, asked) = server(answer.into()).await;
    let keys = subscription_keys();
    let random = SystemRandom::new();
    let der = SigningKey::generate_pkcs8(&random).unwrap();
    let key = SigningKey::from_pkcs8(&der, &random).unwrap();
    let key = VapidKey::new(key, Some("mailto:a@example.com".into())).unwrap();
    let push = Push {
        urgency: Urgency::High,
        topic: Topic::parse("door"),
        padding: 10,
        ..push(Some("Grüße"))
    };
    let subscription = subscription(&format!("http://{address}/push/token?a=b"), &keys);
    let accepted = sender(SEND_WITHIN)
        .send(&subscription, &push, Some(&key))
        .await
        .unwrap();
    assert_eq!(
        accepted.message.unwrap().as_str(),
        format!("http://{address}/message/1")
    );
    assert_eq!(accepted.ttl, Some(Ttl::from_secs(30)));

    let asked = asked.await.unwrap();
    assert_eq!(asked.line, "POST /push/token?a=b");
    assert_eq!(asked.headers["host"], address.to_string());
    assert_eq!(asked.headers["ttl"], "60");
    assert_eq!(asked.headers["urgency"], "high");
    assert_eq!(asked.headers["topic"], "door");
    assert_eq!(asked.headers["content-encoding"], "aes128gcm");
    assert_eq!(asked.headers.get_all("content-encoding").iter().count(), 1);
    // What a service's own parsers make of it.
    assert_eq!(headers::ttl(&asked.headers).unwrap(), Ttl::from_secs(60));
    assert_eq!(headers::urgency(&asked.headers).unwrap(), Some(Urgency::High));

    let shown = asked.headers["authorization"].to_str().unwrap();
    let (token, shown_key) = shown
        .strip_prefix("vapid t=")
        .unwrap()
        .split_once(", k=")
        .unwrap();
    assert_eq!(shown_key, key.public_key().to_string());
    assert_eq!(token.split('.').count(), 3);
    let origin = Origin::parse(&format!("http://{address}")).unwrap();
    let now_secs = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let claims = credentials(&asked.headers).unwrap().unwrap().verify().unwrap();
    claims.check(&origin, now_secs).unwrap();

    assert_eq!(asked.body.len(), 86 + "Grüße".len() + 1 + 10 + 16);
    let plaintext = keys.decrypt(&Coding::Aes128gcm, &asked.body).unwrap();
    assert_eq!(plaintext, "Grüße".as_bytes());
    assert!(
        subscription_keys()
            .decrypt(&Coding::Aes128gcm, &asked.body)
            .is_err()
    );
}

/// Without content nothing is encrypted, and no coding is named; an empty content is encrypted like any other.
#[tokio::test]
async fn no_content_is_not_empty_content() {
    let created = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
    for body in [None, Some("")] {
        let (address, asked) = server(created.into()).await;
        let keys = subscription_keys();
        let subscription = subscription(&format!("http://{address}/p"), &keys);
        let accepted = sender(SEND_WITHIN)
            .send(&subscription, &push(body), None)
            .await
            .unwrap();
        assert_eq!(accepted.message, None);
        let asked = asked.await.unwrap();
        assert_eq!(asked.headers.contains_key("content-encoding"), body.is_some());
        assert!(!asked.headers.contains_key("authorization"));
        assert_eq!(asked.body.len(), if body.is_some() { 103 } else { 0 });
    }
}

/// What cannot be sent isn't, and says why without naming the endpoint.
#[tokio::test]
async fn what_cannot_be_sent_is_not() {
    let keys = subscription_keys();
    let sender = sender(SEND_WITHIN);
    let subscription = subscription("https://push.example/secret", &keys);
    let long = Push {
        body: Some(vec![b'a'; 3994].into()),
        ..push(None)
    };
    let error = sender.send(&subscription, &long, None).await.unwrap_err();
    assert_eq!(error, SendError::NotEncrypted(EncryptError::TooLong));
    assert!(!error.to_string().contains("secret"));
}

/// R30-MSG-7: the status decides, whatever else is in the answer.
#[tokio::test]
async fn the_status_decides() {
    let gone = answered("HTTP/1.1 410 Gone\r\nContent-Length: 2\r\n\r\n{}").await;
    assert_eq!(
        gone.err(),
        Some(SendError::Gone {
            status: StatusCode::GONE
        })
    );
    let later =
        answered("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nConnection: close\r\n\r\nslowly").await;
    let expected = SendError::Later {
        status: StatusCode::TOO_MANY_REQUESTS,
        after: Some(Duration::from_secs(7)),
        reason: Some("slowly".into()),
    };
    assert_eq!(later.err(), Some(expected));
    let moved =
        answered("HTTP/1.1 307 Temporary Redirect\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n").await;
    assert!(matches!(moved, Err(SendError::Other { .. })));
}

/// R30-MSG-1: a message's URL is one that can be asked to take it back; anything else is none.
#[tokio::test]
async fn a_message_has_a_web_url_or_none() {
    for location in ["javascript:alert(1)", "file:///etc/passwd", "http://[::bad"] {
        let answer = format!("HTTP/1.1 201 Created\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        assert!(answered(answer).await.unwrap().message.is_none(), "{location}");
    }
}

/// Heads and bodies without end are cut, and what is no HTTP is said to be none.
#[tokio::test]
async fn answers_have_bounds() {
    let endless_body = ["HTTP/1.1 400 Bad Request\r\n\r\n", &"word ".repeat(1 << 20)].concat();
    assert_eq!(
        answered(endless_body).await.err(),
        Some(SendError::Malformed { reason: None })
    );

    let endless_head = ["HTTP/1.1 201 Created\r\na: ", &"a".repeat(1 << 22)].concat();
    assert_eq!(answered(endless_head).await.err(), Some(SendError::Garbled));
    assert_eq!(
        answered("220 mail.example ESMTP\r\n\r\n").await.err(),
        Some(SendError::Garbled)
    );
    assert!(matches!(answered("").await, Err(SendError::Unreachable(_))));
}

/// A port without a server, and a server that does not answer, are told apart.
#[tokio::test]
async fn silence_has_an_end() {
    let keys = subscription_keys();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = subscription(&format!("http://{}/p", listener.local_addr().unwrap()), &keys);
    let sender = sender(Duration::from_millis(20));
    let error = sender.send(&silent, &push(Some("hi")), None).await.unwrap_err();
    assert_eq!(error, SendError::TimedOut);

    drop(listener);
    let error = sender.send(&silent, &push(Some("hi")), None).await.unwrap_err();
    assert!(matches!(error, SendError::Unreachable(_)), "{error}");
}

/// Over TLS the service is known by its certificate: one that is trusted gets the message, another one gets nothing.
#[tokio::test]
async fn the_service_is_known_by_its_certificate() {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, own.cert.pem()).unwrap();
    for (trust, is_trusted) in [(Trust::with_certificates(&file), true), (others(), false)] {
        let (port, asked) = tls_server(&own).await;
        let keys = subscription_keys();
        let subscription = subscription(&format!("https://localhost:{port}/p"), &keys);
        let sent = Sender::new(trust)
            .send(&subscription, &push(Some("hi")), None)
            .await;
        assert_eq!(sent.is_ok(), is_trusted, "{sent:?}");
        assert_eq!(asked.await.unwrap().is_some(), is_trusted);
    }
}

/// Trusts another CA.
fn others() -> Trust {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Trust::with_config(Arc::new(config))
}

/// A server that takes one request over TLS, if the handshake succeeds.
async fn tls_server(own: &rcgen::CertifiedKey<rcgen::KeyPair>) -> (u16, JoinHandle<Option<Vec<u8>>>) {
    let key = rustls_pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let asked = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.ok()?;
        let mut bytes = Vec::new();
        while read(&bytes).is_none() {
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "cut");
        }
        let created = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(created).await.unwrap();
        stream.flush().await.unwrap();
        Some(bytes)
    });
    (port, asked)
}

/// R30-RCP-2 to R30-RCP-5: a receipt is asked for, in the receipt subscription that is there if there is one; the answer
/// says where it is told, unless the service gives none.
#[tokio::test]
async fn a_receipt_is_asked_for() {
    let link = "Link: </receipts/1>; rel=\"urn:ietf:params:push:receipt\"";
    let answer =
        format!("HTTP/1.1 202 Accepted\r\nLocation: /message/1\r\n{link}\r\nContent-Length: 0\r\n\r\n");
    let keys = subscription_keys();
    let mut known = None;
    for _ in 0..2 {
        let (address, asked) = server(answer.clone().into()).await;
        let subscription = subscription(&format!("http://{address}/push/token"), &keys);
        let accepted = sender(SEND_WITHIN)
            .send_with_receipt(&subscription, &push(Some("hi")), None, known.as_ref())
            .await
            .unwrap();
        let asked = asked.await.unwrap();
        assert_eq!(asked.headers["prefer"], "respond-async");
        let named = known.map(|known: super::ReceiptSubscription| {
            format!("<{}>; rel=\"urn:ietf:params:push:receipt\"", known.as_str())
        });
        let link = asked
            .headers
            .get("link")
            .map(|link| link.to_str().unwrap().to_owned());
        assert_eq!(link, named);
        known = accepted.receipts;
        let receipts = known.as_ref().unwrap().as_str();
        assert_eq!(receipts, format!("http://{address}/receipts/1"));
    }
    let without = answered(answer.replace("202 Accepted", "201 Created"))
        .await
        .unwrap();
    assert_eq!(without.receipts, None);
}
