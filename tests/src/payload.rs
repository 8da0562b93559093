//! Bodies of push messages that look encrypted and that a test can read.
//!
//! A push service cannot decrypt, so a test need not encrypt: the body has a valid `aes128gcm` header (RFC 8188 §2.1)
//! and then, where the cipher text would be, a text by which the test knows its message again. Whether real
//! encryption survives is the browser tests' affair.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The sender's public key in the header: the one of RFC 8292's example, because it must be a point on the curve.
const SENDER_KEY: &str =
    "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";

/// Salt, record size, key length, key (RFC 8188 §2.1, RFC 8291 §4).
const HEADER_BYTES: usize = 16 + 4 + 1 + 65;

/// A record ends with a padding delimiter and the tag of AES-GCM: nothing shorter is a record.
const TRAILER: [u8; 17] = [0x5a; 17];

/// Bytes of a body around its text.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + TRAILER.len();

/// The body that carries `text`.
pub fn body(text: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(OVERHEAD_BYTES + text.len());
    body.extend([0x17; 16]);
    body.extend(4096_u32.to_be_bytes());
    body.push(65);
    body.extend(URL_SAFE_NO_PAD.decode(SENDER_KEY).expect("the key is base64url"));
    body.extend(text.as_bytes());
    body.extend(TRAILER);
    body
}

/// The body of exactly this many bytes that begins with `text`.
pub fn body_of(text: &str, bytes: usize) -> Vec<u8> {
    let filler = bytes.checked_sub(OVERHEAD_BYTES + text.len());
    let filler = "~".repeat(filler.expect("the body has room for its text"));
    body(&format!("{text}{filler}"))
}

/// The text of a body that came back; `None` when a byte of what stands around it was changed.
pub fn text(body: &[u8]) -> Option<String> {
    let end = body.len().checked_sub(TRAILER.len())?;
    let text = std::str::from_utf8(body.get(HEADER_BYTES..end)?).ok()?;
    (self::body(text) == body).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text comes back from its body, and from no body that was changed.
    #[test]
    fn a_text_survives_and_a_change_shows() {
        let mut sealed = body("grün");
        assert_eq!(text(&sealed).as_deref(), Some("grün"));
        assert_eq!(body_of("x", 4096).len(), 4096);
        sealed[3] ^= 1;
        assert_eq!(text(&sealed), None);
        assert_eq!(text(b"short"), None);
    }
}
