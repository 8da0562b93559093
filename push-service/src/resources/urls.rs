//! The URLs of resources: the public origin, a path, a token. And the status code of a receipt. Channels that push messages
//! use both.

use http::StatusCode;
use push_protocol::capability::{PushKind, SealedPush};
use push_protocol::{PushMessage, ReceiptOutcome, UserAgentId};

use super::routes;
use crate::broker::Broker;

/// What a receipt says (RFC 8030 §6.3).
pub struct ReceiptContent {
    /// The URL of the message, as its sender knows it.
    pub message_url: String,
    /// How it ended: 204 or 410.
    pub status: StatusCode,
}

/// The URL of the resource at this path with this token.
pub(super) fn url(broker: &Broker, path: &str, token: &str) -> String {
    [broker.origin().as_str(), path, token].concat()
}

/// The push resource of a subscription that was made over the WebSocket (WS-REG-4).
pub fn sealed_push_url(broker: &Broker, push: &SealedPush) -> String {
    url(broker, push.kind.path(), &push.token)
}

/// The push resource that a message was sent to, exactly as in the URL that its user agent was given.
pub fn push_url(broker: &Broker, user_agent: UserAgentId, message: &PushMessage) -> String {
    let token = broker.push_token(user_agent, message);
    url(broker, PushKind::Push.path(), &token)
}

/// The URL of a message for the user agent that receives it: DELETE acknowledges (PR-26).
pub fn promise_url(broker: &Broker, user_agent: UserAgentId, message: &PushMessage) -> String {
    url(
        broker,
        routes::MESSAGE,
        &broker.promise_token(user_agent, message),
    )
}

/// What a message in the queue of a receipt subscription says. `None` if it is not a receipt.
pub fn receipt(broker: &Broker, message: &PushMessage) -> Option<ReceiptContent> {
    let receipt = broker.receipt(message)?;
    Some(ReceiptContent {
        message_url: url(broker, routes::MESSAGE, &receipt.message_token),
        status: status(receipt.how)?,
    })
}

/// The status of a receipt. A message that was replaced has no receipt (RFC 8030 §5.4).
fn status(how: ReceiptOutcome) -> Option<StatusCode> {
    match how {
        ReceiptOutcome::Acknowledged => Some(StatusCode::NO_CONTENT),
        ReceiptOutcome::GivenUp => Some(StatusCode::GONE),
        ReceiptOutcome::Replaced => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R30-RDL-2, R30-RDL-6: acknowledged is 204, given up is 410, and of a replaced message no receipt is sent.
    #[test]
    fn each_outcome_has_its_status() {
        let all = [
            (ReceiptOutcome::Acknowledged, Some(204)),
            (ReceiptOutcome::GivenUp, Some(410)),
            (ReceiptOutcome::Replaced, None),
        ];
        for (how, expected) in all {
            assert_eq!(status(how).map(|status| status.as_u16()), expected);
            assert_eq!(how.is_told(), expected.is_some());
        }
    }
}
