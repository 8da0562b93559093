//! Urgency: how much of the user agent's battery a push message may cost (RFC 8030 §5.3).

use std::fmt;

/// The urgency of a push message, or the least urgency that a user agent is willing to take.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum Urgency {
    /// On power and Wi-Fi: advertisements.
    VeryLow = 0,
    /// On either power or Wi-Fi: topic updates.
    Low = 1,
    /// On neither: chat or calendar messages. What a message without the header has.
    #[default]
    Normal = 2,
    /// Low battery: an incoming call, a time-sensitive alert.
    High = 3,
}

impl Urgency {
    /// From the least to the most urgent.
    pub const ALL: [Self; 4] = [Self::VeryLow, Self::Low, Self::Normal, Self::High];

    /// Reads one of the RFC's four names. `High` and `HIGH` are `high`: the RFC's grammar gives the names as strings of
    /// ABNF, which have no case (RFC 5234 §2.3).
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|urgency| urgency.as_str().eq_ignore_ascii_case(text))
    }

    /// The RFC's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VeryLow => "very-low",
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// The reverse of `urgency as u8`.
    pub fn from_u8(value: u8) -> Option<Self> {
        Self::ALL.get(usize::from(value)).copied()
    }
}

impl fmt::Display for Urgency {
    /// The RFC's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R30-URG-1, R30-URG-3: the four names in the RFC's order, in any case, and nothing else.
    #[test]
    fn four_names_in_order() {
        assert!(Urgency::ALL.is_sorted());
        for urgency in Urgency::ALL {
            assert_eq!(Urgency::parse(urgency.as_str()), Some(urgency));
            assert_eq!(Urgency::parse(&urgency.as_str().to_uppercase()), Some(urgency));
            assert_eq!(Urgency::from_u8(urgency as u8), Some(urgency));
        }
        for (text, urgency) in [
            ("High", Urgency::High),
            ("hIGH", Urgency::High),
            ("Very-Low", Urgency::VeryLow),
        ] {
            assert_eq!(Urgency::parse(text), Some(urgency), "{text}");
        }
        for wrong in ["", "urgent", "high,low", "very low", "very_low"] {
            assert_eq!(Urgency::parse(wrong), None, "{wrong}");
        }
    }
}
