//! Decodes the ASCII form of an internationalised label to Unicode (RFC 3492).

const BASE: u32 = 36;
const T_MIN: u32 = 1;
const T_MAX: u32 = 26;
const SKEW: u32 = 38;
const DAMP: u32 = 700;
const INITIAL_BIAS: u32 = 72;
const INITIAL_LETTER: u32 = 0x80;

/// The longest label (RFC 1035 §2.3.4): decoding inserts letter by letter, so its cost is the square of the length.
const MAX_LABEL_BYTES: usize = 63;

/// Decodes what follows `xn--`. `None` for what no encoder writes.
pub(super) fn decode(label: &str) -> Option<String> {
    if label.len() > MAX_LABEL_BYTES || !label.is_ascii() {
        return None;
    }
    let (basic, extended) = label.rsplit_once('-').unwrap_or(("", label));
    let mut letters: Vec<char> = basic.chars().collect();
    let mut digits = extended.chars();
    let (mut letter, mut bias, mut position) = (INITIAL_LETTER, INITIAL_BIAS, 0_u32);
    while !digits.as_str().is_empty() {
        let delta = variable_length_integer(&mut digits, bias)?;
        let count = letters.len() as u32 + 1;
        bias = adapt(delta, count, position == 0);
        position = position.checked_add(delta)?;
        letter = letter.checked_add(position / count)?;
        position %= count;
        letters.insert(position as usize, char::from_u32(letter)?);
        position += 1;
    }
    Some(letters.into_iter().collect())
}

/// RFC 3492 §3.3: little-endian digits, each with a threshold below which it is the last.
fn variable_length_integer(digits: &mut std::str::Chars<'_>, bias: u32) -> Option<u32> {
    let (mut value, mut weight, mut threshold_at) = (0_u32, 1_u32, BASE);
    loop {
        let digit = match digits.next()? {
            letter @ 'a'..='z' => letter as u32 - 'a' as u32,
            number @ '0'..='9' => number as u32 - '0' as u32 + 26,
            _ => return None,
        };
        value = value.checked_add(digit.checked_mul(weight)?)?;
        let threshold = threshold_at.saturating_sub(bias).clamp(T_MIN, T_MAX);
        if digit < threshold {
            return Some(value);
        }
        weight = weight.checked_mul(BASE - threshold)?;
        threshold_at += BASE;
    }
}

/// RFC 3492 §3.4.
fn adapt(delta: u32, count: u32, is_first: bool) -> u32 {
    let mut delta = if is_first { delta / DAMP } else { delta / 2 };
    delta += delta / count;
    let mut steps = 0;
    while delta > (BASE - T_MIN) * T_MAX / 2 {
        delta /= BASE - T_MIN;
        steps += BASE;
    }
    steps + (BASE - T_MIN + 1) * delta / (delta + SKEW)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3492: labels in several scripts, with and without ASCII letters, decode to what was written.
    #[test]
    fn labels_decode() {
        let rows = [
            ("bcher-kva", "bücher"),
            ("mnchen-3ya", "münchen"),
            ("fa-hia", "faß"),
            ("maana-pta", "mañana"),
            ("wgv71a119e", "日本語"),
            ("fiqs8s", "中国"),
            ("p1ai", "рф"),
            ("80ak6aa92e", "аррӏе"),
            ("b1abfaaepdrnnbgefbadotcwatmq2g4l", "почемужеонинеговорятпорусски"),
            ("ls8h", "💩"),
            ("abc-", "abc"),
        ];
        for (label, expected) in rows {
            assert_eq!(decode(label).as_deref(), Some(expected), "{label}");
        }
    }

    /// RFC 3492 §6.2: what overflows or breaks off is refused.
    #[test]
    fn what_no_encoder_writes_is_refused() {
        for wrong in [
            "a-!",
            "99999999",
            "zzzzzzzzzzzzzzz",
            "bcher-kv",
            "ü",
            &"a".repeat(64),
        ] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
