//! Seals a few bytes into an opaque token, and opens it again. It knows kinds and keys, but no ids and no dialects.
//!
//! ```text
//! token = base64url( key id, 1 byte || visible, 16 bytes || AES-128-GCM( plaintext ) || tag, 16 bytes )
//! AES key, nonce = HMAC-SHA-256( sealing key, "seal" || kind || visible ), cut to 16 and 12 bytes
//! ```
//!
//! A nonce of 96 random bits under one key is good for 2^32 tokens (NIST SP 800-38D §8.3), which a busy service makes in
//! weeks. Here 128 visible bits choose key and nonce, so that no such bound is met.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::{digest, hmac};

use crate::base64url;

const KEY_ID_BYTES: usize = 1;
pub(super) const VISIBLE_BYTES: usize = 16;
const HEAD_BYTES: usize = KEY_ID_BYTES + VISIBLE_BYTES;
const TAG_BYTES: usize = 16;

/// The longest plaintext: a push resource with a key.
const MAX_PLAINTEXT_BYTES: usize = 57;
const MAX_TOKEN_BYTES: usize = HEAD_BYTES + MAX_PLAINTEXT_BYTES + TAG_BYTES;

/// A secret of 32 random bytes from which the tokens of a cluster are sealed. All nodes have the same list.
#[derive(Clone, PartialEq, Eq)]
pub struct SealingKey([u8; 32]);

impl SealingKey {
    /// Takes 256 bits that were drawn from a cryptographic random source.
    pub fn from_random(bits: [u8; 32]) -> Self {
        Self(bits)
    }

    /// Reads 32 bytes in base64url, or in standard base64 as operators' tools write it, padded or not.
    pub fn parse(text: &str) -> Option<Self> {
        base64url::decode_key(text).map(Self)
    }

    /// Its spelling in a configuration: 43 characters. This is the secret itself.
    pub fn to_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// What storage and logs may know of it: tells keys apart, opens nothing.
    // PR-28.
    pub fn fingerprint(&self) -> [u8; 8] {
        self.digest(b"push-service: sealing key fingerprint")
    }

    /// What every token sealed with it shows.
    pub fn id(&self) -> KeyId {
        let [id] = self.digest(b"push-service: sealing key id");
        KeyId(id)
    }

    /// Another secret of 256 bits, for one purpose beside tokens. It tells nothing about this key, or about what is
    /// derived for other purposes. All nodes derive the same (HKDF's expansion, RFC 5869 §2.3, of one block).
    pub fn derive(&self, purpose: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        // Sets it apart from what tokens are made of, which begins with "seal" or "name".
        context.update(b"push-service: derived for ");
        context.update(purpose);
        context.update(&[1]);
        let mut secret = [0; 32];
        secret.copy_from_slice(context.sign().as_ref());
        secret
    }

    /// What SHA-256 makes of the key in one of its roles, cut.
    fn digest<const N: usize>(&self, domain: &[u8]) -> [u8; N] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(domain);
        context.update(&self.0);
        let mut cut = [0; N];
        cut.copy_from_slice(&context.finish().as_ref()[..N]);
        cut
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

/// Which sealing key sealed a token, as far as one byte can say: two keys may share it, and then both are tried.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct KeyId(pub u8);

/// What a token is good for. Goes into its key, so that no token opens as another kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    Push = 1,
    WpushV1 = 2,
    WpushV2 = 3,
    Message = 4,
    Promise = 5,
    Subscription = 6,
    SubscriptionSet = 7,
    Receipts = 8,
}

/// A sealing key at work.
pub(super) struct Sealer {
    pub(super) id: KeyId,
    pub(super) fingerprint: [u8; 8],
    key: hmac::Key,
}

impl Sealer {
    pub(super) fn new(key: &SealingKey) -> Self {
        Self {
            id: key.id(),
            fingerprint: key.fingerprint(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key.0),
        }
    }

    /// Seals under visible bytes that are random, or derived from the plaintext.
    pub(super) fn seal<const N: usize>(
        &self,
        kind: Kind,
        visible: [u8; VISIBLE_BYTES],
        plaintext: [u8; N],
    ) -> String {
        let mut buffer = [0; MAX_TOKEN_BYTES];
        let token = &mut buffer[..token_bytes(N)];
        token[0] = self.id.0;
        token[KEY_ID_BYTES..HEAD_BYTES].copy_from_slice(&visible);
        let (body, tag_space) = token[HEAD_BYTES..].split_at_mut(N);
        body.copy_from_slice(&plaintext);
        let (key, nonce) = self.derive(kind, &visible);
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from([self.id.0]), body)
            .expect("a capability is far shorter than the cipher's limit");
        tag_space.copy_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(token)
    }

    /// Visible bytes that are the same whenever kind and plaintext are, and say nothing about them.
    pub(super) fn name(&self, kind: Kind, plaintext: &[u8]) -> [u8; VISIBLE_BYTES] {
        let digest = self.digest(*b"name", kind, plaintext);
        let mut visible = [0; VISIBLE_BYTES];
        visible.copy_from_slice(&digest.as_ref()[..VISIBLE_BYTES]);
        visible
    }

    fn open<const N: usize>(
        &self,
        kind: Kind,
        visible: &[u8; VISIBLE_BYTES],
        sealed: &[u8],
    ) -> Option<[u8; N]> {
        let mut buffer = [0; MAX_TOKEN_BYTES];
        let sealed_copy = buffer.get_mut(..sealed.len())?;
        sealed_copy.copy_from_slice(sealed);
        let (key, nonce) = self.derive(kind, visible);
        let plaintext = key
            .open_in_place(nonce, Aad::from([self.id.0]), sealed_copy)
            .ok()?;
        (&*plaintext).try_into().ok()
    }

    fn derive(&self, kind: Kind, visible: &[u8; VISIBLE_BYTES]) -> (LessSafeKey, Nonce) {
        let digest = self.digest(*b"seal", kind, visible);
        let (key, rest) = digest.as_ref().split_at(AES_128_GCM.key_len());
        let key = UnboundKey::new(&AES_128_GCM, key).expect("16 bytes make a key");
        let nonce = Nonce::try_assume_unique_for_key(&rest[..AES_128_GCM.nonce_len()]);
        (LessSafeKey::new(key), nonce.expect("12 bytes make a nonce"))
    }

    fn digest(&self, role: [u8; 4], kind: Kind, input: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&role);
        context.update(&[kind as u8]);
        context.update(input);
        context.sign()
    }
}

/// Opens a token of `kind` with `N` bytes of plaintext by whichever key sealed it.
///
/// One token has one spelling: another length, padding, and bits that belong to no byte are refused.
pub(super) fn open<const N: usize>(sealers: &[Sealer], kind: Kind, text: &str) -> Option<([u8; N], usize)> {
    let length = token_bytes(N);
    if Some(text.len()) != base64::encoded_len(length, false) {
        return None;
    }
    let mut buffer = [0; MAX_TOKEN_BYTES];
    let token = &mut buffer[..length];
    if URL_SAFE_NO_PAD.decode_slice(text, token) != Ok(length) {
        return None;
    }
    let (id, rest) = token.split_first()?;
    let (visible, sealed) = rest.split_first_chunk()?;
    let candidates = sealers
        .iter()
        .enumerate()
        .filter(|(_, sealer)| sealer.id.0 == *id);
    candidates
        .into_iter()
        .find_map(|(at, sealer)| Some((sealer.open(kind, visible, sealed)?, at)))
}

const fn token_bytes(plaintext_bytes: usize) -> usize {
    assert!(plaintext_bytes <= MAX_PLAINTEXT_BYTES);
    HEAD_BYTES + plaintext_bytes + TAG_BYTES
}
