//! Receipts: they tell an application server how a message ended (RFC 8030 §5.1, §6.3).
//!
//! A receipt waits in a queue, as a message does; the queue belongs to the receipt subscription. The body of such a message is
//! defined here, at a fixed size. It never leaves the service.

use std::fmt;

use crate::capability::{Dialect, KeyId, MessageCapability};
use crate::identifiers::{MessageId, UserAgentId};

/// How a message ended for which a receipt was requested.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReceiptOutcome {
    /// Its user agent has it.
    Acknowledged,
    /// It expired, was evicted or taken back, or its subscription ended.
    GivenUp,
    /// A newer message of its topic replaced it: there is no receipt (RFC 8030 §5.4).
    Replaced,
}

impl ReceiptOutcome {
    /// Whether the application server is told: a message that was replaced has no receipt.
    pub fn is_told(self) -> bool {
        self != Self::Replaced
    }

    /// One byte for storages.
    pub fn to_byte(self) -> u8 {
        match self {
            Self::Acknowledged => 1,
            Self::GivenUp => 2,
            Self::Replaced => 3,
        }
    }

    /// The reverse of [`ReceiptOutcome::to_byte`].
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Acknowledged, Self::GivenUp, Self::Replaced]
            .into_iter()
            .find(|outcome| outcome.to_byte() == byte)
    }
}

/// How one message ended, and all that its URL is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The message, as its sender's `Location` names it.
    pub message: MessageCapability,
    /// The sealing key of that URL.
    pub sealed_by: KeyId,
    /// How it ended.
    pub how: ReceiptOutcome,
}

impl Receipt {
    /// Bytes of [`Receipt::to_bytes`].
    pub const BYTES: usize = 35;

    /// User agent, message, dialect, sealing key, outcome.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.message.user_agent.0);
        bytes[16..32].copy_from_slice(&self.message.id.to_bytes());
        bytes[32] = self.message.dialect.to_byte();
        bytes[33] = self.sealed_by.0;
        bytes[34] = self.how.to_byte();
        bytes
    }

    /// The reverse of [`Receipt::to_bytes`]; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let (user_agent, rest) = bytes.split_first_chunk::<16>()?;
        let (id, [dialect, sealed_by, how]) = rest.split_first_chunk::<16>()? else {
            return None;
        };
        Some(Self {
            message: MessageCapability {
                user_agent: UserAgentId(*user_agent),
                id: MessageId::from_bytes(*id),
                dialect: Dialect::from_byte(*dialect)?,
            },
            sealed_by: KeyId(*sealed_by),
            how: ReceiptOutcome::from_byte(*how)?,
        })
    }
}

/// Its message's URL is a capability, so the ids that it is made of don't print.
impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receipt({:?}, …)", self.how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identifiers::MessageNumber;

    /// PR-25: a receipt survives its storage; what is none is recognised.
    #[test]
    fn a_receipt_survives_its_spelling() {
        let receipt = Receipt {
            message: MessageCapability {
                user_agent: UserAgentId([7; 16]),
                id: MessageId {
                    number: MessageNumber(42),
                    nonce: u64::MAX - 1,
                },
                dialect: Dialect::Webpush,
            },
            sealed_by: KeyId(9),
            how: ReceiptOutcome::GivenUp,
        };
        let bytes = receipt.to_bytes();
        assert_eq!(Receipt::from_bytes(&bytes), Some(receipt));
        assert_eq!(Receipt::from_bytes(&bytes[1..]), None);
        for (at, wrong) in [(32, 7), (34, 0), (34, 4)] {
            let mut bytes = bytes;
            bytes[at] = wrong;
            assert_eq!(Receipt::from_bytes(&bytes), None);
        }
    }
}
