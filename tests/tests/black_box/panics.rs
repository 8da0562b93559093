//! Panics in a running service: one in a background task ends the process, one in a connection's task ends that connection.
//!
//! The service has no known way to panic, so the panics are planted: builds with debug assertions look at
//! `PUSH_SERVICE_PANIC`.

use push_tests::application_server::{Http, Push};
use push_tests::binaries;
use push_tests::connector::Connector;
use push_tests::events::Events;
use push_tests::log::Log;
use push_tests::monitor::Connection;
use push_tests::node::Node;
use push_tests::settings::Settings;
use push_tests::user_agent::UserAgent;
use push_tests::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A node in which the task of this name panics; with `:N` the Nth one.
fn panicking(task: &str) -> Settings {
    Settings::new()
        .environment("PUSH_SERVICE_PANIC", task)
        .set("drain.delay", 0)
        .set("drain.spread", 0)
}

/// One line of the log has the panic, with its task and its place, and nothing has its message.
fn is_logged_once(log: &Log, task: &str) {
    let text = log.text();
    let mut panics = text.lines().filter(|line| line.contains("a task panicked"));
    let line = panics
        .next()
        .unwrap_or_else(|| panic!("{task}: no panic in\n{text}"));
    assert!(
        line.contains(&format!("\"task\":\"{task}\"")) && line.contains("src/tasks/planted.rs:"),
        "{line}"
    );
    assert_eq!(panics.next(), None, "{task}");
    assert!(!text.contains("planted in a test"), "{text}");
}

/// A panic in any background task ends the process: exit code 1, and a sentence that names the task and the place.
#[tokio::test]
async fn a_panic_in_a_background_task_ends_the_process() {
    if !binaries::plants_panics() {
        return;
    }
    let ordering = Settings::new();
    let any_port = vec![format!("{}:0", ordering.address())];
    let ordering = ordering
        .set("listen.tls", any_port)
        .set("public_url", "https://push.example.test")
        .set("tls.acme.domains", vec!["push.example.test"])
        .set("tls.acme.directory", "https://127.0.0.1:9/directory");
    let rows = [
        ("accept", Settings::new()),
        ("admin_accept", Settings::new()),
        ("time", Settings::new()),
        ("expire", Settings::new()),
        ("receipts", Settings::new()),
        ("certificate_reload", Settings::new().tls()),
        ("certificate_renewal", ordering),
    ];
    for (task, settings) in rows {
        let mut node = Node::start(settings.environment("PUSH_SERVICE_PANIC", task)).await;
        let (status, log) = node.ended().await;
        assert_eq!(status.code(), Some(1), "{task}: {}", log.text());
        is_logged_once(&log, task);
        let text = log.text();
        let last = text.lines().last().expect("it said something");
        for words in [
            "the background task",
            task,
            "panicked at",
            "planted.rs:",
            "Start the service again",
        ] {
            assert!(last.contains(words), "{task}: {words}: {last}");
        }
    }
}

/// A panic in the task of one channel, connection, request or monitor takes down that one: it is counted, and its neighbours
/// go on.
#[tokio::test]
async fn a_panic_in_a_connection_takes_down_only_that() {
    if !binaries::plants_panics() {
        return;
    }
    // The neighbour's is the first of each.
    for (task, number) in [
        ("websocket", 2),
        ("connection", 2),
        ("request", 1),
        ("monitor", 1),
        ("admin_connection", 1),
    ] {
        let mut node = Node::start(panicking(&format!("{task}:{number}"))).await;
        let (mut neighbour, _) = UserAgent::arrive(&node.connector(), None).await;
        let push_resource = neighbour.subscribe(None).await.push_resource;
        within(&format!("the {task} ends"), meet_panic(&node, task)).await;

        let mut server = Http::connect(&node.connector()).await.unwrap();
        let answer = server.push(&Push::new(&push_resource, task)).await;
        assert_eq!(answer.status, 201, "{task}: {}", answer.text());
        neighbour.receives(task).await;
        let metrics = node.ask_admin("/metrics").await.text();
        let counted = format!("push_service_panics_total{{task=\"{task}\"}} 1\n");
        assert!(metrics.contains(&counted), "{metrics}");
        assert!(!metrics.contains("push_service_panics_total{task=\"other\"} 1"));
        assert_eq!(node.ask_admin("/readyz").await.status, 200);
        node.terminate();
        let (status, log) = node.ended().await;
        assert!(status.success(), "{task}: {status}: {}", log.text());
        is_logged_once(&log, task);
    }
}

/// Does what the panic meets, until what panicked is over.
async fn meet_panic(node: &Node, task: &str) {
    match task {
        "websocket" => {
            let said = said(&node.connector(), UPGRADE).await;
            assert!(
                said.starts_with("HTTP/1.1 101 ") && said.ends_with("\r\n\r\n"),
                "{said}"
            );
        }
        "connection" => assert_eq!(said(&node.connector(), UPGRADE).await, ""),
        "admin_connection" => assert_eq!(said(&node.admin(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await, ""),
        "request" => {
            // The other requests of the connection are its neighbours.
            let mut server = Http::connect_http2(&node.connector())
                .await
                .expect("a connection");
            assert!(server.get("/").await.is_err());
            assert_eq!(server.get("/").await.expect("the connection goes on").status, 200);
        }
        "monitor" => {
            let connection = Connection::open(&node.connector()).await;
            let subscribed = connection.subscribe(node.public_url()).await;
            let refused = Events::try_open(&node.connector(), &subscribed.subscription, &[]).await;
            let Err(refused) = refused else {
                panic!("its task panics before it answers")
            };
            assert_eq!(refused.status, 503, "{}", refused.text());
            Events::open(&node.connector(), &subscribed.subscription, &[]).await;
        }
        other => panic!("nothing meets a panic in {other}"),
    }
}

/// What is answered until the connection ends.
async fn said(connector: &Connector, request: &str) -> String {
    let mut stream = connector.connect("http/1.1").await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("it is written");
    let mut said = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut said).await;
    String::from_utf8_lossy(&said).into_owned()
}
