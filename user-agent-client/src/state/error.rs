//! Why a state can't be written or read. Each error prints as a sentence that says what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use push_protocol::identifiers::SubscriptionName;
use rustix::io::Errno;

use crate::defaults::{LABEL_CHARACTERS, SUBSCRIPTIONS};
use crate::server_url::ServerUrl;

/// Why a state can't be written or read. Holds no secret: of a service's URL only the
/// host.
#[derive(Debug)]
#[non_exhaustive]
pub enum StateError {
    /// A label is empty, too long, or has characters that file names can't have.
    BadLabel,
    /// Another subscription has this label.
    LabelInUse(Box<str>),
    /// There are [`SUBSCRIPTIONS`] already.
    TooManySubscriptions,
    /// A subscription is asked for that was not prepared: a mistake of the caller. Nothing has changed.
    NotPrepared(SubscriptionName),
    /// The state belongs to this other service.
    OtherService(ServerUrl),
    /// The subscriptions in the state were made over the other transport, where this service is.
    OtherTransport(ServerUrl),
    /// [`Options::until_empty`](crate::Options::until_empty) over a WebSocket, where a service does not say when its queue is empty.
    NeverEmpty,
    /// The path of a file of certificates is not UTF-8.
    NotText(PathBuf),
    /// The random source failed. Nothing has changed.
    NoRandomness,

    /// Another user agent uses the directory.
    Locked {
        /// The directory.
        directory: PathBuf,
        /// Its process, if it could write that down.
        process: Option<u32>,
    },
    /// There is no such directory.
    NoDirectory(PathBuf),
    /// Something else has the directory's name.
    NotADirectory(PathBuf),
    /// The directory's name, or one above it, is a link that leads nowhere. Nothing was touched.
    Dangling {
        /// The link.
        link: PathBuf,
        /// Where it leads.
        to: PathBuf,
    },
    /// A link is in the place of a file: the first change would put a file there, and leave behind what the link leads to.
    /// Nothing was touched.
    Link(PathBuf),
    /// The directory was deleted while it was in use.
    Deleted(PathBuf),
    /// A file can't be replaced because it is a mount of its own.
    Mounted(FileError),
    /// A file is not as it was written. Nothing was touched.
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A later version wrote the file. Nothing was touched.
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its format.
        format: u64,
    },
    /// The file system is read-only, or the permissions forbid it.
    NotAllowed(FileError),
    /// The disk is full, or the quota or file size limit is reached.
    DiskFull(FileError),
    /// Something else went wrong.
    Io(FileError),
    /// An earlier change could not be kept, so no further change is accepted.
    Failed,

    /// The outcome of a message could not be written. No message is lost: after a restart it may be handled again.
    Messages(FileError),
}

/// What went wrong with which file.
#[derive(Debug)]
#[non_exhaustive]
pub struct FileError {
    /// The file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

impl StateError {
    /// Whether the user agent may go on: only the memory of its last messages is concerned, which costs a duplicate after
    /// a restart. [`StateError::NotAllowed`], [`DiskFull`](StateError::DiskFull), [`Io`](StateError::Io) and
    /// [`Failed`](StateError::Failed) from a save are final, because the session rests on what was not kept.
    pub fn is_about_messages_only(&self) -> bool {
        matches!(self, Self::Messages(_))
    }

    /// Sorts what the system said by who can help.
    pub(super) fn of_file(path: &Path, error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        let kind = error.kind();
        let path = path.to_owned();
        match kind {
            _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => Self::Link(path),
            Kind::NotADirectory => Self::NotADirectory(path),
            Kind::ResourceBusy => Self::Mounted(FileError { path, error }),
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Self::NotAllowed(FileError { path, error }),
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => {
                Self::DiskFull(FileError { path, error })
            }
            _ => Self::Io(FileError { path, error }),
        }
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadLabel => write!(
                f,
                "The name of the subscription is not allowed: choose one of 1 to {LABEL_CHARACTERS} \
                 characters, without / and control characters, and not . or ..",
            ),
            Self::LabelInUse(label) => write!(
                f,
                "A subscription with the name {label} exists already; choose another name, or unsubscribe \
                 it first."
            ),
            Self::TooManySubscriptions => write!(
                f,
                "There are {SUBSCRIPTIONS} subscriptions, the most that one user agent can have; \
                 unsubscribe some, or use another state directory."
            ),
            Self::NotPrepared(name) => {
                write!(f, "The subscription {name} was asked for without being prepared.")
            }
            Self::OtherService(known) => write!(
                f,
                "The state belongs to the service at {known}; use another state directory for another \
                 service."
            ),
            Self::OtherTransport(known) => write!(
                f,
                "The subscriptions in the state belong to the transport of {known}; use \
                 `ServerUrl::over(Transport::{:?})`, or another state directory.",
                known.transport()
            ),
            Self::NeverEmpty => f.write_str(
                "Over a WebSocket a push service never says that no more messages wait, so \
                 `Options::until_empty` is not possible; use `ServerUrl::over(Transport::Http2)`, with a \
                 state directory for it.",
            ),
            Self::NotText(path) => write!(
                f,
                "The path {} is not UTF-8, so the state cannot remember it; rename the file.",
                path.display()
            ),
            Self::NoRandomness => {
                f.write_str("The random source failed; check that the system provides getrandom.")
            }
            Self::Locked { directory, process } => {
                write!(f, "The state directory {} is in use by ", directory.display())?;
                match process {
                    Some(process) => write!(f, "process {process}")?,
                    None => f.write_str("another process")?,
                }
                f.write_str("; stop that one first, or use another directory.")
            }
            Self::NoDirectory(path) => write!(
                f,
                "There is no state directory {}; check its name, or make it with `subscribe`.",
                path.display()
            ),
            Self::NotADirectory(path) => {
                write!(
                    f,
                    "{} is not a directory; choose a directory for the state.",
                    path.display()
                )
            }
            Self::Dangling { link, to } => write!(
                f,
                "{} is a symbolic link to {}, which does not exist: is a volume not mounted? Nothing was \
                 changed. Mount it, or correct the link.",
                link.display(),
                to.display()
            ),
            Self::Link(path) => write!(
                f,
                "{} is a symbolic link, and the first change would replace it by a file. Nothing was \
                 changed. Put the file itself there, or make the whole directory a link.",
                path.display()
            ),
            Self::Deleted(path) => write!(
                f,
                "The state directory {} was deleted while it was in use. Restore it from a backup, or \
                 subscribe again.",
                path.display()
            ),
            Self::Mounted(at) => write!(
                f,
                "{at}. A file that is a mount point cannot be replaced; mount the whole state directory \
                 instead."
            ),
            Self::Damaged { file, what } => write!(
                f,
                "{} is damaged: {what}. Nothing was changed. Restore the file from a backup, or move it \
                 away and subscribe again.",
                file.display()
            ),
            Self::NewerFormat { file, format } => write!(
                f,
                "{} has the format {format}, which a newer version wrote. Nothing was changed. Use that \
                 version, or another state directory.",
                file.display()
            ),
            Self::NotAllowed(at) => write!(
                f,
                "{at}. Give this user the right to read and write there, or use another state directory."
            ),
            Self::DiskFull(at) => write!(
                f,
                "{at}. Free some space, then start again; everything that was stored before is intact."
            ),
            Self::Io(at) => write!(
                f,
                "{at}. Check the disk, then start again; everything that was stored before is intact."
            ),
            Self::Failed => f.write_str(
                "An earlier change of the state could not be written: repair that, then start again.",
            ),
            Self::Messages(at) => write!(
                f,
                "{at}. No message is lost, but after a restart the last messages may be handled again."
            ),
        }
    }
}

impl std::error::Error for StateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotAllowed(at)
            | Self::DiskFull(at)
            | Self::Io(at)
            | Self::Mounted(at)
            | Self::Messages(at) => Some(&at.error),
            _ => None,
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}
