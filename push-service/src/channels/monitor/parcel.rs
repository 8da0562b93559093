//! What is written to a monitor.

use push_protocol::PushMessage;

use crate::resources::ReceiptContent;

/// One message or receipt, with the URLs that its reader needs.
pub(super) enum Parcel<'a> {
    /// A push message, with its two URLs.
    Message {
        message: &'a PushMessage,
        message_url: String,
        push_url: String,
    },
    /// A receipt, and the URL that acknowledges it where nothing else can.
    Receipt {
        message: &'a PushMessage,
        receipt: ReceiptContent,
        acknowledge: String,
    },
}

/// Whether a parcel was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Written {
    /// It was handed to the connection.
    Yes,
    /// It had arrived over an earlier connection.
    Known,
    /// It cannot be written.
    No,
}
