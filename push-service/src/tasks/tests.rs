//! What panics do to tasks, and what tasks cost.

use std::future::{pending, ready};
use std::time::Duration;

use tokio::time::timeout;

use super::panics::note_panics;
use super::*;
use crate::metrics::Metrics;

/// The tasks that the service can't do without.
const NEEDED: [Task; 16] = [
    Task::Accept,
    Task::AdminAccept,
    Task::Time,
    Task::Expire,
    Task::StorageWatch,
    Task::Receipts,
    Task::Reconcile,
    Task::CertificateRenewal,
    Task::CertificateReload,
    Task::RedisWakeUps,
    Task::RedisPresence,
    Task::RedisSenders,
    Task::RedisReturn,
    Task::RedisTopology,
    Task::RedisConfirm,
    Task::RedisProof,
];

fn counted(task: Task) -> u64 {
    let text = Metrics::new().render();
    let name = format!("push_service_panics_total{{task=\"{}\"}} ", task.as_str());
    let value = text.lines().find_map(|line| line.strip_prefix(&name));
    value.expect("each task has a line").parse().unwrap()
}

async fn does_panic() {
    tokio::task::yield_now().await;
    assert!(NEEDED.is_empty(), "planted");
}

/// A background task that panics is told with its name and the place, and counted once.
#[tokio::test]
async fn a_background_task_that_panics_is_told() {
    note_panics();
    for task in NEEDED {
        let (background, before) = (Background::new(), counted(task));
        background.spawn(task, pending());
        background.spawn(task, does_panic());
        let why = timeout(Duration::from_secs(10), background.failed())
            .await
            .unwrap();
        let begins = format!("the background task \"{}\" panicked at ", task.as_str());
        assert!(why.starts_with(&begins), "{why}");
        assert!(
            why.contains("src/tasks/tests.rs:") && !why.contains("planted"),
            "{why}"
        );
        assert_eq!(counted(task), before + 1, "{task:?}");
        assert_eq!(background.failed().await, why, "asked again, it says the same");
        background.end().await;
    }
}

/// A background task that merely ends is told as well: the service needs it all the time.
#[tokio::test]
async fn a_background_task_that_ends_is_told() {
    let background = Background::new();
    background.spawn(Task::Expire, ready(()));
    assert_eq!(
        background.failed().await,
        "the background task \"expire\" ended by itself"
    );
    // The caller's own task counts the same.
    let background = Background::new();
    tokio::spawn(background.needed(Task::AdminAccept, ready(())));
    assert!(background.failed().await.contains("\"admin_accept\""));
}

/// A task that comes and goes may end; its panic is told like any other.
#[tokio::test]
async fn a_task_that_comes_and_goes_must_not_panic() {
    note_panics();
    let background = Background::new();
    tokio::spawn(background.alarm().watch(Task::AdminConnection, ready(())))
        .await
        .unwrap();
    assert!(
        timeout(Duration::from_millis(10), background.failed())
            .await
            .is_err()
    );
    tokio::spawn(background.alarm().watch(Task::AdminConnection, does_panic()))
        .await
        .unwrap();
    assert!(
        background
            .failed()
            .await
            .contains("\"admin_connection\" panicked at ")
    );
}

/// What the service ends itself is no failure.
#[tokio::test]
async fn tasks_that_are_ended_are_no_failure() {
    let background = Background::new();
    background.spawn(Task::Time, pending());
    background.end().await;
    assert!(
        timeout(Duration::from_millis(10), background.failed())
            .await
            .is_err()
    );
}

/// The panic of one connection's task is counted as its own, and its neighbours on the same thread go on.
#[tokio::test]
async fn a_panic_takes_down_one_connection() {
    note_panics();
    let (connections, monitors) = (counted(Task::Connection), counted(Task::Monitor));
    let work = |panics: bool| async move {
        if panics {
            does_panic().await;
        }
        tokio::task::yield_now().await;
        panics
    };
    let tasks: Vec<_> = [false, true, false]
        .map(|panics| tokio::spawn(Watched::new(Task::Connection, Owner::NONE, work(panics))))
        .into();
    let mut panicked = Vec::new();
    for task in tasks {
        panicked.push(task.await.is_err_and(|error| error.is_panic()));
    }
    assert_eq!(panicked, [false, true, false]);
    assert_eq!(counted(Task::Connection), connections + 1);
    assert_eq!(counted(Task::Monitor), monitors);
}

/// Hot path: to know whose task it is costs a pointer, and no memory behind it while its level is off.
#[test]
fn an_owner_costs_a_pointer() {
    assert_eq!(size_of::<Owner>(), size_of::<usize>());
    assert!(Owner::new(tracing::debug_span!("off")).span().is_none());
    assert!(size_of::<Watched<[usize; 8]>>() <= 10 * size_of::<usize>());
}
