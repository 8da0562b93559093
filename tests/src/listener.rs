//! The user agent's command as its users meet it: arguments, lines on standard output, sentences on standard error, exit
//! codes. And `listen`, the one of its commands that stays: followed line by line, asked to end, killed.
//!
//! A line counts when its line feed is there: what a killed process began to write was never said. Standard output is read
//! by a thread, as the [`Log`] is, so that a line is in hand when the process that wrote it is gone.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::connector::Connector;
use crate::log::Log;
use crate::{PATIENCE, binaries, within};

/// Exit code of a command that did what it was asked to do.
const SUCCESS: Option<i32> = Some(0);

/// A user agent between two runs of its command: its state directory, its service, and how to reach that.
#[derive(Debug)]
pub struct Agent {
    /// The state directory. It isn't there before the first subscription.
    pub state: PathBuf,
    server: String,
    options: Vec<String>,
    environment: Vec<(String, String)>,
    disk_bytes: Option<u64>,
    /// Removed with the user agent, and the state in it.
    _directory: TempDir,
}

/// How a run of the command ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub said: String,
}

/// A running `listen`.
#[derive(Debug)]
pub struct Listener {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    log: Log,
}

impl Agent {
    /// A user agent of the service at this address, with nothing kept yet.
    pub fn at(connector: &Connector) -> Self {
        let origin = connector.origin();
        let rest = origin.strip_prefix("http").expect("http: or https:");
        Self::of(&format!("ws{rest}/"))
    }

    /// A user agent of the service with this URL, with nothing kept yet.
    pub fn of(server: &str) -> Self {
        let directory = TempDir::with_prefix("user-agent-").expect("a directory for the user agent");
        Self {
            state: directory.path().join("state"),
            server: server.to_owned(),
            options: Vec::new(),
            environment: Vec::new(),
            disk_bytes: None,
            _directory: directory,
        }
    }

    /// Adds to every command that connects: `--ca` or `--insecure`.
    pub fn connecting_with(mut self, options: &[&str]) -> Self {
        self.options = options.iter().map(|option| (*option).to_owned()).collect();
        self
    }

    /// Sets an environment variable for every command.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Connects to this URL of its service from now on.
    pub fn moved_to(mut self, server: &str) -> Self {
        server.clone_into(&mut self.server);
        self
    }

    /// Puts the state directory on a disk of this size, which vanishes with each process.
    pub fn disk_bytes(mut self, size: u64) -> Self {
        self.disk_bytes = Some(size);
        self
    }

    /// `subscribe`, whatever comes of it.
    pub async fn try_subscribe(&self, name: &str, more: &[&str]) -> Ran {
        let mut command = self.connecting("subscribe");
        command.args(["--name", name]).args(more);
        finished(command).await
    }

    /// `subscribe`, and the one line that it prints: a `PushSubscription` in JSON.
    ///
    /// # Panics
    ///
    /// When it fails, or prints anything else.
    pub async fn subscribe(&self, name: &str, more: &[&str]) -> String {
        let ran = self.try_subscribe(name, more).await;
        assert_eq!(ran.code, SUCCESS, "{}", ran.said);
        let line = ran.output.strip_suffix('\n').expect("a whole line");
        assert_eq!(line.lines().count(), 1, "{line}");
        line.to_owned()
    }

    /// `list`, whatever comes of it.
    pub async fn try_list(&self) -> Ran {
        let mut command = self.command("list");
        command.arg("--state").arg(&self.state);
        finished(command).await
    }

    /// All that `list --format json` prints.
    pub async fn list(&self) -> String {
        let mut command = self.command("list");
        command.arg("--state").arg(&self.state).args(["--format", "json"]);
        let ran = finished(command).await;
        assert_eq!(ran.code, SUCCESS, "{}", ran.said);
        ran.output
    }

    /// `unsubscribe`, whatever comes of it.
    pub async fn try_unsubscribe(&self, name: &str) -> Ran {
        let mut command = self.command("unsubscribe");
        command.arg("--state").arg(&self.state).args(["--name", name]);
        command.args(&self.options);
        finished(command).await
    }

    /// `send` to a subscription, whatever comes of it.
    pub async fn try_send(&self, subscription: &str, text: &str) -> Ran {
        self.try_send_with(subscription, &[], text).await
    }

    /// The same with further options.
    pub async fn try_send_with(&self, subscription: &str, more: &[&str], text: &str) -> Ran {
        let file = self.state.with_extension("recipient.json");
        std::fs::write(&file, subscription).expect("the subscription is written");
        let mut command = self.command("send");
        command
            .arg("--subscription")
            .arg(&file)
            .args(["--ttl", "600"])
            .args(&self.options)
            .args(more)
            .args(["--", text]);
        finished(command).await
    }

    /// `send` to a subscription, accepted.
    ///
    /// # Panics
    ///
    /// When it isn't.
    pub async fn send(&self, subscription: &str, text: &str) {
        let ran = self.try_send(subscription, text).await;
        assert_eq!(ran.code, SUCCESS, "{}", ran.said);
    }

    /// `listen --format json`, running.
    pub fn listen(&self, more: &[&str]) -> Listener {
        let mut command = self.connecting("listen");
        command.args(["--format", "json"]).args(more);
        Listener::start(command)
    }

    /// `listen --exec`, running: it prints nothing, and each message is for this command.
    pub fn listen_with_handler(&self, line: &str, more: &[&str]) -> Listener {
        let mut command = self.connecting("listen");
        command.args(["--exec", line]).args(more);
        Listener::start(command)
    }

    /// `listen`, which is expected to end by itself.
    pub async fn try_listen(&self, more: &[&str]) -> Ran {
        let mut command = self.connecting("listen");
        command.args(more);
        finished(command).await
    }

    fn connecting(&self, name: &str) -> Command {
        let mut command = self.command(name);
        command
            .args(["--server", &self.server])
            .arg("--state")
            .arg(&self.state)
            .args(&self.options);
        command
    }

    fn command(&self, name: &str) -> Command {
        let disk = self.disk_bytes.map(|size| (self.state.as_path(), size));
        let mut command = Command::from(binaries::command(binaries::user_agent_client(), disk));
        command
            .arg(name)
            // What the tests read must not depend on who runs them.
            .env_remove("RUST_LOG")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

impl Ran {
    /// It went well, and printed this.
    ///
    /// # Panics
    ///
    /// When it did something else.
    pub fn succeeds_with(&self, output: &str) {
        assert_eq!(
            (self.code, self.output.as_str()),
            (SUCCESS, output),
            "{}",
            self.said
        );
    }

    /// It failed with this code, and a person can act on what it said: it has all these words and is no crash.
    ///
    /// # Panics
    ///
    /// When it did something else.
    pub fn fails_with(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(
            self.output, "",
            "nothing that another program would take for an answer"
        );
        assert!(!self.said.contains("panicked"), "{}", self.said);
        for word in words {
            assert!(self.said.contains(word), "`{word}` is not in:\n{}", self.said);
        }
    }
}

impl Listener {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the process starts");
        let errors = child.stderr.take().expect("standard error is a pipe");
        let log = Log::read(errors.into_owned_fd().expect("a pipe of its own").into());
        let output = child.stdout.take().expect("standard output is a pipe");
        let lines = whole_lines(output.into_owned_fd().expect("a pipe of its own").into());
        Self { child, lines, log }
    }

    /// The next line; `None` when the process has closed its standard output. Cancel safe.
    pub async fn line(&mut self) -> Option<String> {
        self.lines.recv().await
    }

    /// Reads on to this line, which its handler prints.
    ///
    /// # Panics
    ///
    /// When it doesn't come.
    pub async fn prints(&mut self, expected: &str) {
        let printed = async {
            while let Some(line) = self.line().await {
                if line == expected {
                    return true;
                }
            }
            false
        };
        let is_printed = within(&format!("it prints {expected}"), printed).await;
        assert!(is_printed, "it ended and never printed {expected}");
    }

    /// The next message, as it was printed.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub async fn message(&mut self) -> Value {
        let line = within("a message is printed", self.line()).await;
        let line = line.expect("the user agent goes on listening");
        serde_json::from_str(&line).expect("a line of JSON")
    }

    /// The same behind lines that begin so, which a handler prints.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub async fn message_after(&mut self, lines: &str) -> Value {
        loop {
            let line = within("a message is printed", self.line()).await;
            let line = line.expect("the user agent goes on listening");
            if !line.starts_with(lines) {
                return serde_json::from_str(&line).expect("a line of JSON");
            }
        }
    }

    /// Expects this text, for this subscription.
    ///
    /// # Panics
    ///
    /// When another message comes, or none.
    pub async fn receives(&mut self, subscription: &str, text: &str) {
        let message = self.message().await;
        assert_eq!(
            (&message["subscription"], &message["text"]),
            (&subscription.into(), &text.into())
        );
    }

    /// Waits until it has said something with all these words.
    ///
    /// # Panics
    ///
    /// When it ends without having said it.
    pub async fn says(&self, words: &[&str]) -> String {
        let said = within(&format!("it says {words:?}"), self.log.wait_for_line(words)).await;
        said.unwrap_or_else(|| panic!("it never said {words:?}, but:\n{}", self.log.text()))
    }

    /// What it has said so far.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        let id = self.child.id().expect("it was not waited for");
        Pid::from_raw(id.cast_signed()).expect("a process id is not 0")
    }

    /// The time that its threads have spent on a processor, in the system's ticks (100 in a second).
    pub fn processor_ticks(&self) -> u64 {
        let file = format!("/proc/{}/stat", self.pid().as_raw_nonzero());
        let stat = std::fs::read_to_string(file).expect("the process is there");
        // The name in brackets may hold spaces; behind it, the state is field 3, and times are fields 14 and 15.
        let (_, behind_name) = stat.rsplit_once(')').expect("a name in brackets");
        let fields: Vec<&str> = behind_name.split_whitespace().collect();
        let times = [fields[11], fields[12]].map(|ticks| ticks.parse::<u64>().expect("a number"));
        times.iter().sum()
    }

    /// SIGTERM: asks it to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the process can be signalled");
    }

    /// SIGTERM and SIGINT: asks it to end, and not to wait for what is in hand.
    pub fn terminate_in_haste(&self) {
        self.terminate();
        kill_process(self.pid(), Signal::INT).expect("the process can be signalled");
    }

    /// SIGKILL, and waits until the process is gone. What it had printed can still be read.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("the process can be killed");
    }

    /// Waits until it has ended by itself, and returns how.
    pub async fn ended(&mut self) -> ExitStatus {
        self.ended_within(PATIENCE).await
    }

    /// The same with another time.
    pub async fn ended_within(&mut self, patience: Duration) -> ExitStatus {
        let status = timeout(patience, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("the user agent does not end within {patience:?}"));
        self.log.wait_for_end().await;
        status.expect("the process can be waited for")
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the user agent said at last:\n{}\n---", self.log.tail());
        }
    }
}

async fn finished(mut command: Command) -> Ran {
    let ran = within("the command ends", command.output()).await;
    let ran = ran.expect("the command starts");
    Ran {
        code: ran.status.code(),
        output: String::from_utf8_lossy(&ran.stdout).into_owned(),
        said: String::from_utf8_lossy(&ran.stderr).into_owned(),
    }
}

/// Reads line by line and drops a last one that has no end.
pub(crate) fn whole_lines(output: File) -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok() && line.ends_with(b"\n") {
            line.pop();
            // If the listener was dropped, the lines are not read any more.
            let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
            line.clear();
        }
    });
    lines
}
