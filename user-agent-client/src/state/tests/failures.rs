//! Directories that can't be used, and writes that fail.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::Mode;

use super::*;

/// One directory, one user agent; the error names the other's process. The lock ends with its holder.
#[test]
fn a_directory_has_one_user_agent() {
    let mut rig = Rig::new();
    let error = State::open(rig.directory.path()).unwrap_err();
    let StateError::Locked { process, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*process, Some(std::process::id()));
    assert!(
        error
            .to_string()
            .contains(&format!("process {}", std::process::id()))
    );
    fs::write(rig.file("lock"), "").unwrap();
    let error = State::open(rig.directory.path()).unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    // As a child process has it that is about to become another program.
    let inherited = rig.state.disk.as_ref().unwrap().directory.locks_for_a_child();
    rig.reopen();
    drop(inherited);
}

/// One directory, one user agent, also after its file `lock` was deleted; and beside one of an earlier version, which locks
/// nothing but that file.
#[test]
fn the_directory_itself_is_locked() {
    let mut rig = Rig::new();
    fs::remove_file(rig.file("lock")).unwrap();
    let error = State::open(rig.directory.path()).unwrap_err();
    assert!(
        matches!(error, StateError::Locked { process: None, .. }),
        "{error}"
    );
    rig.state = State::in_memory();

    fs::write(rig.file("lock"), "42\n").unwrap();
    let earlier = fs::File::open(rig.file("lock")).unwrap();
    earlier.lock().unwrap();
    for _ in 0..2 {
        let error = State::open(rig.directory.path()).unwrap_err();
        assert!(
            matches!(
                error,
                StateError::Locked {
                    process: Some(42),
                    ..
                }
            ),
            "{error}"
        );
    }
    drop(earlier);
    rig.reopen();
}

/// PR-3: what is behind a link is neither emptied nor closed to others, nor left behind by the first change; and a link that
/// leads nowhere, to a volume that is not mounted yet, is not taken for an empty state.
#[test]
fn links_in_the_place_of_files_are_refused() {
    let directory = TempDir::new().unwrap();
    let state = directory.path().join("state");
    let other = directory.path().join("other");
    fs::create_dir(&state).unwrap();
    fs::write(&other, "precious").unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o644)).unwrap();
    for target in [&other, &directory.path().join("not/mounted/yet")] {
        for name in ["lock", "state.json", "messages.log"] {
            let link = state.join(name);
            fs::remove_file(&link).ok();
            std::os::unix::fs::symlink(target, &link).unwrap();
            let error = State::open(&state).unwrap_err();
            assert!(
                matches!(&error, StateError::Link(path) if *path == link),
                "{error}"
            );
            assert!(error.to_string().contains("Nothing was changed"), "{error}");
            if name == "state.json" {
                assert!(matches!(read(&state), Err(StateError::Link(_))));
            }
            assert_eq!(fs::read_link(&link).unwrap(), *target, "{name}");
            fs::remove_file(&link).unwrap();
        }
    }
    assert_eq!(fs::read(&other).unwrap(), b"precious");
    assert_eq!(fs::metadata(&other).unwrap().permissions().mode() & 0o777, 0o644);
    assert!(!state.join("state.json").exists());
}

/// PR-3: a directory behind a link that leads nowhere is refused; one that is there is used.
#[test]
fn a_link_to_a_directory_leads_somewhere() {
    let directory = TempDir::new().unwrap();
    let volume = directory.path().join("volume");
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&volume, &link).unwrap();
    let dangling = |error: StateError| {
        assert!(matches!(&error, StateError::Dangling { link: at, to } if *at == link && *to == volume));
        assert!(error.to_string().contains("is a volume not mounted?"), "{error}");
    };
    dangling(State::open(&link).unwrap_err());
    dangling(State::open(&link.join("above/state")).unwrap_err());
    dangling(read(&link).unwrap_err());
    assert!(!volume.exists());

    fs::create_dir(&volume).unwrap();
    let mut state = State::open(&link).unwrap();
    let name = state.prepare("one").unwrap();
    state.save(&asked(name)).unwrap();
    assert!(volume.join("state.json").exists());
}

/// PR-1, PR-5: a directory that gets another name while it is used goes on being used, and another one that gets its name is
/// not touched. One that is deleted ends the user agent, with a sentence that says so.
#[test]
fn a_directory_is_moved_or_deleted() {
    let above = TempDir::new().unwrap();
    let (here, there) = (above.path().join("here"), above.path().join("there"));
    let mut state = State::open(&here).unwrap();
    fs::rename(&here, &there).unwrap();
    let other = State::open(&here).unwrap();
    let before = fs::read(here.join("state.json")).unwrap();
    let name = state.prepare("one").unwrap();
    state.save(&asked(name)).unwrap();
    for number in 0..=MESSAGE_RECORDS {
        state.save(&Change::Done(message(number))).unwrap();
    }
    assert_eq!(fs::read(here.join("state.json")).unwrap(), before);
    assert!(!other.durable().messages.is_done(message(0)));
    drop(state);
    let mut state = State::open(&there).unwrap();
    assert_eq!(state.name_of("one"), Some(name));
    assert!(state.durable().messages.is_done(message(MESSAGE_RECORDS)));

    fs::remove_dir_all(&there).unwrap();
    let error = state.save(&Change::Ending(name)).unwrap_err();
    assert!(matches!(error, StateError::Deleted(_)), "{error}");
    assert!(!there.exists());
}

/// WP-SUB-3: only their owner can read the keys, also after others could.
#[test]
fn files_are_closed_to_others() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("above").join("state");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let mut state = State::open(&path).unwrap();
    state.save(&Change::Done(message(1))).unwrap();
    let files = ["lock", "state.json", "messages.log"].map(|name| path.join(name));
    assert!(files.iter().all(|file| mode(file) == 0o600));
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    drop(state);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    for file in &files[1..] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let state = State::open(&path).unwrap();
    assert!(files.iter().all(|file| mode(file) == 0o600));
    assert_eq!(mode(&path), 0o700);
    assert!(state.durable().messages.is_done(message(1)));
    drop(state);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(path.join("notes.txt"), "").unwrap();
    let _state = State::open(&path).unwrap();
    assert_eq!(mode(&path), 0o755, "others have files in it");
    assert!(files.iter().all(|file| mode(file) == 0o600));
}

/// WP-SUB-3: the umask neither opens the state to others nor closes it to its owner.
#[test]
fn the_umask_changes_no_mode() {
    let directory = TempDir::new().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for (name, umask) in [("open", Mode::empty()), ("closed", Mode::from_raw_mode(0o277))] {
        let path = directory.path().join(name);
        let before = rustix::process::umask(umask);
        let opened = State::open(&path);
        let saved = opened.and_then(|mut state| state.save(&Change::Done(message(1))));
        rustix::process::umask(before);
        saved.unwrap();
        assert_eq!(mode(&path), 0o700, "{name}");
        for file in ["lock", "state.json", "messages.log"] {
            assert_eq!(mode(&path.join(file)), 0o600, "{name}: {file}");
        }
    }
}

/// Where there can't be a directory, the error says so and names it. Permissions don't bind root, but /sys takes no
/// files.
#[test]
fn what_is_no_directory_is_refused() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("state")] {
        for outcome in [State::open(&path).map(|_| ()), read(&path).map(|_| ())] {
            let error = outcome.unwrap_err();
            assert!(matches!(error, StateError::NotADirectory(_)), "{error}");
            assert!(error.to_string().contains(file.to_str().unwrap()));
        }
    }
    if Path::new("/sys/kernel").exists() {
        for path in ["/sys", "/sys/state"] {
            let error = State::open(Path::new(path)).unwrap_err();
            assert!(matches!(error, StateError::NotAllowed(_)), "{error}");
        }
    }
}

/// PR-5: a change that can't be written leaves the old state on the disk, and none is taken after it. What became of messages
/// still is.
#[test]
fn a_failed_write_is_final() {
    let mut rig = Rig::new();
    let name = rig.subscribe("one");
    let file = fs::read(rig.file("state.json")).unwrap();
    fs::create_dir(rig.file("state.json.new")).unwrap();
    let error = rig.state.save(&Change::Ending(name)).unwrap_err();
    assert!(!error.is_about_messages_only());
    fs::remove_dir(rig.file("state.json.new")).unwrap();
    let error = rig.state.save(&Change::Ending(name)).unwrap_err();
    assert!(matches!(error, StateError::Failed));
    assert!(matches!(rig.state.write(), Err(StateError::Failed)));
    assert!(!rig.state.is_written());
    assert_eq!(fs::read(rig.file("state.json")).unwrap(), file);
    rig.save(&Change::Done(message(1)));
    rig.reopen();
    rig.save(&Change::Ending(name));
    assert!(rig.state.durable().messages.is_done(message(1)));
}

/// WS-ACK-5: while the log can't be written, each failure says that only messages are concerned; what was missed is made
/// up for as soon as it can.
#[test]
fn a_full_disk_costs_the_log_nothing_that_lasts() {
    let mut rig = Rig::new();
    rig.save(&Change::Done(message(1)));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    rig.state.disk.as_mut().unwrap().log.write_to(full);
    fs::create_dir(rig.file("messages.log.new")).unwrap();
    for number in 2..4 {
        let error = rig.state.save(&Change::Done(message(number))).unwrap_err();
        assert!(error.is_about_messages_only(), "{error}");
    }
    fs::remove_dir(rig.file("messages.log.new")).unwrap();
    rig.save(&Change::Done(message(4)));
    rig.reopen();
    assert!((1..5).all(|number| rig.state.durable().messages.is_done(message(number))));
}

const CHILD: &str = "STATE_TEST_DIRECTORY";

/// Runs one of these tests in a process of its own, in which [`CHILD`] names a directory.
fn child(test: &str, directory: &Path, shell: &str) -> Child {
    Command::new("sh")
        .args(["-c", &format!("{shell} exec \"$0\" --exact {test} --nocapture")])
        .arg(env::current_exe().unwrap())
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// PR-5: on a disk that takes no more, the change is refused with what to do, the old state stays, and nothing half
/// written is left behind.
#[test]
fn a_full_disk_leaves_the_old_state() {
    if let Some(directory) = env::var_os(CHILD) {
        let mut state = State::open(Path::new(&directory)).unwrap();
        let refused = (0..20).find_map(|label| {
            let name = state.prepare(&label.to_string()).unwrap();
            Some((label, state.save(&asked(name)).err()?))
        });
        let (kept, error) = refused.unwrap();
        println!();
        println!("kept {kept}, {error}");
        return;
    }
    let directory = TempDir::new().unwrap();
    let limit = "trap '' XFSZ; ulimit -f 4;";
    let name = "state::tests::failures::a_full_disk_leaves_the_old_state";
    let output = child(name, directory.path(), limit).wait_with_output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let line = output.lines().find(|line| line.starts_with("kept ")).unwrap();
    assert!(line.contains("Free some space"), "{line}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    let state = State::open(directory.path()).unwrap();
    let kept = state.kept.entries.len();
    assert!(
        kept > 0 && kept < 20 && line.starts_with(&format!("kept {kept},")),
        "{line}"
    );
}

/// PR-1, WS-ACK-5: what was kept before the process was killed is there, whenever that was.
#[test]
fn a_killed_process_has_kept_what_it_said() {
    if let Some(directory) = env::var_os(CHILD) {
        let mut state = State::open(Path::new(&directory)).unwrap();
        println!();
        for number in 0_usize.. {
            let name = state.prepare(&number.to_string()).unwrap();
            state.save(&asked(name)).unwrap();
            println!("asked {number}");
            state.save(&Change::Done(message(number))).unwrap();
            println!("done {number}");
            if number >= 4 {
                let old = state.name_of(&(number - 4).to_string()).unwrap();
                state.save(&Change::Ended(old)).unwrap();
            }
        }
    }
    let test = "state::tests::failures::a_killed_process_has_kept_what_it_said";
    for lines in [1, 2, 7, 30, 61] {
        let directory = TempDir::new().unwrap();
        let mut child = child(test, directory.path(), "");
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = said
            .map(Result::unwrap)
            .filter(|line| line.starts_with(['a', 'd']));
        let last = said.by_ref().take(lines).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let (what, number) = last.split_once(' ').unwrap();
        let number: usize = number.parse().unwrap();
        let state = State::open(directory.path()).unwrap();
        let done = (0..number + usize::from(what == "done"))
            .all(|number| state.durable().messages.is_done(message(number)));
        assert!(done, "{last}");
        // It may have gone on after it said so, by as much as the pipe takes; but what it ended it had made.
        let labels = state
            .subscriptions()
            .map(|shown| shown.label.parse::<usize>().unwrap());
        assert!(labels.max() >= Some(number), "{last}");
    }
}
