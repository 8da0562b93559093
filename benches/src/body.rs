//! The body of a push message: it says which message it is, and shows whether it came through unharmed.
//!
//! Shaped like a message that a web push library encrypted (RFC 8188), so that the service does with it all that it does
//! with real ones; but it can't be decrypted. The salt holds the number of the message, and the rest is one of a few
//! fillings, chosen by that number: checking one costs a comparison, not a decryption.

/// Of every message (the budgets are for messages of this size).
pub(crate) const BODY_BYTES: usize = 1_000;

/// Salt, record size and length of the key id (RFC 8188 §2.1).
const HEADER_BYTES: usize = 21;

/// The record size, and the length of the key id.
const SIZES: [u8; 5] = [0, 0, 16, 0, 65];

/// Different fillings. Chosen: enough that mixed up bodies are noticed, few enough to stay in the cache.
const FILLINGS: u64 = 16;

/// Writes and reads the bodies of one measurement.
pub(crate) struct Bodies {
    /// Tells this measurement's messages from those of any other.
    run: u64,
    fillings: Vec<Filling>,
}

struct Filling(Vec<u8>);

impl Bodies {
    /// Bodies of the measurement `run`.
    pub(crate) fn new(run: u64) -> Self {
        let fillings = (0..FILLINGS).map(Filling::new).collect();
        Self { run, fillings }
    }

    /// Appends the body of a message.
    pub(crate) fn write(&self, number: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.run.to_be_bytes());
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&SIZES);
        out.extend_from_slice(&self.filling(number).0);
    }

    /// Which message this is, from its body. The error says how it was harmed.
    pub(crate) fn read(&self, body: &[u8]) -> Result<u64, &'static str> {
        let (run, rest) = body.split_first_chunk().ok_or("a body is too short")?;
        let (number, rest) = rest.split_first_chunk().ok_or("a body is too short")?;
        let (sizes, filling) = rest.split_first_chunk().ok_or("a body is too short")?;
        if u64::from_be_bytes(*run) != self.run {
            return Err("a body is of another run");
        }
        let number = u64::from_be_bytes(*number);
        if self.filling(number).0 != filling || *sizes != SIZES {
            return Err("a body has changed on its way");
        }
        Ok(number)
    }

    fn filling(&self, number: u64) -> &Filling {
        &self.fillings[(number % FILLINGS) as usize]
    }
}

impl Filling {
    fn new(index: u64) -> Self {
        let mut state = index;
        let mut bytes: Vec<u8> = std::iter::repeat_with(|| scramble(&mut state))
            .take(BODY_BYTES - HEADER_BYTES)
            .collect();
        // A key id of 65 bytes follows: the sender's key, an uncompressed point.
        bytes[0] = 4;
        Self(bytes)
    }
}

/// Knuth's linear congruential generator: bytes that neither repeat nor compress.
fn scramble(state: &mut u64) -> u8 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 56) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was written is read again, and whatever was changed on the way is noticed.
    #[test]
    fn a_body_tells_who_it_is() {
        let bodies = Bodies::new(7);
        let mut body = Vec::new();
        bodies.write(42, &mut body);
        assert_eq!(body.len(), BODY_BYTES);
        assert_eq!(bodies.read(&body), Ok(42));
        for at in [0, 15, 20, 21, 999] {
            let mut harmed = body.clone();
            harmed[at] ^= 1;
            assert!(bodies.read(&harmed).is_err(), "byte {at}");
        }
        assert!(bodies.read(&body[..999]).is_err());
        assert!(Bodies::new(8).read(&body).is_err());
        assert!(bodies.read(b"").is_err());
    }
}
