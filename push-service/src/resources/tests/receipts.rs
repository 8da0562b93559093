//! Receipts, behind the requests that ask for them.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use push_protocol::UserAgentId;
use push_protocol::capability::Dialect;
use tokio::time::interval;

use super::rig::{Service, push};
use crate::broker::Outboxes;
use crate::defaults::RECEIPT_POLL;

/// PR-25: what a node left in an outbox is found though others are hinted at without end.
#[tokio::test(start_paused = true)]
async fn hints_without_end_hide_no_user_agent() {
    let service = Service::new();
    let path = service.subscribed(Dialect::Rfc8030, None).await;
    let accepted = service
        .answer(push(&path, &[("prefer", "respond-async")], "a body"))
        .await;
    assert_eq!(accepted.status, 202);
    let message = Request::delete(accepted.header("location").unwrap()).body(Bytes::new());
    assert_eq!(service.answer(message.unwrap()).await.status, 204);
    // The first user agent of the rig.
    let outbox = async || service.storage.outbox(UserAgentId([0; 16]), 10).await.unwrap();
    assert_eq!(outbox().await.len(), 1, "it was not announced");

    let outboxes = Outboxes::default();
    let mut hints = interval(RECEIPT_POLL / 4);
    let hinting = async {
        let mut hinted = Duration::ZERO;
        while hinted <= 2 * RECEIPT_POLL {
            hints.tick().await;
            outboxes.hint(UserAgentId([9; 16]));
            hinted += hints.period();
        }
    };
    tokio::select! {
        () = service.broker.keep_relaying(&outboxes) => {}
        () = hinting => {}
    }
    assert_eq!(outbox().await, []);
}
