//! The supervisor: a small process between `listen` and its commands, so that they end with it.
//!
//! ```text
//! listen ──request: line, environment, four descriptors──► supervisor ──fork──► sh -c LINE, in a group of its own
//!    ▲                                                          │
//!    └───────── started, ended, not started ◄── control ────────┘
//! ```
//!
//! A process that is killed (kill -9) can't end the processes that it started, so another process has to. The supervisor is the parent of all
//! commands, and each has a *control* socket whose other end `listen` holds. When that end is closed, because `listen` wants
//! the command to end or because `listen` itself was killed, the supervisor kills the command with its whole process group.
//! When `listen` is gone, and all groups with it, the supervisor exits.
//!
//! **Invariant:** there is no moment at which a command runs that the supervisor doesn't know: it starts them.
//!
//! **Invariant:** the supervisor holds a lock on a file of the state directory for as long as it lives, and reads no request
//! before it has it. So the commands of the next `listen` begin after those of the last one have ended.
//!
//! It holds none of the descriptors of `listen`: each request brings the command's own. It is the same binary under a hidden
//! command, because another program would have to be installed beside it.

mod request;
mod serve;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::Child;
use tokio::sync::Mutex;
use tokio::time::timeout;
use user_agent_client::defaults::{KILLED_WITHIN, SUPERVISOR_WITHIN};

pub(super) use request::Environment;
use request::Requests;
pub(in crate::cli) use serve::supervise;

/// `listen`'s handle to its supervisor. The supervisor is started with the first command, and again if it has died.
pub(super) struct Supervisor {
    lock: PathBuf,
    running: Mutex<Option<Running>>,
}

struct Running {
    requests: Arc<Requests>,
    /// Waited for in the end, so that `listen` does not end before its commands have.
    process: Option<Child>,
}

/// A command that was asked for. Dropped, it is killed with its group.
pub(super) struct Started {
    /// Where it reads; dropped, that is its end.
    pub(super) stdin: Option<pipe::Sender>,
    control: UnixStream,
    /// Its group, once it runs.
    group: Option<Pid>,
}

/// Why it is not known how a command ended.
#[derive(Debug)]
pub(super) enum NoEnd {
    /// It could not be started.
    NotStarted(io::Error),
    /// The supervisor died, and the command was killed.
    Lost(io::Error),
}

/// What a supervisor says on a control socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Report {
    /// It runs, in a group of this number.
    Started(i32),
    /// It has ended, with this status of `wait`.
    Ended(i32),
    /// It can't be started, for this reason (`errno`).
    NotStarted(i32),
}

impl Supervisor {
    /// One that locks this file.
    pub(super) fn new(lock: PathBuf) -> Self {
        Self {
            lock,
            running: Mutex::new(None),
        }
    }

    /// Starts the process, and waits until the commands of an earlier `listen` have ended.
    pub(super) async fn begin(&self) -> io::Result<()> {
        let mut running = self.running.lock().await;
        if running.is_none() {
            *running = Some(Running::begin(&self.lock).await?);
        }
        Ok(())
    }

    /// Starts `sh -c LINE` with this environment beside ours, and our standard output and error.
    pub(super) async fn start(&self, line: &str, environment: &Environment) -> io::Result<Started> {
        let (input, stdin) = io::pipe()?;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let (output, error) = (io::stdout(), io::stderr());
        let descriptors = [input.as_fd(), output.as_fd(), error.as_fd(), theirs.as_fd()];
        let packet = request::packet(line, environment);
        let requests = self.requests().await?;
        if let Err(error) = requests.send(&packet, &descriptors).await {
            if !is_gone(&error) {
                return Err(error);
            }
            // It died. Each task that waits for a command kills it. Another supervisor is started, once.
            self.forget(&requests).await;
            self.requests().await?.send(&packet, &descriptors).await?;
        }
        Ok(Started {
            stdin: Some(pipe::Sender::from_owned_fd(OwnedFd::from(stdin))?),
            control: UnixStream::from_std(ours)?,
            group: None,
        })
    }

    async fn requests(&self) -> io::Result<Arc<Requests>> {
        self.begin().await?;
        let running = self.running.lock().await;
        let running = running.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        Ok(Arc::clone(&running.requests))
    }

    /// Forgets the process behind this socket, if another one did not take its place meanwhile.
    async fn forget(&self, requests: &Arc<Requests>) {
        let mut running = self.running.lock().await;
        running.take_if(|running| Arc::ptr_eq(&running.requests, requests));
    }

    /// Ends it, with all commands that still run, and waits until they have ended; not for long.
    pub(super) async fn end(&self) {
        let Some(Running { requests, process }) = self.running.lock().await.take() else {
            return;
        };
        drop(requests);
        if let Some(mut process) = process {
            let _ = timeout(KILLED_WITHIN, process.wait()).await;
        }
    }

    /// For tests of what runs commands: the supervisor is a task of the same process.
    #[cfg(test)]
    pub(super) fn of_this_process() -> Self {
        let (ours, theirs) = request::pair().unwrap();
        tokio::spawn(async { serve::serve(theirs).await });
        let running = Running {
            requests: Arc::new(Requests::new(ours).unwrap()),
            process: None,
        };
        Self {
            lock: PathBuf::new(),
            running: Mutex::new(Some(running)),
        }
    }
}

impl Running {
    async fn begin(lock: &Path) -> io::Result<Self> {
        let (ours, theirs) = request::pair()?;
        // This very binary, also when its file was replaced meanwhile.
        let mut command = tokio::process::Command::new("/proc/self/exe");
        command
            .arg0("user-agent-client")
            .arg("supervise")
            .arg("--lock")
            .arg(lock)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C on our terminal is for us: commands that run then are finished.
            .process_group(0);
        let mut process = command.spawn()?;
        // It holds the other end of the socket, which has to be closed here.
        drop(command);
        let requests = Requests::new(ours)?;
        let Ok(ready) = timeout(SUPERVISOR_WITHIN, requests.ready()).await else {
            let _ = process.kill().await;
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!(
                    "commands of an earlier `listen` have not ended within {} s; their supervisor still \
                     locks {}",
                    SUPERVISOR_WITHIN.as_secs(),
                    lock.display()
                ),
            ));
        };
        ready?;
        Ok(Self {
            requests: Arc::new(requests),
            process: Some(process),
        })
    }
}

impl Started {
    /// Waits until it has ended by itself.
    pub(super) async fn wait(&mut self) -> Result<ExitStatus, NoEnd> {
        loop {
            match self.report().await.map_err(NoEnd::Lost)? {
                Report::Started(group) => self.group = Pid::from_raw(group),
                Report::Ended(status) => return Ok(ExitStatus::from_raw(status)),
                Report::NotStarted(error) => {
                    return Err(NoEnd::NotStarted(io::Error::from_raw_os_error(error)));
                }
            }
        }
    }

    async fn report(&mut self) -> io::Result<Report> {
        let mut bytes = [0; Report::BYTES];
        match self.control.read_exact(&mut bytes).await {
            Ok(_) => Report::read(bytes).ok_or_else(|| io::ErrorKind::InvalidData.into()),
            Err(error) => {
                self.orphaned();
                Err(error)
            }
        }
    }

    /// The supervisor died and can't kill the command, so this does.
    fn orphaned(&mut self) {
        if let Some(group) = self.group.take() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Kills it with all that is in its group, and waits until that is done; not for long.
    pub(super) async fn kill(mut self) {
        self.stdin = None;
        let _ = self.control.shutdown().await;
        let mut rest = Vec::new();
        let _ = timeout(KILLED_WITHIN, self.control.read_to_end(&mut rest)).await;
    }
}

impl Report {
    const BYTES: usize = 5;

    fn bytes(self) -> [u8; Self::BYTES] {
        let (kind, number) = match self {
            Self::Started(group) => (b's', group),
            Self::Ended(status) => (b'e', status),
            Self::NotStarted(error) => (b'n', error),
        };
        let mut bytes = [kind; Self::BYTES];
        bytes[1..].copy_from_slice(&number.to_ne_bytes());
        bytes
    }

    fn read([kind, number @ ..]: [u8; Self::BYTES]) -> Option<Self> {
        let number = i32::from_ne_bytes(number);
        match kind {
            b's' => Some(Self::Started(number)),
            b'e' => Some(Self::Ended(number)),
            b'n' => Some(Self::NotStarted(number)),
            _ => None,
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::BrokenPipe | Kind::ConnectionReset | Kind::NotConnected | Kind::ConnectionRefused
    )
}

/// Opens the file that is locked, and makes it if it isn't there, for its owner only.
fn open_lock(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let mut options = File::options();
    options.write(true).create(true).truncate(false).mode(0o600);
    // A link may lead to where nothing is to be made.
    options.custom_flags(OFlags::NOFOLLOW.bits() as i32);
    let file = options.open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-45: a command whose `listen` was killed after it had asked for it is not started.
    #[tokio::test]
    async fn nothing_is_started_without_a_listener() {
        let directory = tempfile::tempdir().unwrap();
        let supervisor = Supervisor::of_this_process();
        let line = format!("echo > {}", directory.path().join("started").display());
        let packet = request::packet(&line, &Environment::default());
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        drop(ours);
        let (output, error) = (io::stdout(), io::stderr());
        let descriptors = [output.as_fd(), output.as_fd(), error.as_fd(), theirs.as_fd()];
        let requests = supervisor.requests().await.unwrap();
        requests.send(&packet, &descriptors).await.unwrap();
        // The next one is served behind it.
        let mut next = supervisor.start("exit 3", &Environment::default()).await.unwrap();
        assert_eq!(next.wait().await.unwrap().code(), Some(3));
        assert_eq!(directory.path().read_dir().unwrap().count(), 0);
    }

    /// PR-45: what a command that died with its supervisor did is not known, and it runs no more; the next one is started by
    /// another supervisor, which another command that noticed the same does not take away.
    #[tokio::test]
    async fn a_supervisor_is_forgotten_once() {
        let supervisor = Supervisor::of_this_process();
        let old = supervisor.requests().await.unwrap();
        let new = Supervisor::of_this_process().running.lock().await.take();
        *supervisor.running.lock().await = new;
        supervisor.forget(&old).await;
        let kept = supervisor.requests().await.unwrap();
        assert!(!Arc::ptr_eq(&kept, &old));
        supervisor.forget(&kept).await;
        assert!(supervisor.running.lock().await.is_none());
    }
}
