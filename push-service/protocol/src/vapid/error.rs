//! What can be wrong with a sender's credentials.

use std::fmt;

/// Why an application server's credentials are refused.
///
/// `Display` is a sentence that tells the sender what to change; it quotes nothing that was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum VapidError {
    /// The `Authorization` field is longer than [`super::MAX_AUTHORIZATION_BYTES`].
    TooLong,
    /// The `Authorization` field comes twice, or breaks its grammar.
    MalformedHeader,
    /// The scheme is neither `vapid` nor one of the draft's.
    OtherScheme,
    /// `vapid` without `t`, or a draft scheme without anything after it.
    MissingToken,
    /// `vapid` without `k`.
    MissingKey,
    /// A draft scheme without `p256ecdsa` in `Crypto-Key`.
    MissingLegacyKey,
    /// `t`, `k` or `p256ecdsa` is there twice.
    DuplicateParameter,
    /// The key is no uncompressed point on P-256 in base64url.
    MalformedKey,
    /// The token is no compact JWS: three parts in base64url without padding, the first a JSON object.
    MalformedToken,
    /// The token is signed with anything but ES256, or demands extensions.
    OtherAlgorithm,
    /// The signature does not verify under the key.
    BadSignature,
    /// The signed claims are no JSON object, or `aud` or `exp` has a type that it cannot have.
    MalformedClaims,
    /// There is no `aud` claim.
    MissingAudience,
    /// `aud` names other origins than the push resource's.
    OtherAudience,
    /// There is no `exp` claim.
    MissingExpiration,
    /// `exp` has passed.
    Expired,
    /// `exp` is more than 24 hours ahead.
    ExpiresTooLate,
}

impl fmt::Display for VapidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "The Authorization header is longer than 4096 bytes; send fewer or shorter claims.",
            Self::MalformedHeader => {
                "The Authorization header cannot be read; send it once, as: vapid t=<token>, k=<public key>."
            }
            Self::OtherScheme => "The Authorization scheme is not supported; use: vapid t=<token>, k=<public key>.",
            Self::MissingToken => "The Authorization header has no token; send: vapid t=<token>, k=<public key>.",
            Self::MissingKey => "The Authorization header has no k parameter; put the VAPID public key there.",
            Self::MissingLegacyKey => {
                "There is no p256ecdsa in the Crypto-Key header; put the VAPID public key there, or use the vapid scheme."
            }
            Self::DuplicateParameter => "The token or the VAPID public key is given twice; send each of them once.",
            Self::MalformedKey => {
                "The VAPID public key is invalid; send the 65 bytes of an uncompressed P-256 point as base64url."
            }
            Self::MalformedToken => {
                "The VAPID token is not a JWT; send header, claims and signature as base64url without padding, joined by dots."
            }
            Self::OtherAlgorithm => "The VAPID token is not signed with ES256; set alg to ES256, without crit.",
            Self::BadSignature => {
                "The VAPID signature does not match; sign with the private half of the key that is sent, as 64 bytes r and s."
            }
            Self::MalformedClaims => {
                "The VAPID claims cannot be read; send a JSON object in which aud is a string and exp a number of seconds."
            }
            Self::MissingAudience => "The VAPID claims lack aud; set it to the origin of the push endpoint.",
            Self::OtherAudience => {
                "The VAPID claim aud is not this push service; set it to the origin of the push endpoint, without a path."
            }
            Self::MissingExpiration => "The VAPID claims lack exp; set it to a time within the next 24 hours.",
            Self::Expired => "The VAPID token has expired; sign a new one, and check the clock of the application server.",
            Self::ExpiresTooLate => {
                "The VAPID token expires more than 24 hours ahead; set exp closer, and check the application server's clock."
            }
        })
    }
}

impl std::error::Error for VapidError {}
