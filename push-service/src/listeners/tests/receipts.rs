//! Receipts that are pushed to a monitor while storage is in trouble.

use std::sync::Arc;

use bytes::Bytes;
use push_protocol::capability::{Dialect, KeyId, MessageCapability};
use push_protocol::session::WakeUp;
use push_protocol::{
    Coding, Content, MessageId, MessageNumber, Receipt, ReceiptOutcome, Ttl, Urgency, UserAgentId,
};
use push_tests::monitor::{Connection, Next};
use push_tests::within;
use tokio::time::timeout;

use super::rig::{Node, Setting};
use crate::channels::Registry;
use crate::channels::rig::Troubled;
use crate::defaults::{IN_FLIGHT, PENDING_ACKNOWLEDGEMENTS, STORAGE_RETRY_AFTER};
use crate::resources::tests::rig::Service;
use crate::storage::{
    Announce, Caps, Enqueue, Enqueued, QueueLimits, RECEIPTS, RECEIPTS_NAME, Seat, Storage, Subscribe,
};

const RECEIPT_SUBSCRIPTION: UserAgentId = UserAgentId([9; 16]);

/// Hands wake-ups to the channels of one node.
struct Wires(Arc<Registry>);

impl Announce for Wires {
    fn announce(&self, user_agent: UserAgentId, seat: Seat, wake_up: WakeUp) {
        self.0.announce(user_agent, seat, wake_up);
    }
}

/// A receipt that joins the queue, and wakes the session that has the seat.
fn receipt(nonce: u64) -> Enqueue {
    let receipt = Receipt {
        message: MessageCapability {
            user_agent: UserAgentId([1; 16]),
            id: MessageId {
                number: MessageNumber(nonce),
                nonce,
            },
            dialect: Dialect::Rfc8030,
        },
        sealed_by: KeyId(0),
        how: ReceiptOutcome::Acknowledged,
    };
    Enqueue {
        user_agent: RECEIPT_SUBSCRIPTION,
        subscription: RECEIPTS,
        nonce,
        ttl: Ttl::from_secs(86_400),
        urgency: Urgency::Normal,
        topic: None,
        content: Content {
            coding: Coding::Absent,
            media_type: None,
            body: Bytes::copy_from_slice(&receipt.to_bytes()),
        },
        key: None,
        sealed_by: KeyId(0),
        receipts: None,
        sender: None,
        caps: Caps::default(),
        queue_limits: QueueLimits {
            messages: 1_000_000,
            bytes: 1 << 30,
        },
        rate: None,
    }
}

/// PR-4, PR-25: while storage takes no acknowledgements, a monitor keeps those of as many receipts as the bound says, and then
/// no more receipts are pushed to it. Later storage gets all of them, and no receipt is lost.
#[tokio::test]
async fn acknowledgements_of_a_monitor_are_bounded() {
    let storage = Arc::new(Troubled::new());
    let registry = Registry::new();
    storage.wires.reach(Arc::new(Wires(Arc::clone(&registry))));
    let service = Service::on(Arc::clone(&storage) as Arc<dyn Storage>, |_, _| {});
    let url = service.receipts_url(RECEIPT_SUBSCRIPTION);
    let node = Node::of(service, registry, Setting::default()).await;
    let subscribe = Subscribe {
        user_agent: RECEIPT_SUBSCRIPTION,
        name: RECEIPTS_NAME,
        fresh_id: RECEIPTS,
        key: None,
        seat: None,
        limit: 1,
        only_known: false,
    };
    storage.subscribe(subscribe).await.unwrap();
    storage.take_no_acknowledgements(true);

    let sender = Connection::open(&node.connector()).await;
    let mut monitor = sender.monitor(&url).await;
    let mut pushed = 0;
    for nonce in 1.. {
        let enqueued = storage.enqueue(receipt(nonce)).await.unwrap();
        assert!(matches!(enqueued, Enqueued::Stored { .. }), "{enqueued:?}");
        match timeout(2 * STORAGE_RETRY_AFTER, monitor.next_whenever()).await {
            Ok(Next::Pushed(receipt)) => drop(receipt.read().await),
            Ok(Next::Over(answer)) => panic!("{} {}", answer.status, answer.text()),
            Err(_) => break,
        }
        pushed += 1;
        assert!(pushed <= PENDING_ACKNOWLEDGEMENTS + 2 * IN_FLIGHT, "{pushed}");
    }
    assert!(pushed >= PENDING_ACKNOWLEDGEMENTS, "{pushed}");

    storage.take_no_acknowledgements(false);
    monitor.message().await;
    let emptied = async {
        while storage.usage().expect("memory counts").messages > 0 {
            tokio::task::yield_now().await;
        }
    };
    within("storage has every acknowledgement", emptied).await;
}
