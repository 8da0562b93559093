//! What the log says: of connections, of each step of a message, and of refusals.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use http::Request;
use push_protocol::UserAgentIdentity;
use push_tests::application_server::{Http, Push};
use push_tests::node::Node;
use push_tests::settings::Settings;
use push_tests::user_agent::UserAgent;
use push_tests::vapid::Signer;
use push_tests::within;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One line at the level debug says whose connection it is: its number, its listener, its peer, and the client that a trusted
/// proxy named.
#[tokio::test]
async fn a_debug_line_says_whose_connection_it_is() {
    let settings = Settings::new()
        .environment("PUSH_SERVICE_LOG", "push_service=debug")
        .set("public_url", "https://push.test")
        .set("listen.trusted_proxies", vec!["127.0.0.0/8"]);
    let node = Node::start(settings).await;
    let mut stream = TcpStream::connect(node.connector().address)
        .await
        .expect("the node listens");
    let peer = stream.local_addr().expect("an address");
    let said = b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\nPRI * HT";
    stream.write_all(said).await.expect("the node reads");
    stream.shutdown().await.expect("the node reads");
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

/// The records of a log, oldest first.
fn records(node: &Node) -> Vec<Value> {
    let text = node.log().text();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// The id by which the log names this user agent.
fn id_in_the_log(uaid: &str) -> String {
    let identity = UserAgentIdentity::parse(uaid).expect("an identity");
    identity.id().to_string()
}

/// At debug each step of a message has one line, which names the user agent, the subscription and the message by the same ids.
#[tokio::test]
async fn each_step_of_a_message_has_a_line() {
    let node = Node::start(Settings::new().environment("PUSH_SERVICE_LOG", "push_service=debug")).await;
    let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
    let user_agent = id_in_the_log(&uaid);
    let subscription = agent.subscribe(None).await;
    let mut server = Http::connect(&node.connector()).await.expect("the node listens");
    let push = |text: &str| Push::new(&subscription.push_resource, text).header("topic", "weather");
    assert_eq!(server.push(&push("acknowledged")).await.status, 201);
    let arrived = agent.notification().await;
    agent.acknowledge_and_settle(&arrived).await;
    agent.leave().await;
    assert_eq!(server.push(&push("replaced")).await.status, 201);
    let cancelled = server.push(&push("cancelled")).await;
    assert_eq!(cancelled.status, 201);
    let deleted = server.delete(cancelled.header("location")).await;
    assert_eq!(deleted.expect("an answer").status, 204);
    assert_eq!(server.push(&push("unheard").ttl(0)).await.status, 201);
    let (mut agent, _) = UserAgent::arrive(&node.connector(), Some(&uaid)).await;
    agent.unsubscribe(&subscription.name).await;
    // A line may be written a moment after the answer.
    let line = node.log().wait_for_line(&["\"event\":\"unsubscribed\""]);
    within("the last step is logged", line)
        .await
        .expect("the node runs");

    let steps: Vec<_> = records(&node)
        .into_iter()
        .filter(|record| record["user_agent"] == user_agent.as_str())
        .collect();
    let named = |record: &Value| {
        let detail = record["reason"].as_str().or(record["channel"].as_str());
        format!(
            "{} {}",
            record["event"].as_str().expect("a string"),
            detail.unwrap_or_default()
        )
    };
    let of_subscription = steps
        .iter()
        .find_map(|record| record["subscription"].as_str())
        .expect("a step names it");
    let mut messages: Vec<(&str, Vec<String>)> = Vec::new();
    let mut others = Vec::new();
    for step in &steps {
        assert_eq!(step["level"], "DEBUG", "{step}");
        if step["event"] != "attached" && step["event"] != "left" {
            assert_eq!(step["subscription"], of_subscription, "{step}");
        }
        match step["message_id"].as_str() {
            None => others.push(named(step)),
            Some(id) => match messages.iter_mut().find(|(known, _)| *known == id) {
                Some((_, steps)) => steps.push(named(step)),
                None => messages.push((id, vec![named(step)])),
            },
        }
    }
    for (id, steps) in &mut messages {
        assert_eq!(id.len(), 16, "{id}");
        // A connected user agent is offered a message before it is durable.
        steps.sort_by_key(|step| !step.starts_with("accepted"));
    }
    let steps: Vec<_> = messages.into_iter().map(|(_, steps)| steps).collect();
    assert_eq!(
        steps,
        [
            vec!["accepted ", "offered websocket", "acknowledged "],
            vec!["accepted ", "removed replaced"],
            vec!["accepted ", "removed cancelled"],
            vec!["accepted ", "removed unheard"],
        ]
    );
    assert_eq!(
        others,
        ["subscribed ", "left left", "attached websocket", "unsubscribed "]
    );
}

/// At debug a 401 and a 404 have a line, and a refused push names its user agent.
#[tokio::test]
async fn refused_requests_have_a_line() {
    let node = Node::start(Settings::new().environment("PUSH_SERVICE_LOG", "push_service=debug")).await;
    let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
    let user_agent = id_in_the_log(&uaid);
    let key = Signer::generate().public_key();
    let restricted = agent.subscribe(Some(&key)).await.push_resource;
    let mut server = Http::connect(&node.connector()).await.expect("the node listens");
    assert_eq!(server.push(&Push::new(&restricted, "unsigned")).await.status, 401);
    let forged = format!("{}/push/forged", node.public_url());
    assert_eq!(server.push(&Push::new(&forged, "forged")).await.status, 404);
    assert_eq!(server.get("/elsewhere").await.expect("an answer").status, 404);
    // A line may be written a moment after the answer.
    let line = node
        .log()
        .wait_for_line(&["\"method\":\"GET\"", "\"status\":404"]);
    within("the last refusal is logged", line)
        .await
        .expect("the node runs");

    let lines = records(&node);
    let has = |fields: &[(&str, Value)]| {
        let mut lines = lines.iter();
        lines.any(|line| fields.iter().all(|(name, value)| line[name] == *value))
    };
    for fields in [
        &[("status", 401.into()), ("reason", "vapid".into())][..],
        &[
            ("event", "refused".into()),
            ("reason", "vapid".into()),
            ("user_agent", user_agent.into()),
        ],
        &[("status", 404.into()), ("reason", "bad_token".into())],
        &[("status", 404.into()), ("method", "GET".into())],
    ] {
        assert!(has(fields), "{fields:?}:\n{}", node.log().tail());
    }
}

/// At info each reason for which requests are refused has one line, with the settings to look at. If an address is at its limit
/// and no proxy is trusted, the line says that a proxy may be the reason.
#[tokio::test]
async fn refusals_name_their_setting() {
    let settings = Settings::new()
        .set("limits.pushes_per_second", 0.01)
        .set("limits.pushes_burst", 1)
        .set("limits.connections_per_address", 3);
    let node = Node::start(settings).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let mut server = Http::connect(&node.connector()).await.expect("the node listens");
    for status in [201, 429, 429, 429] {
        let answer = server.push(&Push::new(&subscription.push_resource, "fast")).await;
        assert_eq!(answer.status, status);
    }
    let _third = Http::connect(&node.connector()).await.expect("the node listens");
    for _ in 0..3 {
        if let Ok(mut fourth) = Http::connect(&node.connector()).await {
            let push = Push::new(&subscription.push_resource, "fourth");
            assert!(
                fourth.try_push(&push).await.is_err(),
                "it is a connection too many"
            );
        }
    }
    let rows = [
        (
            "rate_limited",
            "limits.pushes_per_second, limits.pushes_burst",
            false,
        ),
        (
            "too_many_connections",
            "limits.connections, limits.connections_per_address",
            true,
        ),
    ];
    for (reason, settings, is_by_address) in rows {
        let words = ["INFO", &format!("\"reason\":\"{reason}\"")];
        let line = within("the refusal is logged", node.log().wait_for_line(&words));
        let line = line.await.expect("the node runs");
        assert!(line.contains(&format!("\"settings\":\"{settings}\"")), "{line}");
        assert_eq!(line.contains("listen.trusted_proxies"), is_by_address, "{line}");
        let lines = records(&node).into_iter().filter(|line| line["reason"] == reason);
        assert_eq!(lines.count(), 1, "{}", node.log().tail());
    }
}

/// What the log of a day of mixed traffic holds.
struct Day {
    messages: usize,
    bytes: usize,
    lines: Vec<Value>,
}

impl Day {
    /// User agents that come and go; messages that are acknowledged, replaced, cancelled and unheard; senders that make mistakes, and
    /// strangers that guess URLs.
    async fn at(level: &str) -> Self {
        let settings = Settings::new()
            .environment("PUSH_SERVICE_LOG", level)
            .set("limits.pushes_per_second", 0.01)
            .set("limits.pushes_burst", 12)
            .set("drain.delay", "0s");
        let mut node = Node::start(settings).await;
        let mut server = Http::connect(&node.connector()).await.expect("the node listens");
        let signer = Signer::generate();
        let mut messages = 0;
        for n in 0..20 {
            let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
            let subscription = agent.subscribe(None).await;
            let restricted = agent.subscribe(Some(&signer.public_key())).await;
            let push = |text: &str| Push::new(&subscription.push_resource, text);
            for hour in 0..5 {
                let text = format!("{n}, hour {hour}");
                assert_eq!(server.push(&push(&text)).await.status, 201);
                agent.receives(&text).await;
            }
            agent.leave().await;
            for weather in ["rain", "sun", "snow"] {
                let replaced = server.push(&push(weather).header("topic", "weather")).await;
                assert_eq!(replaced.status, 201);
            }
            let cancelled = server.push(&push("a mistake")).await;
            server
                .delete(cancelled.header("location"))
                .await
                .expect("an answer");
            assert_eq!(server.push(&push("now or never").ttl(0)).await.status, 201);
            messages += 10;
            let unsigned = Push::new(&restricted.push_resource, "unsigned");
            assert_eq!(server.push(&unsigned).await.status, 401);
            let forged = format!("{}/wpush/v2/{n}", node.public_url());
            assert_eq!(server.push(&Push::new(&forged, "guessed")).await.status, 404);
            while server.push(&push("again and again")).await.status == 201 {
                messages += 1;
            }
            let (mut agent, again) = UserAgent::arrive(&node.connector(), Some(&uaid)).await;
            assert_eq!(again, uaid);
            agent.receives("snow").await;
            agent.leave().await;
        }
        node.terminate();
        let (_, log) = node.ended().await;
        let text = log.text();
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        Self {
            messages,
            bytes: text.len(),
            lines: lines.collect(),
        }
    }

    /// How often each event, or each other message, is logged.
    fn counted(&self) -> BTreeMap<String, usize> {
        let mut counted = BTreeMap::new();
        for line in &self.lines {
            let word = |name: &str| line[name].as_str().unwrap_or_default();
            let name = match word("event") {
                "" => word("message")
                    .split([':', ','])
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
                event => format!("{event} {}", word("reason")),
            };
            *counted.entry(name).or_default() += 1;
        }
        counted
    }
}

/// At info a day of traffic is a few lines, one for each reason for refusals. At debug each message has its steps, so the log says how
/// it ended.
#[tokio::test]
async fn a_day_is_a_short_log() {
    for level in ["info", "push_service=debug"] {
        let day = Day::at(level).await;
        let counted = day.counted();
        println!(
            "{level}: {} messages, {} lines, {} bytes, {} for each message\n{counted:#?}",
            day.messages,
            day.lines.len(),
            day.bytes,
            day.bytes / day.messages,
        );
        let refused = day
            .lines
            .iter()
            .filter(|line| line["level"] == "INFO" && !line["refused"].is_null());
        let mut reasons: Vec<_> = refused.filter_map(|line| line["reason"].as_str()).collect();
        reasons.sort_unstable();
        assert_eq!(reasons, ["bad_token", "rate_limited", "vapid"]);
        if level == "info" {
            assert!(day.lines.len() <= 8, "{} lines", day.lines.len());
            continue;
        }
        let of = |name: &str| counted.get(name).copied().unwrap_or_default();
        assert_eq!(of("accepted "), day.messages);
        for (step, times) in [
            ("removed replaced", 40),
            ("removed cancelled", 20),
            ("removed unheard", 20),
        ] {
            assert_eq!(of(step), times, "{step}");
        }
        assert!(of("acknowledged ") >= 120, "{counted:#?}");
    }
}

/// A trusted proxy that names its clients in another field than the configured one is noticed, once: otherwise no limit by
/// address would apply, without a sign. What the client wrote is not repeated.
#[tokio::test]
async fn a_proxy_that_uses_another_field_is_noticed() {
    let settings = Settings::new()
        .set("public_url", "https://push.example")
        .set("listen.trusted_proxies", vec!["127.0.0.0/8"]);
    let node = Node::start(settings).await;
    for _ in 0..2 {
        let mut stream = TcpStream::connect(node.connector().address)
            .await
            .expect("the node listens");
        let said = b"GET / HTTP/1.1\r\nHost: x\r\nForwarded: for=203.0.113.7\r\nConnection: close\r\n\r\n";
        stream.write_all(said).await.expect("the node reads");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .await
            .expect("the node answers");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let warned = node.log().wait_for_line(&["listen.forwarded_header"]);
    assert!(within("the log warns", warned).await.is_some());
    let text = node.log().text();
    assert_eq!(text.matches("listen.forwarded_header").count(), 1, "{text}");
    assert!(!text.contains("203.0.113.7"), "{text}");
}

/// The admin listener shows what is logged, and with its token changes it while the node runs. A filter that can't be used is
/// refused, and changes nothing.
#[tokio::test]
async fn the_level_changes_while_the_node_runs() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    std::fs::write(&file, TOKEN).expect("it can be written");
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("a mode");
    let node = Node::start(Settings::new().set("admin.token_file", file.to_str().expect("UTF-8"))).await;
    let mut admin = Http::connect(&node.admin()).await.expect("the node listens");
    let mut change = async |filter: &'static str| {
        let request = Request::put(format!("http://{}/log-level", node.admin().address))
            .header("authorization", format!("Bearer {TOKEN}"))
            .body(filter.into());
        admin
            .request(request.expect("an answer"))
            .await
            .expect("an answer")
    };
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    agent.subscribe(None).await;
    let subscribed = |node: &Node| {
        records(node)
            .iter()
            .filter(|line| line["event"] == "subscribed")
            .count()
    };
    assert_eq!(subscribed(&node), 0, "{}", node.log().tail());
    for wrong in ["verbose", "", " , "] {
        assert_eq!(change(wrong).await.status, 400, "{wrong:?}");
    }
    let changed = change("info,push_service=debug").await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert!(
        node.ask_admin("/log-level")
            .await
            .text()
            .contains("push_service=debug")
    );
    agent.subscribe(None).await;
    let line = node.log().wait_for_line(&["\"event\":\"subscribed\""]);
    within("the step is logged", line).await.expect("the node runs");
    assert_eq!(change("error").await.status, 200);
    agent.subscribe(None).await;
    assert_eq!(subscribed(&node), 1, "{}", node.log().tail());
    node.log()
        .wait_for_line(&["admin action: change what is logged"])
        .await;
}

/// `log.format` decides what a line looks like, also where no terminal is.
#[tokio::test]
async fn the_format_is_configured() {
    let node = Node::stopped(
        Settings::new()
            .redis("redis://127.0.0.1:1")
            .set("log.format", "text"),
    );
    let output = node.runs(&["serve"], std::process::Stdio::null()).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<_> = said.lines().collect();
    assert!(lines.iter().any(|line| line.contains(" ERROR ")), "{said}");
    assert!(!said.contains("\"level\"") && !said.contains('\u{1b}'), "{said}");
}
