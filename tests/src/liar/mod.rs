//! Push services that lie: each behaves like an honest one, except for the lies that a test asks for.
//!
//! [`web_socket`] speaks the protocol of the WebSocket, [`http2`] RFC 8030 over HTTP/2. Both run by themselves, however often
//! the user agent comes back. A test changes the lies while they run, makes a service push, close or leave, and reads in the
//! [`Record`] what the user agent did and when.
//!
//! An honest service sends a message that was not acknowledged again on the next channel. These do that, too.

mod answer;
pub mod http2;
mod record;
mod service;
pub mod web_socket;

pub use answer::{Answer, Lie};
pub use record::{Record, RecordedStep, Step};
