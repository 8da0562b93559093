//! Inspecting and acting, as an operator does with curl, on a service in memory.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt as _;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use push_protocol::capability::{Dialect, MessageCapability, MessageKind, SubscriptionCapability};
use push_protocol::{MessageId, MessageNumber, SubscriptionId, UserAgentId, UserAgentIdentity};
use serde_json::Value;

use super::*;
use crate::resources::tests::rig::{Sender, Service, push};
use crate::storage::{RECEIPTS, RECEIPTS_NAME, Subscribe};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5);

struct Rig {
    admin: Admin,
    service: Service,
    _directory: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let mut file = std::fs::OpenOptions::new();
        let mut file = file.write(true).create_new(true).mode(0o600).open(&path).unwrap();
        std::io::Write::write_all(&mut file, TOKEN.as_bytes()).unwrap();
        let service = Service::new();
        let admin = Admin {
            metrics: Arc::clone(&service.metrics),
            storage: Arc::clone(&service.storage),
            acceptor: None,
            readiness: Arc::new(ReadinessWatch::new()),
            warnings: Arc::from([]),
            hosts: Arc::from([]),
            broker: Arc::clone(&service.broker),
            actions: Arc::new(Actions::new(Guard::new(Some(path)).unwrap())),
        };
        Self {
            admin,
            service,
            _directory: directory,
        }
    }

    async fn ask(&self, request: &str, token: Option<&str>, body: &str) -> (StatusCode, Value) {
        let (method, path) = request.split_once(' ').unwrap();
        let mut builder = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1");
        if let Some(token) = token {
            builder = builder.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = builder
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .unwrap();
        let (head, body) = self.admin.answer(request, PEER).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn act(&self, request: &str, body: &str) -> (StatusCode, Value) {
        self.ask(request, Some(TOKEN), body).await
    }

    async fn inspect(&self, what: &str) -> (StatusCode, Value) {
        self.ask("POST /inspect", None, what).await
    }

    /// Makes a user agent with one subscription, and returns the path of its push resource.
    async fn subscribed(&self) -> String {
        self.service.subscribed(Dialect::Rfc8030, None).await
    }

    /// Sends a message; the path of its resource.
    async fn sent(&self, path: &str) -> String {
        let answer = self.service.answer(push(path, &[], "12345")).await;
        assert_eq!(answer.status, 201);
        answer.header("location").unwrap().to_owned()
    }
}

fn id(n: u8) -> String {
    UserAgentId([n; 16]).to_string()
}

/// No action is done without the token, and each that is refused says what is missing.
#[tokio::test]
async fn actions_need_the_token() {
    let rig = Rig::new();
    let path = rig.subscribed().await;
    rig.sent(&path).await;
    let user_agent = format!("/user-agents/{}", id(0));
    let actions = [
        "GET /user-agents".to_owned(),
        format!("DELETE {user_agent}"),
        format!("DELETE {user_agent}/subscriptions/0000000000000000"),
        format!("DELETE {user_agent}/messages"),
        "POST /senders/0123456789abcdef/refusal".to_owned(),
        "DELETE /senders/0123456789abcdef/refusal".to_owned(),
        "PUT /log-level".to_owned(),
    ];
    for action in &actions {
        let (status, body) = rig.ask(action, None, "1h").await;
        assert_eq!(
            (status.as_u16(), body["error"].is_string()),
            (401, true),
            "{action}"
        );
    }
    assert_eq!(rig.ask(&actions[1], Some("wrong"), "").await.0, 401);
    let open = Admin {
        actions: Arc::new(Actions::new(Guard::new(None).unwrap())),
        ..rig.admin
    };
    let rig = Rig { admin: open, ..rig };
    for action in &actions {
        let (status, body) = rig.act(action, "1h").await;
        let why = body["error"].as_str().unwrap_or_default();
        assert_eq!(
            (status.as_u16(), why.contains("admin.token_file")),
            (403, true),
            "{action}"
        );
    }
    let (_, report) = rig.ask(&format!("GET {user_agent}"), None, "").await;
    assert_eq!(report["messages"], 1, "nothing was done");
    assert!(rig.service.broker.refused_senders().is_empty());
}

/// A filter of the log that cannot be used is refused, with the reason.
#[tokio::test]
async fn a_wrong_filter_is_refused() {
    let rig = Rig::new();
    for (filter, part) in [
        ("loud", "`loud` is not a level"),
        ("off", "errors are always logged"),
    ] {
        let (status, body) = rig.act("PUT /log-level", filter).await;
        let why = body["error"].as_str().unwrap_or_default();
        assert_eq!((status.as_u16(), why.contains(part)), (400, true), "{why}");
    }
}

/// A queue is emptied, a subscription and a user agent end; what is not there any more is 404.
#[tokio::test]
async fn queues_are_emptied_and_user_agents_end() {
    let rig = Rig::new();
    let path = rig.subscribed().await;
    for _ in 0..3 {
        rig.sent(&path).await;
    }
    let messages = format!("DELETE /user-agents/{}/messages", id(0));
    let (status, body) = rig.act(&messages, "").await;
    assert_eq!((status.as_u16(), &body["removed"]), (200, &3.into()));
    assert_eq!(rig.act(&messages, "").await.1["removed"], 0);
    let (status, shown) = rig.inspect(&id(0)).await;
    assert_eq!((status.as_u16(), &shown["report"]["messages"]), (200, &0.into()));
    let subscription = format!(
        "DELETE /user-agents/{}/subscriptions/{}",
        id(0),
        SubscriptionId([0; 8])
    );
    assert_eq!(rig.act(&subscription, "").await.0, 204);
    assert_eq!(rig.act(&subscription, "").await.0, 404);
    assert_eq!(rig.service.answer(push(&path, &[], "12345")).await.status, 404);

    let path = rig.subscribed().await;
    let user_agent = format!("DELETE /user-agents/{}", id(1));
    assert_eq!(rig.act(&user_agent, "").await.0, 204);
    assert_eq!(rig.act(&user_agent, "").await.0, 404);
    assert_eq!(rig.service.answer(push(&path, &[], "12345")).await.status, 404);
    for wrong in ["DELETE /user-agents/xyz", "DELETE /user-agents/xyz/messages"] {
        let (status, body) = rig.act(wrong, "").await;
        assert_eq!(status, 400, "{wrong}");
        assert!(body["error"].as_str().unwrap().contains("32 hexadecimal digits"));
    }
}

/// User agents are listed by the bytes that wait, and page by page.
#[tokio::test]
async fn user_agents_are_listed() {
    let rig = Rig::new();
    for n in 0..4 {
        let path = rig.subscribed().await;
        for _ in 0..n {
            rig.sent(&path).await;
        }
    }
    let (status, first) = rig.act("GET /user-agents?order=bytes&limit=3", "").await;
    assert_eq!(status, 200);
    let ids = |list: &Value| -> Vec<String> {
        let list = list["user_agents"].as_array().unwrap();
        list.iter()
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&first), [id(3), id(2), id(1)]);
    let next = first["next"].as_str().unwrap();
    let (_, second) = rig
        .act(&format!("GET /user-agents?order=bytes&limit=3&after={next}"), "")
        .await;
    assert_eq!((ids(&second), &second["next"]), (vec![id(0)], &Value::Null));
    assert_eq!(rig.act("GET /user-agents?order=age", "").await.0, 400);
}

/// A sender is refused for a while with 429 and when it may come back, in both dialects, and allowed again. It is named as the
/// metrics name it.
#[tokio::test]
async fn a_sender_is_refused_for_a_while() {
    let rig = Rig::new();
    let (sender, other) = (Sender::new(), Sender::new());
    let push_as = async |sender: &Sender, dialect| {
        let path = rig.service.subscribed(dialect, None).await;
        let fields = [("authorization", &*sender.authorization())];
        rig.service.answer(push(&path, &fields, "12345")).await
    };
    assert_eq!(push_as(&sender, Dialect::Rfc8030).await.status, 201);
    let (_, shown) = rig.ask("GET /senders", None, "").await;
    let name = shown["senders"][0]["sender"].as_str().unwrap().to_owned();
    assert_eq!(shown["senders"][0]["pushes"], 1);
    let refusal = format!("POST /senders/{name}/refusal");
    for wrong in ["", "soon", "0s", "31d", "-1"] {
        assert_eq!(rig.act(&refusal, wrong).await.0, 400, "{wrong}");
    }
    let (status, done) = rig.act(&refusal, "1h\n").await;
    assert_eq!((status.as_u16(), &done["refused_for_secs"]), (200, &3_600.into()));
    for dialect in [Dialect::Rfc8030, Dialect::Webpush] {
        let refused = push_as(&sender, dialect).await;
        assert_eq!(refused.status, 429);
        let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((3_590..=3_600).contains(&after), "{after}");
        assert_eq!(push_as(&other, dialect).await.status, 201);
    }
    assert_eq!(
        rig.ask("GET /senders", None, "").await.1["refused"][0]["sender"],
        name
    );
    let by_key = format!("DELETE /senders/{}/refusal", sender.public_key());
    assert_eq!(rig.act(&by_key, "").await.0, 204);
    assert_eq!(rig.act(&by_key, "").await.0, 404);
    assert_eq!(push_as(&sender, Dialect::Webpush).await.status, 201);
    assert_eq!(rig.act("POST /senders/xyz/refusal", "1h").await.0, 400);
    let metrics = Request::get("/metrics")
        .header("host", "127.0.0.1")
        .body(Full::<Bytes>::default())
        .unwrap();
    let metrics = rig.admin.answer(metrics, PEER).await.into_body();
    let metrics = String::from_utf8(metrics.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let line = format!("push_service_sender_pushes_total{{sender=\"{name}\"}} 2");
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
    assert!(!metrics.contains(&sender.public_key()));
}

/// Every URL that the service hands out is opened, with or without its origin, and none of them is in the answer.
#[tokio::test]
async fn every_url_is_inspected() {
    let rig = Rig::new();
    let (user_agent, subscription) = (UserAgentId([0; 16]), SubscriptionId([0; 8]));
    let push_path = rig.subscribed().await;
    let message = rig.sent(&push_path).await;
    let capabilities = &rig.service.capabilities;
    let subscription_token = capabilities.seal_subscription(
        &SubscriptionCapability {
            user_agent,
            subscription,
        },
        [1; 16],
    );
    let identity = UserAgentIdentity::from_random([9; 16]);
    let receipts = Subscribe {
        user_agent: UserAgentId([8; 16]),
        name: RECEIPTS_NAME,
        fresh_id: RECEIPTS,
        key: None,
        seat: None,
        limit: 1,
        only_known: false,
    };
    rig.service.storage.subscribe(receipts).await.unwrap();
    let promised = capabilities.open_message(MessageKind::Message, message.rsplit('/').next().unwrap());
    let promise = capabilities.seal_message(
        MessageKind::Promise,
        capabilities.current(),
        &promised.unwrap().capability,
    );
    let rows = [
        (push_path.clone(), "subscription", id(0)),
        (
            format!("https://push.example.net{push_path}"),
            "subscription",
            id(0),
        ),
        (
            rig.service.subscribed(Dialect::Webpush, None).await,
            "subscription",
            id(1),
        ),
        (message.clone(), "message", id(0)),
        (format!("/message/{promise}"), "message", id(0)),
        (
            format!("http://other:1/subscription/{subscription_token}?x#y"),
            "subscription",
            id(0),
        ),
        (
            format!(
                "/subscriptions/{}",
                capabilities.seal_subscription_set(&identity, [1; 16])
            ),
            "user_agent",
            identity.id().to_string(),
        ),
        (
            format!("/receipts/{}", capabilities.seal_receipts(UserAgentId([8; 16]))),
            "receipts",
            id(8),
        ),
    ];
    for (url, kind, user_agent) in rows {
        let (status, shown) = rig.inspect(&url).await;
        assert_eq!(status, 200, "{url} {shown}");
        assert_eq!(
            (&shown["kind"], &shown["user_agent"]),
            (&kind.into(), &user_agent.into())
        );
        let token = url
            .split(['?', '#'])
            .next()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap()
            .to_owned();
        assert!(!shown.to_string().contains(&token), "{shown}");
    }
    let (_, shown) = rig.inspect(&message).await;
    assert_eq!(
        (&shown["state"], &shown["waits"]),
        (&"waiting".into(), &true.into())
    );
    assert_eq!(shown["waiting"].as_array().unwrap().len(), 1);
    assert_eq!(shown["steps"][0]["event"], "accepted");
    let in_log = shown["message"].as_str().unwrap().to_owned();
    for id in [in_log.clone(), format!(" {in_log}\n")] {
        let (_, by_id) = rig.inspect(&id).await;
        assert_eq!(
            (&by_id["state"], &by_id["message"]),
            (&"waiting".into(), &in_log.clone().into())
        );
    }
}

/// What names nothing is refused with a sentence that says what can be named.
#[tokio::test]
async fn what_names_nothing_is_refused() {
    let rig = Rig::new();
    let long = "a".repeat(defaults::ADMIN_BODY_BYTES + 1);
    let rows = [
        ("", 400, "32 hexadecimal digits"),
        ("hello", 400, "URL of an endpoint"),
        ("https://push.example.net/", 404, "names nothing here"),
        ("https://push.example.net", 404, "names nothing here"),
        ("https://push.example.net/push/abc", 404, "another service"),
        ("/nonsense/abc", 404, "names nothing here"),
        ("0123456789abcdef", 404, "this node remembers no"),
        (&long, 413, "too long"),
    ];
    for (what, status, why) in rows {
        let (got, body) = rig.inspect(what).await;
        assert_eq!(got, status, "{what}");
        assert!(body["error"].as_str().unwrap().contains(why), "{body}");
    }
    let (status, body) = rig.inspect(&id(7)).await;
    assert_eq!((status.as_u16(), &body["report"]), (200, &Value::Null));
}

/// A message that ended is told from one that waits; its own steps and its user agent's are shown, and not those of others.
#[tokio::test]
async fn a_message_has_its_own_steps() {
    let rig = Rig::new();
    let path = rig.subscribed().await;
    let (kept, cancelled) = (rig.sent(&path).await, rig.sent(&path).await);
    let delete = Request::delete(cancelled.strip_prefix("https://push.example.net").unwrap());
    let answer = rig.service.answer(delete.body(Bytes::new()).unwrap()).await;
    assert_eq!(answer.status, 204);
    let (_, shown) = rig.inspect(&cancelled).await;
    assert_eq!(shown["waits"], false);
    assert!(shown["waiting"].as_array().unwrap().is_empty());
    let (_, shown) = rig.inspect(&kept).await;
    let steps = shown["steps"].as_array().unwrap();
    assert!(
        steps.iter().all(|step| step["message"] == shown["message"]),
        "{shown}"
    );
    let unknown = MessageCapability {
        user_agent: UserAgentId([0; 16]),
        id: MessageId {
            number: MessageNumber(7),
            nonce: 7,
        },
        dialect: Dialect::Rfc8030,
    };
    let capabilities = &rig.service.capabilities;
    let token = capabilities.seal_message(MessageKind::Message, capabilities.current(), &unknown);
    let (_, shown) = rig.inspect(&format!("/message/{token}")).await;
    assert_eq!(shown["state"], "gone");
}
