//! curl, for all that needs no server push: directly over both versions of HTTP, over TLS, and through nginx.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use push_tests::application_server::{Http, Push};
use push_tests::binaries;
use push_tests::node::Node;
use push_tests::process::Process;
use push_tests::proxy::Proxy;
use push_tests::settings::{Settings, free_port};
use push_tests::user_agent::UserAgent;
use push_tests::within;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::rfc8030_clients::run;

/// R30-V-1, R30-V-2, R30-SUB-2 to R30-SUB-4, R30-RCP-3, R30-RDL-2, R30-EXP-4: over HTTP/1.1.
#[tokio::test]
async fn over_http1() {
    let node = Node::start(Settings::new()).await;
    lives_a_life(&Curl::of(node.public_url())).await;
}

/// R30-TLS-1, R30-V-1, R30-V-2: over HTTP/2 and TLS, with a certificate that the service made for itself.
#[tokio::test]
async fn over_tls() {
    let node = Node::start(Settings::new().self_signed()).await;
    lives_a_life(&Curl::of(node.public_url())).await;
}

/// R30-V-2, R30-H2-8: through nginx, which passes events on as they come and knows no server push.
#[tokio::test]
async fn through_nginx() {
    let (node, nginx, _) = behind_nginx().await;
    let curl = Curl::of(node.public_url());
    lives_a_life(&curl).await;
    drop(nginx);
}

/// RFC 9112 §11.2: behind nginx, no request that is hidden in another one's body is served, even if nginx and the
/// service disagree about its length.
#[tokio::test]
async fn nothing_is_smuggled_through_nginx() {
    let (node, nginx, public) = behind_nginx().await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let path = subscription
        .push_resource
        .strip_prefix(node.public_url())
        .unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nTTL: 60\r\nContent-Encoding: aes128gcm\r\n");
    let hidden = format!("{head}Content-Length: 8\r\n\r\nsmuggled");
    let body = format!("0\r\n\r\n{hidden}");
    let length = format!("Content-Length: {}\r\n", body.len());
    for coding in [
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding:\tchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer_Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
    ] {
        let mut stream = tokio::net::TcpStream::connect(public)
            .await
            .expect("nginx listens");
        let request = format!("{head}{length}{coding}Connection: close\r\n\r\n{body}");
        // nginx may close before it has read everything.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut heard = Vec::new();
        let _ = within("nginx answers", stream.read_to_end(&mut heard)).await;
        let answers = String::from_utf8_lossy(&heard).matches("HTTP/1.1 ").count();
        assert!(answers <= 1, "{coding:?}");
    }
    let mut server = Http::connect(&node.connector()).await.unwrap();
    assert_eq!(
        server
            .push(&Push::new(&subscription.push_resource, "last"))
            .await
            .status,
        201
    );
    loop {
        let arrived = agent.notification().await;
        match arrived.text().as_deref() {
            Some("last") => break,
            // The outer request, with the hidden one as its body.
            Some(text) => assert_ne!(text, "smuggled"),
            None => {}
        }
        agent.acknowledge(&arrived).await;
    }
    drop(nginx);
}

/// Subscribes, listens, is sent to, acknowledges, hears of receipts, and ends it all.
async fn lives_a_life(curl: &Curl) {
    let subscribed = curl.post("/subscribe", "", &[]).await;
    assert_eq!(subscribed.status, 201, "{subscribed:?}");
    let version = if curl.origin.starts_with("https") {
        "HTTP/2 "
    } else {
        "HTTP/1.1 "
    };
    assert!(subscribed.head.starts_with(version), "{subscribed:?}");
    let (subscription, set) = (subscribed.field("location"), subscribed.link("push:set"));
    let push = subscribed.link("push");
    assert_eq!(curl.ask("HEAD", &subscription).await.status, 200);
    // Over HTTP/2 curl takes no pushes, and HTTP/1.1 has none.
    let refused = curl.ask("GET", &subscription).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("text/event-stream"), "{}", refused.body);

    curl.sends(&push, "it waits", &[]).await;
    let mut events = curl.listens(&set);
    let first = events.next("message").await;
    assert_eq!(text_of(&first), "it waits");
    assert_eq!(first["push"], push.as_str());
    let asks = ["prefer: respond-async"];
    let promised = curl.sends(&push, "it comes", &asks).await;
    assert_eq!(promised.status, 202);
    let second = events.next("message").await;
    assert_eq!(text_of(&second), "it comes");
    for message in [&first, &second] {
        let url = message["message"].as_str().expect("a URL");
        assert_eq!(curl.ask("DELETE", url).await.status, 204);
        assert_eq!(curl.ask("DELETE", url).await.status, 404);
    }

    let mut receipts = curl.listens(&promised.link("push:receipt"));
    let receipt = receipts.next("receipt").await;
    assert_eq!(receipt["message"], promised.field("location").as_str());
    assert_eq!(receipt["status"], 204);
    let acknowledge = receipt["acknowledge"].as_str().expect("a URL");
    assert_eq!(curl.ask("DELETE", acknowledge).await.status, 204);

    assert_eq!(curl.ask("DELETE", &set).await.status, 204);
    assert_eq!(events.next("end").await["status"], 404);
    assert!(within("the stream ends", events.process.ended()).await.success());
    assert_eq!(curl.ask("DELETE", &subscription).await.status, 404);
    assert_eq!(curl.post(&push, "too late", &["ttl: 60"]).await.status, 404);
}

fn text_of(message: &Value) -> String {
    let body = message["body"].as_str().expect("a body");
    let body = URL_SAFE_NO_PAD.decode(body).expect("base64url");
    String::from_utf8(body).expect("text")
}

/// How curl reaches a service.
pub(crate) struct Curl {
    origin: String,
}

/// An answer as curl shows it.
#[derive(Debug)]
pub(crate) struct Shown {
    status: u16,
    head: String,
    body: String,
}

/// curl, listening to events.
struct Listening {
    process: Process,
    seen: usize,
}

impl Curl {
    pub(crate) fn of(origin: &str) -> Self {
        let origin = origin.to_owned();
        Self { origin }
    }

    /// Sends a text that is not encrypted, which RFC 8030 leaves to the application.
    pub(crate) async fn sends(&self, push: &str, text: &str, fields: &[&str]) -> Shown {
        let fields = [&["ttl: 600", "content-type: text/plain"], fields].concat();
        let shown = self.post(push, text, &fields).await;
        assert!(matches!(shown.status, 201 | 202), "{shown:?}");
        shown
    }

    async fn post(&self, url: &str, body: &str, fields: &[&str]) -> Shown {
        let url = match url.strip_prefix('/') {
            Some(path) => format!("{}/{path}", self.origin),
            None => url.to_owned(),
        };
        let mut words = vec!["-ski", "-X", "POST", "--data-binary", "@-"];
        for field in fields {
            words.extend(["-H", field]);
        }
        words.push(&url);
        Shown::read(&run("curl", &words, body).await)
    }

    async fn ask(&self, method: &str, url: &str) -> Shown {
        let how = if method == "HEAD" {
            vec!["-skI"]
        } else {
            vec!["-ski", "-X", method]
        };
        Shown::read(&run("curl", &[&how[..], &[url]].concat(), "").await)
    }

    fn listens(&self, url: &str) -> Listening {
        let mut command = binaries::program("curl");
        command.args(["-sSkN", "-H", "Accept: text/event-stream", url]);
        Listening {
            process: Process::start(command),
            seen: 0,
        }
    }
}

impl Shown {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a head, and a body behind it");
        let status = head.split(' ').nth(1).and_then(|code| code.trim().parse().ok());
        Self {
            status: status.expect("a status"),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    fn field(&self, name: &str) -> String {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        found
            .unwrap_or_else(|| panic!("no {name} in {}", self.head))
            .1
            .to_owned()
    }

    fn link(&self, relation: &str) -> String {
        let end = format!(">; rel=\"urn:ietf:params:{relation}\"");
        let mut targets = self
            .head
            .lines()
            .filter_map(|line| line.split_once(": <")?.1.strip_suffix(&end));
        targets.next().expect("a link").to_owned()
    }
}

impl Listening {
    /// The data of the next event, which is of this kind.
    async fn next(&mut self, kind: &str) -> Value {
        let log = self.process.log();
        let event = log.wait_until(|lines| {
            let of = |name: &str| {
                lines
                    .iter()
                    .filter_map(move |line| line.strip_prefix(name))
                    .nth(self.seen)
            };
            Some((of("event: ")?.to_owned(), of("data: ")?.to_owned()))
        });
        let event = within("an event", event).await.expect("an event before the end");
        assert_eq!(event.0, kind, "{}", event.1);
        self.seen += 1;
        serde_json::from_str(&event.1).expect("an event's data is JSON")
    }
}

/// A node, and an nginx in front of it at its public URL.
async fn behind_nginx() -> (Node, Proxy, SocketAddr) {
    let settings = Settings::new();
    let public = free_port(settings.address());
    let node = Node::start(settings.set("public_url", format!("http://{public}"))).await;
    let nginx = Proxy::nginx(public, node.connector().address, None).await;
    (node, nginx, public)
}
