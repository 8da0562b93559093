//! The supervisor's own end: it starts commands, tells how they end, and kills those that are not wanted any more.

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use user_agent_client::defaults::KILLED_WITHIN;

use super::request::{PACKET_BYTES, Request, Requests};
use super::{Report, open_lock};
use crate::cli::args::Supervise;
use crate::cli::exit::{Exit, Failure};

/// The hidden command. Its standard input is the socket for requests.
pub(in crate::cli) async fn supervise(arguments: Supervise) -> Result<Exit, Failure> {
    let ended = async {
        // It ends when `listen` does, and not with it: a service manager asks all of its processes to end at once, but the
        // commands are to be finished. Handlers of our own, because what is ignored would be ignored by commands, too.
        for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
            let _ = signal(kind)?;
        }
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
    // Whoever asked for them is gone, so their control sockets are closed.
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
    // If nobody can hear it any more, that is seen below.
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

/// `None` if its other end is closed: then nobody wants the command any more.
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
    /// **Invariant:** it is killed before the child was waited for to its end, so that its number is nobody else's.
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
        /// How often it is looked. Chosen: killed processes are gone within this.
        const LOOK: Duration = Duration::from_millis(2);
        let until = Instant::now() + KILLED_WITHIN;
        while let Some(group) = self.0
            && test_kill_process_group(group).is_ok()
            && Instant::now() < until
        {
            sleep(LOOK).await;
        }
    }
}
