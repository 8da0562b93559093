//! A push message's resource, as its application server knows it: DELETE takes the message back.

use bytes::Bytes;
use http::{Response, StatusCode};
use push_protocol::capability::Dialect;

use super::Resources;
use crate::broker::Refusal;

impl Resources {
    /// 204 when it is taken back. When it was not there any more, a sender of `/wpush` is told 204 all the same (WP-11),
    /// one of `/push` 404 (PR-26).
    pub(super) async fn cancel(&self, token: &str) -> Response<Bytes> {
        let message = match self.broker.open_message(token) {
            Ok(message) => message,
            Err(refusal) => return self.refuse(&refusal.into(), Dialect::Rfc8030),
        };
        match self.broker.cancel(&message).await {
            Ok(()) => gone(),
            Err(Refusal::MessageGone) if message.dialect == Dialect::Webpush => gone(),
            Err(refusal) => self.refuse(&refusal.into(), message.dialect),
        }
    }
}

fn gone() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
