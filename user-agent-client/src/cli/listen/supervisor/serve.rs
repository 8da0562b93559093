//! The supervisor process: it starts commands, reports how they end, and kills those that are not wanted any more.

use std::fs;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use user_agent_client::defaults::KILLED_WITHIN;

use super::request::{PACKET_BYTES, Request, Requests};
use super::{Report, open_lock};
use crate::cli::args::Supervise;
use crate::cli::exit::{Exit, Failure};
use crate::cli::signals;

/// The hidden command. Its standard input is the socket for requests.
pub(in crate::cli) async fn supervise(arguments: Supervise) -> Result<Exit, Failure> {
    let ended = async {
        // It ends after `listen`: a service manager sends SIGTERM to all processes at once, but the commands are to be finished.
        signals::outlive()?;
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        // Held until this process is gone. Nothing else has to be done meanwhile, so it may block: `listen` has a deadline.
        let lock = open_lock(&arguments.lock);
        let lock = lock.and_then(|file| file.lock().map(|()| file));
        let requests = Requests::new(socket)?;
        match &lock {
            Ok(_) => requests.say_ready().await?,
            Err(error) => return requests.say_why_not(error).await,
        }
        serve_requests(&requests).await;
        Ok(())
    };
    ended
        .await
        .map_err(|error: io::Error| Failure::new(Exit::Failed, error))?;
    Ok(Exit::Done)
}

/// Serves requests until the other end is gone and every command has ended.
#[cfg(test)]
pub(super) async fn serve(socket: OwnedFd) {
    serve_requests(&Requests::new(socket).unwrap()).await;
}

async fn serve_requests(requests: &Requests) {
    let mut buffer = vec![0; PACKET_BYTES];
    let mut commands = JoinSet::new();
    loop {
        tokio::select! {
            request = requests.receive(&mut buffer) => match request {
                // A control socket that can't be used is closed, which says enough.
                Ok(Some(request)) => drop(commands.spawn(run(request))),
                Ok(None) | Err(_) => break,
            },
            Some(_) = commands.join_next() => {}
        }
    }
    // `listen` is gone, so the control sockets of all commands are closed.
    while commands.join_next().await.is_some() {}
}

async fn run(request: Request) -> io::Result<()> {
    let Request {
        line,
        environment,
        descriptors: [input, output, error, control],
    } = request;
    let Some(mut control) = control_socket(control)? else {
        return Ok(());
    };
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(line)
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output))
        .stderr(Stdio::from(error))
        // A group of its own can be killed as a whole, and Ctrl-C on the terminal is not for it.
        .process_group(0);
    for (name, value) in environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let spawned = command.spawn();
    // The command's descriptors are its own: held here, its input and output would never end.
    drop(command);
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            let number = error.raw_os_error().unwrap_or_default();
            return control.write_all(&Report::NotStarted(number).bytes()).await;
        }
    };
    let group = Group::of(&child);
    // If `listen` is gone, `closed` below notices it.
    let _ = control.write_all(&Report::Started(group.number()).bytes()).await;
    let ended = tokio::select! {
        biased;
        status = child.wait() => status.ok(),
        () = closed(&mut control) => None,
    };
    match ended {
        // What it left running in the background may stay.
        Some(status) => control.write_all(&Report::Ended(status.into_raw()).bytes()).await,
        None => {
            group.kill();
            let _ = child.wait().await;
            group.gone().await;
            Ok(())
        }
    }
}

/// `None` if its other end is closed: then the command is not wanted any more.
fn control_socket(socket: OwnedFd) -> io::Result<Option<UnixStream>> {
    let mut socket = std::os::unix::net::UnixStream::from(socket);
    socket.set_nonblocking(true)?;
    if matches!(socket.read(&mut [0]), Ok(0)) {
        return Ok(None);
    }
    UnixStream::from_std(socket).map(Some)
}

async fn closed(control: &mut UnixStream) {
    // Nothing is ever said there but by closing it.
    let _ = control.read(&mut [0]).await;
}

/// A command and what it started.
struct Group(Option<Pid>);

impl Group {
    /// **Invariant:** it is killed before the child was waited for, so that no other group can have its number.
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    fn number(&self) -> i32 {
        self.0.map_or(0, Pid::as_raw_pid)
    }

    fn kill(&self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Waits until the last process of it has ended; not for ever, because one may hang in the kernel.
    async fn gone(&self) {
        /// After how long it is looked again: at first, and at most. Chosen: killed processes are gone within the first.
        const AGAIN_AFTER: Duration = Duration::from_millis(2);
        const AGAIN_MOST: Duration = Duration::from_millis(64);
        let until = Instant::now() + KILLED_WITHIN;
        let mut again_after = AGAIN_AFTER;
        while self.runs() && Instant::now() < until {
            sleep(again_after).await;
            again_after = (again_after * 2).min(AGAIN_MOST);
        }
    }

    /// Whether a process of it runs. A zombie has ended, but its number stays taken until its parent waits for it; in some
    /// containers process 1 waits for no orphan.
    fn runs(&self) -> bool {
        let Some(group) = self.0.filter(|group| test_kill_process_group(*group).is_ok()) else {
            return false;
        };
        let Ok(processes) = fs::read_dir("/proc") else {
            return true;
        };
        processes.flatten().any(|process| {
            let stat = fs::read_to_string(process.path().join("stat"));
            stat.is_ok_and(|stat| is_running_in(&stat, group))
        })
    }
}

/// Whether a process with this `/proc/PID/stat` is in this group and has not ended (proc_pid_stat(5)).
fn is_running_in(stat: &str, group: Pid) -> bool {
    // The name before it may have spaces and parentheses.
    let Some((_, fields)) = stat.rsplit_once(')') else {
        return false;
    };
    let mut fields = fields.split_whitespace();
    let (state, _parent) = (fields.next(), fields.next());
    let is_in_group = fields.next().and_then(|number| number.parse().ok()) == Some(group.as_raw_pid());
    is_in_group && !matches!(state, Some("Z" | "X"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;

    use super::*;

    /// PR-45: a process that has ended and that its parent has not waited for counts as ended.
    #[test]
    fn a_zombie_does_not_run() {
        let mut zombie = std::process::Command::new("sleep")
            .arg("1000")
            .process_group(0)
            .spawn()
            .unwrap();
        let group = Group(Some(Pid::from_child(&zombie)));
        assert!(group.runs());
        group.kill();
        // Waits for its end, and leaves it a zombie.
        let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        let id = rustix::process::WaitId::Pid(Pid::from_child(&zombie));
        rustix::process::waitid(id, options).unwrap();
        assert!(
            test_kill_process_group(Pid::from_child(&zombie)).is_ok(),
            "the number is still taken"
        );
        assert!(!group.runs());
        zombie.wait().unwrap();
        assert!(!group.runs());
    }

    /// The fields are those of proc_pid_stat(5), whatever the name of the process is.
    #[test]
    fn the_state_and_the_group_are_read() {
        let group = Pid::from_raw(70).unwrap();
        for (stat, expected) in [
            ("71 (sleep) S 1 70 70 0", true),
            ("71 (a) Z 1 70 (b) D 1 70 70 0", true),
            ("71 (sleep) Z 1 70 70 0", false),
            ("71 (sleep) X 1 70 70 0", false),
            ("71 (sleep) S 70 71 70 0", false),
            ("", false),
        ] {
            assert_eq!(is_running_in(stat, group), expected, "{stat}");
        }
    }
}
