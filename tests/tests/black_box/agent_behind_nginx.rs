//! The user agent's command behind nginx as the README sets it up, with an `https://` URL: no server push gets through, and
//! without `http2` no HTTP/2 either.

use std::net::SocketAddr;

use push_tests::binaries;
use push_tests::certificate::Certificate;
use push_tests::listener::Agent;
use push_tests::node::Node;
use push_tests::process::Process;
use push_tests::settings::Settings;
use push_tests::within;
use tempfile::TempDir;

/// "send: the subscription is gone; forget it."
const GONE: i32 = 5;

/// R30-MON-2, R30-MON-12, R30-MON-13, R30-ACK-1, R30-URG-5, R30-EXP-4: what waits and what comes arrives as Server-Sent Events and
/// is acknowledged, with an urgency and until nothing waits; that is said once. Over HTTP/2, and over HTTP/1.1.
#[tokio::test]
async fn messages_get_through() {
    for speaks_http2 in [true, false] {
        let behind = Behind::start(speaks_http2).await;
        let agent = &behind.agent;
        let subscription = agent.subscribe("door", &[]).await;
        agent.send(&subscription, "waited").await;
        let mut listener = agent.listen(&["--count", "2"]);
        listener.says(&["messages come as Server-Sent Events"]).await;
        listener.receives("door", "waited").await;
        agent.send(&subscription, "comes").await;
        listener.receives("door", "comes").await;
        assert!(listener.ended().await.success(), "{speaks_http2}");
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
    for speaks_http2 in [true, false] {
        let mut behind = Behind::start(speaks_http2).await;
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
    _nginx: Process,
    _directory: TempDir,
}

impl Behind {
    async fn start(speaks_http2: bool) -> Self {
        let settings = Settings::new();
        let address = settings.address();
        // A free port of this address. The address is the test's own, so no other process takes the port.
        let probe = std::net::TcpListener::bind((address, 0)).expect("a free port");
        let public = probe.local_addr().expect("an address");
        drop(probe);
        let directory = TempDir::with_prefix("nginx-").expect("a directory for nginx");
        let certificate = Certificate::make(address, directory.path());
        let node = Node::start(settings.set("public_url", format!("https://{public}"))).await;
        let nginx = nginx(
            &directory,
            public,
            speaks_http2,
            &certificate,
            node.door().address,
        )
        .await;
        let trusted = certificate.certificate.display().to_string();
        Self {
            node,
            agent: Agent::of(&format!("https://{public}/")).connecting_with(&["--ca", &trusted]),
            _nginx: nginx,
            _directory: directory,
        }
    }
}

/// Its location is configured as the README says, for WebSockets as well.
async fn nginx(
    directory: &TempDir,
    public: SocketAddr,
    speaks_http2: bool,
    certificate: &Certificate,
    node: SocketAddr,
) -> Process {
    let at = directory.path().display();
    let http2 = if speaks_http2 { " http2" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("{name}_temp_path {at}/{name};\n"))
        .collect();
    let configuration = format!(
        "daemon off; master_process off; pid {at}/pid; error_log stderr;
        events {{}}
        http {{
            access_log off;
            {temporary}
            server {{
                listen {public} ssl{http2};
                ssl_certificate {};
                ssl_certificate_key {};
                location / {{
                    proxy_pass http://{node};
                    proxy_http_version 1.1;
                    proxy_set_header Host $host;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection \"upgrade\";
                    proxy_set_header X-Forwarded-For $remote_addr;
                    proxy_read_timeout 15m;
                }}
            }}
        }}",
        certificate.certificate.display(),
        certificate.key.display(),
    );
    let file = directory.path().join("nginx.conf");
    std::fs::write(&file, configuration).expect("the configuration is written");
    let mut command = binaries::program("nginx");
    command.arg("-p").arg(directory.path()).arg("-c").arg(&file);
    command.args(["-e", "stderr"]);
    let process = Process::start(command);
    let listens = async {
        while tokio::net::TcpStream::connect(public).await.is_err() {
            assert!(
                !process.has_ended(),
                "nginx does not start:\n{}",
                process.log().tail()
            );
            tokio::task::yield_now().await;
        }
    };
    within("nginx listens", listens).await;
    process
}
