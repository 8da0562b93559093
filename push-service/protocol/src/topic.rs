//! The topic of a push message: a new message replaces the waiting one of the same topic (RFC 8030 §5.4).

use std::fmt;

/// One to 32 characters of the base64url alphabet. Compared byte for byte, within one subscription.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Topic {
    length: u8,
    bytes: [u8; Self::MAX_BYTES],
}

impl Topic {
    /// RFC 8030 §5.4.
    pub const MAX_BYTES: usize = 32;

    /// Reads a topic; an empty, longer or differently spelled one is refused.
    pub fn parse(text: &str) -> Option<Self> {
        let in_alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if text.is_empty() || text.len() > Self::MAX_BYTES || !text.bytes().all(in_alphabet) {
            return None;
        }
        let mut bytes = [0; Self::MAX_BYTES];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Some(Self {
            length: text.len() as u8,
            bytes,
        })
    }

    /// The topic as it was sent.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A topic tells about traffic (RFC 8030 §8.1): its length is enough for a log.
        write!(f, "Topic({} bytes)", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R30-TOP-1: at most 32 characters of base64url, at least one, no padding.
    #[test]
    fn a_topic_is_short_and_base64url() {
        let longest = "aZ0-_".repeat(7)[..32].to_owned();
        assert_eq!(Topic::parse(&longest).unwrap().as_str(), longest);
        for wrong in ["", "a=", "a b", "a,b", "ä", &"a".repeat(33)] {
            assert_eq!(Topic::parse(wrong), None, "{wrong}");
        }
    }
}
