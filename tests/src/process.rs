//! A process that stays, such as a server's: signalled, waited for, gone with its owner.
//!
//! **Invariant:** a signal reaches this process or none: it is named by a file descriptor, which no later process
//! inherits as it might the number. A thread of its own starts it and waits for it, for two reasons: the kernel ends
//! the process when the thread that started it ends, and a test's thread may end before the server shall; and the
//! process can be waited for from any runtime.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::watch;

use crate::log::Log;

/// A process that may have ended.
#[derive(Debug)]
pub struct Process {
    id: OwnedFd,
    number: i32,
    log: Log,
    ended: watch::Receiver<Option<ExitStatus>>,
    waiter: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts it; its log is what it writes to standard output and standard error.
    pub fn start(command: Command) -> Self {
        let (output, input) = io::pipe().expect("a pipe for the log");
        let log = Log::read(OwnedFd::from(output).into());
        let (news, ended) = watch::channel(None);
        let (started, starting) = mpsc::channel();
        let waiter = std::thread::spawn(move || run(command, input, &started, &news));
        let (id, number) = starting.recv().expect("the process starts");
        Self {
            id,
            number,
            log,
            ended,
            waiter: Some(waiter),
        }
    }

    /// Its process id, for its files in `/proc`, while it runs.
    pub(crate) fn number(&self) -> i32 {
        self.number
    }

    /// What it has said so far.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Sends a signal. To a process that has ended it does nothing.
    pub fn signal(&self, signal: Signal) {
        match pidfd_send_signal(&self.id, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => panic!("the process can be signalled: {error}"),
        }
    }

    /// Whether it has ended, for any reason.
    pub fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Waits until it has ended.
    pub async fn ended(&self) -> ExitStatus {
        let mut ended = self.ended.clone();
        let status = ended.wait_for(Option::is_some).await;
        status
            .ok()
            .and_then(|status| *status)
            .expect("the process is waited for")
    }
}

impl Drop for Process {
    /// Waits as well, so that the process does not write into a directory that is being removed.
    fn drop(&mut self) {
        // The process may have ended, and its thread may have failed: it is gone in any case.
        let _ = pidfd_send_signal(&self.id, Signal::KILL);
        let _ = self.waiter.take().map(JoinHandle::join);
    }
}

fn run(
    mut command: Command,
    log: io::PipeWriter,
    started: &mpsc::Sender<(OwnedFd, i32)>,
    news: &watch::Sender<Option<ExitStatus>>,
) {
    let errors = log.try_clone().expect("a pipe has many ends");
    let spawned = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
    // With the command go our ends of the pipe: the log ends with the process.
    drop(command);
    let mut child = spawned.expect("the program can be run");
    let id = Pid::from_child(&child);
    let descriptor = pidfd_open(id, PidfdFlags::empty()).expect("a descriptor of the process");
    // The test that started it waits for this.
    let _ = started.send((descriptor, id.as_raw_nonzero().get()));
    let status = child.wait().expect("a child can be waited for");
    news.send_replace(Some(status));
}
