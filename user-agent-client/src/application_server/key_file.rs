//! Where an application server keeps its VAPID key (RFC 8292 §3.2).
//!
//! Reads the formats that tools around Web Push write: PEM and DER, PKCS#8 and SEC 1,
//! and the base64url that `web-push generate-vapid-keys` prints. Writes PKCS#8 in PEM, which all of them read.
//!
//! **Invariant:** a file that is there is never written. A lost key ends every subscription that is restricted to it.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::{fmt, fs};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use push_protocol::vapid::{PublicKey, SigningError, SigningKey};
use ring::rand::SystemRandom;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;

use super::der;

/// As much of a key file as is read: a key has some hundred bytes, and the rest is comments.
const FILE_BYTES: u64 = 64 * 1024;

/// The longest line of base64 in PEM (RFC 7468 §2).
const PEM_COLUMNS: usize = 64;

/// Why there is no key.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file cannot be read, or not be made.
    Io(io::Error),
    /// What is in the file is no P-256 private key in a form that is understood.
    NotAKey,
    /// The key is locked with a passphrase.
    Encrypted,
    /// The file has two halves that do not belong together.
    Mixed,
    /// The random source failed.
    NoRandomness,
}

/// Reads the key in `path`.
///
/// # Errors
///
/// [`KeyFileError`]; it quotes nothing of the file.
pub fn read(path: &Path) -> Result<SigningKey, KeyFileError> {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES).read_to_end(&mut content))
        .map_err(KeyFileError::Io)?;
    parse(&content)
}

/// Reads the key in `path`, or makes one there, for its owner only, if there is no such file. Says whether it was made.
///
/// # Errors
///
/// [`KeyFileError`].
pub fn read_or_make(path: &Path) -> Result<(SigningKey, bool), KeyFileError> {
    match read(path) {
        Err(KeyFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => make(path),
        other => other.map(|key| (key, false)),
    }
}

/// Reads a key in any of the forms.
///
/// # Errors
///
/// [`KeyFileError`]; it quotes nothing of `content`.
pub fn parse(content: &[u8]) -> Result<SigningKey, KeyFileError> {
    if let Some(parts) = der::private_key(content) {
        return signing_key(parts.private, parts.public);
    }
    let text = std::str::from_utf8(content).map_err(|_| KeyFileError::NotAKey)?;
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(KeyFileError::Encrypted);
    }
    if text.contains("-----BEGIN ") {
        let key = PrivateKeyDer::from_pem_slice(content).map_err(|_| KeyFileError::NotAKey)?;
        let parts = der::private_key(key.secret_der()).ok_or(KeyFileError::NotAKey)?;
        return signing_key(parts.private, parts.public);
    }
    raw(text.trim())
}

/// What npm's `web-push` prints: the private key alone, or JSON with both.
fn raw(text: &str) -> Result<SigningKey, KeyFileError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Pair {
        public_key: Option<String>,
        private_key: String,
    }
    if !text.starts_with('{') {
        return signing_key(&private(text)?, None);
    }
    // The error of the parser would quote what it stumbled on.
    let pair: Pair = serde_json::from_str(text).map_err(|_| KeyFileError::NotAKey)?;
    let public = match &pair.public_key {
        Some(public) => Some(PublicKey::parse(public).ok_or(KeyFileError::NotAKey)?),
        None => None,
    };
    signing_key(
        &private(&pair.private_key)?,
        public.as_ref().map(PublicKey::as_bytes),
    )
}

fn private(text: &str) -> Result<[u8; 32], KeyFileError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).or_else(|_| URL_SAFE.decode(text));
    bytes
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(KeyFileError::NotAKey)
}

/// With both halves, a key that was mixed up with another is noticed.
fn signing_key(private: &[u8; 32], public: Option<&[u8; 65]>) -> Result<SigningKey, KeyFileError> {
    let random = SystemRandom::new();
    let Some(public) = public else {
        return Ok(SigningKey::from_private(private, &random)?);
    };
    let public = PublicKey::from_bytes(*public).ok_or(KeyFileError::NotAKey)?;
    SigningKey::from_raw(private, &public, &random).map_err(|error| match error {
        SigningError::NotAKeyPair => KeyFileError::Mixed,
        SigningError::NoRandomness => KeyFileError::NoRandomness,
    })
}

fn make(path: &Path) -> Result<(SigningKey, bool), KeyFileError> {
    let random = SystemRandom::new();
    let der = SigningKey::generate_pkcs8(&random)?;
    let key = SigningKey::from_pkcs8(&der, &random)?;
    // If another process made the file in the meantime, `create_new` fails and the file stays.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(KeyFileError::Io)?;
    // The umask may have taken even the owner's rights.
    let written = file
        .set_permissions(Permissions::from_mode(0o600))
        .and_then(|()| file.write_all(pem(&der).as_bytes()))
        .and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half a key is of no use, and the next attempt would fail because of it.
        let _ = fs::remove_file(path);
        return Err(KeyFileError::Io(error));
    }
    Ok((key, true))
}

fn pem(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in base64.as_bytes().chunks(PEM_COLUMNS) {
        pem.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}

impl From<SigningError> for KeyFileError {
    fn from(error: SigningError) -> Self {
        match error {
            SigningError::NotAKeyPair => Self::NotAKey,
            SigningError::NoRandomness => Self::NoRandomness,
        }
    }
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::NotAKey => f.write_str(
                "this is not a P-256 private key; use PEM or DER (PKCS#8 or SEC 1), or the private key's 32 \
                 bytes in base64url, alone or as privateKey in a JSON object",
            ),
            Self::Encrypted => f.write_str(
                "the key is encrypted with a passphrase; decrypt it with openssl pkcs8 -in FILE -out \
                     OTHER",
            ),
            Self::Mixed => f.write_str("the private and the public key do not belong together"),
            Self::NoRandomness => f.write_str("the random source failed"),
        }
    }
}

impl std::error::Error for KeyFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// One key, as `openssl genpkey` and py_vapid write it …
    const PKCS8: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgX1qA4tcFM9yn+Ww2
0MsJcSF5yv+F91k/6G7DCtStH5mhRANCAARPdQKhVLXAd2dUH6V1JTbiEHFzqCOH
3VaXeBpXX/HXUPiU/6rUmGMUwOww0dATrvU+H1LrKCBONA4gqat6pZmP
-----END PRIVATE KEY-----
";
    /// … and as `openssl ecparam -genkey` does, with the curve in front.
    const SEC1: &str = "-----BEGIN EC PARAMETERS-----
BggqhkjOPQMBBw==
-----END EC PARAMETERS-----
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIF9agOLXBTPcp/lsNtDLCXEhecr/hfdZP+huwwrUrR+ZoAoGCCqGSM49
AwEHoUQDQgAET3UCoVS1wHdnVB+ldSU24hBxc6gjh91Wl3gaV1/x11D4lP+q1Jhj
FMDsMNHQE671Ph9S6yggTjQOIKmreqWZjw==
-----END EC PRIVATE KEY-----
";
    const PUBLIC: &str =
        "BE91AqFUtcB3Z1QfpXUlNuIQcXOoI4fdVpd4Gldf8ddQ-JT_qtSYYxTA7DDR0BOu9T4fUusoIE40DiCpq3qlmY8";
    const PRIVATE: &str = "X1qA4tcFM9yn-Ww20MsJcSF5yv-F91k_6G7DCtStH5k";
    const ANOTHER_PUBLIC: &str =
        "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";

    fn der(pem: &str) -> Vec<u8> {
        PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .unwrap()
            .secret_der()
            .to_vec()
    }

    /// SEC 1 as `openssl ec -no_public` writes it: the private half and the curve.
    fn private_half_alone() -> Vec<u8> {
        let mut der = der(SEC1);
        der.truncate(51);
        der[1] = 49;
        der
    }

    /// V-AUTH-7: one key is one key in every form in which it is kept.
    #[test]
    fn a_key_is_read_in_every_form() {
        let rows: Vec<(&str, Vec<u8>)> = vec![
            ("PKCS#8, PEM", PKCS8.into()),
            ("SEC 1, PEM", SEC1.into()),
            ("PKCS#8, PEM, CRLF", PKCS8.replace('\n', "\r\n").into()),
            ("PKCS#8, DER", der(PKCS8)),
            ("SEC 1, DER", der(SEC1)),
            ("SEC 1, DER, private half", private_half_alone()),
            ("base64url", PRIVATE.into()),
            ("base64url, a line", format!("{PRIVATE}\n").into()),
            ("base64url, padded", format!("{PRIVATE}=").into()),
            (
                "JSON",
                format!(r#"{{"publicKey":"{PUBLIC}","privateKey":"{PRIVATE}"}}"#).into(),
            ),
            (
                "JSON, private half",
                format!(r#"{{"privateKey":"{PRIVATE}"}}"#).into(),
            ),
        ];
        for (form, content) in rows {
            let key = parse(&content).unwrap_or_else(|error| panic!("{form}: {error}"));
            assert_eq!(key.public_key().to_string(), PUBLIC, "{form}");
        }
    }

    /// What is no key is refused with a reason, and no cut or changed key panics.
    #[test]
    fn what_is_no_key_is_refused() {
        let mixed = format!(r#"{{"publicKey":"{ANOTHER_PUBLIC}","privateKey":"{PRIVATE}"}}"#);
        assert!(matches!(parse(mixed.as_bytes()), Err(KeyFileError::Mixed)));
        let locked = PKCS8.replace("PRIVATE", "ENCRYPTED PRIVATE");
        assert!(matches!(parse(locked.as_bytes()), Err(KeyFileError::Encrypted)));
        let another_curve = {
            let mut der = der(PKCS8);
            der[22] ^= 1;
            der
        };
        let rows: Vec<Vec<u8>> = vec![
            Vec::new(),
            b"{}".to_vec(),
            b"hello".to_vec(),
            PUBLIC.into(),
            "A".repeat(43).into(), // Zero is no private key.
            PKCS8.replace("PRIVATE", "PUBLIC").into(),
            another_curve,
        ];
        for content in rows {
            assert!(
                matches!(parse(&content), Err(KeyFileError::NotAKey)),
                "{content:?}"
            );
        }
        for whole in [der(PKCS8), der(SEC1)] {
            for length in 0..whole.len() {
                assert!(parse(&whole[..length]).is_err(), "{length}");
            }
            for at in 0..whole.len() {
                let mut changed = whole.clone();
                changed[at] ^= 0x81;
                let _ = parse(&changed);
            }
        }
    }

    /// A key is made once, for its owner only, as PEM that says what it is; afterwards it is read and never written.
    #[test]
    fn a_key_is_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vapid.pem");
        let (made, is_new) = read_or_make(&path).unwrap();
        assert!(is_new);
        let content = fs::read_to_string(&path).unwrap();
        assert!(content.starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert!(content.lines().all(|line| line.len() <= 64));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let (read, is_new) = read_or_make(&path).unwrap();
        assert!(!is_new);
        assert_eq!(read.public_key(), made.public_key());
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }

    /// A file that holds something else is left alone.
    #[test]
    fn another_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.txt");
        fs::write(&path, "hello").unwrap();
        assert!(matches!(read_or_make(&path), Err(KeyFileError::NotAKey)));
        assert_eq!(fs::read_to_string(&path).unwrap(), "hello");
    }
}
