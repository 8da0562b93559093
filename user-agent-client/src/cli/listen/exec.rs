//! A command of the user: what it is given, and how long it may take.

use std::fmt;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, Command};

/// A line for `sh -c`.
#[derive(Debug)]
pub(super) struct Exec {
    line: String,
    within: Duration,
}

/// Why a command did not do its work.
#[derive(Debug)]
pub(super) enum ExecError {
    /// There is no `sh`, or no room for another process.
    NotStarted(io::Error),
    /// It ended with another exit code than 0, or by a signal.
    Ended(ExitStatus),
    /// It took too long, and was killed with all that it started.
    TookTooLong(Duration),
    /// Its end can't be known.
    Lost(io::Error),
}

impl Exec {
    pub(super) fn new(line: String, within: Duration) -> Self {
        Self { line, within }
    }

    /// Runs the command to its end. What it prints is passed through. Dropped, it kills the command and its group.
    pub(super) async fn run(&self, input: &[u8], environment: &[(&str, &str)]) -> Result<(), ExecError> {
        // A group of its own can be killed as a whole, and Ctrl-C on our terminal is for us alone: we end it well.
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(&self.line)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(ExecError::NotStarted)?;
        let mut group = Group::of(&child);
        let stdin = child.stdin.take();
        let ended = async { tokio::join!(feed(stdin, input), child.wait()).1 };
        match tokio::time::timeout(self.within, ended).await {
            Ok(status) => {
                // What it left running in the background may stay.
                group.0 = None;
                let status = status.map_err(ExecError::Lost)?;
                status.success().then_some(()).ok_or(ExecError::Ended(status))
            }
            Err(_) => {
                drop(group);
                let _ = child.wait().await;
                Err(ExecError::TookTooLong(self.within))
            }
        }
    }
}

/// Whoever needs no input needs not read it: that the pipe is closed is no failure.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(input).await;
    }
}

/// A command and what it started, killed when this is dropped.
struct Group(Option<Pid>);

impl Group {
    /// **Invariant:** while this exists, the child was not waited for to its end, so that its number is nobody else's.
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(error) => write!(f, "the command can't be started: {error}"),
            Self::Ended(status) => write!(f, "the command ended with {status}"),
            Self::TookTooLong(within) => {
                write!(
                    f,
                    "the command took longer than {} s and was killed",
                    within.as_secs()
                )
            }
            Self::Lost(error) => write!(f, "the command's end can't be known: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn run(line: &str, within: Duration) -> Result<(), ExecError> {
        Exec::new(line.into(), within)
            .run(b"hello", &[("PUSH_ATTEMPT", "1")])
            .await
    }

    /// WP-RCV-5, WP-RCV-6: exit code 0 is success, anything else isn't.
    #[tokio::test]
    async fn the_exit_code_decides() {
        assert!(run("true", LONG).await.is_ok());
        let error = run("exit 3", LONG).await.unwrap_err();
        assert_eq!(error.to_string(), "the command ended with exit status: 3");
        let error = run("kill -9 $$", LONG).await.unwrap_err();
        assert!(error.to_string().contains("signal: 9"), "{error}");
        assert!(run("there-is-no-such-command 2> /dev/null", LONG).await.is_err());
    }

    /// The command gets the message byte by byte, and what is said about it.
    #[tokio::test]
    async fn the_command_gets_the_message() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("got");
        let exec = Exec::new(
            "{ printf '%s ' \"$PUSH_SUBSCRIPTION\"; cat; } > \"$FILE\"".into(),
            LONG,
        );
        let environment = [
            ("PUSH_SUBSCRIPTION", "door $(1)"),
            ("FILE", file.to_str().unwrap()),
        ];
        exec.run(b"a\n\x00\xff", &environment).await.unwrap();
        assert_eq!(std::fs::read(file).unwrap(), b"door $(1) a\n\x00\xff");
    }

    /// A command that doesn't read its input has not failed for that, however much there is.
    #[tokio::test]
    async fn input_needs_not_be_read() {
        let exec = Exec::new("exec < /dev/null; true".into(), LONG);
        exec.run(&vec![b'a'; 1 << 20], &[]).await.unwrap();
    }

    /// A command that takes too long is killed with all that it started: nobody holds its output open any more.
    #[tokio::test]
    async fn too_long_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        let reader = {
            let pipe = pipe.clone();
            tokio::task::spawn_blocking(move || std::fs::read(pipe).unwrap())
        };
        let line = format!("exec > {}; echo begun; sleep 1000 & wait", pipe.display());
        let error = run(&line, Duration::from_millis(500)).await.unwrap_err();
        assert!(matches!(error, ExecError::TookTooLong(_)), "{error}");
        // Ends only when the last writer has.
        assert_eq!(reader.await.unwrap(), b"begun\n");
    }

    /// Dropped, it leaves nothing behind.
    #[tokio::test]
    async fn dropped_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        let line = format!("exec > {}; echo begun; sleep 1000 & wait", pipe.display());
        let running = tokio::spawn(async move { run(&line, LONG).await });
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let reader = tokio::task::spawn_blocking(move || {
            let mut output = std::fs::File::open(pipe).unwrap();
            let mut line = [0; 6];
            output.read_exact(&mut line).unwrap();
            begun.send(line).unwrap();
            output.read_to_end(&mut Vec::new()).unwrap()
        });
        assert_eq!(&has_begun.await.unwrap(), b"begun\n");
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        // Ends only when the last writer has.
        assert_eq!(reader.await.unwrap(), 0);
    }
}
