//! The encryption of messages, row by row.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::vectors::{array, bytes};
use super::*;

mod draft;
mod rfc8188;
mod rfc8291;

/// Encrypts a record whatever is in it, with the nonce as RFC 8188 §2.3 words it: so that the code meets records that it
/// would not write itself.
fn sealed(key: [u8; 16], base_nonce: [u8; 12], number: u128, padded: &[u8]) -> Vec<u8> {
    let mut nonce = [0; 16];
    nonce[4..].copy_from_slice(&base_nonce);
    let nonce = u128::from_be_bytes(nonce) ^ number;
    let nonce = Nonce::try_assume_unique_for_key(&nonce.to_be_bytes()[4..]).unwrap();
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
    let mut record = padded.to_vec();
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record)
        .unwrap();
    record
}
