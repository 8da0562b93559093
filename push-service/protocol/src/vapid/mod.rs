//! Who sends: Voluntary Application Server Identification (RFC 8292), and the draft scheme before it.
//!
//! A push carries a signed token and the key it is signed with. [`credentials`] finds both in the header fields, which
//! is cheap and done for every push; [`Credentials::verify`] checks the signature, which is dear (tens of
//! microseconds) and done once per [`Credentials::cache_key`]; [`Claims::check`] compares time and origin, and is done
//! on every use of a remembered token too.
//!
//! **Invariant:** nothing that a token says leaves this module before its signature was verified (RFC 8292 §2), and no
//! token or key appears in an error or in `Debug`.

mod claims;
mod credentials;
mod error;
mod signing;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod vectors;

pub use claims::{Claims, LEEWAY_SECS, MAX_LIFETIME_SECS, check_lifetime};
pub use credentials::{Credentials, MAX_AUTHORIZATION_BYTES, Scheme, credentials};
pub use error::VapidError;
pub use signing::{SigningError, SigningKey};

pub use crate::p256::PublicKey;
