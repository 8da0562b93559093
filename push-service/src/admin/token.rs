//! The token of admin actions: a file that only its owner may read, and who may show a wrong one how often.
//!
//! The file is read for each action, so a new token counts at once, and the process holds none. Tokens are compared by their
//! digests and in constant time.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use ring::digest::{SHA256, digest};
use rustix::fs::OFlags;
use subtle::ConstantTimeEq as _;

use crate::defaults::{
    ADMIN_FAILURES, ADMIN_FAILURES_ADDRESSES, ADMIN_FAILURES_WITHIN, ADMIN_TOKEN_LEAST_BYTES,
    ADMIN_TOKEN_MOST_BYTES,
};

/// What is wrong with `admin.token_file`: a sentence for the operator, which holds nothing of the token.
#[derive(Debug)]
pub struct TokenError {
    path: PathBuf,
    why: TokenFault,
}

#[derive(Debug)]
enum TokenFault {
    Unreadable(io::Error),
    Open { mode: u32 },
    TooShort,
    NoToken,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.why {
            TokenFault::Unreadable(error) => write!(f, "{path}: {error}"),
            TokenFault::Open { mode } => write!(
                f,
                "{path}: other users may read or change it (mode {mode:o}): run `chmod 600 {path}`"
            ),
            TokenFault::TooShort => write!(
                f,
                "{path}: the token is shorter than {ADMIN_TOKEN_LEAST_BYTES} characters; make one with \
                 `openssl rand -hex 32`"
            ),
            TokenFault::NoToken => write!(
                f,
                "{path}: it must have one line of at most {ADMIN_TOKEN_MOST_BYTES} visible ASCII characters \
                 without spaces"
            ),
        }
    }
}

impl std::error::Error for TokenError {}

/// A digest of the token.
struct Token([u8; 32]);

impl Token {
    fn of(text: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, text).as_ref());
        Self(bytes)
    }

    fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// Why an action is refused.
#[derive(Debug)]
pub(super) enum Denied {
    /// `admin.token_file` is not set.
    NoActions,
    /// The request shows no token, or a wrong one.
    WrongToken,
    /// Its address has shown too many wrong ones.
    TooManyFailures {
        /// When it may try again.
        retry_after: Duration,
    },
    /// The file cannot be used any more.
    Unusable(TokenError),
}

/// Who may act.
pub struct Guard {
    file: Option<PathBuf>,
    failures: Mutex<Failures>,
}

impl Guard {
    /// Admits requests that show the token in this file. Without a file, no request may act.
    ///
    /// # Errors
    ///
    /// The file cannot be used: it is better to say so at the start than at the first action. Blocks for a read.
    pub fn new(file: Option<PathBuf>) -> Result<Self, TokenError> {
        if let Some(path) = &file {
            read(path)?;
        }
        Ok(Self {
            file,
            failures: Mutex::default(),
        })
    }

    /// Lets a request act, or says why not. Blocks for a read of a small file.
    pub(super) fn admit(&self, headers: &HeaderMap, peer: IpAddr) -> Result<(), Denied> {
        self.admit_at(headers, peer, Instant::now())
    }

    fn admit_at(&self, headers: &HeaderMap, peer: IpAddr, now: Instant) -> Result<(), Denied> {
        let Some(path) = &self.file else {
            return Err(Denied::NoActions);
        };
        let token = read(path).map_err(Denied::Unusable)?;
        match shown(headers) {
            // The right token acts, also if others guess from this address: a token is too long to be guessed.
            Some(shown) if token.is(&shown) => Ok(()),
            Some(_) => {
                let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(retry_after) = failures.refused_for(peer, now) {
                    return Err(Denied::TooManyFailures { retry_after });
                }
                failures.add(peer, now);
                Err(Denied::WrongToken)
            }
            // Not counted: a request without a token guesses none.
            None => Err(Denied::WrongToken),
        }
    }
}

/// The token of a request: `Authorization: Bearer TOKEN` (RFC 6750 §2.1).
fn shown(headers: &HeaderMap) -> Option<Token> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| Token::of(token.trim_ascii()))
}

fn read(path: &Path) -> Result<Token, TokenError> {
    let fault = |why| TokenError {
        path: path.to_owned(),
        why,
    };
    let io = |error| fault(TokenFault::Unreadable(error));
    // A pipe would let the reader wait for a writer.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
        .map_err(io)?;
    let about = file.metadata().map_err(io)?;
    if !about.is_file() {
        return Err(io(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        )));
    }
    if !is_private(about.mode(), about.uid(), rustix::process::geteuid().as_raw()) {
        let mode = about.mode() & 0o7777;
        return Err(fault(TokenFault::Open { mode }));
    }
    let mut text = Vec::new();
    let most = ADMIN_TOKEN_MOST_BYTES as u64 + 3;
    file.take(most).read_to_end(&mut text).map_err(io)?;
    let token = text.trim_ascii();
    if token.is_empty() || token.len() > ADMIN_TOKEN_MOST_BYTES || !token.iter().all(u8::is_ascii_graphic) {
        return Err(fault(TokenFault::NoToken));
    }
    if token.len() < ADMIN_TOKEN_LEAST_BYTES {
        return Err(fault(TokenFault::TooShort));
    }
    Ok(Token::of(token))
}

/// Whether only the process's user may read the file, and root. A group may read one that belongs to root, if the process is not
/// root: that is how Kubernetes mounts a secret for a user of its own (`fsGroup`).
fn is_private(mode: u32, owner: u32, user: u32) -> bool {
    let is_mounted_for_us = owner == 0 && user != 0;
    let closed = if is_mounted_for_us { 0o037 } else { 0o077 };
    mode & closed == 0
}

/// Wrong tokens of each address, in the current stretch of [`ADMIN_FAILURES_WITHIN`].
#[derive(Default)]
struct Failures {
    since: Option<Instant>,
    by_address: HashMap<IpAddr, u32>,
    /// Of those that found no place.
    others: u32,
}

impl Failures {
    fn add(&mut self, peer: IpAddr, now: Instant) {
        self.begin_anew(now);
        let has_place =
            self.by_address.len() < ADMIN_FAILURES_ADDRESSES || self.by_address.contains_key(&peer);
        let count = if has_place {
            self.by_address.entry(peer).or_default()
        } else {
            &mut self.others
        };
        *count = count.saturating_add(1);
    }

    fn refused_for(&mut self, peer: IpAddr, now: Instant) -> Option<Duration> {
        self.begin_anew(now);
        let count = self.by_address.get(&peer).copied().unwrap_or(self.others);
        let ends = self.since? + ADMIN_FAILURES_WITHIN;
        (count >= ADMIN_FAILURES).then(|| ends.saturating_duration_since(now))
    }

    fn begin_anew(&mut self, now: Instant) {
        let is_over = |since| now.saturating_duration_since(since) >= ADMIN_FAILURES_WITHIN;
        if self.since.is_none_or(is_over) {
            *self = Self {
                since: Some(now),
                ..Self::default()
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use http::HeaderValue;

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn file(&self, text: &str, mode: u32) -> PathBuf {
            let path = self.0.path().join("token");
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    fn showing(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
    }

    #[expect(clippy::needless_pass_by_value, reason = "it reads better")]
    fn status(result: Result<(), Denied>) -> u16 {
        match result {
            Ok(()) => 200,
            Err(Denied::NoActions) => 403,
            Err(Denied::WrongToken) => 401,
            Err(Denied::TooManyFailures { .. }) => 429,
            Err(Denied::Unusable(_)) => 503,
        }
    }

    /// Only the file's token acts, in one header field, whatever the case of its scheme.
    #[test]
    fn only_the_token_acts() {
        let place = Place::new();
        let guard = Guard::new(Some(place.file(&format!("{TOKEN}\n"), 0o600))).unwrap();
        let rows = [
            (format!("Bearer {TOKEN}"), 200),
            (format!("bearer  {TOKEN}"), 200),
            (format!("Bearer {}", &TOKEN[1..]), 401),
            (format!("Bearer {TOKEN}0"), 401),
            (format!("Bearer{TOKEN}"), 401),
            (format!("Basic {TOKEN}"), 401),
            (TOKEN.to_owned(), 401),
            ("Bearer ".to_owned(), 401),
            (String::new(), 401),
        ];
        for (value, expected) in rows {
            assert_eq!(status(guard.admit(&showing(&value), PEER)), expected, "{value}");
        }
        let mut twice = showing(&format!("Bearer {TOKEN}"));
        twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer other"));
        assert_eq!(status(guard.admit(&twice, PEER)), 401);
        assert_eq!(status(guard.admit(&HeaderMap::new(), PEER)), 401);
    }

    /// Without a file there are no actions, whatever a request shows.
    #[test]
    fn without_a_file_no_request_may_act() {
        let guard = Guard::new(None).unwrap();
        assert_eq!(status(guard.admit(&showing("Bearer "), PEER)), 403);
        assert_eq!(status(guard.admit(&HeaderMap::new(), PEER)), 403);
    }

    /// A new token counts at once, and the old one no more. With a file that cannot be used any more, no request may act.
    #[test]
    fn the_file_is_read_again() {
        let place = Place::new();
        let path = place.file(TOKEN, 0o400);
        let guard = Guard::new(Some(path.clone())).unwrap();
        let old = showing(&format!("Bearer {TOKEN}"));
        let new = TOKEN.replace('0', "z");
        fs::remove_file(&path).unwrap();
        assert_eq!(status(guard.admit(&old, PEER)), 503);
        place.file(&new, 0o600);
        assert_eq!(status(guard.admit(&old, PEER)), 401);
        assert_eq!(status(guard.admit(&showing(&format!("Bearer {new}")), PEER)), 200);
        place.file(&new, 0o644);
        assert_eq!(status(guard.admit(&showing(&format!("Bearer {new}")), PEER)), 503);
    }

    /// A file that others may read, a short token and no token are refused with the reason, and the reason has nothing of the
    /// token.
    #[test]
    fn a_file_that_cannot_be_used_is_refused() {
        let place = Place::new();
        let long = "a".repeat(ADMIN_TOKEN_MOST_BYTES + 1);
        let rows = [
            (TOKEN, 0o644, "chmod 600"),
            (TOKEN, 0o602, "chmod 600"),
            (TOKEN, 0o610, "chmod 600"),
            (&TOKEN[1..], 0o600, "shorter than 32"),
            ("", 0o600, "one line"),
            ("\n\n", 0o600, "one line"),
            ("0123456789abcdef0123456789abcdef second", 0o600, "one line"),
            ("0123456789abcdef0123456789abcdéf", 0o600, "one line"),
            (&long, 0o600, "one line"),
        ];
        for (text, mode, expected) in rows {
            let error = Guard::new(Some(place.file(text, mode)))
                .err()
                .unwrap()
                .to_string();
            assert!(error.contains(expected), "{mode:o}: {error}");
            assert!(!error.contains("456789"), "{error}");
        }
        let pipe = place.0.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        let error = Guard::new(Some(pipe)).err().unwrap().to_string();
        assert!(error.contains("not a regular file"), "{error}");
        let missing = Guard::new(Some(place.0.path().join("missing")));
        assert!(missing.err().unwrap().to_string().contains("No such file"));
    }

    /// A group may read a file of root's, if the process is another user: Kubernetes mounts secrets so.
    #[test]
    fn who_may_read_the_file() {
        let rows = [
            (0o600, 7, 7, true),
            (0o400, 7, 7, true),
            (0o640, 7, 7, false),
            (0o440, 0, 7, true),
            (0o640, 0, 7, true),
            (0o640, 0, 0, false),
            (0o460, 0, 7, false),
            (0o444, 0, 7, false),
        ];
        for (mode, owner, user, expected) in rows {
            assert_eq!(is_private(mode, owner, user), expected, "{mode:o} {owner} {user}");
        }
    }

    /// An address that guesses is told to wait. The right token acts all the same: other programs may share the address.
    #[test]
    fn guesses_are_slowed_down() {
        let place = Place::new();
        let guard = Guard::new(Some(place.file(TOKEN, 0o600))).unwrap();
        let (right, wrong) = (showing(&format!("Bearer {TOKEN}")), showing("Bearer wrong"));
        let other: IpAddr = "192.0.2.1".parse().unwrap();
        let now = Instant::now();
        for _ in 0..ADMIN_FAILURES {
            assert_eq!(status(guard.admit_at(&wrong, PEER, now)), 401);
        }
        match guard.admit_at(&wrong, PEER, now + Duration::from_secs(1)) {
            Err(Denied::TooManyFailures { retry_after }) => {
                assert_eq!(retry_after, ADMIN_FAILURES_WITHIN - Duration::from_secs(1));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(status(guard.admit_at(&right, PEER, now)), 200);
        assert_eq!(status(guard.admit_at(&wrong, other, now)), 401);
        assert_eq!(
            status(guard.admit_at(&wrong, PEER, now + ADMIN_FAILURES_WITHIN)),
            401
        );
    }

    /// A flood of addresses takes no memory, and those that find no place share one count.
    #[test]
    fn the_memory_of_failures_is_bounded() {
        let mut failures = Failures::default();
        let now = Instant::now();
        for n in 0..10_000_u32 {
            failures.add(IpAddr::V4(n.into()), now);
        }
        assert_eq!(failures.by_address.len(), ADMIN_FAILURES_ADDRESSES);
        assert_eq!(failures.refused_for(IpAddr::V4(1.into()), now), None);
        assert!(failures.refused_for(IpAddr::V4(9_999.into()), now).is_some());
        assert_eq!(
            failures.refused_for(IpAddr::V4(9_999.into()), now + ADMIN_FAILURES_WITHIN),
            None
        );
    }
}
