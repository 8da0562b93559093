//! kill -9 in the middle of work.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::defaults::MESSAGE_OVERHEAD_BYTES;
use crate::storage::contract::senders::sender;
use crate::storage::contract::{enqueue, ids, seat};

/// Set for the child: where its store is.
const CHILD: &str = "PUSH_SERVICE_TEST_STORE";
const SENDERS: u8 = 8;

/// PR-1, PR-2, PR-43: no confirmed message and no subscription is lost to kill -9, and the sums of senders are right.
#[tokio::test]
async fn kill_9_loses_nothing_that_was_confirmed() {
    let directory = tempfile::tempdir().unwrap();
    let mut stored = std::collections::BTreeSet::new();
    for round in 0..3 {
        let mut child = start_child(directory.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut heard = 0;
        while heard < 300 {
            heard += usize::from(hear(&lines.next().unwrap().unwrap(), &mut stored));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died and was not read yet.
        for line in lines.map_while(Result::ok) {
            hear(&line, &mut stored);
        }
        let rig = open_in(directory.path(), Arc::default());
        let mut waiting = std::collections::BTreeSet::new();
        let mut waits = std::collections::BTreeMap::new();
        for agent in 0..SENDERS {
            let page = rig.attached(agent, seat(1)).await;
            assert!(ids(&page).is_sorted());
            // Two agents' application servers are one.
            let sum: &mut u64 = waits.entry(sender(agent / 2)).or_default();
            *sum += page.messages.len() as u64 * (700 + MESSAGE_OVERHEAD_BYTES);
            waiting.extend(page.messages.iter().map(|m| m.id.to_base64url()));
        }
        let lost: Vec<_> = stored.difference(&waiting).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
        rig.storage.close().await.unwrap();
        let (store, state) = Store::open(directory.path(), STORE_MEMTABLE_BYTES).unwrap();
        let sums = store.senders(directory.path()).unwrap().all();
        assert_eq!(sums, waits, "round {round}: sums are what waits");
        assert_eq!(state.usage.bytes, waits.values().sum::<u64>());
    }
}

/// PR-1, PR-25: whatever its outbox said of a message before the kill is so after it: no sender was told 204 of a message
/// that comes again.
#[tokio::test]
async fn kill_9_takes_no_outcome_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = start_child(directory.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = std::collections::BTreeSet::new();
    let note = |line: &str| {
        line.strip_prefix('!')
            .filter(|id| id.len() == 22)
            .map(str::to_owned)
    };
    while told.len() < 100 {
        told.extend(note(&lines.next().unwrap().unwrap()));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    told.extend(lines.map_while(Result::ok).filter_map(|line| note(&line)));

    let rig = open_in(directory.path(), Arc::default());
    let mut waiting = std::collections::BTreeSet::new();
    for agent in 0..SENDERS {
        let page = rig.attached(agent, seat(1)).await;
        waiting.extend(page.messages.iter().map(|m| m.id.to_base64url()));
    }
    let again: Vec<_> = told.intersection(&waiting).collect();
    assert!(again.is_empty(), "told and still there: {again:?}");
    assert!(!waiting.is_empty());
    rig.storage.close().await.unwrap();
}

/// Takes note of a line of the child: `+id` was stored, `-id` may be removed now. `!id`, which an outbox has, is not for
/// here. A line that was cut short by the kill says nothing.
fn hear(line: &str, stored: &mut std::collections::BTreeSet<String>) -> bool {
    let Some((said, id)) = line.split_at_checked(1).filter(|(_, id)| id.len() == 22) else {
        return false;
    };
    match said {
        "+" => stored.insert(id.to_owned()),
        "-" => stored.remove(id),
        _ => false,
    }
}

fn start_child(directory: &Path) -> Child {
    let this_test = "storage::embedded::tests::crash::child";
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", this_test, "--nocapture", "--test-threads", "1"])
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test: the process that is killed, when the test above starts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(directory) = std::env::var_os(CHILD) else {
        return;
    };
    let announce = Arc::new(crate::storage::contract::Announcements::default());
    let store = Arc::new(Embedded::open(Options::new(directory, announce)).unwrap());
    let mut senders = tokio::task::JoinSet::new();
    for agent in 0..SENDERS {
        senders.spawn(send_for_ever(Arc::clone(&store), agent));
    }
    senders.join_all().await;
}

async fn send_for_ever(store: Arc<Embedded>, agent: u8) {
    let say = |said: char, id: MessageId| {
        let line = format!("{said}{}\n", id.to_base64url());
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    };
    let subscribe = crate::storage::contract::subscribe(agent, 1);
    store.subscribe(subscribe).await.unwrap();
    for n in 0_u64.. {
        let request = Enqueue {
            nonce: n,
            receipts: Some(crate::storage::contract::user_agent(99)),
            sender: Some(sender(agent / 2)),
            queue_limits: crate::storage::QueueLimits {
                messages: u32::MAX,
                bytes: u64::MAX,
            },
            ..enqueue(agent, 1, &[agent; 700])
        };
        let Ok(Enqueued::Stored { id, .. }) = store.enqueue(request).await else {
            panic!("not stored");
        };
        say('+', id);
        if n % 3 == 0 {
            say('-', id);
            let confirm = if n % 2 == 0 {
                Confirm::Soon
            } else {
                Confirm::Durably
            };
            let user_agent = crate::storage::contract::user_agent(agent);
            let removal = Removal::Acknowledged;
            store
                .acknowledge(user_agent, &[id], removal, confirm, None)
                .await
                .unwrap();
            let outcomes = store.outbox(user_agent, 10).await.unwrap();
            for outcome in &outcomes {
                say('!', outcome.id);
            }
            let carried: Vec<_> = outcomes.iter().map(|outcome| outcome.id).collect();
            store.clear_outbox(user_agent, &carried).await.unwrap();
        }
    }
}
