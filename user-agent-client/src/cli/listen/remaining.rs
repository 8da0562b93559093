//! How much `listen` still has to do.

use crate::cli::args::Listen;

/// The messages that are still to be handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Remaining {
    /// All messages, until a signal comes.
    Endless,
    /// So many messages.
    Messages(u64),
    /// Waiting messages, until the service says that there are no more.
    Waiting,
    Nothing,
}

impl Remaining {
    pub(super) fn as_asked(arguments: &Listen) -> Self {
        match arguments.count {
            Some(count) => Self::Messages(count.get()),
            None if arguments.until_empty => Self::Waiting,
            None => Self::Endless,
        }
    }

    pub(super) fn after_one(self) -> Self {
        match self {
            Self::Messages(left @ 2..) => Self::Messages(left - 1),
            Self::Messages(_) => Self::Nothing,
            Self::Endless | Self::Waiting | Self::Nothing => self,
        }
    }
}
