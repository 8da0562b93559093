//! The claims of a verified token (RFC 8292 §2): are they for this service, and valid now?

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::error::VapidError;
use crate::origin::Origin;

/// By how much an application server's clock may differ from ours, in either direction: the small leeway of RFC 7519
/// §4.1.4. A token is taken for so long after its `exp`, and so long before its last 24 hours begin: libraries that set
/// `exp` to now + 24 h are common.
pub const LEEWAY_SECS: u64 = 60;

/// How far ahead `exp` may lie by the application server's clock (RFC 8292 §2).
pub const MAX_LIFETIME_SECS: u64 = 24 * 60 * 60;

/// The audiences that a token may name. Senders name one; chosen because claims are remembered.
const MAX_AUDIENCES: usize = 8;

/// The claims of a token whose signature was verified: small, to be remembered with many others.
///
/// `sub` is not among them: the key is the identity of an application server, and not this contact (RFC 8292 §2.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    audiences: Box<[Box<str>]>,
    expires_at_secs: u64,
}

impl Claims {
    /// Reads the claims of a token. Only for one whose signature was verified.
    pub(super) fn from_verified_json(json: &[u8]) -> Result<Self, VapidError> {
        let raw: RawClaims = json_object(json).ok_or(VapidError::MalformedClaims)?;
        Ok(Self {
            audiences: raw.aud.ok_or(VapidError::MissingAudience)?.0,
            expires_at_secs: raw.exp.ok_or(VapidError::MissingExpiration)?.0,
        })
    }

    /// Whether the token is for `origin` and neither expired nor good for too long, `now_secs` seconds after 1970.
    ///
    /// # Errors
    ///
    /// [`VapidError::Expired`] from [`LEEWAY_SECS`] after `exp` on, [`VapidError::ExpiresTooLate`] more than
    /// [`MAX_LIFETIME_SECS`] and [`LEEWAY_SECS`] before it, [`VapidError::OtherAudience`] when no audience is `origin`.
    pub fn check(&self, origin: &Origin, now_secs: u64) -> Result<(), VapidError> {
        check_lifetime(self.expires_at_secs, now_secs)?;
        if !self.audiences.iter().any(|audience| origin.matches(audience)) {
            return Err(VapidError::OtherAudience);
        }
        Ok(())
    }

    /// The `exp` claim, in seconds after 1970. [`LEEWAY_SECS`] later there is no use in remembering these claims.
    pub fn expires_at_secs(&self) -> u64 {
        self.expires_at_secs
    }
}

/// Checks that a token with this `exp` is neither expired nor valid for too long, `now_secs` seconds after 1970. This
/// is what has to be checked again for claims that were checked before.
///
/// # Errors
///
/// As [`Claims::check`].
pub fn check_lifetime(expires_at_secs: u64, now_secs: u64) -> Result<(), VapidError> {
    check_time(expires_at_secs, now_secs, LEEWAY_SECS)
}

fn check_time(expires_at_secs: u64, now_secs: u64, leeway_secs: u64) -> Result<(), VapidError> {
    if now_secs >= expires_at_secs.saturating_add(leeway_secs) {
        return Err(VapidError::Expired);
    }
    if expires_at_secs > now_secs.saturating_add(MAX_LIFETIME_SECS + leeway_secs) {
        return Err(VapidError::ExpiresTooLate);
    }
    Ok(())
}

/// Reads a JSON object. Serde alone would take an array of the members' values for a struct.
pub(super) fn json_object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    serde_json::from_slice(json).ok()
}

#[derive(Deserialize)]
struct RawClaims {
    aud: Option<Audiences>,
    exp: Option<NumericDate>,
}

/// `aud`: a string or an array of strings (RFC 7519 §4.1.3).
struct Audiences(Box<[Box<str>]>);

impl<'de> Deserialize<'de> for Audiences {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AudiencesVisitor)
    }
}

struct AudiencesVisitor;

impl<'de> Visitor<'de> for AudiencesVisitor {
    type Value = Audiences;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a short array of strings")
    }

    fn visit_str<E: serde::de::Error>(self, one: &str) -> Result<Audiences, E> {
        Ok(Audiences(Box::new([one.into()])))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Audiences, A::Error> {
        let mut audiences = Vec::with_capacity(1);
        while let Some(audience) = sequence.next_element()? {
            if audiences.len() == MAX_AUDIENCES {
                return Err(A::Error::custom("too many audiences"));
            }
            audiences.push(audience);
        }
        Ok(Audiences(audiences.into()))
    }
}

/// `exp`: any JSON number of seconds after 1970, also one with a fraction (RFC 7519 §2), which is dropped. What lies
/// before 1970 counts as 1970, long expired; what is beyond 64 bits as the end of time, too far ahead.
struct NumericDate(u64);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        let seconds = number
            .as_u64()
            .or_else(|| number.as_f64().map(|seconds| seconds as u64))
            .ok_or_else(|| D::Error::custom("not a number of seconds"))?;
        Ok(Self(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// V-CLM-3, V-CLM-8: `exp` is what the token says, as whole seconds; of audiences there are eight at most.
    #[test]
    fn what_claims_say() {
        let read = |json: &str| Claims::from_verified_json(json.as_bytes());
        let claims = read(r#"{"aud":"https://push.example.net","exp":1893456000.9}"#).unwrap();
        assert_eq!(claims.expires_at_secs(), 1_893_456_000);
        let with = |count| {
            let audiences = vec![r#""https://push.example.net""#; count].join(",");
            read(&format!(r#"{{"aud":[{audiences}],"exp":1}}"#))
        };
        assert_eq!(with(8).map(|claims| claims.audiences.len()), Ok(8));
        assert_eq!(with(9), Err(VapidError::MalformedClaims));
        let error = serde_json::from_str::<RawClaims>(r#"{"aud":1}"#).err().unwrap();
        assert!(error.to_string().contains("a short array of strings"), "{error}");
    }

    /// V-CLM-3: clocks may differ by a minute in either direction, and not by a second more.
    #[test]
    fn clocks_may_differ_by_a_minute() {
        let rows = [
            (1_893_369_539, Err(VapidError::ExpiresTooLate)),
            (1_893_369_540, Ok(())),
            (1_893_369_599, Ok(())),
            (1_893_456_000, Ok(())),
            (1_893_456_059, Ok(())),
            (1_893_456_060, Err(VapidError::Expired)),
        ];
        for (now, expected) in rows {
            assert_eq!(check_lifetime(1_893_456_000, now), expected, "{now}");
        }
        assert_eq!(
            check_lifetime(u64::MAX, 1_893_456_000),
            Err(VapidError::ExpiresTooLate)
        );
        assert_eq!(check_lifetime(0, 1_893_456_000), Err(VapidError::Expired));
    }

    /// V-CLM-3: without leeway a token dies on its `exp`, and is taken from exactly 24 hours before.
    #[test]
    fn the_rfc_s_own_window() {
        let rows = [
            (1_893_369_599, Err(VapidError::ExpiresTooLate)),
            (1_893_369_600, Ok(())),
            (1_893_400_000, Ok(())),
            (1_893_455_999, Ok(())),
            (1_893_456_000, Err(VapidError::Expired)),
            (1_893_456_001, Err(VapidError::Expired)),
        ];
        for (now, expected) in rows {
            assert_eq!(check_time(1_893_456_000, now, 0), expected, "{now}");
        }
    }
}
