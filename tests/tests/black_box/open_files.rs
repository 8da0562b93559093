//! As many channels as the limit of open files allows, and what probes hear when there are no more.

use futures_util::stream::{self, StreamExt as _};
use push_tests::application_server::{Http, Push};
use push_tests::node::Node;
use push_tests::redis::until;
use push_tests::settings::Settings;
use push_tests::user_agent::UserAgent;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// How many connect at a time.
const AT_A_TIME: usize = 64;

/// This process holds the other ends.
fn raise_our_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("the soft limit can be raised to the hard one");
}

/// So many channels that are open at a time.
async fn channels(node: &Node, count: usize) -> Vec<UserAgent> {
    let connector = node.connector();
    stream::iter(0..count)
        .map(|_| async { UserAgent::arrive(&connector, None).await.0 })
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await
}

/// The value of a gauge.
async fn gauge(node: &Node, name: &str) -> u64 {
    let text = node.ask_admin("/metrics").await.text();
    let line = format!("\npush_service_{name} ");
    let (_, rest) = text.split_once(&line).expect("the gauge is exported");
    let value = rest.lines().next().and_then(|value| value.parse().ok());
    value.expect("a whole number")
}

/// Waits until `/readyz` has this status.
async fn ready(node: &Node, status: u16) -> String {
    until(&format!("/readyz answers {status}"), || async {
        let answer = node.ask_admin("/readyz").await;
        (answer.status == status).then(|| answer.text())
    })
    .await
}

/// PR-44: a container begins with a soft limit of 1,024 open files. The service raises it to the hard one, and holds 5,000
/// channels.
#[tokio::test]
async fn the_soft_limit_is_no_limit() {
    raise_our_limit();
    let node = Node::start(
        Settings::new()
            .open_files(1_024, 20_000)
            .set("limits.connections", 6_000),
    )
    .await;
    let mut held = channels(&node, 5_000).await;
    assert_eq!(gauge(&node, "files_limit").await, 20_000);
    assert_eq!(gauge(&node, "connections_limit").await, 6_000);
    let open = gauge(&node, "files_open").await;
    assert!((5_000..5_300).contains(&open), "{open}");
    assert_eq!(gauge(&node, "ready").await, 1);
    for agent in held.iter_mut().step_by(100) {
        agent.ping().await;
    }
    let said = node.log().text();
    assert!(!said.contains("limits.connections is lowered"), "{said}");
    println!("{} channels with {open} open files", held.len());
}

/// PR-44: with a hard limit of 1,024 fewer connections fit than configured, and the log has both numbers. When all are in use,
/// `/readyz` is 503 and says why; when channels leave, it is 200. No channel is lost, and messages go on.
#[tokio::test]
async fn a_node_without_room_is_not_ready_until_channels_leave() {
    raise_our_limit();
    let node = Node::start(
        Settings::new()
            .open_files(1_024, 1_024)
            .set("limits.connections", 1_200),
    )
    .await;
    let fit = usize::try_from(gauge(&node, "connections_limit").await).expect("a small number");
    assert!((600..1_024).contains(&fit), "{fit}");
    let lowered =
        format!("limits.connections is lowered from 1200 to {fit}: the limit of open files is 1024");
    let said = node.log().text();
    assert!(said.contains(&lowered), "{said}");

    let mut server = Http::connect(&node.connector()).await.unwrap();
    let mut held = channels(&node, fit - 2).await;
    let subscription = held[0].subscribe(None).await;
    assert_eq!(ready(&node, 200).await, "ready\n");
    held.extend(channels(&node, 1).await);
    let why = ready(&node, 503).await;
    assert!(
        why.contains(&format!("all {fit} connections")) && why.contains("limits.connections"),
        "{why}"
    );
    assert_eq!(gauge(&node, "ready").await, 0);
    assert!(UserAgent::try_connect(&node.connector(), "/").await.is_err());
    server
        .accepts(&Push::new(&subscription.push_resource, "meanwhile"))
        .await;
    held[0].receives("meanwhile").await;

    for agent in held.drain(fit / 2..) {
        agent.leave().await;
    }
    assert_eq!(ready(&node, 200).await, "ready\n");
    assert_eq!(gauge(&node, "ready").await, 1);
    for agent in &mut held {
        agent.ping().await;
    }
    channels(&node, 10).await;
    println!("{fit} of 1200 connections fit; {} channels were kept", held.len());
}

/// When the system has no file for a connection, `/readyz` is 503 and says so. It is 200 again as soon as there are files, even if
/// no connection comes, because a node that is not ready gets none.
#[tokio::test]
async fn a_node_without_files_is_not_ready_until_there_are_some() {
    let node = Node::start(Settings::new()).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    // Its connection is there before files run out.
    let mut probe = Http::connect(&node.admin()).await.unwrap();
    assert_eq!(probe.get("/readyz").await.unwrap().status, 200);
    let process = Pid::from_raw(node.process_id());
    let limit = getrlimit_of(process);
    set_limit(
        process,
        Rlimit {
            current: Some(3),
            ..limit
        },
    );
    let waiting = tokio::net::TcpStream::connect(node.connector().address)
        .await
        .unwrap();
    let why = loop {
        let answer = probe.get("/readyz").await.unwrap();
        if answer.status == 503 {
            break answer.text();
        }
        tokio::task::yield_now().await;
    };
    assert!(
        why.contains("no connection can be accepted: Too many open files"),
        "{why}"
    );
    agent.ping().await;
    drop(waiting);
    set_limit(process, limit);
    ready(&node, 200).await;
    agent.ping().await;
    UserAgent::arrive(&node.connector(), None).await;
}

fn set_limit(process: Option<Pid>, limit: Rlimit) {
    prlimit(process, Resource::Nofile, limit).expect("the limit of another process can be set");
}

fn getrlimit_of(process: Option<Pid>) -> Rlimit {
    let id = process.expect("a process").as_raw_nonzero();
    let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).expect("the process is there");
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .expect("a limit of open files");
    let mut numbers = line.split_whitespace().map(|number| number.parse().ok());
    Rlimit {
        current: numbers.next().flatten(),
        maximum: numbers.next().flatten(),
    }
}
