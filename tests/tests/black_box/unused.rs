//! Unused subscriptions are kept for a short time: `storage.unused_retention`.

use http::Method;
use push_tests::application_server::{Http, Push};
use push_tests::monitor::Connection;
use push_tests::node::Node;
use push_tests::redis::{Configuration, Server};
use push_tests::settings::Settings;
use push_tests::user_agent::UserAgent;
use push_tests::within;

/// How long they are kept here: much longer than it takes to compare a session or to send a push.
const UNUSED_SECS: u64 = 6;

fn brief(settings: Settings) -> Settings {
    settings.set("storage.unused_retention", UNUSED_SECS)
}

/// Makes subscriptions of every kind, waits until as many records are left as were used, and sends to all.
async fn only_the_unused_end(node: &Node, records: impl AsyncFn() -> usize) {
    let mut server = Http::connect(&node.connector()).await.expect("the node listens");
    let (mut staying, _) = UserAgent::arrive(&node.connector(), None).await;
    let staying_on = staying.subscribe(None).await.push_resource;
    let (mut pushed_to, _) = UserAgent::arrive(&node.connector(), None).await;
    let pushed_to_on = pushed_to.subscribe(None).await.push_resource;
    server.accepts(&Push::new(&pushed_to_on, "first")).await;
    pushed_to.leave().await;
    let (mut gone, gone_uaid) = UserAgent::arrive(&node.connector(), None).await;
    let gone_on = gone.subscribe(None).await.push_resource;
    gone.leave().await;
    let http = Connection::open(&node.connector()).await;
    let never_monitored = http.subscribe(node.public_url()).await;
    let monitored = http.subscribe(node.public_url()).await;
    let no_wait = [("prefer", "wait=0")];
    let nothing = http.ask(Method::GET, &monitored.subscription, &no_wait).await;
    assert_eq!(nothing.status, 204);
    assert_eq!(records().await, 5);

    let only_used_ones = async {
        while records().await > 3 {
            tokio::task::yield_now().await;
        }
    };
    within("unused records end", only_used_ones).await;
    for (push_resource, status) in [
        (&staying_on, 201),
        (&pushed_to_on, 201),
        (&monitored.push, 201),
        (&gone_on, 410),
        // RFC 8030 says 404, where autopush says 410.
        (&never_monitored.push, 404),
    ] {
        let answer = server.push(&Push::new(push_resource, "later")).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    staying.receives("later").await;
    let (_, uaid) = UserAgent::arrive(&node.connector(), Some(&gone_uaid)).await;
    assert_ne!(
        uaid, gone_uaid,
        "a user agent that was forgotten gets another identity"
    );
    assert_eq!(records().await, 3);
}

/// PR-29, PR-42: a user agent that received no push and did not come back is forgotten. One that stays connected keeps its
/// subscription.
#[tokio::test]
async fn unused_subscriptions_end() {
    let node = Node::start(brief(Settings::new())).await;
    let records = async || {
        let metrics = node.ask_admin("/metrics").await.text();
        let gauge = metrics
            .lines()
            .find_map(|line| line.strip_prefix("push_service_user_agents "));
        gauge.and_then(|count| count.parse().ok()).expect("a gauge")
    };
    only_the_unused_end(&node, records).await;
}

/// PR-29, PR-42: the same with Redis, where their keys expire.
#[tokio::test]
async fn unused_subscriptions_end_in_redis() {
    let redis = Server::start(Configuration::new()).await;
    let settings = brief(Settings::new().redis(&redis.url()));
    let node = Node::start(settings.set("cluster.reconcile", UNUSED_SECS / 6)).await;
    let records = async || redis.command(&["KEYS", "push:{*}:r:*"]).await.list().len();
    only_the_unused_end(&node, records).await;
}
