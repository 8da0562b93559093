//! The JSON of the WebSocket channel, which Firefox, KUnifiedPush and Sunup speak.
//!
//! Mozilla's words live here and nowhere else: *uaid* is a user agent's identity, *channelID* the name of a
//! subscription, *version* the id of a push message, *pushEndpoint* the push resource. Texts become [`Request`]s and
//! answers become texts; what follows from a request is for the session to say.

mod close;
mod read;
mod write;

pub use close::{close_code, close_text};
pub use read::{AckCode, Acknowledgement, Malformed, NackCode, Name, Request, parse};
pub use write::{
    Registered, write_broadcasts, write_hello, write_notification, write_pong, write_registered,
    write_unregistered, write_urgency,
};
