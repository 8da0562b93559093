//! The decision core by itself: its changes are its state, and its rules hold at their bounds.

mod bounds;
mod parts;
mod replay;

use std::time::Duration;

use push_protocol::{MessageId, MessageNumber};

use super::*;
use crate::storage::contract::{enqueue, subscribe};
use crate::storage::{Enqueue, Enqueued, Retention};

const RETENTION: Retention = Retention {
    whole: Duration::from_secs(10_000),
    unused: Duration::from_secs(100),
};

/// A time in milliseconds after some moment.
fn at(ms: u64) -> Now {
    Now {
        us: 1_700_000_000_000_000 + ms * 1_000,
    }
}

/// A user agent with subscriptions 1 to `count`, made at time 0.
fn with_subscriptions(count: u8) -> UserAgent {
    let mut state = UserAgent::default();
    for n in 1..=count {
        state.subscribe(&subscribe(1, n), RETENTION, at(0));
    }
    state
}

/// Stores a message that must be stored.
fn store(state: &mut UserAgent, request: Enqueue, now: Now) -> MessageId {
    match state.enqueue(request, RETENTION, now).outcome {
        Enqueued::Stored { id, .. } => id,
        other => panic!("not stored: {other:?}"),
    }
}

/// The numbers of all messages that wait.
fn waiting(state: &UserAgent) -> Vec<MessageNumber> {
    let mut numbers: Vec<_> = state.waiting.all().map(|w| w.id.number).collect();
    numbers.sort_unstable();
    numbers
}

/// Message `n` of subscription `of`.
fn message(of: u8, n: u64) -> Enqueue {
    Enqueue {
        nonce: n,
        ..enqueue(1, of, b"0123456789")
    }
}
