//! Why a command has no answer.

use std::sync::Arc;

use redis::ServerError;

use super::reply::explained;
use crate::storage::StorageError;

/// Why a command has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server answered with an error.
    Reply(ServerError),
    /// It was not sent.
    NotSent(Arc<str>),
    /// It may have been sent, and the connection ended.
    Lost(String),
    /// It was sent, and no answer came in time.
    Late(String),
    /// It ran, and was not confirmed.
    Unconfirmed(String),
}

impl Failure {
    /// The same for another step of the batch.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::Reply(error) => Self::Reply(error.clone()),
            Self::NotSent(why) => Self::NotSent(Arc::clone(why)),
            Self::Lost(why) => Self::Lost(why.clone()),
            Self::Late(why) => Self::Late(why.clone()),
            Self::Unconfirmed(why) => Self::Unconfirmed(why.clone()),
        }
    }

    /// What it says to the operator.
    pub(super) fn explained(&self) -> String {
        match self {
            Self::Reply(error) => explained(error),
            Self::NotSent(why) => why.to_string(),
            Self::Lost(why) | Self::Late(why) | Self::Unconfirmed(why) => why.clone(),
        }
    }
}

/// The error for a sentence.
pub(super) fn unavailable(why: String) -> StorageError {
    StorageError::Unavailable(why)
}
