//! Each system call with which the store touches the disk fails, one after the other, in a process of its own.
//!
//! `strace` makes the call fail: the store and the system under it are those that people run. The step `storage-faults` of
//! tests/run.sh runs this: [`CALLS`] is how many calls of each kind fail in turn, and a larger number makes a longer run.
//! Without it these tests do nothing and say so. `SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::*;
use crate::storage::contract::model::Dice;
use crate::storage::contract::{enqueue, seat, user_agent};

/// How many calls of each kind fail.
const CALLS: &str = "PUSH_SERVICE_STORAGE_FAULTS";
/// Set for the child: where its store is.
const CHILD: &str = "PUSH_SERVICE_TEST_FAULTS";
/// Small, so that a short run flushes and compacts.
const MEMTABLE_BYTES: u64 = 24 << 10;
const MESSAGES: usize = 60;
/// A child that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// System calls and how they fail.
const FAULTS: [(&str, &str); 15] = [
    ("openat", "EMFILE"),
    ("openat", "ENOSPC"),
    ("openat", "EIO"),
    ("write", "ENOSPC"),
    ("write", "EIO"),
    ("pread64", "EIO"),
    ("read", "EIO"),
    ("fdatasync", "EIO"),
    ("fsync", "EIO"),
    ("fsync", "ENOSPC"),
    ("ftruncate", "ENOSPC"),
    ("renameat", "ENOSPC"),
    ("renameat", "EIO"),
    ("unlink", "EIO"),
    ("statx", "EIO"),
];

/// How a child ended.
struct Run {
    confirmed: BTreeSet<String>,
    attempted: usize,
    went_on: bool,
    /// What it said on its standard error.
    why: String,
}

/// PR-1, PR-5, PR-44: whichever call fails, the process goes on, or ends with an error that it names; and after a restart
/// everything is there that was confirmed, and nothing that was never sent.
#[tokio::test]
async fn a_failed_call_loses_nothing() {
    let Some(calls) = calls() else { return };
    if Command::new("strace").arg("--version").output().is_err() {
        println!("there is no strace on this machine: no call is made to fail");
        return;
    }
    let (mut dice, seed) = Dice::seeded();
    let start = Instant::now();
    let (mut went_on, mut ended) = (0, 0);
    let places = places().await;
    for (call, error) in FAULTS {
        let (on_before, ended_before) = (went_on, ended);
        let places = places.get(call).cloned().unwrap_or_default();
        for when in sample(&places, calls, &mut dice) {
            let what = format!("SEED={seed}: {call} fails with {error}, call {when} of each thread");
            let directory = tempfile::tempdir().unwrap();
            make_store(directory.path()).await;
            let inject = format!("inject={call}:error={error}:when={when}");
            let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
            let run = run_child(directory.path(), &strace).await;
            match run.went_on {
                true => went_on += 1,
                false => ended += 1,
            }
            assert_nothing_lost(directory.path(), &run, &what).await;
        }
        let (on, ends) = (went_on - on_before, ended - ended_before);
        println!("{call} {error}: {on} went on, {ends} ended and said why");
    }
    println!(
        "{went_on} went on, {ended} ended, none lost anything, in {:?}",
        start.elapsed()
    );
    assert!(went_on > 0 && ended > 0);
}

/// PR-1, PR-5: a disk that is really full, in the middle of a write, so that the write is a short one.
#[tokio::test]
async fn a_disk_that_fills_up_loses_nothing() {
    let Some(calls) = calls() else { return };
    let (mut dice, seed) = Dice::seeded();
    for _ in 0..calls {
        // From what a new store needs to just less than what the run writes.
        let room_kib = 150 + dice.below(90);
        let what = format!("SEED={seed}: {room_kib} KiB");
        let directory = tempfile::tempdir().unwrap();
        let Some(small) = SmallDisk::mount(directory.path(), room_kib) else {
            println!("not mounted, so no disk is filled up: it takes root");
            return;
        };
        let store = directory.path().join("store");
        let run = run_child(&store, &[]).await;
        println!(
            "{what}: {} confirmed, then: {}",
            run.confirmed.len(),
            run.why.trim()
        );
        assert!(!run.went_on, "{what}: it fits");
        let copy = tempfile::tempdir().unwrap();
        super::opening::copy_directory(directory.path(), copy.path());
        drop(small);
        assert_nothing_lost(&copy.path().join("store"), &run, &what).await;
    }
}

/// How many calls of each kind are to fail; `None`, and a word about it, if this is no run of faults.
fn calls() -> Option<usize> {
    let Ok(calls) = std::env::var(CALLS) else {
        println!("{CALLS} is not set, so no call fails: tests/run.sh --only storage-faults");
        return None;
    };
    Some(calls.parse().unwrap())
}

/// A small file system in memory.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` if this process may not mount one.
    fn mount(at: &Path, room_kib: u64) -> Option<Self> {
        let size = format!("size={room_kib}k");
        let mount = ["-t", "tmpfs", "-o", &size, "tmpfs"];
        let mounted = Command::new("mount").args(mount).arg(at).status().ok()?;
        mounted.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.0.display());
        }
    }
}

/// Which calls of a thread touch the store's files, counted from 1 for each kind of call, as a run without faults shows.
async fn places() -> BTreeMap<String, Vec<usize>> {
    let directory = tempfile::tempdir().unwrap();
    make_store(directory.path()).await;
    let trace = tempfile::NamedTempFile::new().unwrap();
    let calls: BTreeSet<_> = FAULTS.iter().map(|(call, _)| *call).collect();
    let calls = calls.into_iter().collect::<Vec<_>>().join(",");
    let to = trace.path().to_str().unwrap();
    let strace = ["strace", "-f", "-y", "-qq", "-s", "200", "-o", to, "-e", &calls];
    assert!(run_child(directory.path(), &strace).await.went_on);
    let mut counts = BTreeMap::<(String, String), usize>::new();
    let mut places = BTreeMap::<String, BTreeSet<usize>>::new();
    let store = directory.path().to_str().unwrap();
    for line in std::fs::read_to_string(trace.path()).unwrap().lines() {
        let Some((thread, (call, _))) = line
            .split_once(' ')
            .and_then(|(thread, rest)| Some((thread, rest.trim_start().split_once('(')?)))
        else {
            continue;
        };
        let count = counts.entry((thread.to_owned(), call.to_owned())).or_default();
        *count += 1;
        if line.contains(store) {
            places.entry(call.to_owned()).or_default().insert(*count);
        }
    }
    let sorted = |(call, places): (String, BTreeSet<usize>)| (call, places.into_iter().collect());
    places.into_iter().map(sorted).collect()
}

/// So many of these at random, the first and the last among them.
fn sample(places: &[usize], count: usize, dice: &mut Dice) -> BTreeSet<usize> {
    let mut sample: BTreeSet<_> = places.first().into_iter().chain(places.last()).copied().collect();
    while sample.len() < count.min(places.len()) {
        sample.insert(places[dice.below(places.len() as u64) as usize]);
    }
    sample
}

async fn run_child(directory: &Path, under: &[&str]) -> Run {
    let this_test = "storage::embedded::tests::faults::child";
    let test = std::env::current_exe().unwrap();
    let mut line: Vec<_> = under.iter().map(std::ffi::OsString::from).collect();
    line.push(test.into());
    line.extend(["--exact", this_test, "--nocapture", "--test-threads", "1"].map(Into::into));
    let said = tempfile::NamedTempFile::new().unwrap();
    let complaints = tempfile::NamedTempFile::new().unwrap();
    let mut child = tokio::process::Command::new(&line[0])
        .args(&line[1..])
        .env(CHILD, directory)
        .env_remove("RUST_BACKTRACE")
        .stdout(Stdio::from(said.reopen().unwrap()))
        .stderr(Stdio::from(complaints.reopen().unwrap()))
        .kill_on_drop(true)
        .spawn()
        .expect("strace is installed");
    let ended = timeout(PATIENCE, child.wait()).await;
    let status = ended.unwrap_or_else(|_| panic!("it hangs: {line:?}")).unwrap();
    let said = std::fs::read(said.path()).unwrap();
    let mut run = Run {
        confirmed: BTreeSet::new(),
        attempted: 0,
        went_on: status.success(),
        why: String::from_utf8_lossy(&std::fs::read(complaints.path()).unwrap()).into_owned(),
    };
    for line in String::from_utf8_lossy(&said).lines() {
        match line.split_at_checked(1) {
            Some(("?", _)) => run.attempted += 1,
            Some(("+", id)) if id.len() == 22 => drop(run.confirmed.insert(id.to_owned())),
            Some(("-", id)) => drop(run.confirmed.remove(id)),
            _ => {}
        }
    }
    run
}

async fn assert_nothing_lost(directory: &Path, run: &Run, what: &str) {
    assert!(
        run.went_on || !run.why.trim().is_empty(),
        "{what}: it ended and did not say why"
    );
    let announce = Arc::new(crate::storage::contract::Announcements::default());
    let store = match Embedded::open(Options::new(directory, announce)) {
        Ok(store) => store,
        Err(error) => panic!("{what}: does not open again: {error}\nit had said: {}", run.why),
    };
    let head = crate::storage::contract::everything();
    let manner = crate::storage::Manner::Insisting;
    let attached = store.attach(user_agent(1), seat(1), head, manner).await.unwrap();
    let mut waiting = BTreeSet::new();
    if let crate::storage::Attached::Known { page, .. } = attached {
        assert!(!page.more);
        for message in &page.messages {
            let nonce = message.id.nonce as usize;
            assert!(nonce < run.attempted, "{what}: {nonce} was never sent");
            assert_eq!(
                message.content.body,
                vec![nonce as u8; body_bytes(nonce)],
                "{what}"
            );
            waiting.insert(message.id.to_base64url());
        }
    }
    let lost: Vec<_> = run.confirmed.difference(&waiting).collect();
    assert!(lost.is_empty(), "{what}: lost {lost:?}\nit had said: {}", run.why);
    store.close().await.unwrap();
}

/// Some stand apart, some with their headers.
fn body_bytes(n: usize) -> usize {
    if n.is_multiple_of(4) { 9_000 } else { 300 }
}

/// Says that there is room, so that what happens when there is none is seen.
struct Roomy;

impl Disk for Roomy {
    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

/// Not a test: the process whose calls fail, when a test above starts it.
///
/// Its runtime has no I/O, which would wake it by writes of its own: those belong to no disk, and do not fail in life.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(CHILD) else {
        return;
    };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().unwrap();
    if let Err(why) = runtime.block_on(work(PathBuf::from(directory))) {
        // Again if this is the call that fails: it is no fault of the store.
        while writeln!(io::stderr(), "{why}").is_err() {}
        std::process::exit(3);
    }
}

fn open_small(directory: &Path) -> Result<Embedded, OpenError> {
    let announce = Arc::new(crate::storage::contract::Announcements::default());
    Embedded::open(Options {
        disk: Arc::new(Roomy),
        memtable_bytes: MEMTABLE_BYTES,
        ..Options::new(directory, announce)
    })
}

/// A store keeps the size of memtables that it was made with.
async fn make_store(directory: &Path) {
    open_small(directory).unwrap().close().await.unwrap();
}

async fn work(directory: PathBuf) -> Result<(), String> {
    let store = open_small(&directory).map_err(|error| error.to_string())?;
    let out = std::fs::File::from(io::stdout().as_fd().try_clone_to_owned().unwrap());
    // Said again if that is the call that fails: it is no fault of the store. A line is one call.
    let say = |line: String| while (&out).write_all(line.as_bytes()).is_err() {};
    let is_over = |error: StorageError| match error {
        StorageError::Failed(why) => Err(why),
        // Refused this time: the next one may fare better.
        _ => Ok(()),
    };
    if let Err(error) = store.subscribe(crate::storage::contract::subscribe(1, 1)).await {
        is_over(error)?;
    }
    for n in 0..MESSAGES {
        let body = vec![n as u8; body_bytes(n)];
        let request = Enqueue {
            nonce: n as u64,
            ..enqueue(1, 1, &body)
        };
        // The test harness has begun a line.
        say(format!("\n?{n}\n"));
        let id = match store.enqueue(request).await {
            Ok(Enqueued::Stored { id, .. }) => id,
            Ok(_) => continue,
            Err(error) => {
                is_over(error)?;
                continue;
            }
        };
        say(format!("+{}\n", id.to_base64url()));
        if n % 3 == 0 {
            say(format!("-{}\n", id.to_base64url()));
            let (agent, removal) = (user_agent(1), Removal::Acknowledged);
            let removed = store
                .acknowledge(agent, &[id], removal, Confirm::Soon, None)
                .await;
            removed.map_or_else(is_over, |_| Ok(()))?;
        }
    }
    store.close().await.or_else(is_over)
}
