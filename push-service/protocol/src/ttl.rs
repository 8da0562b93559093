//! The time to live: how long a push message may wait (RFC 8030 §5.2).

use std::fmt;

/// Seconds for which a push message is kept for a user agent that is not there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ttl(u32);

impl Ttl {
    /// Not stored at all: delivered to a connected user agent or dropped.
    pub const ZERO: Self = Self(0);

    /// What a number too large to represent counts as: 2^31 seconds (RFC 8030 §5.2, RFC 9111 §1.2.2).
    pub const UNREPRESENTABLE: Self = Self(1 << 31);

    /// A number of seconds; more than 2^31 counts as 2^31.
    pub fn from_secs(seconds: u64) -> Self {
        u32::try_from(seconds).map_or(Self::UNREPRESENTABLE, |s| Self(s.min(1 << 31)))
    }

    /// Reads `1*DIGIT`. Digits beyond what can be represented count as 2^31; anything but digits is no TTL.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some(text.parse::<u64>().map_or(Self::UNREPRESENTABLE, Self::from_secs))
    }

    /// The shorter of the two.
    #[must_use]
    pub fn clamp_to(self, limit: Self) -> Self {
        self.min(limit)
    }

    /// Whole seconds.
    pub fn as_secs(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Ttl {
    /// Whole seconds, as the header field has them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R30-TTL-2, R30-TTL-3: digits only; a long string of digits is long, never an error.
    #[test]
    fn ttl_is_digits_of_any_length() {
        let longest = "9".repeat(400);
        let rows = [
            ("0", Some(0)),
            ("00060", Some(60)),
            ("2592000", Some(2_592_000)),
            ("2147483648", Some(1 << 31)),
            ("2147483649", Some(1 << 31)),
            ("18446744073709551616", Some(1 << 31)),
            (longest.as_str(), Some(1 << 31)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("60s", None),
            (" 60", None),
            ("6 0", None),
        ];
        for (text, expected) in rows {
            assert_eq!(Ttl::parse(text).map(Ttl::as_secs), expected, "{text:?}");
        }
    }
}
