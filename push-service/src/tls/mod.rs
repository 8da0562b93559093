//! TLS for hundreds of thousands of connections that mostly say nothing.
//!
//! Idle connections are the product, and most of what one costs is TLS. So the stream here is our own, on rustls's
//! unbuffered interface: a connection that waits owns its keys and rustls's state, but no read or write buffer. That is
//! 3.4 KB of resident memory over a socket in a task, by the test in `tests/memory.rs`. All of it is rustls's, and
//! fixed: 1.1 KB its connection, 1.1 KB the expanded keys of both directions (ring's AES-GCM), 0.6 KB its table of
//! handshake messages, 0.4 KB secrets and emptied queues.
//!
//! ```text
//! Acceptor ──accept──► TlsStream    a socket and the rules of waking           stream
//!    │                   └ Records  rustls, and bytes that were not taken yet  records
//!    ├ Certificates                 what is presented; reloaded when it changes certificates, named, self_signed, pem_pair
//!    │   ▲
//!    │  acme::Renewer               has it issued, and again before it ends    acme
//!    │   └ Challenges               what an ACME server is shown meanwhile     challenges
//!    └ Tickets                      sessions that any node resumes              tickets
//! ```
//!
//! What it deliberately does not know: HTTP, WebSockets, which port it serves, and how long a handshake may take (the
//! caller wraps [`Acceptor::accept`] in its deadline).

mod acceptor;
pub mod acme;
mod certificates;
mod challenges;
mod error;
mod files;
mod named;
mod pem_pair;
mod records;
mod self_signed;
mod stream;
#[cfg(test)]
mod tests;
mod tickets;
mod validity;

pub use acceptor::{Acceptor, Options};
pub use certificates::{CertificateSource, ValidUntil, check_directory};
pub use challenges::Challenges;
pub use error::TlsError;
pub use self_signed::check_self_signed;
pub use stream::TlsStream;
pub use tickets::TicketSecrets;
