//! What it costs to record the steps of a message: accepted, offered, acknowledged.
//!
//! ```sh
//! cargo run --release --example history_cost
//! ```

use std::time::{Duration, Instant};

use push_protocol::{SubscriptionId, Ttl, Urgency, UserAgentId};
use push_service::history::{History, MessageNonce, Step, StepKind};
use push_service::metrics::ChannelKind;

/// Messages of each row.
const MESSAGES: u32 = 2_000_000;

fn main() {
    for user_agents in [1, 1_000, 16_000, 100_000_u64] {
        let history = History::new();
        let ids: Vec<_> = (0..user_agents).map(user_agent).collect();
        // Afterwards no user agent's memory grows any more.
        for _ in 0..32 {
            for id in &ids {
                message(&history, id, 0);
            }
        }
        let started = Instant::now();
        for (nonce, id) in ids.iter().cycle().take(MESSAGES as usize).enumerate() {
            message(&history, id, nonce as u64);
        }
        let each: Duration = started.elapsed() / MESSAGES;
        println!("{user_agents:9} user agents: {each:?} a message, of three steps");
    }
}

fn message(history: &History, user_agent: &UserAgentId, nonce: u64) {
    let (message, subscription) = (MessageNonce(nonce), SubscriptionId([1; 8]));
    let accepted = StepKind::Accepted {
        urgency: Urgency::Normal,
        ttl: Ttl::from_secs(86_400),
        bytes: 1_000,
    };
    history.record(user_agent, Step::now(accepted).of(message).to(subscription));
    let offered = StepKind::Offered(ChannelKind::WebSocket);
    history.record(user_agent, Step::now(offered).of(message).to(subscription));
    history.record(user_agent, Step::now(StepKind::Acknowledged).of(message));
}

/// An id is a piece of a digest: its bytes are spread.
fn user_agent(n: u64) -> UserAgentId {
    let mut id = [0; 16];
    let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    id[..8].copy_from_slice(&spread.to_be_bytes());
    id[8..].copy_from_slice(&spread.rotate_left(29).to_be_bytes());
    UserAgentId(id)
}
