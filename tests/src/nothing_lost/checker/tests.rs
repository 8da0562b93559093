//! The checker finds each breach, and reports nothing for a history that keeps the promise.

use super::*;

/// Checker with one subscription and one message, which was accepted.
fn one_accepted() -> (Checker, MessageKey, String) {
    let mut checker = Checker::new(1, 1);
    checker.subscribed(0, "a", "http://service.test/wpush/v1/a");
    let (key, _, text) = checker.begin(0, Wish::plain(None), Instant::now());
    checker.answered(key, RequestResult::Accepted, None, Instant::now());
    (checker, key, text)
}

fn arrives(checker: &mut Checker, on: Connection, version: &str, text: &str) {
    checker.arrived(on, "a", version, Some(text));
}

/// PR-1: an accepted message that never arrives is missed; one that may not have been accepted is not (PR-2).
#[test]
fn what_was_accepted_must_arrive() {
    let (mut checker, _, text) = one_accepted();
    checker.begin(0, Wish::plain(None), Instant::now());
    assert_eq!(checker.missing(), 1);
    assert_eq!(checker.audit().len(), 1);
    let connection = checker.connection(0, 0, Instant::now());
    arrives(&mut checker, connection, "v", &text);
    assert_eq!(checker.missing(), 0);
    assert_eq!(checker.audit(), Vec::<String>::new());
}

/// PR-4: after a kill a message may come again, until its acknowledgement had 100 ms on a living node.
#[test]
fn what_was_taken_must_not_come_again() {
    let start = Instant::now();
    let at = |milliseconds| start + Duration::from_millis(milliseconds);
    // The answer of a node may be read after its end: then it lived with the acknowledgement for no time at all.
    for (killed, breaches) in [(at(999), 0), (at(1_050), 0), (at(1_500), 1)] {
        let (mut checker, key, text) = one_accepted();
        let first = checker.connection(0, 0, at(0));
        arrives(&mut checker, first, "v", &text);
        checker.acknowledged(key, first, at(1_000));
        checker.killed(0, killed);
        let second = checker.connection(0, 0, at(5_000));
        arrives(&mut checker, second, "v", &text);
        assert_eq!(checker.audit().len(), breaches);
    }
}

/// PR-4: nothing comes twice on one connection, and what comes again has the id that it had.
#[test]
fn twice_on_one_connection_or_with_another_id_is_a_breach() {
    let (mut checker, _, text) = one_accepted();
    let connection = checker.connection(0, 0, Instant::now());
    arrives(&mut checker, connection, "v", &text);
    arrives(&mut checker, connection, "w", &text);
    assert_eq!(checker.audit().len(), 2);
}

/// PR-4: the first offers of a subscription come in the order of acceptance.
#[test]
fn overtaking_is_a_breach() {
    let (mut checker, _, first) = one_accepted();
    let (key, _, second) = checker.begin(0, Wish::plain(None), Instant::now());
    checker.answered(key, RequestResult::Accepted, None, Instant::now());
    let connection = checker.connection(0, 0, Instant::now());
    arrives(&mut checker, connection, "w", &second);
    arrives(&mut checker, connection, "v", &first);
    assert_eq!(checker.audit(), ["message 0/1 was overtaken (PR-4)"]);
}

/// PR-2: of several nodes, one that never answered may have stored its message last; of one node it may not.
#[test]
fn a_late_message_may_take_the_place_of_a_newer() {
    for (nodes, missing) in [(1, 1), (3, 0)] {
        let mut checker = Checker::new(1, nodes);
        checker.subscribed(0, "a", "http://service.test/wpush/v1/a");
        checker.begin(0, Wish::plain(Some(1)), Instant::now());
        let (key, ..) = checker.begin(0, Wish::plain(Some(1)), Instant::now());
        checker.answered(key, RequestResult::Accepted, None, Instant::now());
        assert_eq!(checker.missing(), missing);
    }
}

/// A message whose topic was taken over need not arrive, not even if it is unknown whether the newer one was accepted.
#[test]
fn a_replaced_message_is_not_missed() {
    let (mut checker, ..) = one_accepted();
    let (older, ..) = checker.begin(0, Wish::plain(Some(1)), Instant::now());
    checker.answered(older, RequestResult::Accepted, None, Instant::now());
    assert_eq!(checker.missing(), 2);
    checker.begin(0, Wish::plain(Some(2)), Instant::now());
    assert_eq!(checker.missing(), 2);
    checker.begin(0, Wish::plain(Some(1)), Instant::now());
    assert_eq!(checker.missing(), 1);
}

/// A message that was changed on its way counts as one that was never sent.
#[test]
fn a_changed_message_is_a_breach() {
    let (mut checker, _, text) = one_accepted();
    let connection = checker.connection(0, 0, Instant::now());
    arrives(&mut checker, connection, "v", &format!("{text}."));
    assert_eq!(checker.audit().len(), 2);
}

/// The sender's URL of the message in [`one_promised`].
const URL: &str = "http://service.test/message/a";

/// Checker with one message whose sender was answered 202.
fn one_promised(wish: Wish) -> (Checker, MessageKey, String) {
    let mut checker = Checker::new(1, 1);
    checker.subscribed(0, "a", "http://service.test/push/a");
    let (key, _, text) = checker.begin(
        0,
        Wish {
            receipt: true,
            ..wish
        },
        Instant::now(),
    );
    checker.answered(key, RequestResult::Accepted, Some(URL.to_owned()), Instant::now());
    (checker, key, text)
}

fn tells(checker: &mut Checker, status: u16, then: Instant) {
    let connection = checker.listens(0, then);
    checker.told(URL, status, connection, false, then);
}

fn later(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

/// PR-1, R30-ACK-3: what a DELETE was answered for is gone, and was there unless something else removed it.
#[test]
fn a_delete_that_was_answered_is_taken_at_once() {
    for (how, opened, breaches) in [
        (Deleted::There, 9, 1),
        (Deleted::There, 0, 0),
        (Deleted::Gone, 0, 1),
    ] {
        let (mut checker, key, text) = one_accepted();
        let first = checker.connection(0, 0, Instant::now());
        arrives(&mut checker, first, "v", &text);
        checker.acknowledges(key, Instant::now());
        checker.deleted(key, Remover::UserAgent, how, later(1));
        let second = checker.connection(0, 0, later(opened));
        if opened > 0 {
            arrives(&mut checker, second, "v", &text);
        }
        assert_eq!(checker.audit().len(), breaches, "{:?}", checker.audit());
    }
}

/// PR-25: a message that was answered 202 has a receipt: 204 if it was acknowledged, 410 if it was given up.
#[test]
fn a_receipt_must_come_and_be_true() {
    type Ending = fn(&mut Checker, MessageKey);
    let nothing: Ending = |_, _| {};
    let acknowledged: Ending = |checker, key| checker.acknowledges(key, Instant::now());
    let deleted: Ending = |checker, key| {
        checker.acknowledges(key, Instant::now());
        checker.deleted(key, Remover::UserAgent, Deleted::There, Instant::now());
    };
    let cancelled: Ending = |checker, key| {
        checker.cancels(key, Instant::now());
        checker.deleted(key, Remover::ApplicationServer, Deleted::There, Instant::now());
    };
    let ended: Ending = |checker, _| checker.ends("a", Stage::Ending(Instant::now()));
    let both: Ending = |checker, key| {
        checker.cancels(key, Instant::now());
        checker.acknowledges(key, Instant::now());
    };
    for (what, ending, told, breaches) in [
        ("nothing", nothing, None, 1),
        ("nothing", nothing, Some(204), 1),
        ("nothing", nothing, Some(410), 1),
        ("nothing", nothing, Some(200), 2),
        ("acknowledged", acknowledged, Some(204), 0),
        ("acknowledged", acknowledged, Some(410), 1),
        ("deleted", deleted, Some(204), 0),
        ("deleted", deleted, Some(410), 1),
        ("cancelled", cancelled, Some(410), 0),
        ("cancelled", cancelled, Some(204), 1),
        ("ended", ended, Some(410), 0),
        ("both", both, Some(204), 0),
        ("both", both, Some(410), 0),
    ] {
        let (mut checker, key, text) = one_promised(Wish::plain(None));
        let connection = checker.connection(0, 0, Instant::now());
        arrives(&mut checker, connection, "v", &text);
        ending(&mut checker, key);
        if let Some(status) = told {
            tells(&mut checker, status, later(5));
        }
        assert_eq!(
            checker.audit().len(),
            breaches,
            "{what}, {told:?}: {:?}",
            checker.audit()
        );
        assert_eq!(checker.untold() == 0, told.is_some_and(|status| status != 200));
    }
}

/// R30-TTL-6: what expired is given up, and no acknowledgement counts that begins behind it.
#[test]
fn what_expired_is_given_up() {
    let brief = Wish {
        ttl: 1,
        ..Wish::plain(None)
    };
    for (acknowledged, told, breaches) in [(0, 204, 0), (3, 204, 1), (3, 410, 0)] {
        let (mut checker, key, _) = one_promised(brief);
        checker.acknowledges(key, later(acknowledged));
        tells(&mut checker, told, later(5));
        assert_eq!(checker.audit().len(), breaches, "{acknowledged}, {told}");
    }
}

/// R30-RDL-6: a message that was replaced needs no receipt; one acknowledged behind its replacement may have none.
#[test]
fn a_replaced_message_has_no_receipt() {
    for (told, breaches) in [(None, 0), (Some(204), 1), (Some(410), 1)] {
        let (mut checker, key, _) = one_promised(Wish::plain(Some(1)));
        let (newer, _, text) = checker.begin(0, Wish::plain(Some(1)), Instant::now());
        checker.answered(newer, RequestResult::Accepted, None, Instant::now());
        let connection = checker.connection(0, 0, Instant::now());
        arrives(&mut checker, connection, "w", &text);
        checker.acknowledges(key, later(1));
        if let Some(status) = told {
            tells(&mut checker, status, later(5));
        }
        assert_eq!(checker.audit().len(), breaches, "{told:?}");
    }
}

/// PR-25: a receipt comes again only over another connection, with the same status, and not behind the event that told it.
#[test]
fn a_receipt_comes_again_only_after_a_lost_connection() {
    let (same, other) = (false, true);
    for (connection, status, by_events, seconds, breaches) in [
        (other, 204, false, 0, 0),
        (other, 204, false, 60, 1),
        (other, 204, true, 0, 1),
        (other, 410, false, 0, 1),
        (same, 204, false, 0, 1),
    ] {
        let (mut checker, key, text) = one_promised(Wish::plain(None));
        let agent = checker.connection(0, 0, Instant::now());
        arrives(&mut checker, agent, "v", &text);
        checker.acknowledges(key, Instant::now());
        let first = checker.listens(0, Instant::now());
        checker.told(URL, 204, first, by_events, Instant::now());
        let second = if connection == same {
            first
        } else {
            checker.heard_out(first, later(seconds));
            checker.listens(0, later(seconds))
        };
        checker.told(URL, status, second, by_events, later(seconds));
        assert_eq!(
            checker.audit().len(),
            breaches,
            "{status}, {seconds}: {:?}",
            checker.audit()
        );
    }
}

/// PR-2, PR-25: a receipt that no message claims is that of a message whose sender was not answered.
#[test]
fn a_receipt_of_an_unknown_message_is_a_breach() {
    let mut checker = Checker::new(1, 1);
    checker.subscribed(0, "a", "http://service.test/push/a");
    tells(&mut checker, 410, later(5));
    assert_eq!(checker.audit().len(), 1);
    let asked = Wish {
        receipt: true,
        ..Wish::plain(None)
    };
    checker.begin(0, asked, Instant::now());
    assert_eq!(checker.audit(), Vec::<String>::new());
}
