//! The socket `control` in the state directory, by which other commands talk to the `listen` that has the directory.
//!
//! One line of JSON asks, lines of JSON answer; the last of them is the end.
//!
//! ```text
//! ► {"version":1,"command":{"subscribe":{"name":"door","application_server_key":null,"server":null,"transport":null,"timeout_seconds":30}}}
//! ◄ {"says":"the service cannot be reached; connecting again in 3 s"}
//! ◄ {"subscribed":{"endpoint":…}}      or {"unsubscribed":{}}, or {"failed":{"exit":4,"why":"…"}}
//! ► printed
//! ```
//!
//! `printed` says that the command has printed the subscription. Only then a renewal counts as confirmed. Only the owner of
//! `listen`, and root, may talk. Lines, connections and waits are bounded. A `listen` that does not know a command answers
//! with a sentence that says so.

mod ask;
mod serve;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

pub(super) use ask::ask;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
pub(super) use serve::Control;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};
use tokio::net::UnixStream;
use user_agent_client::defaults::CONTROL_LINE_BYTES;

const SOCKET: &str = "control";
const VERSION: u32 = 1;
const PRINTED: &str = "printed\n";

#[derive(Serialize, Deserialize, Debug)]
struct Request {
    version: u32,
    command: Command,
}

/// All that is known of a request of any version.
#[derive(Deserialize)]
struct AnyRequest {
    version: u32,
}

/// What `listen` is asked to do.
#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum Command {
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Subscribe {
    pub(super) name: String,
    pub(super) application_server_key: Option<String>,
    /// Refused, if `listen` is with another one.
    pub(super) server: Option<String>,
    pub(super) transport: Option<String>,
    pub(super) timeout_seconds: u64,
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Unsubscribe {
    pub(super) name: String,
    pub(super) timeout_seconds: u64,
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
enum ControlReply {
    /// What hinders, in a sentence for people.
    Says(String),
    /// As `subscribe` prints it.
    Subscribed(Box<RawValue>),
    Unsubscribed {},
    /// An exit code, and a sentence.
    Failed {
        exit: u8,
        why: String,
    },
}

/// A way to the socket that is short enough for an address, however long that of the directory is: an address has 107 bytes.
struct SocketPath {
    /// Keeps the way open.
    _directory: File,
    path: PathBuf,
}

impl SocketPath {
    fn of(directory: &Path) -> io::Result<Self> {
        let flags = (OFlags::DIRECTORY | OFlags::PATH).bits().cast_signed();
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(directory)?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
        // Without /proc a short directory does, too.
        let path = if short.exists() {
            short
        } else {
            directory.to_owned()
        };
        Ok(Self {
            _directory: opened,
            path: path.join(SOCKET),
        })
    }
}

/// Whether the other end belongs to the same user, or to root.
fn is_trusted(stream: &UnixStream) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == ours || peer.uid() == 0)
}

/// The next line; nothing at the end, or if it is too long.
async fn read_line(input: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    let mut line = String::new();
    input.take(CONTROL_LINE_BYTES).read_line(&mut line).await?;
    Ok(line.ends_with('\n').then_some(line))
}

fn to_line(what: &impl Serialize) -> String {
    let mut line = serde_json::to_string(what).expect("strings and numbers always serialize");
    line.push('\n');
    line
}
