//! The two dialects in which push resources speak with application servers.

/// Whose rules and status codes a push resource keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// RFC 8030's. A body may have any coding and type.
    Rfc8030,
    /// Those of the push resources that user agents of the WebSocket have, as deployed senders know them. A body is encrypted
    /// as RFC 8291 or the draft before it says, and `Content-Type` is ignored, because that channel cannot deliver it.
    Webpush,
}

impl Dialect {
    /// One byte for tokens and storages.
    pub fn to_byte(self) -> u8 {
        match self {
            Self::Rfc8030 => 0,
            Self::Webpush => 1,
        }
    }

    /// The reverse of [`Dialect::to_byte`].
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Rfc8030, Self::Webpush]
            .into_iter()
            .find(|dialect| dialect.to_byte() == byte)
    }
}
