//! `push-service inspect` and the admin actions, as an operator uses them: the state of each message, on one node and on three.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};
use std::time::Duration;

use http::Request;
use push_tests::application_server::{Answer, Http, Push};
use push_tests::log::Log;
use push_tests::node::Node;
use push_tests::redis::{Configuration, Server};
use push_tests::settings::Settings;
use push_tests::user_agent::{Notification, UserAgent};
use push_tests::vapid::Signer;
use push_tests::{binaries, within};
use serde_json::Value;
use tokio::process::Command;

const TOKEN: &str = "5f0c2b6d9e8a471c3b5d7e9f1a2c4e6805f0c2b6d9e8a471";

/// Messages that may wait for one user agent.
const QUEUE: u64 = 4;

/// One node or several, and who sends and receives at them.
struct Service {
    nodes: Vec<Node>,
    _redis: Option<Server>,
    _token: tempfile::TempDir,
}

impl Service {
    fn settings(token: &tempfile::TempDir) -> Settings {
        let file = token.path().join("token");
        std::fs::write(&file, TOKEN).expect("it can be written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        Settings::new()
            .set("limits.queue_messages", QUEUE)
            .set("admin.token_file", file.display().to_string())
            .environment("PUSH_SERVICE_LOG", "push_service=debug")
    }

    async fn embedded() -> Self {
        let token = tempfile::tempdir().expect("a directory");
        Self {
            nodes: vec![Node::start(Self::settings(&token)).await],
            _redis: None,
            _token: token,
        }
    }

    async fn three_nodes() -> Self {
        let token = tempfile::tempdir().expect("a directory");
        let redis = Server::start(Configuration::new()).await;
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Node::start(Self::settings(&token).redis(&redis.url())).await);
        }
        for node in &nodes {
            let ready = async {
                while node.ask_admin("/readyz").await.status != 200 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            within("the node hears the others", ready).await;
        }
        Self {
            nodes,
            _redis: Some(redis),
            _token: token,
        }
    }

    /// The node for the `n`th thing to do: each is done at another one, if there are several.
    fn node(&self, n: usize) -> &Node {
        &self.nodes[n % self.nodes.len()]
    }

    async fn arrive(&self, n: usize, uaid: Option<&str>) -> (UserAgent, String) {
        UserAgent::arrive(&self.node(n).connector(), uaid).await
    }

    async fn push(&self, n: usize, push: &Push) -> Answer {
        let mut http = Http::connect(&self.node(n).connector())
            .await
            .expect("the node listens");
        http.push(push).await
    }

    /// Sends what must be accepted; the message's URL.
    async fn sent(&self, n: usize, push: &Push) -> String {
        let answer = self.push(n, push).await;
        assert!(matches!(answer.status.as_u16(), 201 | 202), "{}", answer.text());
        answer.header("location").to_owned()
    }

    /// Runs the command, with the URL on standard input, against all nodes.
    async fn inspect(&self, what: &str) -> Value {
        let output = self.inspected(what, &["--json"]).await;
        let text = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(!text.contains(what), "the URL is not shown");
        serde_json::from_str(&text).expect("JSON")
    }

    async fn inspected(&self, what: &str, more: &[&str]) -> Output {
        let mut command = Command::from(binaries::program(
            binaries::push_service().to_str().expect("UTF-8"),
        ));
        command.args(["inspect", "-"]).args(more);
        for node in &self.nodes {
            command.args(["--admin", &node.admin().address.to_string()]);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut input = child
            .stdin
            .take()
            .expect("a pipe")
            .into_owned_fd()
            .map(std::fs::File::from)
            .expect("a pipe");
        writeln!(input, "{what}").expect("it reads");
        drop(input);
        within("the command ends", child.wait_with_output())
            .await
            .expect("it ends")
    }

    async fn is(&self, what: &str, state: &str) -> Value {
        let shown = async {
            loop {
                let shown = self.inspect(what).await;
                if shown["state"] == state {
                    return shown;
                }
                println!("not yet {state}: {} {}", shown["state"], shown["steps"]);
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        };
        within(&format!("the message is {state}"), shown).await
    }

    /// Acts on one node, with the token or without.
    async fn act(&self, n: usize, method: &str, path: &str, token: Option<&str>, body: &str) -> Answer {
        let admin = self.node(n).admin();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", admin.address));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut http = Http::connect(&admin).await.expect("the node listens");
        let request = request.body(body.to_owned().into()).expect("a request");
        http.request(request).await.expect("an answer")
    }
}

fn steps(shown: &Value) -> Vec<String> {
    let steps = shown["steps"].as_array().expect("a list").iter();
    steps
        .map(|step| step["event"].as_str().expect("a string").to_owned())
        .collect()
}

/// Each of ten messages ends in another way, or still waits. The command says which, also if a message was sent, delivered and
/// acknowledged at different nodes.
async fn ten_endings(service: &Service) {
    let mut urls = Vec::new();
    // A user agent that is away: its messages wait, expire, are replaced, taken back, and given up.
    let (mut away, away_id) = service.arrive(0, None).await;
    let resource = away.subscribe(None).await.push_resource;
    away.leave().await;
    let push = |text: &str| Push::new(&resource, text);

    let brief = service.sent(0, &push("brief").ttl(1)).await;
    let old = service.sent(1, &push("old").header("topic", "weather")).await;
    let new = service.sent(2, &push("new").header("topic", "weather")).await;
    let cancelled = service.sent(0, &push("cancelled")).await;
    let mut http = Http::connect(&service.node(1).connector())
        .await
        .expect("the node listens");
    let answer = http.delete(&cancelled).await.expect("an answer");
    assert_eq!(answer.status, 204, "{}", answer.text());
    urls.push((old, "replaced"));
    urls.push((cancelled, "cancelled"));
    service.is(&brief, "expired").await;
    urls.push((brief, "expired"));
    urls.push((new, "waiting"));

    // One that is connected: offered and not acknowledged, acknowledged, passed by.
    let (mut here, _) = service.arrive(1, None).await;
    let subscription = here.subscribe(None).await;
    let acknowledged = service
        .sent(2, &Push::new(&subscription.push_resource, "acknowledged"))
        .await;
    let notification: Notification = here.notification().await;
    here.acknowledge_and_settle(&notification).await;
    let offered = service
        .sent(0, &Push::new(&subscription.push_resource, "offered"))
        .await;
    let _unacknowledged = here.notification().await;
    urls.push((acknowledged, "acknowledged"));
    urls.push((offered, "offered"));

    // A full queue: the least urgent gives way, and one that is less urgent still is refused.
    let (mut full, _) = service.arrive(2, None).await;
    let full_resource = full.subscribe(None).await.push_resource;
    full.leave().await;
    let to_full = |urgency: &str| Push::new(&full_resource, "full").header("urgency", urgency);
    let evicted = service.sent(0, &to_full("low")).await;
    for n in 0..QUEUE as usize {
        service.sent(n, &to_full("high")).await;
    }
    let refused = service.push(1, &to_full("low")).await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    urls.push((evicted, "evicted"));
    let history = service.inspect(&full_resource).await;
    let refusals = history["steps"].as_array().expect("a list").iter();
    let refusals: Vec<_> = refusals.filter(|step| step["event"] == "refused").collect();
    assert_eq!(refusals.len(), 1, "{history}");
    assert_eq!(refusals[0]["reason"], "queue_full");
    assert_eq!(history["report"]["messages"], QUEUE);

    // A subscription that ends, and a message with TTL 0 without a connected user agent.
    let (mut leaving, uaid) = service.arrive(0, None).await;
    let ends = leaving.subscribe(None).await;
    leaving.leave().await;
    let ended = service.sent(1, &Push::new(&ends.push_resource, "ended")).await;
    let unheard = service
        .sent(2, &Push::new(&ends.push_resource, "unheard").ttl(0))
        .await;
    urls.push((unheard, "unheard"));
    let (mut back, _) = service.arrive(2, Some(&uaid)).await;
    back.unsubscribe(&ends.name).await;
    urls.push((ended.clone(), "subscription_ended"));

    // A queue that an operator empties.
    let (mut emptied, _) = service.arrive(1, None).await;
    let to_empty = emptied.subscribe(None).await.push_resource;
    emptied.leave().await;
    let given_up = service.sent(0, &Push::new(&to_empty, "emptied")).await;
    let user_agent = service.inspect(&to_empty).await["user_agent"]
        .as_str()
        .expect("a string")
        .to_owned();
    let path = format!("/user-agents/{user_agent}/messages");
    let answer = service.act(2, "DELETE", &path, Some(TOKEN), "").await;
    assert_eq!(answer.text(), "{\"removed\":1}\n");
    urls.push((given_up, "emptied"));

    assert_eq!(urls.len(), 10);
    for (url, state) in &urls {
        let shown = service.is(url, state).await;
        println!("{state:20} {}", steps(&shown).join(", "));
        if *state != "subscription_ended" {
            assert!(steps(&shown).iter().any(|event| event == "accepted"), "{shown}");
        }
        let text = service.inspected(url, &[]).await;
        let text = String::from_utf8(text.stdout).expect("UTF-8");
        println!("{text}");
        assert!(text.starts_with("message ") && !text.contains(url), "{text}");
        // The id in the log finds the same.
        let id = shown["message"].as_str().expect("a string");
        let by_id = service.inspected(id, &["--json"]).await;
        let by_id: Value = serde_json::from_slice(&by_id.stdout).expect("JSON");
        assert_eq!(&by_id["state"], state, "{by_id}");
    }
    let shown = service.inspect(&ended).await;
    assert_eq!(shown["subscribed"], false, "{shown}");
    drop((here, away_id));

    // No URL and no token is in any log.
    for node in &service.nodes {
        let log = node.log().text();
        let secrets = urls.iter().map(|(url, _)| url.as_str());
        for secret in secrets.chain([TOKEN, &resource, &full_resource]) {
            let token = secret.rsplit('/').next().expect("a part");
            assert!(!log.contains(token), "a secret is in the log");
        }
    }
}

/// The embedded store: `inspect` tells ten endings apart.
#[tokio::test]
async fn ten_messages_end_differently() {
    ten_endings(&Service::embedded().await).await;
}

/// Three nodes with one Redis, of which each knows only a part of the steps: `inspect` tells ten endings apart.
#[tokio::test]
async fn ten_messages_end_differently_on_three_nodes() {
    ten_endings(&Service::three_nodes().await).await;
}

/// An action at any node reaches the user agent wherever it is: its channel ends, its subscriptions are gone, and the log says who
/// asked. Without the token nothing happens.
async fn user_agents_end(service: &Service) {
    let (mut agent, _) = service.arrive(0, None).await;
    let (one, other) = (agent.subscribe(None).await, agent.subscribe(None).await);
    let shown = service.inspect(&one.push_resource).await;
    let id = shown["user_agent"].as_str().expect("a string");
    let ended = shown["subscription"].as_str().expect("a string");
    assert_eq!(shown["report"]["seated"], true);
    let subscription = format!("/user-agents/{id}/subscriptions/{ended}");
    for (token, status) in [(None, 401), (Some("wrong"), 401)] {
        let answer = service.act(1, "DELETE", &subscription, token, "").await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    let answer = service.act(1, "DELETE", &subscription, Some(TOKEN), "").await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    let refused = service.push(2, &Push::new(&one.push_resource, "late")).await;
    assert_eq!(refused.status, 410);
    service
        .sent(2, &Push::new(&other.push_resource, "still there"))
        .await;
    agent.receives("still there").await;

    let listed = service
        .act(2, "GET", "/user-agents?order=bytes&limit=5", Some(TOKEN), "")
        .await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    let list: Value = serde_json::from_slice(&listed.body).expect("JSON");
    assert!(
        list["user_agents"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|one| one["id"] == id),
        "{list}"
    );

    let answer = service
        .act(2, "DELETE", &format!("/user-agents/{id}"), Some(TOKEN), "")
        .await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    agent.closed().await;
    let refused = service.push(1, &Push::new(&other.push_resource, "late")).await;
    assert_eq!(refused.status, 410);
    let log: &Log = service.node(2).log();
    let line = within(
        "the action is logged",
        log.wait_for_line(&["admin action: end a user agent", id]),
    )
    .await;
    assert!(line.expect("the line is there").contains("\"peer\":\""));
}

/// Admin actions on the embedded store.
#[tokio::test]
async fn an_operator_ends_a_user_agent() {
    user_agents_end(&Service::embedded().await).await;
}

/// Admin actions on another node than the user agent's.
#[tokio::test]
async fn an_operator_ends_a_user_agent_of_another_node() {
    user_agents_end(&Service::three_nodes().await).await;
}

/// An application server key is refused for a while on the node that was told so, and counted by its digest alone.
#[tokio::test]
async fn an_operator_refuses_a_sender() {
    let service = Service::embedded().await;
    let (mut agent, _) = service.arrive(0, None).await;
    let resource = agent.subscribe(None).await.push_resource;
    let signer = Signer::generate();
    let authorization = signer.authorization(service.node(0).public_url());
    let push = Push::new(&resource, "signed").header("authorization", &authorization);
    service.sent(0, &push).await;
    let metrics = service.node(0).ask_admin("/metrics").await.text();
    let line = metrics
        .lines()
        .find(|line| line.starts_with("push_service_sender_pushes_total{"));
    let sender = line
        .expect("a part")
        .split('"')
        .nth(1)
        .expect("a part")
        .to_owned();
    assert!(line.expect("the line is there").ends_with(" 1"));
    assert!(!metrics.contains(&signer.public_key()));
    let path = format!("/senders/{sender}/refusal");
    let answer = service.act(0, "POST", &path, Some(TOKEN), "10m").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let refused = service.push(0, &push).await;
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").parse::<u64>().expect("a number") > 590);
    assert_eq!(service.act(0, "DELETE", &path, Some(TOKEN), "").await.status, 204);
    service.sent(0, &push).await;
}

/// A node does not start with a token that others may read; without a node to ask, and for nonsense, the command says so.
#[tokio::test]
async fn what_cannot_be_asked_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    std::fs::write(&file, TOKEN).expect("it can be written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    let refusal = Node::refused(Settings::new().set("admin.token_file", file.display().to_string())).await;
    assert!(
        refusal.said.contains("admin.token_file") && refusal.said.contains("chmod 600"),
        "{}",
        refusal.said
    );
    assert!(!refusal.said.contains(TOKEN));

    let mut service = Service::embedded().await;
    let rows = [
        ("", 2, "give a URL or an id"),
        ("nonsense", 1, "32 hexadecimal digits"),
        ("https://push.example.net/push/abc", 1, "names nothing here"),
        ("0123456789abcdef", 1, "remembers no message"),
    ];
    for (what, code, why) in rows {
        let output = service.inspected(what, &[]).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{what}: {said}");
        assert!(said.contains(why), "{what}: {said}");
    }
    service.nodes[0].kill().await;
    let output = service.inspected("0123456789abcdef", &[]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("refused"), "{said}");
}
