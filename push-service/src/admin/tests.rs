//! The admin listener as probes and operators meet it, on a stub that answers as a store would.

use std::sync::Mutex;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use push_protocol::{MessageId, SubscriptionId, SubscriptionName, UserAgentId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;

use super::*;
use crate::resources::tests::rig::Service;
use crate::storage::{
    Attached, Confirm, Cursor, Ending, Enqueue, Enqueued, ExpectReceipt, Exported, Imported, Listed, Manner,
    MessageEnd, Overdue, PageRequest, Paged, Portable, ReceiptExpected, Refreshed, Removal, Seat,
    StorageError, Subscribe, Subscribed, SubscriptionReport, Traced, Usage, UserAgentReport, WaitingMessage,
    Which,
};
use crate::tls::CertificateSource;

/// The one user agent that the stub knows.
const KNOWN: UserAgentId = UserAgentId([0xab; 16]);
/// Who asks.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5);
/// Its one subscription.
const SUBSCRIPTION: &str = "0123456789abcdef";

/// How the stub answers.
#[derive(Clone, Copy, Default)]
enum Mood {
    #[default]
    Well,
    Down,
    Silent,
}

#[derive(Default)]
pub(super) struct Stub(Mutex<Mood>);

impl Stub {
    async fn outcome(&self) -> Result<(), StorageError> {
        let mood = *self.0.lock().unwrap();
        match mood {
            Mood::Well => Ok(()),
            Mood::Down => Err(StorageError::Unavailable("the disk is gone".to_owned())),
            Mood::Silent => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Storage for Stub {
    async fn inspect(&self, user_agent: UserAgentId) -> Result<Option<UserAgentReport>, StorageError> {
        self.outcome().await?;
        Ok((user_agent == KNOWN).then(|| UserAgentReport {
            messages: 2,
            bytes: 700,
            last_number: 9,
            seated: true,
            unused: false,
            retained_for_secs: 60,
            last_seen: 1,
            subscriptions: vec![SubscriptionReport {
                id: SUBSCRIPTION.to_owned(),
                name: "b1e4aa0c-4e4b-4b4e-9d2a-0a0a0a0a0a0a".to_owned(),
                restricted: true,
                messages: 2,
                bytes: 700,
                created_at: 1,
            }],
        }))
    }

    async fn waiting(&self, _: UserAgentId, _: Which) -> Result<Vec<WaitingMessage>, StorageError> {
        self.outcome().await?;
        Ok(Vec::new())
    }

    async fn list(&self, _: Option<&Cursor>) -> Result<Listed, StorageError> {
        self.outcome().await?;
        Ok(Listed::default())
    }

    fn usage(&self) -> Option<Usage> {
        Some(Usage {
            messages: 2,
            bytes: 700,
            user_agents: 1,
        })
    }

    async fn health(&self) -> Result<(), StorageError> {
        self.outcome().await
    }

    async fn subscribe(&self, _: Subscribe) -> Result<Subscribed, StorageError> {
        unreachable!()
    }

    async fn unsubscribe(
        &self,
        _: UserAgentId,
        _: SubscriptionName,
    ) -> Result<Option<SubscriptionId>, StorageError> {
        unreachable!()
    }

    async fn enqueue(&self, _: Enqueue) -> Result<Enqueued, StorageError> {
        unreachable!()
    }

    async fn attach(
        &self,
        _: UserAgentId,
        _: Seat,
        _: PageRequest,
        _: Manner,
    ) -> Result<Attached, StorageError> {
        unreachable!()
    }

    async fn refresh(&self, _: &[(UserAgentId, Seat)]) -> Result<Vec<Refreshed>, StorageError> {
        unreachable!()
    }

    async fn page(&self, _: UserAgentId, _: Seat, _: PageRequest) -> Result<Paged, StorageError> {
        unreachable!()
    }

    async fn release(&self, _: UserAgentId, _: Seat) -> Result<(), StorageError> {
        unreachable!()
    }

    async fn acknowledge(
        &self,
        _: UserAgentId,
        _: &[MessageId],
        _: Removal,
        _: Confirm,
        _: Option<Seat>,
    ) -> Result<Vec<bool>, StorageError> {
        unreachable!()
    }

    async fn end(&self, _: UserAgentId, _: Ending) -> Result<bool, StorageError> {
        unreachable!()
    }

    async fn has_subscription(&self, _: UserAgentId, _: SubscriptionId) -> Result<bool, StorageError> {
        unreachable!()
    }

    async fn expect_receipt(
        &self,
        _: UserAgentId,
        _: ExpectReceipt,
    ) -> Result<ReceiptExpected, StorageError> {
        unreachable!()
    }

    async fn settle_receipts(&self, _: UserAgentId, _: &[MessageEnd]) -> Result<(), StorageError> {
        unreachable!()
    }

    async fn outbox(&self, _: UserAgentId, _: usize) -> Result<Vec<MessageEnd>, StorageError> {
        unreachable!()
    }

    async fn clear_outbox(&self, _: UserAgentId, _: &[MessageId]) -> Result<(), StorageError> {
        unreachable!()
    }

    async fn with_outbox(&self, _: usize) -> Result<Vec<UserAgentId>, StorageError> {
        unreachable!()
    }

    async fn overdue(&self, _: usize) -> Result<Vec<Overdue>, StorageError> {
        unreachable!()
    }

    async fn trace(&self, _: UserAgentId, _: u64) -> Result<Traced, StorageError> {
        unreachable!()
    }

    async fn expire(&self, _: usize) -> Result<crate::storage::Swept, StorageError> {
        unreachable!()
    }

    async fn failed(&self) -> String {
        std::future::pending().await
    }

    async fn admit_sealing_keys(&self, _: &[[u8; 8]]) -> Result<(), StorageError> {
        unreachable!()
    }

    async fn is_empty(&self) -> Result<bool, StorageError> {
        unreachable!()
    }

    async fn export(&self, _: Option<&Cursor>, _: usize) -> Result<Exported, StorageError> {
        unreachable!()
    }

    async fn import(&self, _: Vec<Portable>) -> Result<Imported, StorageError> {
        unreachable!()
    }

    async fn close(&self) -> Result<(), StorageError> {
        unreachable!()
    }
}

pub(super) fn admin() -> (Admin, Arc<Stub>, Arc<ReadinessWatch>) {
    let (storage, readiness) = (Arc::new(Stub::default()), Arc::new(ReadinessWatch::new()));
    let metrics = Arc::new(Metrics::new());
    let service = Service::on(Arc::<Stub>::clone(&storage), |_, _| {});
    let admin = Admin {
        metrics,
        storage: Arc::<Stub>::clone(&storage),
        acceptor: None,
        readiness: Arc::clone(&readiness),
        warnings: Arc::from([]),
        broker: service.broker,
        actions: Arc::new(Actions::new(Guard::new(None).unwrap())),
        hosts: Arc::from([]),
    };
    (admin, storage, readiness)
}

/// Serves this node on a listener, as from its start on.
fn serve(
    admin: Admin,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let (metrics, readiness) = (Arc::clone(&admin.metrics), Arc::clone(&admin.readiness));
    let port = AdminPort::new(metrics, readiness, Arc::clone(&admin.hosts));
    port.built(admin);
    Arc::new(port).serve(listener, shutdown)
}

async fn get(admin: &Admin, path: &str) -> (u16, String) {
    ask(admin, "GET", path).await
}

async fn ask(admin: &Admin, method: &str, path: &str) -> (u16, String) {
    let (head, body) = answer_to(admin, method, path, None).await;
    (head.status.as_u16(), body)
}

/// The whole answer to a request that accepts this.
pub(super) async fn answer_to(
    admin: &Admin,
    method: &str,
    path: &str,
    accept: Option<&str>,
) -> (http::response::Parts, String) {
    let mut request = Request::builder().method(method).uri(path);
    request = request.header("host", "127.0.0.1:9090");
    if let Some(accept) = accept {
        request = request.header("accept", accept);
    }
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let (head, body) = admin.answer(request, PEER).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head, String::from_utf8(body.to_vec()).unwrap())
}

/// Every path answers what its readers expect of a healthy node.
#[tokio::test]
async fn a_healthy_node_answers_every_path() {
    let (admin, _, readiness) = admin();
    readiness.ready();
    let known = format!("/user-agents/{KNOWN}");
    let rows = [
        ("/", 200, "/metrics"),
        ("/overview", 200, "\"word\":\"Ready\""),
        ("/metrics", 200, "\npush_service_queue_messages 2\n"),
        ("/healthz", 200, "up"),
        ("/readyz", 200, "ready"),
        ("/__lbheartbeat__", 200, ""),
        ("/__heartbeat__", 200, "\"status\":\"OK\""),
        ("/health", 200, "\"connections\":0"),
        ("/status", 200, "\"status\":\"OK\""),
        ("/__version__", 200, env!("CARGO_PKG_VERSION")),
        (&known, 200, "\"messages\":2"),
        ("/user-agents/abc", 400, "32 hexadecimal digits"),
        (
            "/user-agents/00000000000000000000000000000000",
            404,
            "no user agent has this id",
        ),
        ("/favicon.ico", 404, "GET / lists"),
        ("/push/token", 404, "GET / lists"),
    ];
    for (path, status, content) in rows {
        let (got, body) = get(&admin, path).await;
        assert_eq!(got, status, "{path}: {body}");
        assert!(body.contains(content), "{path}: {body}");
    }
    assert_eq!(ask(&admin, "POST", "/metrics").await.0, 405);
}

/// A request that names a foreign host, or two hosts, gets no page, whatever its path and method are. No answer may be
/// stored or taken for another media type.
#[tokio::test]
async fn a_foreign_host_gets_nothing() {
    let (admin, _, _) = admin();
    let rows: [(&[&str], u16); 4] = [
        (&["evil.example:9090"], 421),
        (&["127.0.0.1:9090", "evil.example"], 400),
        (&[], 400),
        (&["127.0.0.1:9090"], 200),
    ];
    for (hosts, status) in rows {
        for method in ["GET", "HEAD"] {
            let mut request = Request::builder().method(method).uri("/metrics");
            for host in hosts {
                request = request.header("host", *host);
            }
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            let answer = admin.answer(request, PEER).await;
            assert_eq!(answer.status(), status, "{hosts:?}");
            assert_eq!(answer.headers()["cache-control"], "no-store");
            assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        }
    }
}

/// Where TLS is spoken, the page for Prometheus says when the certificate ends that is presented at that moment.
#[tokio::test]
async fn the_end_of_a_certificate_is_exported() {
    let (mut admin, _, _) = admin();
    let line = "\npush_service_certificate_expiry_timestamp_seconds{certificate=\"service\"} ";
    assert!(!get(&admin, "/metrics").await.1.contains(line), "there is no TLS");
    let directory = tempfile::tempdir().unwrap();
    let source = CertificateSource::SelfSigned {
        directory: directory.path().to_owned(),
        names: Vec::new(),
    };
    let acceptor = Acceptor::new(source).unwrap();
    let until = acceptor.valid_until().service.unwrap();
    admin.acceptor = Some(acceptor);
    let text = get(&admin, "/metrics").await.1;
    let (_, told) = text.split_once(line).unwrap();
    let until = until.duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(told.lines().next().unwrap(), until.to_string());
    assert!(!text.contains("certificate=\"directory\""));
}

/// One subscription is found by its id, in any case; a malformed one is told from an unknown one.
#[tokio::test]
async fn a_subscription_is_found_by_its_id() {
    let (admin, _, _) = admin();
    let rows = [
        (SUBSCRIPTION, 200, "\"restricted\":true"),
        ("0123456789ABCDEF", 200, "\"restricted\":true"),
        ("0000000000000000", 404, "no subscription with this id"),
        ("nonsense", 400, "16 hexadecimal digits"),
    ];
    for (subscription, status, content) in rows {
        let path = format!("/user-agents/{KNOWN}/subscriptions/{subscription}");
        let (got, body) = get(&admin, &path).await;
        assert_eq!(got, status, "{path}: {body}");
        assert!(body.contains(content), "{path}: {body}");
    }
}

/// Traffic is sent away while the node starts and when it leaves, with the reason; the process itself is up.
#[tokio::test]
async fn readiness_follows_the_service() {
    let (admin, _, readiness) = admin();
    assert_eq!(
        get(&admin, "/readyz").await,
        (503, "not ready: starting\n".to_owned())
    );
    readiness.ready();
    assert_eq!(get(&admin, "/readyz").await.0, 200);
    readiness.draining();
    assert_eq!(
        get(&admin, "/readyz").await,
        (503, "not ready: draining\n".to_owned())
    );
    readiness.failed("no disk");
    assert_eq!(
        get(&admin, "/readyz").await,
        (503, "not ready: failed: no disk\n".to_owned())
    );
    assert_eq!(get(&admin, "/healthz").await.0, 200);
}

/// A store in trouble is said so everywhere, and never as "unknown" (PR-3).
#[tokio::test(start_paused = true)]
async fn trouble_with_storage_is_told() {
    let (admin, storage, readiness) = admin();
    readiness.ready();
    for (mood, why) in [
        (Mood::Down, "the disk is gone"),
        (Mood::Silent, "no answer in time"),
    ] {
        *storage.0.lock().unwrap() = mood;
        let known = format!("/user-agents/{KNOWN}");
        for path in ["/readyz", "/health", "/__heartbeat__", &known] {
            let (status, body) = get(&admin, path).await;
            assert_eq!(status, 503, "{path}: {body}");
            assert!(body.contains(why), "{path}: {body}");
        }
        let overview = get(&admin, "/overview").await.1;
        assert!(
            overview.contains("\"word\":\"Not ready\"") && overview.contains(why),
            "{overview}"
        );
        let (status, body) = get(&admin, "/status").await;
        assert_eq!(status, 200);
        assert!(body.contains("\"status\":\"ERROR\""), "{body}");
        assert_eq!(get(&admin, "/healthz").await.0, 200);
        assert_eq!(get(&admin, "/__lbheartbeat__").await.0, 200);
    }
}

/// PR-44: `/readyz` is answered at once while other peers hold every connection of the listener.
#[tokio::test]
async fn idle_connections_give_way() {
    let (admin, _, readiness) = admin();
    readiness.ready();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(admin, listener, std::future::pending()));
    let mut idle = Vec::new();
    for _ in 0..3 {
        for _ in 0..defaults::ADMIN_CONNECTIONS {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let asked = async {
            let mut probe = TcpStream::connect(address).await.unwrap();
            let request = b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
            probe.write_all(request).await.unwrap();
            let mut answer = Vec::new();
            probe.read_to_end(&mut answer).await.unwrap();
            String::from_utf8(answer).unwrap()
        };
        // Far below the time after which idle connections are closed anyway.
        let answer = tokio::time::timeout(defaults::ADMIN_FIRST_HEADER_WITHIN, asked).await;
        let answer = answer.expect("the probe is let in");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    serving.abort();
}

/// PR-44: a probe amid a flood of connections is answered, even if all of them arrived before the first was served.
#[tokio::test]
async fn a_probe_in_a_flood_is_answered() {
    let (admin, _, readiness) = admin();
    readiness.ready();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || std::net::TcpStream::connect(address).unwrap();
    let mut flood: Vec<_> = (0..40).map(|_| connect()).collect();
    let mut probe = connect();
    std::io::Write::write_all(&mut probe, b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    // Enough to close all earlier ones and the probe itself; together they fit into the backlog.
    flood.extend((0..80).map(|_| connect()));
    probe.set_nonblocking(true).unwrap();
    let mut probe = TcpStream::from_std(probe).unwrap();
    let serving = tokio::spawn(serve(admin, listener, std::future::pending()));
    let mut answer = [0; 12];
    probe
        .read_exact(&mut answer)
        .await
        .expect("the probe is answered");
    assert_eq!(&answer, b"HTTP/1.1 200");
    serving.abort();
}

/// PR-44: a connection without any request is closed soon; one that had a request may stay idle.
#[tokio::test(start_paused = true)]
async fn a_connection_that_asks_nothing_is_closed() {
    let (admin, _, _) = admin();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(admin, listener, std::future::pending()));
    let mut silent = TcpStream::connect(address).await.unwrap();
    let started = tokio::time::Instant::now();
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    assert!(started.elapsed() < 2 * defaults::ADMIN_FIRST_HEADER_WITHIN);
    let mut asking = TcpStream::connect(address).await.unwrap();
    for _ in 0..2 {
        asking
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            .await
            .unwrap();
        assert!(asking.read(&mut [0; 1024]).await.unwrap() > 0);
        tokio::time::sleep(2 * defaults::ADMIN_FIRST_HEADER_WITHIN).await;
    }
    serving.abort();
}

/// The listener serves over TCP, and ends when told to even while a peer keeps its connection open.
#[tokio::test]
async fn the_listener_ends_when_told_to() {
    let (admin, _, readiness) = admin();
    readiness.ready();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (end, ended) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve(admin, listener, async move {
        ended.await.unwrap();
    }));

    let mut peer = TcpStream::connect(address).await.unwrap();
    peer.write_all(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ready\n") {
        assert_ne!(peer.read_buf(&mut answer).await.unwrap(), 0);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));

    end.send(()).unwrap();
    serving.await.unwrap();
    assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
    assert!(TcpStream::connect(address).await.is_err());
}

/// PR-44: the listener holds no more connections than allowed: beyond that, the one that has been idle for longest is
/// closed.
#[tokio::test]
async fn connections_are_bounded() {
    let (admin, _, _) = admin();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(admin, listener, std::future::pending()));

    let mut peers = Vec::new();
    for _ in 0..defaults::ADMIN_CONNECTIONS {
        peers.push(connect_and_ask(address).await);
    }
    for peer in &mut peers {
        assert_ne!(peer.read(&mut [0]).await.unwrap(), 0, "it is served");
    }
    let mut late = connect_and_ask(address).await;
    assert_ne!(late.read(&mut [0]).await.unwrap(), 0, "it is served");
    let first = peers.remove(0);
    let closed = async {
        let mut rest = Vec::new();
        let mut first = first;
        first.read_to_end(&mut rest).await
    };
    closed.await.expect("the oldest is closed");
    for peer in &mut peers {
        let mut answer = vec![0; 1024];
        assert_ne!(peer.read(&mut answer).await.unwrap(), 0);
        peer.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            .await
            .unwrap();
        assert_ne!(peer.read(&mut answer).await.unwrap(), 0, "it is still served");
    }
    serving.abort();
}

async fn connect_and_ask(address: std::net::SocketAddr) -> TcpStream {
    let mut peer = TcpStream::connect(address).await.unwrap();
    peer.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .await
        .unwrap();
    peer
}

/// Before the node is built, `/healthz` is 200 and `/readyz` 503 with what the start waits for; what needs storage is 503 with a
/// sentence. A page of another site may ask no more than later. From then on the node answers.
#[tokio::test]
async fn probes_are_answered_before_storage_is_open() {
    let (node, _, readiness) = admin();
    let metrics = Arc::clone(&node.metrics);
    let port = AdminPort::new(metrics, Arc::clone(&readiness), Arc::clone(&node.hosts));
    let get = async |path: &str, host: &str| {
        let request = Request::builder().uri(path).header("host", host);
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let (head, body) = port.answer(request, PEER).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    };
    readiness.starting("Redis at redis://127.0.0.1:1");
    let waits = "starting: waits for Redis at redis://127.0.0.1:1";
    let rows = [
        ("/healthz", 200, "up"),
        ("/__lbheartbeat__", 200, ""),
        ("/__version__", 200, env!("CARGO_PKG_VERSION")),
        ("/readyz", 503, waits),
        ("/health", 503, waits),
        ("/status", 200, waits),
        ("/metrics", 200, "\npush_service_ready 0\n"),
        ("/", 503, waits),
        ("/senders", 503, waits),
        ("/user-agents/ab", 503, waits),
        ("/nothing", 404, "unknown path"),
    ];
    for (path, status, words) in rows {
        let (found, body) = get(path, "127.0.0.1").await;
        assert!(found == status && body.contains(words), "{path}: {found} {body}");
        assert_eq!(get(path, "evil.example").await.0, 421, "{path}");
    }
    readiness.ready();
    assert_eq!(get("/readyz", "127.0.0.1").await.0, 503);
    port.built(node);
    assert_eq!(get("/readyz", "127.0.0.1").await.0, 200);
    assert!(
        get("/metrics", "127.0.0.1")
            .await
            .1
            .contains("\npush_service_ready 1\n")
    );
}
