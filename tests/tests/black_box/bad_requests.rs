//! Application servers that do not keep to the protocol: each gets its status, and the service goes on.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use push_tests::application_server::{Http, Push};
use push_tests::connector::Connector;
use push_tests::node::Node;
use push_tests::settings::Settings;
use push_tests::user_agent::UserAgent;
use push_tests::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// WP-1, PR-27: every token that was changed by one bit, cut or lengthened is nothing: 404 with errno 102.
#[tokio::test]
async fn a_changed_token_opens_nothing() {
    let node = Node::start(Settings::new()).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let (path, token) = subscription.push_resource.rsplit_once('/').unwrap();
    let mut server = Http::connect(&node.connector()).await.unwrap();
    let changed = (0..token.len()).map(|at| {
        // The next letter of base64url's alphabet differs in at least one bit, also in the last place.
        let other = match token.as_bytes()[at] {
            b'A' => 'Q',
            b'Q' => 'g',
            b'g' => 'w',
            _ => 'A',
        };
        format!("{}{other}{}", &token[..at], &token[at + 1..])
    });
    let mangled = [
        String::new(),
        token[1..].to_owned(),
        token[..token.len() - 1].to_owned(),
        format!("{token}A"),
    ];
    for wrong in changed.chain(mangled) {
        let answer = server.push(&Push::new(&format!("{path}/{wrong}"), "x")).await;
        assert_eq!(answer.status, 404, "{wrong}: {}", answer.text());
        if !wrong.is_empty() {
            assert_eq!(answer.errno(), Some(102), "{wrong}: {}", answer.text());
        }
    }
    server
        .accepts(&Push::new(&subscription.push_resource, "unchanged"))
        .await;
    agent.receives("unchanged").await;
}

/// PR-26, RFC 8030 §8.2: a URL of one kind of resource opens no other.
#[tokio::test]
async fn a_url_of_another_kind_opens_nothing() {
    let node = Node::start(Settings::new()).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    let location = server
        .push(&Push::new(&subscription.push_resource, "x").ttl(60))
        .await;
    let token = |url: &str| url.rsplit('/').next().unwrap().to_owned();
    let message = token(location.header("location"));
    for path in ["wpush/v1", "wpush/v2", "push"] {
        let answer = server
            .push(&Push::new(
                &format!("{}/{path}/{message}", node.public_url()),
                "x",
            ))
            .await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
    let push = token(&subscription.push_resource);
    for path in ["message", "m", "subscription"] {
        let answer = server
            .delete(&format!("{}/{path}/{push}", node.public_url()))
            .await
            .unwrap();
        assert!(
            matches!(answer.status.as_u16(), 400 | 404 | 405),
            "{path}: {answer:?}"
        );
    }
    server
        .accepts(&Push::new(&subscription.push_resource, "still there"))
        .await;
}

/// WP-3, WP-4, WP-6: every header field that is missing or wrong has its status and errno.
#[tokio::test]
async fn wrong_header_fields_have_their_answers() {
    let node = Node::start(Settings::new()).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let push = || Push::new(&subscription.push_resource, "x");
    let rows = [
        ("no TTL", push().without("ttl"), 111),
        ("a TTL in words", push().header("ttl", "soon"), 111),
        ("a negative TTL", push().header("ttl", "-1"), 114),
        (
            "a topic of 33 characters",
            push().header("topic", &"t".repeat(33)),
            113,
        ),
        ("a topic with a space", push().header("topic", "two words"), 113),
        (
            "an unknown encoding",
            push().header("content-encoding", "rot13"),
            110,
        ),
        ("a body without encoding", push().without("content-encoding"), 110),
        (
            "the legacy encoding without its fields",
            push().header("content-encoding", "aesgcm"),
            110,
        ),
    ];
    let mut server = Http::connect(&node.connector()).await.unwrap();
    for (why, push, errno) in rows {
        let answer = server.push(&push).await;
        assert_eq!(
            (answer.status.as_u16(), answer.errno()),
            (400, Some(errno)),
            "{why}: {}",
            answer.text()
        );
    }
    for urgency in ["very-low", "low", "normal", "high"] {
        assert_eq!(
            server.push(&push().header("urgency", urgency)).await.status,
            201,
            "{urgency}"
        );
    }
}

/// WP-1, R30-RES-6: an unknown path is nothing, and a resource takes no method that it does not have.
#[tokio::test]
async fn unknown_paths_are_nothing() {
    let node = Node::start(Settings::new()).await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    for path in [
        "/robots.txt",
        "/wpush/v9/abc",
        "/metrics",
        "/readyz",
        "/%00",
        "/../../etc/passwd",
    ] {
        let answer = server.get(path).await.unwrap();
        assert!(
            matches!(answer.status.as_u16(), 400 | 404 | 405 | 426),
            "{path}: {answer:?}"
        );
    }
}

/// A sender that is slow with its header or its body is not waited for, and costs other senders nothing.
#[tokio::test]
async fn a_slow_sender_is_not_waited_for() {
    let settings = Settings::new()
        .set("limits.header_within", "300ms")
        .set("limits.body_within", "300ms");
    let node = Node::start(settings).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let path = subscription
        .push_resource
        .strip_prefix(node.public_url())
        .unwrap();
    let slow_header = format!("POST {path} HTTP/1.1\r\nHost: x\r\nTT");
    let slow_body = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nTTL: 60\r\nContent-Encoding: aes128gcm\r\nContent-Length: 500\r\n\r\nhalf"
    );
    for (what, start) in [("a header", slow_header), ("a body", slow_body)] {
        let said = within(what, says_and_waits(node.connector().address, start.as_bytes()))
            .await
            .unwrap();
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 408"),
            "{what}: {said}"
        );
    }
    let mut server = Http::connect(&node.connector()).await.unwrap();
    server
        .accepts(&Push::new(&subscription.push_resource, "quick"))
        .await;
    agent.receives("quick").await;
}

/// bytes that are no HTTP, too much header, and connections that say nothing end, and the service goes on.
#[tokio::test]
async fn garbage_is_turned_away() {
    let node = Node::start(
        Settings::new()
            .tls()
            .set("limits.header_within", "500ms")
            .set("limits.idle_for", "1s")
            .set("limits.tls_handshake_within", "500ms"),
    )
    .await;
    let endless_header = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let rows: [(&str, Vec<u8>); 7] = [
        ("nothing", Vec::new()),
        ("zeros", vec![0; 1_000]),
        ("not HTTP", b"good morning\r\n\r\n".to_vec()),
        ("an endless header", endless_header.into_bytes()),
        ("half a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00".to_vec()),
        (
            "HTTP/2 and then garbage",
            [preface.clone(), vec![0xff; 100]].concat(),
        ),
        ("half a preface", preface[..10].to_vec()),
    ];
    for (what, bytes) in rows {
        for connector in [node.connector(), node.tls_connector()] {
            let said = within(what, says_and_waits(connector.address, &bytes))
                .await
                .unwrap_or_default();
            assert!(!said.contains("HTTP/1.1 2"), "{what}: {said}");
        }
    }
    let (mut agent, _) = UserAgent::arrive(&node.tls_connector(), None).await;
    agent.subscribe(None).await;
}

/// A hundred half-open connections keep no peer out, and their descriptors come back.
#[tokio::test]
async fn half_open_connections_end() {
    let node = Node::start(
        Settings::new()
            .set("limits.header_within", "500ms")
            .set("limits.idle_for", "1s"),
    )
    .await;
    drop(
        Http::connect(&node.connector())
            .await
            .unwrap()
            .get("/")
            .await
            .unwrap(),
    );
    let before = node.descriptors();
    let connector: Connector = node.connector();
    let mut open = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(connector.address).await.unwrap();
        stream.write_all(b"POST /wpush/v1/x HT").await.unwrap();
        open.push(stream);
    }
    let (mut agent, _) = UserAgent::arrive(&connector, None).await;
    agent.subscribe(None).await;
    agent.leave().await;
    let back = async {
        while node.descriptors() > before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the descriptors come back", back).await;
}

/// Says something and reads until the service has had enough.
async fn says_and_waits(address: SocketAddr, bytes: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(bytes).await?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}
