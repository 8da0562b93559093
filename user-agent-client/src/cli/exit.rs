//! The exit codes, and which error has which code.

use std::fmt::Display;
use std::process::ExitCode;

use push_protocol::encryption::EncryptError;
use user_agent_client::application_server::key_file::KeyFileError;
use user_agent_client::application_server::{ReceiptError, SendError};
use user_agent_client::proxy::ProxyError;
use user_agent_client::server_url::ServerUrlError;
use user_agent_client::state::StateError;
use user_agent_client::tls::TrustError;
use user_agent_client::user_agent::SubscribeError;

/// How the command ends. **Invariant:** scripts rely on the numbers; they never change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Exit {
    /// Everything went as asked.
    Done = 0,
    /// It failed for a reason that no other code names.
    Failed = 1,
    /// The command line, its input or a file that it names has to be changed. clap exits with the same code.
    Usage = 2,
    /// The state directory is missing, in use, damaged or not writable.
    State = 3,
    /// The push service can't be reached, refuses, or did not do in time what was waited for.
    Unreachable = 4,
    /// `send`: the subscription has ended. Forget it.
    Gone = 5,
    /// `send`: not now. Try again later.
    Later = 6,
    /// Standard output is closed.
    OutputClosed = 7,
    /// A signal ended it before it was done.
    Interrupted = 8,
    /// `send --receipt`: the push service gave the message up.
    GivenUp = 9,
}

impl Exit {
    const ALL: [Self; 10] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::State,
        Self::Unreachable,
        Self::Gone,
        Self::Later,
        Self::OutputClosed,
        Self::Interrupted,
        Self::GivenUp,
    ];

    /// The exit with this number; an unknown number is `Failed`.
    pub(super) fn of_code(code: u8) -> Self {
        let exit = Self::ALL.into_iter().find(|exit| *exit as u8 == code);
        exit.unwrap_or(Self::Failed)
    }
}

/// The exit codes as the help lists them.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  any other failure
  2  the command line, its input, or a file that it names is wrong
  3  the state directory is missing, in use, damaged or not writable
  4  the push service cannot be reached, refused, or did not answer in time
  5  send: the subscription has ended; delete it
  6  send: the service does not accept messages now; try again later
  7  standard output was closed
  8  a signal ended it before it was done
  9  send --receipt: the push service gave the message up";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that ends the command.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    /// A sentence for people. It holds no secret.
    pub(super) why: String,
}

impl Failure {
    pub(super) fn new(exit: Exit, why: impl Display) -> Self {
        Self {
            exit,
            why: why.to_string(),
        }
    }

    /// The command line has to be changed.
    pub(super) fn usage(why: impl Display) -> Self {
        Self::new(Exit::Usage, why)
    }

    /// No subscription has this name.
    pub(super) fn no_subscription(name: &str) -> Self {
        Self::usage(format_args!("there is no subscription {name}; `list` shows all"))
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::from(&error)
    }
}

impl From<&StateError> for Failure {
    fn from(error: &StateError) -> Self {
        let exit = match error {
            StateError::BadLabel
            | StateError::LabelInUse(_)
            | StateError::OtherService(_)
            | StateError::OtherTransport(_)
            | StateError::NotText(_)
            | StateError::NeverEmpty => Exit::Usage,
            StateError::TooManySubscriptions | StateError::NotPrepared(_) | StateError::NoRandomness => {
                Exit::Failed
            }
            _ => Exit::State,
        };
        Self::new(exit, error)
    }
}

impl From<SubscribeError> for Failure {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::State(error) => error.into(),
            SubscribeError::OtherKey => Self::usage(error),
            SubscribeError::Refused(..) => Self::new(Exit::Unreachable, error),
            SubscribeError::Stopped => Self::new(Exit::Failed, error),
            // What a later library may add.
            _ => Self::new(Exit::Failed, error),
        }
    }
}

impl From<ServerUrlError> for Failure {
    fn from(error: ServerUrlError) -> Self {
        Self::usage(error)
    }
}

impl From<ProxyError> for Failure {
    fn from(error: ProxyError) -> Self {
        Self::usage(error)
    }
}

impl From<TrustError> for Failure {
    fn from(error: TrustError) -> Self {
        Self::usage(error)
    }
}

impl From<ReceiptError> for Failure {
    fn from(error: ReceiptError) -> Self {
        let exit = match error {
            ReceiptError::NobodyToTrust(_) => Exit::Usage,
            ReceiptError::Gone | ReceiptError::NotOffered(_) => Exit::Unreachable,
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let exit = match error {
            SendError::NotAPushResource
            | SendError::NobodyToTrust(_)
            | SendError::NotEncrypted(EncryptError::TooLong)
            | SendError::TooLarge => Exit::Usage,
            SendError::NotEncrypted(EncryptError::NoRandomness) => Exit::Failed,
            SendError::Unreachable(_)
            | SendError::TimedOut
            | SendError::Garbled
            | SendError::NotAllowed { .. }
            | SendError::Malformed { .. }
            | SendError::Other { .. } => Exit::Unreachable,
            SendError::Gone { .. } => Exit::Gone,
            SendError::Later { .. } => Exit::Later,
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl Failure {
    /// What is wrong with the key in this file.
    pub(super) fn of_key(file: &std::path::Path, error: &KeyFileError) -> Self {
        let exit = match error {
            KeyFileError::NoRandomness => Exit::Failed,
            _ => Exit::Usage,
        };
        Self::new(exit, format!("{}: {error}", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    /// The codes are those that the help documents.
    #[test]
    fn the_help_names_every_code() {
        let rows = [
            (Exit::Done, "success"),
            (Exit::Failed, "any other failure"),
            (Exit::Usage, "command line"),
            (Exit::State, "state directory"),
            (Exit::Unreachable, "cannot be reached"),
            (Exit::Gone, "has ended"),
            (Exit::Later, "try again later"),
            (Exit::OutputClosed, "standard output"),
            (Exit::Interrupted, "signal"),
            (Exit::GivenUp, "gave the message up"),
        ];
        for (exit, words) in rows {
            let code = format!("  {}  ", exit as u8);
            let line = EXIT_CODES.lines().find(|line| line.starts_with(&code)).unwrap();
            assert!(line.contains(words), "{line}");
        }
        assert_eq!(EXIT_CODES.lines().count(), 1 + rows.len());
    }

    /// What an application server can do about it has a code of its own; all that the service refuses has one.
    #[test]
    fn what_can_be_done_decides_the_code() {
        let status = StatusCode::GONE;
        let reason = None;
        let after = None;
        let rows = [
            (SendError::Gone { status }, Exit::Gone),
            (
                SendError::Later {
                    status,
                    after,
                    reason: None,
                },
                Exit::Later,
            ),
            (SendError::TimedOut, Exit::Unreachable),
            (SendError::Unreachable(String::new()), Exit::Unreachable),
            (SendError::Garbled, Exit::Unreachable),
            (SendError::Malformed { reason: None }, Exit::Unreachable),
            (
                SendError::NotAllowed {
                    status,
                    signed: false,
                    reason: None,
                },
                Exit::Unreachable,
            ),
            (SendError::Other { status, reason }, Exit::Unreachable),
            (SendError::NotAPushResource, Exit::Usage),
            (SendError::NobodyToTrust(String::new()), Exit::Usage),
            (SendError::TooLarge, Exit::Usage),
            (SendError::NotEncrypted(EncryptError::TooLong), Exit::Usage),
            (SendError::NotEncrypted(EncryptError::NoRandomness), Exit::Failed),
        ];
        for (error, exit) in rows {
            assert_eq!(Failure::from(error).exit, exit);
        }
    }

    /// The state's errors: what was typed, what the machine lacks, and what is wrong with the directory.
    #[test]
    fn the_state_decides_the_code() {
        let rows = [
            (StateError::BadLabel, Exit::Usage),
            (StateError::NeverEmpty, Exit::Usage),
            (StateError::TooManySubscriptions, Exit::Failed),
            (StateError::NoRandomness, Exit::Failed),
        ];
        for (error, exit) in rows {
            assert_eq!(Failure::from(error).exit, exit);
        }
        let missing =
            user_agent_client::state::read(std::path::Path::new("/there/is/no/such/directory")).err();
        assert_eq!(Failure::from(missing.unwrap()).exit, Exit::State);
    }
}
