//! From when until when a certificate is valid: what renewing it and the metric of its end have to know.
//!
//! rustls keeps the two times to itself, so they are read here: a walk over the first elements of X.509's DER (RFC 5280
//! §4.1) to the one that holds them. Checks nothing else; who presents the certificate has.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The two ends of a certificate's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Validity {
    /// From.
    pub(super) not_before: SystemTime,
    /// Until.
    pub(super) not_after: SystemTime,
}

impl Validity {
    /// How long it is valid in all.
    pub(super) fn lifetime(&self) -> Duration {
        self.not_after.duration_since(self.not_before).unwrap_or_default()
    }
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// Reads a certificate in DER; `None` if it can't be read, or has times that a `SystemTime` can't hold.
pub(super) fn of(certificate: &[u8]) -> Option<Validity> {
    let (certificate, _) = expect(SEQUENCE, certificate)?;
    let (mut rest, _) = expect(SEQUENCE, certificate)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        // The serial number, the signature's algorithm, the issuer.
        rest = expect(tag, rest)?.1;
    }
    let (validity, _) = expect(SEQUENCE, rest)?;
    let (not_before, rest) = time(validity)?;
    let (not_after, _) = time(rest)?;
    Some(Validity {
        not_before,
        not_after,
    })
}

fn expect(tag: u8, input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(input)?;
    (found == tag).then_some((content, rest))
}

/// Tag, content, and what comes after it (X.690 §8.1).
fn element(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = input.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits
                .iter()
                .fold(0u64, |number, &digit| number << 8 | u64::from(digit));
            (usize::try_from(length).ok()?, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// A time in one of its two spellings, both to the second and in UTC (RFC 5280 §4.1.2.5).
fn time(input: &[u8]) -> Option<(SystemTime, &[u8])> {
    let (tag, text, rest) = element(input)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, text) = match (tag, text.len()) {
        (UTC_TIME, 12) => {
            let year: u64 = text[..2].parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, &text[2..])
        }
        (GENERALIZED_TIME, 14) => (text[..4].parse().ok()?, &text[4..]),
        _ => return None,
    };
    let mut pairs = (0..5).map(|at| text[2 * at..2 * at + 2].parse::<u64>());
    let mut next = || pairs.next()?.ok();
    let (month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?);
    let is_real = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    if !is_real || second > 60 || year < 1970 {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some((UNIX_EPOCH + Duration::from_secs(seconds), rest))
}

/// Days from 1970 to a day of the Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> u64 {
    const BEFORE_MONTH: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let leap_years = |year: u64| year / 4 - year / 100 + year / 400;
    let before_year = (year - 1970) * 365 + leap_years(year - 1) - leap_years(1969);
    let leap_day = u64::from(is_leap && month > 2);
    before_year + BEFORE_MONTH[month as usize - 1] + leap_day + day - 1
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    const DAY: u64 = 24 * 60 * 60;

    fn certificate(from: (i32, u8, u8), until: (i32, u8, u8)) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["push.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        made.der().to_vec()
    }

    fn day(number: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(number * DAY)
    }

    /// RFC 5280 §4.1.2.5: both spellings of a time are read, before and after 2050, in leap years and others.
    #[test]
    fn times_are_read() {
        let rows = [
            ((1970, 1, 1), (1999, 12, 31), 0, 10_956),
            ((2000, 2, 29), (2000, 3, 1), 11_016, 11_017),
            ((2026, 11, 23), (2027, 2, 21), 20_780, 20_870),
            ((2049, 12, 31), (2050, 1, 1), 29_219, 29_220),
            ((2100, 2, 28), (2100, 3, 1), 47_540, 47_541),
        ];
        for (from, until, not_before, not_after) in rows {
            let expected = Validity {
                not_before: day(not_before),
                not_after: day(not_after),
            };
            assert_eq!(
                of(&certificate(from, until)),
                Some(expected),
                "{from:?} {until:?}"
            );
        }
    }

    /// What is cut or changed anywhere is read or not, and never more than that.
    #[test]
    fn broken_bytes_are_harmless() {
        let whole = certificate((2026, 1, 1), (2027, 1, 1));
        for at in 0..whole.len() {
            let _ = of(&whole[..at]);
            for flipped in [0x01, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] ^= flipped;
                let _ = of(&changed);
            }
        }
        assert_eq!(of(b""), None);
        assert_eq!(of(&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
