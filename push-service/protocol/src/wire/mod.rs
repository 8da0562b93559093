//! How a session speaks on each kind of channel.

pub mod events;
pub mod frame;
pub mod websocket;
