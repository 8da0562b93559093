//! Export and import: everything that a storage holds into one file, and out of it into another storage (PR-37).
//!
//! The file is JSON Lines: each line is an object of one member, whose name says what the line is.
//!
//! ```text
//! {"header":{"format":"push-service export","version":3,"exported_at_ms":…,"storage":"embedded","sealing_keys":["…"]}}
//! {"user_agent":{"id":"…","last":…,"retained_until_ms":…}}
//! {"subscription":{"id":"…","name":"…","created_at_secs":…,"key":"…"}}
//! {"message":{"id":"…","subscription":"…","urgency":"normal","accepted_at_ms":…,"expires_at_ms":…,"sealed_by":…,
//!             "coding":"aes128gcm","body":"…"}}
//! {"outcome":{"id":"…","receipts":"…","fate":"acknowledged"}}
//! {"expected_receipt":{"user_agent":"…","nonce":"…","dialect":"rfc8030","sealed_by":…,"deadline_ms":…}}
//! {"end":{"user_agents":1,"subscriptions":1,"messages":1,"receipts":2,"sha256":"…"}}
//! ```
//!
//! - Times are since 1970, in the unit of their name. `last` is in microseconds, like the number in a message's id.
//! - A user agent's and a subscription's id are hexadecimal, as the admin API shows them; `name` is the UUID that the user
//!   agent gave; a message's id is the one that user agents see, 22 characters of base64url. Bodies and `key`, the digest
//!   of the application server's public key, are base64url.
//! - `unused` is `true` in a user agent that no push was accepted for and that never came back; otherwise it is left out.
//! - `sender` is 8 bytes of a digest of who sent the message, in hexadecimal: the message counts for the cap of that sender.
//! - `key`, `receipts`, `sender`, `topic`, `coding`, `encryption`, `crypto_key` and `media_type` are left out where there is
//!   none.
//! - A receipt subscription is a user agent, whose only subscription's id and name are zeros and whose messages are receipts.
//!   `receipts` names the one that gets the receipt of a message. An `outcome` is how a message of the user agent above ended,
//!   which was not relayed yet. An `expected_receipt` is a receipt that is owed to the receipt subscription above. `fate` is
//!   `acknowledged`, `given_up` or `replaced`, `dialect` is `rfc8030` or `webpush`, `nonce` is the random half of a message's
//!   id, in hexadecimal.
//! - Subscriptions, messages, outcomes and expected receipts belong to the user agent above them, and stand below it in this
//!   order, messages in that of acceptance. A user agent may come again: then what it had before is there already.
//! - `sealing_keys` are the fingerprints of the keys under which the endpoints' URLs stand. **Invariant:** the keys
//!   themselves, and the identities of user agents, are never in the file.
//! - `end` counts the lines of each kind, and has the SHA-256 of all bytes before its own line.
//!
//! **Versions.** A file of a newer version is refused, and so is a member or a kind of line that this version does not
//! know: either would be lost. So whatever is added raises the version, and a service reads all versions up to its own.
//! Version 2 brought all that is about receipts, version 3 `unused` and the sender of a message.
//!
//! It deliberately does not know where storages come from: `service` opens them.

mod error;
mod export;
mod import;
mod lines;
mod progress;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use error::{FileError, TransferError};
pub use export::{LeftBehind, export};
pub use import::{import, verify};
pub use lines::{Counts, Facts};
pub use progress::Progress;

/// The version that this code writes, and the newest that it reads.
const VERSION: u32 = 3;

/// What every file says that it is.
const FORMAT: &str = "push-service export";
