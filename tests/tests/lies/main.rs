//! The user agent's command keeps its promise whatever the push service says, and whatever happens to the command's handler.
//!
//! The services that lie are those of [`push_tests::liar`]. Where the service is not the one at fault, it is a real node.

mod floods;
mod honest;
mod sharing;
mod state;
