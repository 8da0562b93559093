//! Receive Web Push without a browser: in a kiosk, a gateway, a desktop application, a server.
//!
//! A user agent holds one connection to a push service, however many subscriptions it has. It subscribes, gives the
//! subscription to an application server, and receives its messages: stored while the user agent was away,
//! decrypted here, acknowledged when the work is done. What it must not forget is in a [state directory](state).
//!
//! # Embed it
//!
//! ```no_run
//! use user_agent_client::{Event, Options, ServerUrl, State, Trust, UserAgent};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let server = ServerUrl::parse("wss://push.example.net/")?;
//! let state = State::open("/var/lib/doorbell".as_ref())?;
//! let (agent, mut events) = UserAgent::start(server, Trust::system(), state, &Options::default())?;
//!
//! // The same at every start: the subscription outlives the process.
//! let subscription = agent.subscribe("doorbell", None).await?;
//! println!("for the application server: {}", subscription.to_json().unwrap_or_default());
//!
//! while let Some(event) = events.next().await {
//!     match event {
//!         Event::Message(message) => {
//!             println!("{}: {}", message.subscription(), message.data().map_or_else(String::new, |data| data.text()));
//!             message.acknowledge();
//!         }
//!         Event::Disconnected { why, again_in } => eprintln!("{why}; again in {again_in:?}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Acknowledge after the work
//!
//! A message stays with the push service until it is acknowledged. So acknowledge last, when the effect is durable: if the process
//! is killed before that, the message comes again. A message that is dropped has failed; it comes again after a while, three times
//! by default.
//!
//! ```no_run
//! # async fn store(_: &[u8]) -> std::io::Result<()> { Ok(()) }
//! # async fn work(message: user_agent_client::Message) {
//! let bytes = message.data().map_or(&[][..], |data| data.bytes());
//! match store(bytes).await {
//!     Ok(()) => message.acknowledge(),
//!     Err(error) => {
//!         eprintln!("attempt {}: {error}", message.attempt());
//!         message.fail();
//!     }
//! }
//! # }
//! ```
//!
//! A crash between the work and the acknowledgement brings the message again with the same [`id`](Message::id). Messages
//! that were acknowledged are recognised and dropped, so only work in that short moment is done twice.
//!
//! # Echo
//!
//! Sending needs no user agent, only what [`Subscription::to_json`] printed:
//!
//! ```no_run
//! use user_agent_client::application_server::{Push, Sender};
//! use user_agent_client::PushSubscription;
//!
//! # async fn echo(message: user_agent_client::Message, back_to: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let sender = Sender::new(user_agent_client::Trust::system());
//! let body = message.data().map_or_else(Vec::new, |data| data.bytes().to_vec());
//! sender.send(&PushSubscription::parse(back_to)?, &Push::new(body), None).await?;
//! message.acknowledge();
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! `user-agent` receives, `application-server` sends: each works without the other. `command` (on by default) is the command;
//! a library turns it off with `default-features = false`.
//!
//! # Modules
//!
//! In the order in which a message meets them:
//!
//! - [`application_server`]: sends messages; it needs no user agent.
//! - [`channel`]: the connection to a push service over a WebSocket, [`http2`]: over HTTP/2 (RFC 8030). [`server_url`],
//!   [`connection`], [`tls`], [`proxy`]: where it is, and how to get there.
//!   [`network`]: when to look whether it is still there.
//! - [`user_agent`]: one user agent: its task, the handle and the stream of events.
//! - [`state`]: what it keeps, so that a crash loses neither keys nor subscriptions.
//! - [`subscription`], [`push_subscription`]: what an application server needs. [`message`]: what an application gets.
//! - [`declarative`]: messages that are notifications.
//! - [`defaults`]: every limit. [`limited`]: a limit for log lines that others can cause.
//!
//! The protocol itself, without I/O, is the crate `push-protocol`. Nothing here is shared with the service.

#![warn(unnameable_types)]

#[cfg(feature = "application-server")]
pub mod application_server;
#[cfg(feature = "user-agent")]
pub mod channel;
pub mod connection;
#[cfg(feature = "user-agent")]
pub mod declarative;
pub mod defaults;
mod events;
mod explanation;
#[cfg(feature = "user-agent")]
pub mod http2;
mod io_error;
#[cfg(feature = "user-agent")]
pub mod limited;
mod links;
#[cfg(feature = "user-agent")]
pub mod message;
#[cfg(feature = "user-agent")]
pub mod network;
pub mod proxy;
pub mod push_subscription;
#[cfg(feature = "user-agent")]
mod queue;
#[cfg(feature = "user-agent")]
mod request_error;
mod retry_after;
#[cfg(feature = "user-agent")]
pub mod server_url;
#[cfg(feature = "user-agent")]
pub mod state;
#[cfg(feature = "user-agent")]
pub mod subscription;
pub mod tls;
#[cfg(feature = "user-agent")]
pub mod user_agent;

#[cfg(feature = "user-agent")]
pub use message::Message;
pub use proxy::Proxies;
pub use push_protocol::vapid::PublicKey;
pub use push_protocol::{Topic, Ttl, Urgency};
pub use push_subscription::PushSubscription;
#[cfg(feature = "user-agent")]
pub use server_url::{ServerUrl, Transport};
#[cfg(feature = "user-agent")]
pub use state::State;
#[cfg(feature = "user-agent")]
pub use subscription::Subscription;
pub use tls::Trust;
#[cfg(feature = "user-agent")]
pub use user_agent::{Event, Events, Options, UserAgent};
// Crates whose types stand in public signatures.
pub use {bytes, http, push_protocol, rustls, serde_json, url};

/// Compiles the examples in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
