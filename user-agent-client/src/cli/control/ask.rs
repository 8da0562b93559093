//! The command's end of the control socket: it sends a request and prints the reply.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};
use user_agent_client::defaults::{CONTROL_CONNECT_TIMES, CONTROL_LINE_WITHIN};

use super::{Command, ControlReply, PRINTED, Request, SocketPath, VERSION, is_trusted, read_line, to_line};
use crate::cli::console::{print_json, say};
use crate::cli::exit::{Exit, Failure};
use crate::cli::signals::Signals;

/// Sends the command to the `listen` that has the directory, and prints its reply. `None` if no `listen` answers: then another
/// process has the directory.
pub(in crate::cli) async fn ask(
    directory: &Path,
    command: Command,
    within: Duration,
    signals: &mut Signals,
) -> Option<Result<Exit, Failure>> {
    let stream = connect(directory).await?;
    let asking = timeout(within + CONTROL_LINE_WITHIN, talk(stream, command));
    Some(tokio::select! {
        asked = asking => asked.unwrap_or_else(|_| {
            Err(Failure::new(Exit::Failed, "the running `listen` does not answer: restart it"))
        }),
        () = signals.next() => Err(Failure::new(Exit::Interrupted, "interrupted; the running `listen` goes on with the request")),
    })
}

/// A `listen` that has just begun has a socket in a moment.
async fn connect(directory: &Path) -> Option<UnixStream> {
    const AGAIN_AFTER: Duration = Duration::from_millis(50);
    let socket = SocketPath::of(directory).ok()?;
    for _ in 0..CONTROL_CONNECT_TIMES {
        match UnixStream::connect(&socket.path).await {
            Ok(stream) => return is_trusted(&stream).then_some(stream),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => sleep(AGAIN_AFTER).await,
                _ => return None,
            },
        }
    }
    None
}

async fn talk(stream: UnixStream, command: Command) -> Result<Exit, Failure> {
    let (input, mut output) = stream.into_split();
    let mut input = BufReader::new(input);
    let request = Request {
        version: VERSION,
        command,
    };
    // If it is gone already, reading ends at once.
    let _ = output.write_all(to_line(&request).as_bytes()).await;
    loop {
        let Ok(Some(line)) = read_line(&mut input).await else {
            return Err(Failure::new(
                Exit::Failed,
                "the running `listen` ended before it answered: run this command again",
            ));
        };
        match serde_json::from_str(&line) {
            Ok(ControlReply::Says(sentence)) => say(sentence),
            Ok(ControlReply::Subscribed(json)) => {
                print_json(json.get())?;
                let _ = output.write_all(PRINTED.as_bytes()).await;
                return Ok(Exit::Done);
            }
            Ok(ControlReply::Unsubscribed {}) => return Ok(Exit::Done),
            Ok(ControlReply::Failed { exit, why }) => return Err(Failure::new(Exit::of_code(exit), why)),
            Err(_) => {
                return Err(Failure::new(
                    Exit::Failed,
                    "the running `listen` gave an answer that this version does not understand: restart \
                     `listen` with this version",
                ));
            }
        }
    }
}
