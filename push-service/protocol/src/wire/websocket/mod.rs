//! The JSON of the WebSocket channel, which Firefox, KUnifiedPush and Sunup speak.
//!
//! Mozilla's words live here and nowhere else: *uaid* is a user agent's identity, *channelID* the name of a
//! subscription, *version* the id of a push message, *pushEndpoint* the push resource. At the service's end texts become
//! [`Request`]s and answers become texts; at the user agent's end it is the other way round. What follows from either is
//! for the sessions to say.

mod close;
mod read;
mod reply;
mod say;
mod write;

pub use close::{close_code, close_text};
pub use read::{AckCode, Acknowledgement, Malformed, NackCode, Name, Request, parse};
pub use reply::{RegisterDetails, Reply, parse_reply};
pub use say::write_say;
pub use write::{
    Registered, write_broadcasts, write_hello, write_notification, write_pong, write_registered,
    write_unregistered, write_urgency,
};
pub(in crate::wire) use write::{base64url, json_string};
