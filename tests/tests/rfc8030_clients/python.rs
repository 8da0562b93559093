//! A user agent by h2 and http_ece, to which pywebpush sends: neither end is ours.

use std::path::Path;

use push_tests::binaries;
use push_tests::node::Node;
use push_tests::process::Process;
use push_tests::settings::Settings;
use push_tests::within;
use serde_json::{Value, json};

use crate::rfc8030_clients::run;

/// R30-SET-3, R30-MON-6, R30-URG-5 to R30-URG-7, R30-H2-2, UP-SRV-1: in clear.
#[tokio::test]
async fn in_clear() {
    is_pushed_what_it_wants(&Node::start(Settings::new()).await).await;
}

/// R30-TLS-1, R30-MON-6, R30-H2-2: over TLS, with a certificate that the service made for itself.
#[tokio::test]
async fn over_tls() {
    is_pushed_what_it_wants(&Node::start(Settings::new().self_signed()).await).await;
}

/// A set with two subscriptions, monitored for what is urgent; then one of them for all that waits.
async fn is_pushed_what_it_wants(node: &Node) {
    let mut agent = UserAgent::start(node.public_url());
    let subscriptions = agent.says().await;
    let [first, second] = [&subscriptions[0], &subscriptions[1]];
    for (to, text, urgency) in [
        (first, "later", "low"),
        (second, "now", "high"),
        (first, "grün ✓", "high"),
    ] {
        send(to, text, urgency).await;
    }
    for (to, text) in [(second, "now"), (first, "grün ✓")] {
        let message = json!({"endpoint": to["endpoint"], "text": text, "streams": 1});
        assert_eq!(agent.says().await, message);
    }
    let rest = agent.says().await;
    assert_eq!(
        (&rest["endpoint"], &rest["text"]),
        (&first["endpoint"], &json!("later"))
    );
    assert_eq!(agent.says().await, json!({"status": 200}));
    assert!(within("it ends", agent.process.ended()).await.success());
}

/// Sends with the library of many application servers.
async fn send(subscription: &Value, text: &str, urgency: &str) {
    let order = json!({"subscription": subscription, "text": text, "ttl": 600, "urgency": urgency});
    let answer = run(
        &python(),
        &[&script("senders/pywebpush_send.py")],
        &order.to_string(),
    )
    .await;
    let answer: Value = serde_json::from_str(&answer).expect("the script answers in JSON");
    assert_eq!(answer["status"], 201, "{answer}");
}

/// The script, and how much of it was read.
struct UserAgent {
    process: Process,
    read: usize,
}

impl UserAgent {
    fn start(origin: &str) -> Self {
        let mut command = binaries::program(&python());
        command.args([&script("clients/h2_user_agent.py"), origin]);
        Self {
            process: Process::start(command),
            read: 0,
        }
    }

    /// Its next line.
    async fn says(&mut self) -> Value {
        let log = self.process.log();
        let line = log.wait_until(|lines| lines.get(self.read).cloned());
        let line = within("the script says something", line).await;
        let line = line.expect("the script goes on");
        self.read += 1;
        serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("the script failed:\n{}", self.process.log().text()))
    }
}

fn python() -> String {
    std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn script(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    path.to_str().expect("a path of text").to_owned()
}
