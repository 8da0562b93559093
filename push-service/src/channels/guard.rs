//! What lives as long as a channel's connection, and says who pays for the channel's requests.

use crate::budgets::Payer;

/// A value that a channel owns until its connection ends, such as the connection's permit.
pub trait Guard: Unpin + Send {
    /// Who pays for the requests on the connection.
    fn payer(&self) -> Payer;
}

/// A connection without a permit: only its payer.
impl Guard for Payer {
    fn payer(&self) -> Payer {
        *self
    }
}
