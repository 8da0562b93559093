//! One order (RFC 8555 §7.4), from the account to a certificate that is kept: proof for each host, a fresh key, the chain.
//!
//! What it deliberately does not know: when to order, and how often to try.

use std::sync::Arc;
use std::{error, fmt, io};

use instant_acme::{
    Account, AccountCredentials, AuthorizationHandle, AuthorizationStatus, ChallengeType, Error, Identifier,
    KeyAuthorization, NewAccount, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use push_protocol::escape;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use tokio::task::spawn_blocking;

use super::https::Https;
use super::store::Store;
use super::{ChallengeKind, Settings};
use crate::defaults::{ACME_ORDER_WITHIN, ACME_POLL_FIRST, ACME_POLL_GROWTH};
use crate::tls::challenges::{Challenges, Shown};

/// The longest piece of a server's words that goes into the log. In characters. Chosen: a problem's type and its sentence.
const WORDS: usize = 400;

/// What the types of problems begin with (RFC 8555 §6.7).
const PROBLEMS: &str = "urn:ietf:params:acme:error:";

/// The server does not know the account.
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// What an order needs: the hosts, the server, and where its results are kept.
pub(super) struct Orders<'a> {
    pub(super) settings: &'a Settings,
    pub(super) store: &'a Store,
    pub(super) https: &'a Https,
    pub(super) challenges: &'a Arc<Challenges>,
}

impl Orders<'_> {
    /// Has a certificate issued for all hosts, and keeps it.
    ///
    /// # Errors
    ///
    /// Why no certificate was issued, in words for the operator. Nothing that was there before is lost.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves an order behind at the server, which forgets it.
    pub(super) async fn order(&self) -> Result<(), OrderError> {
        let account = self.account().await?;
        let ordered = self.order_from(&account).await;
        if let Err(OrderError::Server(Error::Api(problem))) = &ordered
            && problem.r#type.as_deref() == Some(NO_ACCOUNT)
        {
            self.blocking(|store| {
                store.forget_account();
                Ok(())
            })
            .await?;
        }
        ordered
    }

    /// The account that is kept, or a new one.
    async fn account(&self) -> Result<Account, OrderError> {
        let builder = Account::builder_with_http(Box::new(self.https.clone()));
        if let Some(credentials) = self.blocking(|store| Ok(store.account())).await? {
            return Ok(builder.from_credentials(credentials).await?);
        }
        let contact = self
            .settings
            .contact
            .as_ref()
            .map(|contact| format!("mailto:{contact}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let wanted = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let directory = self.settings.directory.clone();
        let (account, credentials): (Account, AccountCredentials) =
            builder.create(&wanted, directory, None).await?;
        self.blocking(move |store| store.keep_account(&credentials))
            .await?;
        Ok(account)
    }

    async fn order_from(&self, account: &Account) -> Result<(), OrderError> {
        let hosts: Vec<Identifier> = self
            .settings
            .domains
            .iter()
            .map(|domain| Identifier::Dns(domain.clone()))
            .collect();
        let mut order = account.new_order(&NewOrder::new(&hosts)).await?;
        let proofs = self.prove(&mut order).await?;
        let patience = RetryPolicy::new()
            .initial_delay(ACME_POLL_FIRST)
            .backoff(ACME_POLL_GROWTH)
            .timeout(ACME_ORDER_WITHIN);
        match order.poll_ready(&patience).await? {
            OrderStatus::Ready => {}
            _ => return Err(why_not(&mut order).await?),
        }
        drop(proofs);

        let key = KeyPair::generate().map_err(OrderError::NotGenerated)?;
        let request = self.request(&key).map_err(OrderError::NotGenerated)?;
        order.finalize_csr(&request).await?;
        let chain = order.poll_certificate(&patience).await?;
        let domains = self.settings.domains.clone();
        self.blocking(move |store| store.keep_certificate(&chain, &key.serialize_pem(), &domains))
            .await
    }

    /// Shows a proof for each host of which the server wants one.
    async fn prove(&self, order: &mut Order) -> Result<Vec<Shown>, OrderError> {
        let mut proofs = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let authorization = authorization?;
            if authorization.status != AuthorizationStatus::Valid {
                if proofs.len() == self.settings.domains.len() {
                    return Err(Error::Str(
                        "the ACME server demands more challenges than there are hosts in tls.acme.domains",
                    )
                    .into());
                }
                proofs.push(self.prove_one(authorization).await?);
            }
        }
        Ok(proofs)
    }

    async fn prove_one(&self, mut authorization: AuthorizationHandle<'_>) -> Result<Shown, OrderError> {
        let host = authorization.identifier().to_string();
        let kind = self.settings.challenge;
        let Some(mut challenge) = authorization.challenge(of_server(kind)) else {
            return Err(OrderError::NotOffered { host, kind });
        };
        let proof = challenge.key_authorization();
        let shown = self.show(&host, &challenge.token, &proof)?;
        match challenge.set_ready().await {
            Ok(()) => Ok(shown),
            // Some servers look at once.
            Err(Error::Api(problem)) if is_of_a_look(&problem) => Err(OrderError::NotProven {
                host,
                why: problem.to_string(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    fn show(&self, host: &str, token: &str, proof: &KeyAuthorization) -> Result<Shown, OrderError> {
        match self.settings.challenge {
            ChallengeKind::Http01 => Ok(self.challenges.show_page(token, proof.as_str())),
            ChallengeKind::TlsAlpn01 => self
                .challenges
                .show_certificate(host, proof.digest().as_ref())
                .map_err(OrderError::NotGenerated),
        }
    }

    /// The request for a certificate (RFC 2986): the hosts, and nothing about who runs them.
    fn request(&self, key: &KeyPair) -> Result<Vec<u8>, rcgen::Error> {
        let mut params = CertificateParams::new(self.settings.domains.clone())?;
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(key)?.der().to_vec())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> io::Result<T> + Send + 'static,
    ) -> Result<T, OrderError> {
        let store = self.store.clone();
        let done = spawn_blocking(move || work(&store)).await;
        done.map_err(io::Error::other)
            .and_then(|result| result)
            .map_err(OrderError::NotKept)
    }
}

/// Whether a problem is that a server looked for us and did not find what it wanted (RFC 8555 §6.7).
fn is_of_a_look(problem: &Problem) -> bool {
    let kind = problem
        .r#type
        .as_deref()
        .and_then(|kind| kind.strip_prefix(PROBLEMS));
    kind.is_some_and(|kind| ["connection", "dns", "incorrectResponse", "tls", "unauthorized"].contains(&kind))
}

fn of_server(kind: ChallengeKind) -> ChallengeType {
    match kind {
        ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
        ChallengeKind::Http01 => ChallengeType::Http01,
    }
}

/// What the server did not like about an order that it gave up.
async fn why_not(order: &mut Order) -> Result<OrderError, OrderError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        let host = authorization.identifier().to_string();
        let state = authorization.refresh().await?;
        let problem = state
            .challenges
            .iter()
            .find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = problem {
            let why = problem.to_string();
            return Ok(OrderError::NotProven { host, why });
        }
    }
    Ok(OrderError::Server(Error::Str(
        "the ACME server ended the order without giving a reason",
    )))
}

/// Why there is no new certificate.
#[derive(Debug)]
pub(super) enum OrderError {
    /// The server refuses, or cannot be reached.
    Server(Error),
    /// The server does not look for proof as we are told to show it.
    NotOffered { host: String, kind: ChallengeKind },
    /// The server did not find the proof.
    NotProven { host: String, why: String },
    /// A key or a certificate could not be made.
    NotGenerated(rcgen::Error),
    /// The account or the certificate could not be kept.
    NotKept(io::Error),
    /// It took longer than [`ACME_ORDER_WITHIN`].
    TooLong,
}

impl fmt::Display for OrderError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => out.write_str(&shown(&error.to_string())),
            Self::NotOffered { host, kind } => {
                write!(
                    out,
                    "the ACME server does not offer {kind} for {}: set tls.acme.challenge to the other value",
                    shown(host)
                )
            }
            Self::NotProven { host, why } => write!(
                out,
                "the ACME server could not verify {}: {}. Does this name lead to this machine, and the port \
                 to this service?",
                shown(host),
                shown(why)
            ),
            Self::NotGenerated(source) => write!(out, "cannot make a key: {source}"),
            Self::NotKept(source) => write!(
                out,
                "cannot write to tls.acme.cache: {source}. May this user write there?"
            ),
            Self::TooLong => write!(
                out,
                "the ACME server did not finish the order within {ACME_ORDER_WITHIN:?}"
            ),
        }
    }
}

impl error::Error for OrderError {}

impl From<Error> for OrderError {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

/// Words of a server as they may stand in a log: in one line, and not endless.
fn shown(text: &str) -> String {
    // How the library begins whatever a server says.
    let words = text.strip_prefix("API error: ").unwrap_or(text);
    escape::text(words).chars().take(WORDS).collect()
}
