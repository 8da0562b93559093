//! The message resource. A message has two URLs with two kinds of token (PR-26). DELETE of the sender's URL takes the
//! message back; DELETE of the URL that a user agent was promised acknowledges it.

use bytes::Bytes;
use http::{Response, StatusCode};
use push_protocol::capability::Dialect;

use super::Resources;
use crate::broker::Refusal;

impl Resources {
    /// 204 when the message is taken back or acknowledged. If it was not there any more, a sender of `/wpush` gets 204 as
    /// well (WP-11), all others 404 (R30-ACK-3).
    pub(super) async fn delete_message(&self, token: &str) -> Response<Bytes> {
        if let Ok(promise) = self.broker.open_promise(token) {
            let acknowledged = self.broker.acknowledge_promised(&promise).await;
            return match acknowledged {
                Ok(()) => no_content(),
                Err(refusal) => self.refuse(&refusal.into(), Dialect::Rfc8030),
            };
        }
        let message = match self.broker.open_message(token) {
            Ok(message) => message,
            Err(refusal) => return self.refuse(&refusal.into(), Dialect::Rfc8030),
        };
        match self.broker.cancel(&message).await {
            Ok(()) => no_content(),
            Err(Refusal::MessageGone) if message.dialect == Dialect::Webpush => no_content(),
            Err(refusal) => self.refuse(&refusal.into(), message.dialect),
        }
    }
}

pub(super) fn no_content() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
