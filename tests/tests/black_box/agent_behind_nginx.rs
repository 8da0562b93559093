//! The user agent's command behind nginx as the README sets it up, with an `https://` URL: no server push gets through, and
//! without `http2` no HTTP/2 either.

use push_tests::certificate::Certificate;
use push_tests::listener::Agent;
use push_tests::node::Node;
use push_tests::proxy::{Http2, Proxy};
use push_tests::settings::{Settings, free_port};
use tempfile::TempDir;

/// "send: the subscription is gone; forget it."
const GONE: i32 = 5;

/// R30-MON-2, R30-MON-12, R30-MON-13, R30-ACK-1, R30-URG-5, R30-EXP-4: what waits and what comes arrives as Server-Sent Events and
/// is acknowledged, with an urgency and until nothing waits; that is said once. Over HTTP/2, and over HTTP/1.1.
#[tokio::test]
async fn messages_get_through() {
    for http2 in [Http2::On, Http2::Off] {
        let behind = Behind::start(http2).await;
        let agent = &behind.agent;
        let subscription = agent.subscribe("door", &[]).await;
        agent.send(&subscription, "waited").await;
        let mut listener = agent.listen(&["--count", "2"]);
        listener.says(&["messages come as Server-Sent Events"]).await;
        listener.receives("door", "waited").await;
        agent.send(&subscription, "comes").await;
        listener.receives("door", "comes").await;
        assert!(listener.ended().await.success(), "{http2:?}");
        // The service has heard of both.
        agent.try_listen(&["--until-empty"]).await.succeeds_with("");

        for (urgency, text) in [("low", "one"), ("high", "two"), ("high", "three")] {
            let sent = agent
                .try_send_with(&subscription, &["--urgency", urgency], text)
                .await;
            assert_eq!(sent.code, Some(0), "{sent:?}");
        }
        let urgent = ["--until-empty", "--urgency", "high"];
        agent.try_listen(&urgent).await.succeeds_with("two\nthree\n");
        agent.try_listen(&["--until-empty"]).await.succeeds_with("one\n");
        agent.try_listen(&["--until-empty"]).await.succeeds_with("");

        assert_eq!(agent.try_unsubscribe("door").await.code, Some(0));
        agent
            .try_send(&subscription, "too late")
            .await
            .fails_with(GONE, &[]);
    }
}

/// PR-1, R30-LB-3: a service that is killed behind nginx is found again, and what it accepted since arrives.
#[tokio::test]
async fn a_service_that_restarts_behind_nginx() {
    for http2 in [Http2::On, Http2::Off] {
        let mut behind = Behind::start(http2).await;
        let subscription = behind.agent.subscribe("door", &[]).await;
        let mut listener = behind.agent.listen(&[]);
        listener.says(&["messages come as Server-Sent Events"]).await;
        behind.node.kill().await;
        listener.says(&["again in"]).await;
        behind.node.start_again().await;
        behind.agent.send(&subscription, "after a kill").await;
        listener.receives("door", "after a kill").await;
        listener.terminate();
        assert!(listener.ended().await.success());
    }
}

/// A service, nginx in front of it, and a user agent that knows nginx only.
struct Behind {
    node: Node,
    agent: Agent,
    _nginx: Proxy,
    _directory: TempDir,
}

impl Behind {
    async fn start(http2: Http2) -> Self {
        let settings = Settings::new();
        let address = settings.address();
        let public = free_port(address);
        let directory = TempDir::with_prefix("nginx-").expect("a directory for nginx");
        let certificate = Certificate::make(address, directory.path());
        let node = Node::start(settings.set("public_url", format!("https://{public}"))).await;
        let nginx = Proxy::nginx(public, node.connector().address, Some((&certificate, http2))).await;
        let trusted = certificate.certificate.display().to_string();
        Self {
            node,
            agent: Agent::of(&format!("https://{public}/")).connecting_with(&["--ca", &trusted]),
            _nginx: nginx,
            _directory: directory,
        }
    }
}
