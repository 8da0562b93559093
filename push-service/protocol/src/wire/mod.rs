//! How a session speaks on each kind of channel.

pub mod frame;
pub mod websocket;
