//! Keys of the curve P-256, for [`vapid`](crate::vapid) and for [`encryption`](crate::encryption): what is a public key, and how
//! a private key that is kept takes part in an agreement.

pub(crate) mod agreement;
mod curve;
mod public_key;

pub use public_key::PublicKey;
