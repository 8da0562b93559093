//! Keys of the curve P-256, for [`vapid`](crate::vapid) and [`encryption`](crate::encryption): public keys, and key agreement with
//! a private key that is kept.

pub(crate) mod agreement;
mod curve;
mod public_key;

pub use public_key::PublicKey;
