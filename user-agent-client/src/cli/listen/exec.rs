//! A command of the user: its input, its deadline, and what its exit code means.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::time::timeout;
use user_agent_client::defaults::END_READ_WITHIN;

use super::delivery::NotHandled;
use super::supervisor::{Environment, NoEnd, Supervisor};

/// A line for `sh -c`.
pub(super) struct Exec {
    line: String,
    within: Duration,
    supervisor: Arc<Supervisor>,
}

/// Why a command did not do its work.
#[derive(Debug)]
pub(super) enum ExecError {
    /// There is no `sh`, no room for another process, or no supervisor.
    NotStarted(io::Error),
    /// It ended with another exit code than 0, or by a signal.
    Ended(ExitStatus),
    /// It took too long, and was killed with all that it started.
    TookTooLong(Duration),
    /// Its end can't be known: the supervisor died. It was killed.
    Lost(io::Error),
}

impl From<NoEnd> for ExecError {
    fn from(no_end: NoEnd) -> Self {
        match no_end {
            NoEnd::NotStarted(error) => Self::NotStarted(error),
            NoEnd::Lost(error) => Self::Lost(error),
        }
    }
}

impl Exec {
    pub(super) fn new(line: String, within: Duration, supervisor: Arc<Supervisor>) -> Self {
        Self {
            line,
            within,
            supervisor,
        }
    }

    /// Runs the command to its end. What it prints is passed through. Dropped, it kills the command and its group.
    pub(super) async fn run(&self, input: &[u8], environment: &Environment) -> Result<(), ExecError> {
        let started = self.supervisor.start(&self.line, environment).await;
        let mut command = started.map_err(ExecError::NotStarted)?;
        let stdin = command.stdin.take();
        let ended = async { tokio::join!(feed(stdin, input), command.wait()).1 };
        match done_within(ended, self.within).await {
            Some(status) => {
                let status = status?;
                status.success().then_some(()).ok_or(ExecError::Ended(status))
            }
            None => {
                command.kill().await;
                Err(ExecError::TookTooLong(self.within))
            }
        }
    }
}

/// Waits for so long. When that is over, what is known already is read once more: `listen` may have been stopped (SIGSTOP)
/// longer than its command took, and then it sees the deadline before it sees the end.
async fn done_within<T>(what: impl Future<Output = T>, within: Duration) -> Option<T> {
    let mut what = pin!(what);
    match timeout(within, &mut what).await {
        Ok(done) => Some(done),
        Err(_) => timeout(END_READ_WITHIN, what).await.ok(),
    }
}

/// A command that needs no input need not read it: that the pipe is closed is no failure.
async fn feed(stdin: Option<pipe::Sender>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(input).await;
    }
}

/// The exit codes of `sh` for a command that it can't run, and for one that is not there (POSIX, 2.8.2).
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;
/// "Not now" in the words of `sysexits.h`, which mail systems take from the commands that they deliver to.
const TEMPORARY_FAILURE: i32 = 75;

impl ExecError {
    /// What it means for the message. That a command can't be started, or says itself that it can't work now, says nothing
    /// of the message. One that took too long may do so because of the message, so that is a failure.
    pub(super) fn not_handled(self) -> NotHandled {
        let why = self.to_string();
        match self {
            Self::NotStarted(_) | Self::Lost(_) => NotHandled::Unable(why),
            Self::TookTooLong(_) => NotHandled::Failed(why),
            Self::Ended(status) => match status.code() {
                Some(NOT_EXECUTABLE | NOT_FOUND | TEMPORARY_FAILURE) => NotHandled::Unable(why),
                _ if is_asked_to_end(status) => NotHandled::Stopped(why),
                _ => NotHandled::Failed(why),
            },
        }
    }
}

/// Whether a signal ended it that asks a process to end: a service manager sends that to all processes of a service, so it
/// may be about to reach us, too. A shell says of such a command what it would have said of itself.
fn is_asked_to_end(status: ExitStatus) -> bool {
    /// What shells add to the number of a signal (POSIX, 2.8.2: more than 128).
    const BY_SIGNAL: i32 = 128;
    let signal = status.signal().or(status.code().map(|code| code - BY_SIGNAL));
    [Signal::HUP, Signal::INT, Signal::TERM]
        .iter()
        .any(|asks| signal == Some(asks.as_raw()))
}

impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(error) => write!(f, "the command cannot be started: {error}"),
            Self::Ended(status) => match status.code() {
                Some(NOT_FOUND) => f.write_str("the command was not found (exit code 127)"),
                Some(NOT_EXECUTABLE) => f.write_str("the command cannot be run (exit code 126)"),
                Some(TEMPORARY_FAILURE) => f.write_str("the command cannot work now (exit code 75)"),
                _ => write!(f, "the command ended with {status}"),
            },
            Self::TookTooLong(within) => {
                write!(
                    f,
                    "the command took longer than {} s and was killed",
                    within.as_secs()
                )
            }
            Self::Lost(error) => {
                write!(
                    f,
                    "the process that supervises commands ended, and the command with it ({error})"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn exec(line: &str, within: Duration) -> Exec {
        Exec::new(line.into(), within, Arc::new(Supervisor::of_this_process()))
    }

    async fn run(line: &str, within: Duration) -> Result<(), ExecError> {
        exec(line, within).run(b"hello", &Environment::default()).await
    }

    /// WP-RCV-5, WP-RCV-6: exit code 0 is success, anything else isn't.
    #[tokio::test]
    async fn the_exit_code_decides() {
        assert!(run("true", LONG).await.is_ok());
        let error = run("exit 3", LONG).await.unwrap_err();
        assert_eq!(error.to_string(), "the command ended with exit status: 3");
        let error = run("kill -9 $$", LONG).await.unwrap_err();
        assert!(error.to_string().contains("signal: 9"), "{error}");
    }

    /// PR-45: what says that nothing works is told from what says that this message is bad, and from a signal that may be for
    /// all of us.
    #[tokio::test]
    async fn what_an_end_means() {
        let directory = tempfile::tempdir().unwrap();
        let unable = [
            "there-is-no-such-command 2> /dev/null".to_owned(),
            format!("{} 2> /dev/null", directory.path().display()),
            "exit 75".to_owned(),
        ];
        for line in unable {
            let trouble = run(&line, LONG).await.unwrap_err().not_handled();
            assert!(matches!(trouble, NotHandled::Unable(_)), "{line}: {trouble:?}");
        }
        for line in [
            "exit 1",
            "exit 74",
            "exit 124",
            "kill -9 $$",
            "kill -SEGV $$",
            "exit 137",
        ] {
            let trouble = run(line, LONG).await.unwrap_err().not_handled();
            assert!(matches!(trouble, NotHandled::Failed(_)), "{line}: {trouble:?}");
        }
        for line in [
            "kill $$",
            "kill -INT $$",
            "kill -HUP $$",
            "sh -c 'kill $$'; exit $?",
        ] {
            let trouble = run(line, LONG).await.unwrap_err().not_handled();
            assert!(matches!(trouble, NotHandled::Stopped(_)), "{line}: {trouble:?}");
        }
        let slow = run("sleep 1000", Duration::from_millis(200)).await.unwrap_err();
        assert!(matches!(slow.not_handled(), NotHandled::Failed(_)));
        let no_room = io::Error::from_raw_os_error(rustix::io::Errno::AGAIN.raw_os_error());
        for error in [
            ExecError::NotStarted(no_room),
            ExecError::Lost(io::ErrorKind::UnexpectedEof.into()),
        ] {
            assert!(matches!(error.not_handled(), NotHandled::Unable(_)));
        }
    }

    /// PR-45: a command that ended in time has not failed, also if its end is read when the time is over.
    #[tokio::test(start_paused = true)]
    async fn an_end_that_is_read_late_counts() {
        let read_late = tokio::time::sleep(LONG + END_READ_WITHIN / 2);
        assert!(done_within(read_late, LONG).await.is_some());
        assert!(done_within(std::future::pending::<()>(), LONG).await.is_none());
    }

    /// The command gets the message byte by byte, and what is said about it.
    #[tokio::test]
    async fn the_command_gets_the_message() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("got");
        let exec = exec("{ printf '%s ' \"$PUSH_SUBSCRIPTION\"; cat; } > \"$FILE\"", LONG);
        let mut environment = Environment::default();
        environment.set("PUSH_SUBSCRIPTION", Some("door $(1)"));
        environment.set("FILE", file.to_str());
        exec.run(b"a\n\x00\xff", &environment).await.unwrap();
        assert_eq!(std::fs::read(file).unwrap(), b"door $(1) a\n\x00\xff");
    }

    /// A command that doesn't read its input has not failed for that, however much there is.
    #[tokio::test]
    async fn input_needs_not_be_read() {
        let exec = exec("exec < /dev/null; true", LONG);
        exec.run(&vec![b'a'; 1 << 20], &Environment::default())
            .await
            .unwrap();
    }

    /// A command that takes too long is killed with all that it started: nothing holds its output open any more.
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
