//! For each rule: a history that keeps it passes, and a planted violation is found.

use super::super::history::{Entry, RequestResult, SECOND, Time, What};
use super::{Acknowledgements, Kind, Lost, Rules, check, missing, untold};

const STRICT: Rules = Rules {
    lost: Lost::Nothing,
    acknowledgements: Acknowledgements::Kept,
    leap: 0,
};

const FAILOVER: Rules = Rules {
    lost: Lost::Recent,
    acknowledgements: Acknowledgements::MayReturn,
    leap: 0,
};

/// A history of one user agent, written step by step; each step takes a tenth of a second and begins a second after the last.
#[derive(Clone, Default)]
struct Script {
    entries: Vec<Entry>,
    now: Time,
}

impl Script {
    /// A user agent that is connected on channel 1 and has subscription 0.
    fn new() -> Self {
        Self::default().hello(1, false).register()
    }

    fn step(mut self, what: What) -> Self {
        self.now += SECOND;
        self.entries.push(Entry {
            invoked: self.now,
            completed: self.now + SECOND / 10,
            what,
        });
        self
    }

    fn hello(self, connection: usize, is_new_identity: bool) -> Self {
        let is_known = !self.entries.is_empty();
        self.step(What::Hello {
            agent: 0,
            connection,
            node: 0,
            is_known,
            is_new_identity,
            result: RequestResult::Ok,
        })
    }

    fn register(self) -> Self {
        self.register_as(200)
    }

    fn register_as(self, status: u16) -> Self {
        self.step(What::Register {
            agent: 0,
            name: "name".to_owned(),
            subscription: Some(0),
            status,
        })
    }

    fn unregister(self) -> Self {
        self.step(What::Unregister {
            agent: 0,
            subscription: 0,
            status: 200,
        })
    }

    fn push(self, message: usize, status: u16) -> Self {
        self.push_with(message, status, None, 600)
    }

    fn push_with(self, message: usize, status: u16, topic: Option<usize>, ttl: u64) -> Self {
        let receipt = status == 202;
        self.step(What::Push {
            message,
            subscription: 0,
            node: 0,
            topic,
            ttl,
            receipt,
            status,
            has_retry_after: true,
            location: matches!(status, 201 | 202).then(|| format!("https://message/{message}")),
        })
    }

    fn offer(self, connection: usize, message: usize) -> Self {
        self.offer_as(connection, Some(message), &message.to_string())
    }

    fn offer_as(self, connection: usize, message: Option<usize>, version: &str) -> Self {
        let version = version.to_owned();
        self.step(What::Offer {
            agent: 0,
            connection,
            message,
            version,
        })
    }

    fn acknowledge(self, connection: usize, message: usize) -> Self {
        self.step(What::Acknowledge {
            agent: 0,
            connection,
            node: 0,
            message,
            result: RequestResult::Ok,
        })
    }

    fn cancel(self, message: usize, status: u16) -> Self {
        self.step(What::Cancel { message, status })
    }

    fn receipt(self, connection: usize, message: usize, status: u16) -> Self {
        let location = format!("https://message/{message}");
        self.step(What::Receipt {
            connection,
            location,
            status,
        })
    }

    fn closed(self, connection: usize, code: u16) -> Self {
        self.step(What::Closed {
            agent: 0,
            connection,
            node: 0,
            code,
        })
    }

    /// A hello that is not answered.
    fn open_hello(self, connection: usize) -> Self {
        self.step(What::Hello {
            agent: 0,
            connection,
            node: 0,
            is_known: true,
            is_new_identity: false,
            result: RequestResult::Unknown,
        })
    }

    /// Requests to another node that are refused: time passes.
    fn waits(mut self, steps: usize) -> Self {
        for message in 0..steps {
            self = self.push(100 + message, 503);
        }
        self
    }

    /// The last request was answered by the second node.
    fn at_the_other_node(mut self) -> Self {
        match self.entries.last_mut().map(|entry| &mut entry.what) {
            Some(What::Push { node, .. } | What::Hello { node, .. }) => *node = 1,
            other => panic!("{other:?} names no node"),
        }
        self
    }

    /// What is found, by kind.
    fn finds(self, rules: Rules) -> Vec<Kind> {
        let found = check(&self.entries, rules).violations;
        found.into_iter().map(|violation| violation.kind).collect()
    }

    fn is_well(&self) {
        let found = check(&self.entries, STRICT).violations;
        assert!(found.is_empty(), "{found:#?}");
    }
}

/// A history that keeps every promise has no violation, and its counters are right.
#[test]
fn a_good_history_passes() {
    let script = Script::new()
        .push(0, 201)
        .offer(1, 0)
        .acknowledge(1, 0)
        .push(1, 202)
        .offer(1, 1)
        .push(2, 503)
        .hello(2, false)
        .offer(2, 1)
        .acknowledge(2, 1)
        .receipt(9, 1, 204)
        .push(3, 0)
        .push(4, 202)
        .cancel(4, 204)
        .receipt(9, 4, 410)
        .register()
        .hello(3, false)
        .unregister()
        .push(5, 410);
    let counts = check(&script.entries, STRICT).counts;
    assert_eq!(
        (counts.pushes, counts.accepted, counts.refused, counts.unanswered),
        (6, 3, 1, 1)
    );
    assert_eq!((counts.repeats, counts.lost, counts.receipts), (1, 0, 2));
    script.is_well();
}

/// PR-1: an accepted message that never arrives is found, unless it has an excuse.
#[test]
fn a_lost_message_is_found() {
    let script = Script::new().push(0, 201).push(1, 202);
    assert_eq!((missing(&script.entries).len(), untold(&script.entries)), (2, 1));
    assert_eq!(script.finds(STRICT), [Kind::Lost, Kind::Lost, Kind::Receipt]);
    Script::new().push(0, 503).push(1, 0).is_well();
    Script::new().push(0, 201).cancel(0, 0).is_well();
    Script::new().push(0, 201).unregister().is_well();
    Script::new().push_with(0, 201, None, 1).push(1, 503).is_well();
    Script::new()
        .push_with(0, 201, Some(1), 600)
        .push_with(1, 0, Some(1), 600)
        .is_well();
    let other_topic = Script::new()
        .push_with(0, 201, Some(1), 600)
        .push_with(1, 503, Some(2), 600);
    assert_eq!(other_topic.finds(STRICT), [Kind::Lost]);
    let newer_refused = Script::new()
        .push_with(0, 201, Some(1), 600)
        .push_with(1, 410, Some(1), 600);
    assert!(newer_refused.finds(STRICT).contains(&Kind::Lost));
}

/// PR-33: if the row allows the loss of the last messages before a failover, the loss of older ones is still found.
#[test]
fn only_recent_messages_may_be_lost() {
    let failover = |quiet: usize| {
        let mut script = Script::new().push(0, 201);
        for _ in 0..quiet {
            script = script.receipt(9, 77, 204);
        }
        script.step(What::StorageDown).step(What::WellAgain)
    };
    assert_eq!(failover(0).finds(STRICT), [Kind::Lost]);
    let verdict = check(&failover(0).entries, FAILOVER);
    assert_eq!((verdict.violations.len(), verdict.counts.lost_by_rule), (0, 1));
    let old = check(&failover(3).entries, FAILOVER);
    assert_eq!(old.counts.lost, 1);
}

/// PR-3, PR-40: "unknown" about something that exists is found: identity, push, receipt subscription.
#[test]
fn unknown_is_found() {
    assert_eq!(Script::new().hello(2, true).finds(STRICT), [Kind::Unknown]);
    Script::new().unregister().hello(2, true).is_well();
    for status in [404, 410] {
        assert_eq!(Script::new().push(0, status).finds(STRICT), [Kind::Unknown]);
        Script::new().unregister().push(0, status).is_well();
    }
    assert_eq!(
        Script::new().step(What::ReceiptsGone).finds(STRICT),
        [Kind::Unknown]
    );
    // A row that may lose subscriptions may lose those of the last moment only.
    let recent = Script::new().step(What::StorageDown).push(0, 410).hello(2, true);
    assert_eq!(recent.finds(FAILOVER), []);
    let just_before = Rules {
        lost: Lost::JustBefore,
        ..FAILOVER
    };
    let during = Script::default()
        .step(What::StorageDown)
        .hello(1, false)
        .register();
    assert_eq!(during.push(0, 410).finds(just_before), [Kind::Unknown]);
    let before = Script::new().step(What::StorageDown).push(0, 410);
    assert_eq!(before.finds(just_before), []);
    let old = Script::new().push(9, 503).push(8, 503).push(7, 503);
    let old = old.step(What::StorageDown).push(0, 410).hello(2, true);
    assert_eq!(old.finds(FAILOVER), [Kind::Unknown, Kind::Unknown]);
}

/// A message that was never sent or that was refused, and arrives, is found.
#[test]
fn a_message_that_was_never_sent_is_found() {
    assert_eq!(
        Script::new().offer_as(1, None, "x").finds(STRICT),
        [Kind::NeverSent]
    );
    let refused = Script::new().push(0, 410).offer(1, 0);
    assert!(refused.finds(STRICT).contains(&Kind::NeverSent));
    Script::new().push(0, 503).offer(1, 0).is_well();
}

/// PR-4: first deliveries in another order than acceptance are found; messages without an answer are not judged.
#[test]
fn a_wrong_order_is_found() {
    let swapped = Script::new().push(0, 201).push(1, 201).offer(1, 1).offer(1, 0);
    assert_eq!(swapped.finds(STRICT), [Kind::Order]);
    Script::new()
        .push(0, 0)
        .push(1, 201)
        .offer(1, 1)
        .offer(1, 0)
        .is_well();
    let again = Script::new().push(0, 201).push(1, 201).offer(1, 0).offer(1, 1);
    again.hello(2, false).offer(2, 1).offer(2, 0).is_well();
}

/// PR-4, PR-18: found: a message that comes again after its acknowledgement was committed; twice on one channel; with
/// another id.
#[test]
fn what_returns_is_found() {
    let acknowledged = || Script::new().push(0, 201).offer(1, 0).acknowledge(1, 0);
    assert_eq!(
        acknowledged().hello(2, false).offer(2, 0).finds(STRICT),
        [Kind::Returned]
    );
    let failover = |script: Script| script.step(What::StorageDown).step(What::WellAgain).waits(4);
    let after_failover = failover(acknowledged()).hello(2, false).offer(2, 0);
    let verdict = check(&after_failover.entries, FAILOVER);
    assert_eq!(verdict.violations.len(), 0);
    let earlier = || failover(acknowledged().waits(3));
    assert_eq!(
        earlier().hello(2, false).offer(2, 0).finds(FAILOVER),
        [Kind::Returned],
        "only the last acknowledgements may be forgotten"
    );
    assert_eq!(earlier().offer(1, 0).finds(FAILOVER), [Kind::Returned]);
    assert_eq!(failover(acknowledged()).offer(1, 0).finds(FAILOVER), []);
    // Its node was killed before it was committed.
    let mut killed = acknowledged();
    let at = killed.now + SECOND / 5;
    killed.entries.push(Entry {
        invoked: at,
        completed: at,
        what: What::NodeDown { node: 0 },
    });
    killed.hello(2, false).offer(2, 0).is_well();
    assert_eq!(
        Script::new().push(0, 201).offer(1, 0).offer(1, 0).finds(STRICT),
        [Kind::Returned]
    );
    let other_id = Script::new().push(0, 201).offer(1, 0).hello(2, false);
    assert_eq!(
        other_id.offer_as(2, Some(0), "other").finds(FAILOVER),
        [Kind::Returned]
    );
    Script::new()
        .push(0, 201)
        .offer(1, 0)
        .hello(2, false)
        .offer(2, 0)
        .is_well();
}

/// PR-25: a missing receipt, two receipts, a false one, and one for no message are found.
#[test]
fn a_wrong_receipt_is_found() {
    let arrived = || Script::new().push(0, 202).offer(1, 0);
    assert_eq!(arrived().acknowledge(1, 0).finds(STRICT), [Kind::Receipt]);
    assert_eq!(arrived().receipt(9, 0, 204).finds(STRICT), [Kind::Receipt]);
    assert_eq!(arrived().receipt(9, 0, 410).finds(STRICT), [Kind::Receipt]);
    assert_eq!(
        arrived().acknowledge(1, 0).receipt(9, 0, 500).finds(STRICT),
        [Kind::Receipt]
    );
    let told = || arrived().acknowledge(1, 0).receipt(9, 0, 204);
    told().is_well();
    assert_eq!(told().receipt(9, 0, 204).finds(STRICT), [Kind::Receipt]);
    told().receipt(10, 0, 204).is_well();
    let failover = |script: Script| script.step(What::StorageDown).step(What::WellAgain);
    assert_eq!(failover(told()).receipt(9, 0, 204).finds(FAILOVER), []);
    assert_eq!(
        failover(told().waits(3)).receipt(9, 0, 204).finds(FAILOVER),
        [Kind::Receipt]
    );
    let contradicted = told().cancel(0, 204).receipt(10, 0, 410);
    assert_eq!(contradicted.finds(STRICT), [Kind::Receipt]);
    let taken_back = Script::new().push(0, 202).cancel(0, 204).receipt(9, 0, 410);
    let returned = failover(taken_back).offer(1, 0).acknowledge(1, 0);
    assert_eq!(returned.clone().receipt(10, 0, 204).finds(FAILOVER), []);
    assert_eq!(returned.receipt(10, 0, 204).finds(STRICT), [Kind::Receipt]);
    assert_eq!(Script::new().receipt(9, 7, 204).finds(STRICT), [Kind::Receipt]);
    let expired = Script::new()
        .push_with(0, 202, None, 1)
        .push(1, 503)
        .receipt(9, 0, 410);
    expired.is_well();
}

/// PR-1, PR-9: a message that is accepted or arrives after "unregistered" or "deleted" is found.
#[test]
fn an_end_that_does_not_hold_is_found() {
    let ended = || Script::new().push(0, 201).unregister();
    assert_eq!(ended().push(1, 201).finds(STRICT), [Kind::Undead]);
    assert_eq!(ended().hello(2, false).offer(2, 0).finds(STRICT), [Kind::Undead]);
    ended().offer(1, 0).is_well();
    let deleted = || Script::new().push(0, 201).cancel(0, 204);
    assert_eq!(
        deleted().hello(2, false).offer(2, 0).finds(STRICT),
        [Kind::Undead]
    );
    deleted().offer(1, 0).is_well();
    let unanswered = Script::new()
        .push(0, 201)
        .cancel(0, 503)
        .hello(2, false)
        .offer(2, 0);
    unanswered.is_well();
}

/// Answers that the docs do not name are found.
#[test]
fn another_answer_is_found() {
    for status in [500, 502, 429, 400] {
        assert_eq!(
            Script::new().push(0, status).finds(STRICT),
            [Kind::Status],
            "{status}"
        );
    }
    assert_eq!(Script::new().register_as(409).finds(STRICT), [Kind::Status]);
    assert_eq!(
        Script::new()
            .push(0, 201)
            .offer(1, 0)
            .cancel(0, 500)
            .finds(STRICT),
        [Kind::Status]
    );
    let mut silent = Script::new().push(0, 503);
    if let Some(What::Push { has_retry_after, .. }) = silent.entries.last_mut().map(|entry| &mut entry.what) {
        *has_retry_after = false;
    }
    assert_eq!(silent.finds(STRICT), [Kind::Status]);
}

/// PR-33: what the deposed primary's node accepts during a partition may be lost; what another node accepts may not.
#[test]
fn only_the_deposed_may_lose() {
    let deposed = Rules {
        lost: Lost::ByTheDeposed,
        ..FAILOVER
    };
    let parted = || Script::new().waits(3).step(What::StorageDown).waits(2);
    let verdict = check(&parted().push(0, 201).entries, deposed);
    assert_eq!((verdict.violations.len(), verdict.counts.lost_by_rule), (0, 1));
    assert_eq!(
        parted().push(0, 201).at_the_other_node().finds(deposed),
        [Kind::Lost]
    );
    let arrived = Script::default().step(What::StorageDown).waits(2).hello(1, false);
    assert_eq!(arrived.clone().register().push(0, 410).finds(deposed), []);
    assert_eq!(
        arrived.at_the_other_node().register().push(0, 410).finds(deposed),
        [Kind::Unknown]
    );
}

/// A channel that is closed while its node lives is found. It is not if its node was killed, or if it was opened
/// during a fault and displaced soon after it: by an earlier hello without an answer, or by a failover.
#[test]
fn a_closed_channel_is_found() {
    assert_eq!(Script::new().closed(1, 1013).finds(STRICT), [Kind::Closed]);
    Script::new()
        .step(What::NodeDown { node: 0 })
        .closed(1, 1013)
        .is_well();
    let storage_down = || Script::new().waits(3).step(What::StorageDown);
    let answered = || storage_down().hello(2, false);
    assert_eq!(answered().closed(2, 1011).finds(STRICT), [Kind::Closed]);
    assert_eq!(answered().closed(2, 1011).finds(FAILOVER), []);
    let strict_failover = Rules {
        lost: Lost::Nothing,
        ..FAILOVER
    };
    assert_eq!(answered().closed(2, 1011).finds(strict_failover), []);
    assert_eq!(answered().closed(2, 1013).finds(strict_failover), [Kind::Closed]);
    let late = || storage_down().open_hello(2).hello(3, false);
    late().closed(3, 1011).is_well();
    assert_eq!(late().closed(1, 1011).finds(STRICT), [Kind::Closed]);
    assert_eq!(late().closed(3, 1013).finds(STRICT), [Kind::Closed]);
    let long_after = late().step(What::WellAgain).waits(10);
    assert_eq!(long_after.closed(3, 1011).finds(STRICT), [Kind::Closed]);
}
