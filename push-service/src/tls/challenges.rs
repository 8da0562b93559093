//! What an ACME server is shown when it looks whether a host is ours: a page (RFC 8555 §8.3), or a certificate that is for
//! this look alone (RFC 8737).
//!
//! Each is shown as long as its [`Shown`] lives, so none outlasts its order. There are never more than an order has hosts.
//!
//! What it deliberately does not know: accounts, orders, and who asks.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::Error;
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The protocol of an ACME server's look (RFC 8737 §3).
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

/// Where the pages are: RFC 8555 §8.3.
const PAGES: &str = "/.well-known/acme-challenge/";

/// The proofs of the orders under way.
#[derive(Default)]
pub struct Challenges {
    shown: RwLock<HashMap<ShownAt, Proof>>,
}

/// Where a proof is looked for.
#[derive(Clone, PartialEq, Eq, Hash)]
enum ShownAt {
    /// The page with this token.
    Page(String),
    /// A handshake for this host.
    Host(String),
}

#[derive(Clone)]
enum Proof {
    Page(String),
    Certificate(Arc<CertifiedKey>),
}

impl Challenges {
    /// The text of the page at this path, if it is shown now.
    pub fn page(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(PAGES)?;
        match self.find(&ShownAt::Page(token.to_owned()))? {
            Proof::Page(text) => Some(text),
            Proof::Certificate(_) => None,
        }
    }

    /// The certificate for a handshake with an ACME server that looks for this host.
    pub(super) fn certificate(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        match self.find(&ShownAt::Host(host.to_ascii_lowercase()))? {
            Proof::Certificate(certificate) => Some(certificate),
            Proof::Page(_) => None,
        }
    }

    /// Shows a page for a token.
    pub(super) fn show_page(self: &Arc<Self>, token: &str, authorization: &str) -> Shown {
        self.show(
            ShownAt::Page(token.to_owned()),
            Proof::Page(authorization.to_owned()),
        )
    }

    /// Shows a certificate for a host, with the digest of the authorization in it (RFC 8737 §3).
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub(super) fn show_certificate(
        self: &Arc<Self>,
        host: &str,
        digest: &[u8],
    ) -> Result<Shown, rcgen::Error> {
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = ring::sign::any_supported_type(&key).map_err(|_: Error| rcgen::Error::RingUnspecified)?;
        // Not checked against each other: rustls does not read a certificate with an extension that it must know and
        // does not, which is what keeps this one from being taken for anything else.
        let certificate = CertifiedKey::new(vec![certificate], key);
        Ok(self.show(
            ShownAt::Host(host.to_ascii_lowercase()),
            Proof::Certificate(Arc::new(certificate)),
        ))
    }

    /// Shows some certificate for a host.
    #[cfg(test)]
    pub(super) fn show_for_test(self: &Arc<Self>, host: &str) -> impl Drop + use<> {
        self.show_certificate(host, &[7; 32]).expect("a certificate")
    }

    fn show(self: &Arc<Self>, at: ShownAt, proof: Proof) -> Shown {
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        shown.insert(at.clone(), proof);
        Shown {
            challenges: Arc::clone(self),
            at,
        }
    }

    fn find(&self, at: &ShownAt) -> Option<Proof> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        shown.get(at).cloned()
    }
}

impl fmt::Debug for Challenges {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Challenges").finish_non_exhaustive()
    }
}

/// A proof that is shown until this is dropped.
#[must_use]
pub(super) struct Shown {
    challenges: Arc<Challenges>,
    at: ShownAt,
}

impl Drop for Shown {
    fn drop(&mut self) {
        let mut shown = self
            .challenges
            .shown
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        shown.remove(&self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8555 §8.3: the page is at its token's path and nowhere else, as long as its order is under way.
    #[test]
    fn a_page_is_shown_while_its_order_is_under_way() {
        let challenges = Arc::new(Challenges::default());
        let shown = challenges.show_page("token", "token.thumbprint");
        let rows = [
            ("/.well-known/acme-challenge/token", true),
            ("/.well-known/acme-challenge/tokens", false),
            ("/.well-known/acme-challenge/", false),
            ("/.well-known/acme-challenge/../token", false),
            ("/token", false),
        ];
        for (path, found) in rows {
            let page = challenges.page(path);
            assert_eq!(page.as_deref(), found.then_some("token.thumbprint"), "{path}");
        }
        drop(shown);
        assert_eq!(challenges.page("/.well-known/acme-challenge/token"), None);
    }

    /// RFC 8737 §3: the certificate is for its host alone, and holds the digest under acmeIdentifier, critical.
    #[test]
    fn a_certificate_is_shown_for_its_host() {
        let challenges = Arc::new(Challenges::default());
        let shown = challenges.show_certificate("Push.Example", &[7; 32]).unwrap();
        let certificate = challenges.certificate("push.example").unwrap();
        let der = certificate.end_entity_cert().unwrap().as_ref();
        // The object 1.3.6.1.5.5.7.1.31, TRUE, and an octet string in an octet string.
        let extension = [
            &[6, 8, 0x2b, 6, 1, 5, 5, 7, 1, 0x1f, 1, 1, 0xff, 4, 34, 4, 32][..],
            &[7; 32],
        ]
        .concat();
        assert!(der.windows(extension.len()).any(|part| part == extension));
        assert!(challenges.certificate("other.example").is_none());
        assert!(
            challenges
                .page("/.well-known/acme-challenge/push.example")
                .is_none()
        );
        drop(shown);
        assert!(challenges.certificate("push.example").is_none());
    }
}
