//! `listen` and its commands, as processes: what runs, what is killed, and what is acknowledged.

// Helpers are no `#[test]`, and a test that can't go on has failed.
#![allow(clippy::unwrap_used)]

mod service;
#[path = "../shell/mod.rs"]
mod shell;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use service::Service;
use shell::PATIENCE;
use tempfile::TempDir;

/// A user agent with a directory of its own, at a service of its own.
struct World {
    directory: TempDir,
    service: Service,
}

/// A `listen` that runs, and what it says. Dropped, it is killed.
struct Listening {
    process: Child,
    said: mpsc::Receiver<String>,
    printed: mpsc::Receiver<String>,
}

impl World {
    fn new(names: &[&str]) -> Self {
        let world = Self {
            directory: tempfile::tempdir().unwrap(),
            service: Service::start(),
        };
        for name in names {
            let url = world.service.url();
            let mut command = world.command(&["subscribe", "--state", "s", "--server", &url, "--name", name]);
            let output = shell::output(&mut command);
            assert!(output.status.success(), "{output:?}");
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        shell::command(self.directory.path(), arguments)
    }

    fn listen(&self, arguments: &[&str]) -> Listening {
        Listening::start(self.command(&[&["listen", "--state", "s"], arguments].concat()))
    }

    /// A pipe with a name, which a command and all that it starts hold open. The first line that comes through it, and then its
    /// end, when the last of them has ended.
    fn pipe(&self, name: &str) -> mpsc::Receiver<String> {
        let path = self.path(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(File::open(path).unwrap());
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let _ = tell.send(line);
            let mut rest = String::new();
            reader.read_to_string(&mut rest).unwrap();
            let _ = tell.send(rest);
        });
        told
    }

    fn script(&self, name: &str, lines: &str) {
        let path = self.path(name);
        // Renamed, because a file that is open for writing can't be run.
        let new = self.path("new");
        fs::write(&new, format!("#!/bin/sh\n{lines}\n")).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, path).unwrap();
    }
}

fn lines(from: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let _ = tell.send(line.unwrap());
        }
    });
    told
}

fn next(from: &mpsc::Receiver<String>) -> String {
    from.recv_timeout(PATIENCE).unwrap()
}

impl Listening {
    fn start(mut command: Command) -> Self {
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = lines(process.stderr.take().unwrap());
        let printed = lines(process.stdout.take().unwrap());
        Self {
            process,
            said,
            printed,
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        let (pid, (has_ended, ends)) = (self.pid(), mpsc::channel::<()>());
        thread::spawn(move || {
            if ends.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        let status = self.process.wait().unwrap();
        drop(has_ended);
        status
    }

    /// Waits until it has said a line with this in it.
    fn says(&self, what: &str) -> String {
        loop {
            let line = next(&self.said);
            if line.contains(what) {
                return line;
            }
        }
    }

    /// Everything that it says from now on until it and all that could say something for it have ended.
    fn rest(&self) -> Vec<String> {
        let mut rest = Vec::new();
        loop {
            match self.said.recv_timeout(PATIENCE) {
                Ok(line) => rest.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => return rest,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("standard error is held open: {rest:?}"),
            }
        }
    }

    /// The process that starts its commands.
    fn supervisor(&self) -> Pid {
        let pid = self.pid().as_raw_pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        Pid::from_raw(children.trim().parse().unwrap()).unwrap()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// PR-45: when `listen` is killed, its commands die with all that they started, and so does the process that started them;
/// nothing holds its output open.
#[test]
fn a_killed_listen_takes_its_commands_along() {
    let world = World::new(&["door"]);
    let begun = world.pipe("pipe");
    world.service.send(0, "1");
    let command = "exec > pipe; echo begun; sh -c 'sleep 1000 & sleep 1000' & sleep 1000";
    let mut listening = world.listen(&["--exec", command]);
    assert_eq!(next(&begun), "begun\n");
    listening.signal(Signal::KILL);
    listening.ended();
    assert_eq!(next(&begun), "", "ends with the last that holds it");
    let lock = File::open(world.path("s/handlers.lock")).unwrap();
    lock.lock().unwrap();
    listening.rest();
    assert!(world.service.keeps("1"));
}

/// PR-45: a message that comes again after a kill runs beside nothing of its first attempt, however soon the next `listen`
/// starts.
#[test]
fn a_redelivery_runs_alone() {
    let world = World::new(&["door"]);
    world.service.send(0, "1");
    // The second one looks for the group of the first.
    let command = "if [ -e group ]; then \
            if kill -0 -- -$(cat group) 2> /dev/null; then echo beside; else echo alone; fi; \
        else \
            trap '' TERM INT HUP; echo $$ > new; mv new group; echo begun; sleep 1000 & sleep 1000; \
        fi";
    let mut first = world.listen(&["--exec", command]);
    assert_eq!(next(&first.printed), "begun");
    first.signal(Signal::KILL);
    first.ended();
    let second = world.listen(&["--exec", command]);
    assert_eq!(next(&second.printed), "alone");
    assert_eq!(world.service.acknowledged(), ("1".into(), 100));
}

/// PR-45: a `listen` whose predecessor's commands don't end says so, and runs nothing beside them.
#[test]
fn commands_that_do_not_end_are_told() {
    let world = World::new(&["door"]);
    world.service.send(0, "1");
    let lock = File::create(world.path("s/handlers.lock")).unwrap();
    lock.lock().unwrap();
    let mut listening = world.listen(&["--exec", "true"]);
    listening.says("commands of an earlier `listen` have not ended within 10 s");
    assert_eq!(listening.ended().code(), Some(3));
    assert!(world.service.keeps("1"));
    // One that runs no commands waits for none.
    let printing = world.listen(&["--format", "json"]);
    assert!(next(&printing.printed).contains(r#""id":"1""#));
}

/// PR-45: when the process that starts commands is killed, what it ran dies with it and is no attempt; another one is
/// started.
#[test]
fn a_killed_supervisor_is_replaced() {
    let world = World::new(&["door"]);
    let begun = world.pipe("pipe");
    world.service.send(0, "1");
    let command = "if [ -e once ]; then echo done; else : > once; exec > pipe; echo begun; sleep 1000; fi";
    let listening = world.listen(&["--attempts", "1", "--exec", command]);
    assert_eq!(next(&begun), "begun\n");
    kill_process(listening.supervisor(), Signal::KILL).unwrap();
    assert_eq!(next(&begun), "");
    listening.says("door: the process that supervises commands ended");
    assert_eq!(next(&listening.printed), "done");
    assert_eq!(world.service.acknowledged(), ("1".into(), 100));
}

/// PR-45: a service manager ends all processes of a service at once. A command that ends by that signal has judged nothing,
/// so the message comes again after the restart, also if it had one attempt only.
#[test]
fn an_orderly_end_is_no_attempt() {
    let world = World::new(&["door"]);
    let begun = world.pipe("pipe");
    world.service.send(0, "1");
    let command =
        "if [ -e group ]; then echo done; else echo $$ > group; exec > pipe; echo begun; sleep 1000; fi";
    let mut listening = world.listen(&["--attempts", "1", "--exec", command]);
    assert_eq!(next(&begun), "begun\n");
    let group: i32 = fs::read_to_string(world.path("group"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    rustix::process::kill_process_group(Pid::from_raw(group).unwrap(), Signal::TERM).unwrap();
    listening.signal(Signal::TERM);
    assert_eq!(listening.ended().code(), Some(0));
    assert!(world.service.keeps("1"));
    let again = world.listen(&["--attempts", "1", "--exec", command]);
    assert_eq!(next(&again.printed), "done");
    assert_eq!(world.service.acknowledged(), ("1".into(), 100));
}

/// PR-45: a command that can't be started, or says that it can't work now, gives up no message, also with one attempt only;
/// when it works again, all of them are handled.
#[test]
fn a_command_that_cannot_work_gives_nothing_up() {
    let sentences = ["was not found", "cannot be run", "cannot work now"];
    for sentence in sentences {
        let world = World::new(&["door"]);
        match sentence {
            "was not found" => {}
            "cannot be run" => fs::write(world.path("work"), "").unwrap(),
            _ => world.script("work", "exit 75"),
        }
        for id in ["1", "2", "3"] {
            world.service.send(0, id);
        }
        let listening = world.listen(&["--attempts", "1", "--exec", "exec ./work"]);
        let line = listening.says(sentence);
        assert!(
            line.starts_with("door: ") && line.contains("does not count as an attempt"),
            "{line}"
        );
        world.script("work", "echo \"$PUSH_MESSAGE_ID\"");
        let mut acknowledged: Vec<_> = (0..3).map(|_| world.service.acknowledged()).collect();
        acknowledged.sort();
        let expected = ["1", "2", "3"].map(|id| (id.to_owned(), 100));
        assert_eq!(acknowledged, expected, "{sentence}");
    }
}

/// PR-45: without a session bus nothing can be shown, which gives up no message.
#[cfg(feature = "notify")]
#[test]
fn without_a_desktop_messages_wait() {
    let world = World::new(&["door"]);
    world.service.send(0, "1");
    let mut listening = world.listen(&["--attempts", "1", "--notify"]);
    let line = listening.says("--notify needs a session bus");
    assert!(line.starts_with("door: "), "{line}");
    listening.signal(Signal::TERM);
    assert_eq!(listening.ended().code(), Some(0));
    assert!(world.service.keeps("1"));
}

/// WS-NOT-2, WS-ACK-1, PR-45: an id with a NUL, which no environment variable can hold, or one that is too long for any is
/// refused on arrival, runs nothing and holds up nothing.
#[test]
fn an_id_that_cannot_be_one_is_refused() {
    let world = World::new(&["door"]);
    let long = "x".repeat(60_000);
    for id in ["a\0b", &long, "z"] {
        world.service.send(0, id);
    }
    let listening = world.listen(&["--attempts", "1", "--exec", "echo \"$PUSH_MESSAGE_ID\""]);
    let acknowledged: Vec<_> = (0..3).map(|_| world.service.acknowledged()).collect();
    for refused in ["a\0b", &long] {
        assert!(acknowledged.contains(&(refused.to_owned(), 102)));
    }
    assert!(acknowledged.contains(&("z".to_owned(), 100)));
    assert_eq!(next(&listening.printed), "z");
}

/// R30-URG-4, R30-TOP-7, WS-NOT-7: commands and lines are told all that the service says of a message, and nothing that it
/// doesn't, whatever is in the environment of `listen`.
#[test]
fn what_is_known_of_a_message() {
    let world = World::new(&["door"]);
    let all = json!({"timestamp": 1_500, "urgency": "high", "topic": "t"});
    world.service.send_with(0, "1", &all);
    world.service.send(0, "2");
    let command =
        r#"echo "$PUSH_ATTEMPT ${PUSH_RECEIVED:+received} ${PUSH_TIME-} ${PUSH_URGENCY-} ${PUSH_TOPIC-}""#;
    let mut process = world.command(&[
        "listen", "--state", "s", "--exec", command, "--format", "json", "--count", "2",
    ]);
    let output = shell::output(process.env("PUSH_TOPIC", "inherited"));
    let printed = String::from_utf8(output.stdout).unwrap();
    let [one, one_json, two, two_json] = printed.lines().collect::<Vec<_>>()[..] else {
        panic!("{printed}");
    };
    assert_eq!((one, two), ("1 received 1500 high t", "1 received   "));
    let about = |line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["received"].as_u64().unwrap() > 1_700_000_000_000);
        assert_eq!(line["attempt"], 1);
        ["time", "urgency", "topic"].map(|name| line.get(name).cloned())
    };
    let said = [json!(1_500), json!("high"), json!("t")].map(Some);
    assert_eq!((about(one_json), about(two_json)), (said, [None, None, None]));
}

/// Each subscription has its own command, by name or by file; `--exec` is for the others.
#[test]
fn a_command_for_each_subscription() {
    let world = World::new(&["door", "it's", "rest"]);
    fs::create_dir(world.path("handlers")).unwrap();
    world.script("handlers/it's", "echo file");
    for (channel, id) in [(0, "1"), (1, "2"), (2, "3")] {
        world.service.send(channel, id);
    }
    let listening = world.listen(&[
        "--exec",
        "echo other",
        "--exec-for",
        "door=echo own",
        "--exec-dir",
        "handlers",
    ]);
    let mut printed: Vec<_> = (0..3).map(|_| next(&listening.printed)).collect();
    printed.sort();
    assert_eq!(printed, ["file", "other", "own"]);
}

/// A command for a subscription that is not there is refused at the start, with the names that are.
#[test]
fn an_unknown_name_is_refused() {
    let world = World::new(&["door", "window"]);
    let rows: [(&[&str], &str); 3] = [
        (
            &["--exec-for", "doro=true"],
            "there is no subscription doro; the subscriptions are: door, window",
        ),
        (
            &["--exec-for", "door=true", "--exec-for", "door=false"],
            "names door twice",
        ),
        (&["--exec-dir", "missing"], "missing is not a directory"),
    ];
    for (arguments, sentence) in rows {
        let mut listening = world.listen(arguments);
        listening.says(sentence);
        assert_eq!(listening.ended().code(), Some(2));
    }
}

/// PR-46: a slow subscription leaves a hand to the others, however many of its messages wait.
#[test]
fn a_slow_subscription_leaves_a_hand() {
    let world = World::new(&["slow", "quick"]);
    for id in ["1", "2", "3", "4"] {
        world.service.send(0, id);
    }
    let begun = world.pipe("pipe");
    let slow = "slow=exec > pipe; echo begun; sleep 1000";
    let _listening = world.listen(&["--jobs", "2", "--exec-for", slow, "--exec", "true"]);
    assert_eq!(next(&begun), "begun\n");
    for id in ["5", "6"] {
        world.service.send(1, id);
        assert_eq!(world.service.acknowledged(), (id.to_owned(), 100));
    }
}

/// WP-RCV-6: when a message came stays the same, at each attempt.
#[test]
fn a_message_came_once() {
    let world = World::new(&["door"]);
    world.service.send(0, "1");
    let command = r#"echo "$PUSH_RECEIVED"; [ "$PUSH_ATTEMPT" = 2 ]"#;
    let listening = world.listen(&["--exec", command]);
    assert_eq!(next(&listening.printed), next(&listening.printed));
    assert_eq!(world.service.acknowledged(), ("1".into(), 100));
}

/// E91-15, PR-42: messages that can't be decrypted fill no log; all of them are counted.
#[test]
fn a_flood_that_cannot_be_decrypted_is_counted() {
    let world = World::new(&["door"]);
    let garbage = json!({"data": "YWJj", "headers": {"encoding": "aes128gcm"}});
    for number in 0..500 {
        world.service.send_with(0, &format!("{number:03}"), &garbage);
    }
    let mut listening = world.listen(&[]);
    for _ in 0..500 {
        assert_eq!(world.service.acknowledged().1, 101);
    }
    listening.signal(Signal::TERM);
    assert!(listening.ended().success());
    let lines = listening.rest();
    let said = lines.iter().filter(|line| line.contains("decrypted"));
    let counts: Vec<u64> = said
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["count"].as_u64().unwrap_or(1)
        })
        .collect();
    assert_eq!(counts.iter().sum::<u64>(), 500);
    // A machine that is slow takes more than one period.
    assert!(counts.len() <= 30, "{}", counts.len());
}

/// PR-5: when the state of a running `listen` can't be written any more, a command that asks it learns that, with the exit code
/// of the state; and `listen` ends with the same.
#[test]
fn a_command_beside_listen_learns_that_the_state_failed() {
    let world = World::new(&["door"]);
    // The state is longer than that already.
    let command = world.command(&["listen", "--state", "s"]);
    let mut listening = Listening::start(shell::limited(&command, 1));
    listening.says("connected");
    let output = shell::output(&mut world.command(&["subscribe", "--state", "s", "--name", "window"]));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("state.json"), "{said}");
    assert_eq!(listening.ended().code(), Some(3));
}
