//! How much `listen` still has to do.

use crate::cli::args::Listen;

/// What is still to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Remaining {
    /// Whatever comes, until a signal does.
    Endless,
    /// So many messages.
    Messages(u64),
    /// What waits, until the service says that nothing does.
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
