//! Bugs to be planted in the drivers of the simulation, so that one sees that the checker would find them.

use crate::runner::{Row, row};

/// A bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plant {
    AcknowledgeFirst,
    ForgetDone,
    DropWakeUp,
    LostEnqueue,
    ReorderedPage,
    ForgetIdentity,
    ForgetAttempts,
    KeepUnsubscribed,
    CountAtStart,
    OutageGivesUp,
    EqualIds,
    SharesIgnored,
    LieAgain,
}

pub(crate) const ALL: &[Row<Plant>] = &[
    row(
        Plant::AcknowledgeFirst,
        "acknowledge-first",
        "the user agent acknowledges a message before the application has it",
        &["WP-RCV-5"],
    ),
    row(
        Plant::ForgetDone,
        "forget-done",
        "a restarted user agent does not know which messages are done",
        &["WS-NOT-2"],
    ),
    row(
        Plant::DropWakeUp,
        "drop-wake-up",
        "the service drops a wake-up that does not fit, and does not read again",
        &["PR-11"],
    ),
    row(
        Plant::LostEnqueue,
        "lost-enqueue",
        "201 is said before the message is stored",
        &["PR-1"],
    ),
    row(
        Plant::ReorderedPage,
        "reordered-page",
        "a page comes in the reverse order",
        &["PR-4"],
    ),
    row(
        Plant::ForgetIdentity,
        "forget-identity",
        "a restarted user agent does not know who it is",
        &["WS-HEL-6"],
    ),
    row(
        Plant::ForgetAttempts,
        "forget-attempts",
        "attempts are not kept, so that a message that kills the application does so for ever",
        &["WP-RCV-6"],
    ),
    row(
        Plant::KeepUnsubscribed,
        "keep-unsubscribed",
        "the end of a subscription does not reach the user agent's session",
        &["WP-SUB-10"],
    ),
    row(
        Plant::CountAtStart,
        "count-at-start",
        "an attempt is counted when the application begins with a message",
        &["PR-45"],
    ),
    row(
        Plant::OutageGivesUp,
        "outage-gives-up",
        "an application that can't work has failed on the message",
        &["PR-45"],
    ),
    row(
        Plant::EqualIds,
        "equal-ids",
        "a message is known by its id alone",
        &["PR-46"],
    ),
    row(
        Plant::SharesIgnored,
        "shares-ignored",
        "one subscription may hold all that is held",
        &["PR-46"],
    ),
    row(
        Plant::LieAgain,
        "lie-again",
        "a user agent's session hears the lie of one hello again in each later hello",
        &["PR-47"],
    ),
];
