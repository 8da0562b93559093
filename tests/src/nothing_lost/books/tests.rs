//! That the books find what they are kept for: each breach is played once, and so is its innocent sibling.

use super::*;

/// Books with one subscription and one message, which was accepted.
fn one_accepted() -> (Books, MessageKey, String) {
    let mut books = Books::new(1, 1);
    books.subscribed(0, "a", "http://service.test/wpush/v1/a");
    let (key, _, text) = books.begin(0, Wish::plain(None), Instant::now());
    books.answered(key, Outcome::Accepted, None, Instant::now());
    (books, key, text)
}

fn arrives(books: &mut Books, on: Connection, version: &str, text: &str) {
    books.arrived(on, "a", version, Some(text));
}

/// PR-1: an accepted message that never arrives is missed; one that may not have been accepted is not (PR-2).
#[test]
fn what_was_accepted_must_arrive() {
    let (mut books, _, text) = one_accepted();
    books.begin(0, Wish::plain(None), Instant::now());
    assert_eq!(books.missing(), 1);
    assert_eq!(books.audit().len(), 1);
    let connection = books.connection(0, 0, Instant::now());
    arrives(&mut books, connection, "v", &text);
    assert_eq!(books.missing(), 0);
    assert_eq!(books.audit(), Vec::<String>::new());
}

/// PR-4: after a kill a message may come again, until its acknowledgement had 100 ms on a living node.
#[test]
fn what_was_taken_must_not_come_again() {
    let start = Instant::now();
    let at = |milliseconds| start + Duration::from_millis(milliseconds);
    // The answer of a node may be read after its end: then it lived with the acknowledgement for no time at all.
    for (killed, breaches) in [(at(999), 0), (at(1_050), 0), (at(1_500), 1)] {
        let (mut books, key, text) = one_accepted();
        let first = books.connection(0, 0, at(0));
        arrives(&mut books, first, "v", &text);
        books.acknowledged(key, first, at(1_000));
        books.killed(0, killed);
        let second = books.connection(0, 0, at(5_000));
        arrives(&mut books, second, "v", &text);
        assert_eq!(books.audit().len(), breaches);
    }
}

/// PR-4: nothing comes twice on one connection, and what comes again has the id that it had.
#[test]
fn twice_on_one_connection_or_with_another_id_is_a_breach() {
    let (mut books, _, text) = one_accepted();
    let connection = books.connection(0, 0, Instant::now());
    arrives(&mut books, connection, "v", &text);
    arrives(&mut books, connection, "w", &text);
    assert_eq!(books.audit().len(), 2);
}

/// PR-4: the first offers of a subscription come in the order of acceptance.
#[test]
fn overtaking_is_a_breach() {
    let (mut books, _, first) = one_accepted();
    let (key, _, second) = books.begin(0, Wish::plain(None), Instant::now());
    books.answered(key, Outcome::Accepted, None, Instant::now());
    let connection = books.connection(0, 0, Instant::now());
    arrives(&mut books, connection, "w", &second);
    arrives(&mut books, connection, "v", &first);
    assert_eq!(books.audit(), ["message 0/1 was overtaken (PR-4)"]);
}

/// PR-2: of several nodes, one that never answered may have stored its message last; of one node it may not.
#[test]
fn a_late_message_may_take_the_place_of_a_newer() {
    for (nodes, missing) in [(1, 1), (3, 0)] {
        let mut books = Books::new(1, nodes);
        books.subscribed(0, "a", "http://service.test/wpush/v1/a");
        books.begin(0, Wish::plain(Some(1)), Instant::now());
        let (key, ..) = books.begin(0, Wish::plain(Some(1)), Instant::now());
        books.answered(key, Outcome::Accepted, None, Instant::now());
        assert_eq!(books.missing(), missing);
    }
}

/// A message whose topic was taken over need not arrive, not even if nobody knows whether the newer one was accepted.
#[test]
fn a_replaced_message_is_not_missed() {
    let (mut books, ..) = one_accepted();
    let (older, ..) = books.begin(0, Wish::plain(Some(1)), Instant::now());
    books.answered(older, Outcome::Accepted, None, Instant::now());
    assert_eq!(books.missing(), 2);
    books.begin(0, Wish::plain(Some(2)), Instant::now());
    assert_eq!(books.missing(), 2);
    books.begin(0, Wish::plain(Some(1)), Instant::now());
    assert_eq!(books.missing(), 1);
}

/// A message that was changed on its way is one that nobody sent.
#[test]
fn a_changed_message_is_a_breach() {
    let (mut books, _, text) = one_accepted();
    let connection = books.connection(0, 0, Instant::now());
    arrives(&mut books, connection, "v", &format!("{text}."));
    assert_eq!(books.audit().len(), 2);
}
