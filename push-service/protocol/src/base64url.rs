//! Base64 as deployed software writes keys and bodies: with or without padding, and keys in either alphabet. Unused bits
//! must be zero, so each value has one spelling of its bits.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// Characters of the longest key, a P-256 point with padding.
const MAX_KEY_BYTES: usize = 88;

const PADDED_OR_NOT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads a key of exactly `N` bytes: deployed senders and operators' tools write base64url and standard base64, with
/// and without padding. Bits that belong to no byte must be zero.
pub(crate) fn decode_key<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut spelling = [0; MAX_KEY_BYTES];
    let spelling = spelling.get_mut(..text.len())?;
    for (to, from) in spelling.iter_mut().zip(text.bytes()) {
        *to = match from {
            b'+' => b'-',
            b'/' => b'_',
            other => other,
        };
    }
    let mut key = [0; N];
    let written = PADDED_OR_NOT.decode_slice(spelling, &mut key).ok()?;
    (written == N).then_some(key)
}

/// Reads the body of a push message: base64url, with padding or without (WS-NOT-3). Takes as much memory as it has bytes,
/// which the caller has bounded by accepting `text`.
pub(crate) fn decode_body(text: &str) -> Option<Vec<u8>> {
    PADDED_OR_NOT.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// V-AUTH-7, WS-REG-3: four spellings of one key are one key; wrong lengths and stray bits are none.
    #[test]
    fn a_key_has_four_spellings_and_no_fifth() {
        for text in ["-_-_-g", "-_-_-g==", "+/+/+g", "+/+/+g=="] {
            assert_eq!(decode_key::<4>(text), Some([0xfb, 0xff, 0xbf, 0xfa]), "{text}");
        }
        for wrong in [
            "",
            "-_-_",
            "-_-_-_",
            "-_-_-h",
            "-_-_ -g",
            "-_=_-g",
            "-_-_-g===",
            &"A".repeat(89),
        ] {
            assert_eq!(decode_key::<4>(wrong), None, "{wrong}");
        }
    }
}
