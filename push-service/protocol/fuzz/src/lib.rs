//! What must hold of every parser, whatever bytes it is given: one function for each fuzz target.
//!
//! The functions panic when a property is broken, and do nothing else. They use the public API of the protocol crate
//! only. They stand apart from the programs in `fuzz_targets/`, because an ordinary test (`tests/corpus.rs` of the
//! protocol crate) calls them too, on every file of the corpus: so this file must build as a module as well as a crate,
//! and knows nothing of libFuzzer.

mod answers;
mod bodies;
mod configuration;
mod content;
mod credentials;
mod fields;
mod frames;
mod messages;
mod push;
mod tokens;
#[path = "../../src/vapid/vectors.rs"]
mod vectors;

pub use answers::service_message;
pub use bodies::encrypted_body;
pub use configuration::configuration;
pub use content::encryption_header;
pub use credentials::{vapid_claims, vapid_header};
pub use frames::websocket_frame;
pub use messages::websocket_message;
pub use push::push_headers;
pub use tokens::sealed_token;

/// What a target does with the bytes of one case.
pub type Property = fn(&[u8]);

/// Every target by its name, which is also the name of its program and of its folder in the corpus.
pub const TARGETS: [(&str, Property); 10] = [
    ("configuration", configuration),
    ("encrypted_body", encrypted_body),
    ("encryption_header", encryption_header),
    ("push_headers", push_headers),
    ("sealed_token", sealed_token),
    ("service_message", service_message),
    ("vapid_claims", vapid_claims),
    ("vapid_header", vapid_header),
    ("websocket_frame", websocket_frame),
    ("websocket_message", websocket_message),
];
