//! The 1,024 parts into which user agents are spread, so that a cluster can hold them and one node can hear of them all.
//!
//! A script publishes only within its hash slot (PR-13): the hash tag of everything that belongs to a user agent is its
//! bucket's, and a node that subscribes to 1,024 channels hears every wake-up.

use std::ops::Range;

use crate::storage::BUCKETS;

/// Hash slots of a Redis Cluster. Source: its specification.
const SLOTS: u16 = 16_384;

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Bucket(u16);

impl Bucket {
    /// The bucket of a number: its lowest ten bits.
    pub(super) fn new(number: u16) -> Self {
        Self(number % BUCKETS)
    }

    /// All of them, in order.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let numbers: Range<u16> = 0..BUCKETS;
        numbers.map(Self)
    }

    /// Its number, below [`BUCKETS`].
    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// What stands between `{` and `}` in its keys and channels: three lower-case hexadecimal digits.
    pub(super) fn tag(self) -> [u8; 3] {
        tag(self.0)
    }

    /// The bucket of a key or channel, by its hash tag.
    pub(super) fn of_key(key: &[u8]) -> Option<Self> {
        let open = key.iter().position(|b| *b == b'{')?;
        let tag: &[u8; 3] = key.get(open + 1..open + 4)?.try_into().ok()?;
        if key.get(open + 4) != Some(&b'}') {
            return None;
        }
        let digit = |b: u8| match b {
            b'0'..=b'9' => Some(u16::from(b - b'0')),
            b'a'..=b'f' => Some(u16::from(b - b'a') + 10),
            _ => None,
        };
        let number = (digit(tag[0])? << 8) | (digit(tag[1])? << 4) | digit(tag[2])?;
        (number < BUCKETS).then_some(Self(number))
    }

    /// Where a cluster puts its keys.
    pub(super) fn slot(self) -> u16 {
        SLOT_OF[self.index()]
    }
}

/// The slot of each bucket, worked out once.
static SLOT_OF: [u16; BUCKETS as usize] = {
    let mut slots = [0; BUCKETS as usize];
    let mut number = 0;
    while number < BUCKETS {
        slots[number as usize] = crc16(&tag(number)) % SLOTS;
        number += 1;
    }
    slots
};

const fn tag(number: u16) -> [u8; 3] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [
        DIGITS[(number >> 8 & 15) as usize],
        DIGITS[(number >> 4 & 15) as usize],
        DIGITS[(number & 15) as usize],
    ]
}

/// CRC-16/XMODEM, which the cluster specification names: polynomial 0x1021, start 0, nothing reflected.
const fn crc16(bytes: &[u8]) -> u16 {
    let mut crc: u16 = 0;
    let mut i = 0;
    while i < bytes.len() {
        crc ^= (bytes[i] as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 {
                crc << 1 ^ 0x1021
            } else {
                crc << 1
            };
            bit += 1;
        }
        i += 1;
    }
    crc
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// PR-13: slots are computed as the cluster specification's test vector says.
    #[test]
    fn the_checksum_is_the_specifications() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        // What `CLUSTER KEYSLOT` says of `{000}`, `{0ff}` and `{3ff}`.
        let known = [(0, "000", 13_923), (0xff, "0ff", 10_313), (0x3ff, "3ff", 12_569)];
        for (number, tag, slot) in known {
            let bucket = Bucket::new(number);
            assert_eq!(bucket.tag(), tag.as_bytes());
            assert_eq!(bucket.slot(), slot, "{tag}");
        }
    }

    /// PR-13: buckets spread over the slots, so that no primary of a cluster goes without.
    #[test]
    fn buckets_spread_over_the_slots() {
        let sixteenths: HashSet<_> = Bucket::all().map(|bucket| bucket.slot() / 1_024).collect();
        assert_eq!(sixteenths.len(), 16);
    }

    /// PR-13: a channel's bucket is read back from its hash tag, and nothing else is taken for one.
    #[test]
    fn a_bucket_is_read_back_from_its_tag() {
        for bucket in Bucket::all() {
            let tag = bucket.tag();
            let channel = [b"wake:{", tag.as_slice(), b"}:1"].concat();
            assert_eq!(Bucket::of_key(&channel), Some(bucket));
        }
        for key in [
            "", "{", "{00", "{000", "{0000}", "{400}", "{00A}", "000", "{}{000}",
        ] {
            assert_eq!(Bucket::of_key(key.as_bytes()), None, "{key}");
        }
        assert_eq!(Bucket::new(1_024), Bucket::new(0));
    }
}
