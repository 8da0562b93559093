//! Bugs that can be planted in the drivers of the simulation, to show that the checker finds them.

use crate::runner::{Row, row};

/// A bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plant {
    NoReconcile,
    DropDisplaced,
    TrustGap,
    SeatByOrder,
    ReleaseAnyones,
    ClearFirst,
    SettleTwice,
    LostEnqueue,
    TroubleIsUnknown,
    Silent,
    Impatient,
}

pub(crate) const ALL: &[Row<Plant>] = &[
    row(
        Plant::NoReconcile,
        "no-reconcile",
        "sessions are never compared with storage",
        // A session that lost its seat without noticing skips messages that another one had delivered.
        &["PR-14", "PR-17"],
    ),
    row(
        Plant::DropDisplaced,
        "drop-displaced",
        "acknowledgements of a session that has lost its seat are dropped",
        &["PR-18"],
    ),
    row(
        Plant::TrustGap,
        "trust-gap",
        "a wake-up names the message that was announced before it instead of the one that was stored before it",
        // A skipped message may arrive at the next attach, after later ones.
        &["PR-7", "PR-4"],
    ),
    row(
        Plant::SeatByOrder,
        "seat-by-order",
        "an attach takes the seat only from a session with a smaller number",
        &["PR-10"],
    ),
    row(
        Plant::ReleaseAnyones,
        "release-anyones",
        "a session that leaves gives up the seat even if another one holds it",
        &["PR-10"],
    ),
    row(
        Plant::ClearFirst,
        "clear-first",
        "an outbox is cleared before its receipts are settled",
        &["PR-25"],
    ),
    row(
        Plant::SettleTwice,
        "settle-twice",
        "a settled receipt is still expected, and settled again",
        &["PR-25"],
    ),
    row(
        Plant::LostEnqueue,
        "lost-enqueue",
        "a step that storage did not answer is answered 201",
        &["PR-1"],
    ),
    row(
        Plant::TroubleIsUnknown,
        "trouble-is-unknown",
        "storage in trouble calls a user agent unknown",
        &["PR-3"],
    ),
    row(
        Plant::Silent,
        "silent",
        "a step sends no wake-up to another node",
        &["PR-13"],
    ),
    row(
        Plant::Impatient,
        "impatient",
        "a session that attaches too often is told to wait only for a moment",
        &["PR-15"],
    ),
];
