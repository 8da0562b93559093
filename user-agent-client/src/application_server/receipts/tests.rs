//! Receipts from a service in the same process, which says what a test tells it.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::application_server::Sender;

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\r\n";

struct Service(TcpListener);

impl Service {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn receipts(&self) -> Receipts {
        let url = format!("http://{}/receipts/secret", self.address());
        let subscription = ReceiptSubscription::parse(&url).unwrap();
        let mut receipts = Sender::new(Trust::system()).receipts(&subscription);
        receipts.again_after = Duration::from_millis(1);
        receipts
    }

    /// Takes a request and answers this; the connection stays open while it is held.
    async fn answers(&self, answer: &str) -> (TcpStream, String) {
        let (mut stream, _) = self.0.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut request).await.unwrap() > 0);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        (stream, String::from_utf8(request).unwrap().to_ascii_lowercase())
    }

    fn message(&self, number: u32) -> Url {
        Url::parse(&format!("http://{}/message/{number}", self.address())).unwrap()
    }
}

fn event(message: &str, status: u16) -> String {
    format!("event: receipt\ndata: {{\"message\":\"{message}\",\"status\":{status},\"more\":1}}\n\n")
}

/// R30-RDL-1, R30-RDL-2, R30-RCP-4: one stream tells of several messages, delivered and given up; what is no receipt is
/// passed over.
#[tokio::test]
async fn several_messages_in_one_stream() {
    let service = Service::start().await;
    let mut receipts = service.receipts();
    let told = [
        STREAM,
        ": hello\n\nevent: other\ndata: {}\n\nevent: receipt\ndata: nonsense\n\n",
        &event(service.message(1).as_str(), 204),
        &event("/message/2", 410),
        &event("/message/3", 500),
        &event("/message/4", 204),
    ];
    let told = told.concat();
    let (first, (_stream, request)) = tokio::join!(receipts.next(), service.answers(&told));
    assert!(
        request.starts_with("get /receipts/secret http/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("\r\naccept: text/event-stream\r\n"), "{request}");
    let receipt = |number, is_acknowledged| Receipt {
        message: service.message(number),
        is_acknowledged,
    };
    assert_eq!(first, Ok(receipt(1, true)));
    assert_eq!(receipts.next().await, Ok(receipt(2, false)));
    assert_eq!(receipts.next().await, Ok(receipt(4, true)));
    assert!(!format!("{receipts:?} {:?} {:?}", receipt(1, true), receipts.subscription).contains("secret"));
}

/// R30-RDL-3: a stream that breaks, a service in trouble, and one that says what means nothing: it is listened again, and
/// what came in one piece with the end is not lost.
#[tokio::test]
async fn a_stream_that_breaks() {
    let service = Service::start().await;
    let mut receipts = service.receipts();
    let answering = async {
        drop(
            service
                .answers(&format!("{STREAM}{}", event("/message/1", 204)))
                .await,
        );
        drop(
            service
                .answers("HTTP/1.1 503 Busy\r\nRetry-After: 0\r\n\r\n")
                .await,
        );
        drop(
            service
                .answers(&format!("{STREAM}data: {}", "x".repeat(10_000)))
                .await,
        );
        drop(service.0.accept().await);
        service
            .answers(&format!("{STREAM}{}", event("/message/2", 410)))
            .await
    };
    let listening = async { [receipts.next().await, receipts.next().await] };
    let ([one, two], _stream) = tokio::join!(listening, answering);
    assert_eq!(one.map(|receipt| receipt.message), Ok(service.message(1)));
    assert_eq!(two.map(|receipt| receipt.message), Ok(service.message(2)));
}

/// R30-RDL-3: a service that can't be reached, or that tells nothing, is asked ever more slowly.
#[test]
fn waits_grow() {
    let subscription = ReceiptSubscription::parse("https://h/receipts/1").unwrap();
    // Its first moment needs a clock.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let _in_it = runtime.as_ref().unwrap().enter();
    let mut receipts = Receipts::new(subscription, Trust::system(), Duration::from_secs(1));
    for (failures, seconds) in [(0, 1), (1, 2), (5, 32), (6, 60), (1_000, 60)] {
        receipts.failures = failures;
        assert_eq!(receipts.wait(), Duration::from_secs(seconds));
    }
}

/// R30-RDL-1: what can't be mended by coming again ends it, with a sentence.
#[tokio::test]
async fn what_is_never_told() {
    let rows = [
        ("HTTP/1.1 404 Not Found\r\n\r\n", "no longer knows"),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "Server-Sent Events (400)"),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n",
            "Server-Sent Events (200)",
        ),
    ];
    for (answer, sentence) in rows {
        let service = Service::start().await;
        let mut receipts = service.receipts();
        let (told, _stream) = tokio::join!(receipts.next(), service.answers(answer));
        let error = told.unwrap_err().to_string();
        assert!(error.contains(sentence) && !error.contains("secret"), "{error}");
    }
}

/// A receipt subscription is an absolute web URL, and not one in clear for a service that isn't.
#[test]
fn what_may_be_a_receipt_subscription() {
    for wrong in ["", "/receipts/1", "ftp://h/", "data:,"] {
        assert!(ReceiptSubscription::parse(wrong).is_none(), "{wrong}");
    }
    let clear = ReceiptSubscription::parse("http://h/receipts/1").unwrap();
    assert!(clear.is_as_safe_as(&Url::parse("http://h/").unwrap()));
    assert!(!clear.is_as_safe_as(&Url::parse("https://h/").unwrap()));
}
