//! The only Redis: killed and started again, silent, loading, read-only, and without the scripts that it knew.

use std::time::{Duration, Instant};

use push_tests::application_server::Push;
use push_tests::node::Node;
use push_tests::redis::{Configuration, Connection, Reply, Server, until};
use push_tests::user_agent::{Event, UserAgent};

use super::traffic::Traffic;
use super::{HEALED_WITHIN, TROUBLE_WITHIN, hello_is_trouble, is_trouble, ready, returns, sender, settings};

/// How long Redis is silent.
const SILENCE: Duration = Duration::from_secs(20);

/// A refusal without a question to Redis: what it may take on a busy machine.
const AT_ONCE: Duration = Duration::from_millis(500);

/// PR-1, PR-4, PR-10, PR-14: a Redis that syncs before it answers is killed and started again twice, and all that was answered
/// 201 arrives, on the channel that was open at the start; no node is touched.
#[tokio::test]
async fn a_durable_redis_may_be_killed() {
    let mut server = Server::start(Configuration::new().durable()).await;
    let (one, other) = (
        Node::start(settings(&server.url())).await,
        Node::start(settings(&server.url())).await,
    );
    let traffic = Traffic::start(&one, &other).await;
    for _ in 0..2 {
        server.kill().await;
        let refused = traffic.is_refused().await;
        let (said, _) = ready(&one, 503).await;
        server.start_again().await;
        let up = Instant::now();
        let healed = traffic.goes_on().await;
        for node in [&one, &other] {
            ready(node, 200).await;
        }
        assert!(healed < HEALED_WITHIN, "{healed:?}");
        println!(
            "killed: 503 after {refused:?} ({said:?}); healed {healed:?}, ready {:?} after the start",
            up.elapsed()
        );
    }
    // Seats and wake-ups: a user agent that moves to the other node displaces itself, and is woken across nodes.
    let (mut agent, uaid) = UserAgent::arrive(&one.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let mut moved = returns(&other, &uaid).await;
    assert_eq!(agent.closed().await.code, 1011);
    let mut http = sender(&one).await;
    let push = Push::new(&subscription.push_resource, "across");
    assert_eq!(http.push(&push).await.status, 201);
    moved.receives("across").await;
    println!("killed: {:?}", traffic.audit(&other).await);
}

/// PR-3, PR-4, PR-16, PR-18: while Redis is silent, pushes are answered 503 in time and soon at once, hello is closed with 1013,
/// register is answered 500, and connected user agents stay. What is acknowledged meanwhile is kept, and not offered
/// again afterwards.
#[tokio::test]
async fn a_silent_redis_is_trouble_and_nothing_worse() {
    let server = Server::start(Configuration::new()).await;
    let node = Node::start(settings(&server.url())).await;
    let traffic = Traffic::start(&node, &node).await;
    let (away, absent_uaid) = UserAgent::arrive(&node.connector(), None).await;
    away.leave().await;
    let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let mut http = sender(&node).await;
    let push = |text: &str| Push::new(&subscription.push_resource, text);
    for text in ["acknowledged", "kept"] {
        assert_eq!(http.push(&push(text)).await.status, 201);
    }
    let acknowledged = agent.notification().await;
    let kept = agent.notification().await;

    server.stop();
    let began = Instant::now();
    is_trouble(&http.push(&push("refused")).await);
    let first = began.elapsed();
    assert!(first < TROUBLE_WITHIN, "{first:?}");
    agent.acknowledge(&acknowledged).await;
    let (said, unready) = ready(&node, 503).await;
    assert!(said.contains(&server.address().to_string()), "{said}");
    assert_eq!(node.ask_admin("/healthz").await.status, 200);
    let hello = hello_is_trouble(&node, &absent_uaid).await;
    let register = agent.register(&push_tests::user_agent::new_name(), None).await;
    assert_eq!(register["status"], 500, "{register}");
    let mut later = Vec::new();
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    while began.elapsed() < SILENCE {
        pace.tick().await;
        let asked = Instant::now();
        is_trouble(&http.push(&push("refused")).await);
        later.push(asked.elapsed());
    }
    later.sort_unstable();
    let median = later[later.len() / 2];
    println!(
        "silent: first 503 {first:?}, not ready {unready:?} ({said:?}), 1013 {hello:?}, later 503s: {} with median \
         {median:?}, longest {:?}",
        later.len(),
        later[later.len() - 1]
    );
    assert!(
        median < AT_ONCE && later[later.len() - 1] < TROUBLE_WITHIN / 2,
        "{later:?}"
    );

    server.go_on();
    let healed = traffic.goes_on().await;
    let (_, until_ready) = ready(&node, 200).await;
    assert!(healed < HEALED_WITHIN, "{healed:?}");
    assert_eq!(http.push(&push("afterwards")).await.status, 201);
    // What was refused may have been stored (PR-2).
    let mut came = agent.notification().await;
    while came.text().as_deref() == Some("refused") {
        agent.acknowledge(&came).await;
        came = agent.notification().await;
    }
    assert_eq!(came.text().as_deref(), Some("afterwards"));
    agent.acknowledge_and_settle(&came).await;
    agent.leave().await;
    let mut agent = returns(&node, &uaid).await;
    assert_eq!(agent.notification().await, kept);
    agent.acknowledge_and_settle(&kept).await;
    assert_eq!(http.push(&push("last")).await.status, 201);
    agent.receives("last").await;
    println!(
        "silent: healed {healed:?}, ready {until_ready:?}; {:?}",
        traffic.audit(&node).await
    );
}

/// PR-32: scripts that Redis forgets are brought again, and peers do not notice: no push is refused, none is late.
#[tokio::test]
async fn forgotten_scripts_are_brought_again() {
    let server = Server::start(Configuration::new()).await;
    let node = Node::start(settings(&server.url())).await;
    let traffic = Traffic::start(&node, &node).await;
    for _ in 0..20 {
        server.command(&["SCRIPT", "FLUSH"]).await.expect_ok();
        traffic.goes_on().await;
    }
    let audit = traffic.audit(&node).await;
    assert_eq!((audit.refused, audit.repeated), (0, 0), "{audit:?}");
}

/// PR-3, PR-32: while Redis loads its data, no peer is told "unknown"; once it has, all goes on.
#[tokio::test]
async fn a_loading_redis_is_waited_for() {
    // It answers each command in between with the error that it is loading.
    let configuration = Configuration::new()
        .durable()
        .set("loading-process-events-interval-bytes", "1024");
    let mut server = Server::start(configuration).await;
    let node = Node::start(settings(&server.url())).await;
    let traffic = Traffic::start(&node, &node).await;
    let (agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
    agent.leave().await;
    // The next start loads so slowly that it ends only when the test takes the delay away.
    server
        .command(&["CONFIG", "SET", "key-load-delay", "20000"])
        .await
        .expect_ok();
    server.command(&["CONFIG", "REWRITE"]).await.expect_ok();
    // Only a snapshot at the head of the file is read key by key.
    server.command(&["BGREWRITEAOF"]).await;
    until("the file is rewritten", || async {
        let info = server.info("persistence").await;
        let is_over = info["aof_rewrite_in_progress"] == "0" && info["aof_rewrite_scheduled"] == "0";
        (is_over && info["aof_last_bgrewrite_status"] == "ok").then_some(())
    })
    .await;
    server.kill().await;
    let address = server.address();
    let ((), loading) = tokio::join!(server.start_again(), async {
        let loading = until("/readyz says that it loads", || async {
            let text = node.ask_admin("/readyz").await.text();
            text.to_lowercase().contains("loading").then_some(text)
        });
        let (loading, _) = tokio::join!(loading, traffic.is_refused());
        hello_is_trouble(&node, &uaid).await;
        let mut connection = Connection::open(address, None).await.expect("it listens");
        let no_delay = connection.call(&["CONFIG", "SET", "key-load-delay", "0"]);
        no_delay.await.expect("it answers while it loads").expect_ok();
        loading
    });
    let healed = traffic.goes_on().await;
    ready(&node, 200).await;
    println!(
        "loading ({loading:?}): healed {healed:?}; {:?}",
        traffic.audit(&node).await
    );
}

/// PR-32, PR-34: a primary that becomes a replica under us refuses to write; pushes are answered 503, and go on when it is
/// the primary again.
#[tokio::test]
async fn a_demoted_primary_is_trouble() {
    let server = Server::start(Configuration::new()).await;
    let node = Node::start(settings(&server.url())).await;
    let traffic = Traffic::start(&node, &node).await;
    // Of a primary that is not there: it keeps what it has.
    let no_primary = server.address().ip().to_string();
    server.command(&["REPLICAOF", &no_primary, "1"]).await.expect_ok();
    let refused = traffic.is_refused().await;
    assert!(refused < TROUBLE_WITHIN, "{refused:?}");
    let said = until("/readyz says so", || async {
        let answer = node.ask_admin("/readyz").await;
        (answer.status == 503 && answer.text().contains("is a replica now")).then(|| answer.text())
    })
    .await;
    server.command(&["REPLICAOF", "NO", "ONE"]).await.expect_ok();
    let healed = traffic.goes_on().await;
    assert!(healed < HEALED_WITHIN, "{healed:?}");
    ready(&node, 200).await;
    println!(
        "demoted: 503 after {refused:?} ({said:?}), healed {healed:?}; {:?}",
        traffic.audit(&node).await
    );
}

/// PR-3: a primary that was told to write only with replicas, and has lost them, refuses every write: pushes are answered 503,
/// and go on when it may write again. It is not called unwell: it answers, and holds what it was given.
#[tokio::test]
async fn a_primary_that_misses_its_replicas_refuses() {
    let server = Server::start(Configuration::new()).await;
    let node = Node::start(settings(&server.url())).await;
    let traffic = Traffic::start(&node, &node).await;
    let least = |number: &'static str| ["CONFIG", "SET", "min-replicas-to-write", number];
    server.command(&least("1")).await.expect_ok();
    let refused = traffic.is_refused().await;
    ready(&node, 200).await;
    server.command(&least("0")).await.expect_ok();
    let healed = traffic.goes_on().await;
    println!(
        "no replicas: 503 after {refused:?}, healed {healed:?}; {:?}",
        traffic.audit(&node).await
    );
}

/// PR-13, PR-14: connections that hear wake-ups are killed in the middle of traffic across two nodes: every message arrives
/// over the same channel, in order, without a later message to bring it.
#[tokio::test]
async fn lost_wake_ups_are_made_up_for() {
    let server = Server::start(Configuration::new()).await;
    let (one, other) = (
        Node::start(settings(&server.url())).await,
        Node::start(settings(&server.url())).await,
    );
    let traffic = Traffic::start(&one, &other).await;
    for _ in 0..10 {
        deafen(&server).await;
        traffic.goes_on().await;
    }
    // The last messages come while wake-ups are lost.
    deafen(&server).await;
    let began = Instant::now();
    let audit = traffic.audit(&other).await;
    println!("deaf: all came within {:?}; {audit:?}", began.elapsed());
    assert_eq!((audit.refused, audit.repeated), (0, 0), "{audit:?}");

    // Nor is one lost that is the only one.
    let (mut agent, _) = UserAgent::arrive(&one.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let mut http = sender(&other).await;
    deafen(&server).await;
    let push = Push::new(&subscription.push_resource, "the only one");
    assert_eq!(http.push(&push).await.status, 201);
    let began = Instant::now();
    match push_tests::within("the only message comes", agent.event()).await {
        Event::Notification(notification) => {
            assert_eq!(notification.text().as_deref(), Some("the only one"));
        }
        other => panic!("a message was expected, not {other:?}"),
    }
    println!("deaf: the only message came within {:?}", began.elapsed());
}

/// Kills the connections over which both nodes hear wake-ups.
async fn deafen(server: &Server) {
    until("both nodes hear wake-ups, and are cut off", || async {
        let list = server.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).await.text();
        if list.lines().count() < 2 {
            return None;
        }
        let killed = server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        (killed == Reply::Integer(2)).then_some(())
    })
    .await;
}
