use std::task::Waker;

use super::*;
use crate::defaults::PROMISES;

fn link(allowed: usize) -> Arc<PushLink> {
    let link = PushLink::new();
    poll(&link, allowed, false);
    link
}

/// A whole poll of the connection.
fn poll(link: &PushLink, allowed: usize, is_written: bool) -> bool {
    link.begin_poll(Waker::noop()).end(allowed, is_written)
}

/// PR-19, R30-H2-2: no more is promised than the peer has streams, and no peer gets more than our own bound.
#[test]
fn the_peers_streams_are_the_bound() {
    let link = link(2);
    let (one, two) = (link.take(1), link.take(1));
    assert!(one.is_ok() && two.is_ok() && link.take(1).is_err());
    drop(one);
    assert!(link.take(1).is_ok());
    poll(&link, usize::MAX, false);
    let all: Vec<_> = std::iter::from_fn(|| link.take(1).ok()).collect();
    assert_eq!(all.len(), PROMISES - 1);
}

/// R30-H2-6: a connection whose stream ids are used up promises nothing more, and its peer is to use another one. A promise
/// that `h2` refuses uses an id, too.
#[test]
fn stream_ids_are_used_once() {
    let link = link(usize::MAX);
    link.lock().streams.leave_ids(3);
    link.waste_stream_id();
    assert!(link.take(1).is_ok(), "and given back, but not its id");
    assert!(!link.is_leaving() && !link.is_over());
    assert!(link.take(1).is_ok());
    assert!(link.is_leaving() && link.is_over());
    assert_eq!(link.take(1).err(), Some(NoSlot::Never));
    link.waste_stream_id();
}

/// RFC 9113 §6.8, PR-25: after the peer's GOAWAY no promise can be sent, and an answered PING says that the peer
/// lives, but not that a promise arrived.
#[test]
fn nothing_is_promised_behind_the_peers_goaway() {
    let link = link(2);
    let open = link.take(1);
    let asked = link.ask();
    assert!(poll(&link, 2, true), "a PING goes out");
    link.peer_leaves();
    assert_eq!(link.take(1).err(), Some(NoSlot::Never));
    link.ponged();
    assert!(link.confirmed() >= asked && link.arrived() < asked);
    assert!(link.is_over() && !link.takes_any());
    drop(open);
    assert_eq!(link.take(1).err(), Some(NoSlot::Never));
}

/// RFC 9113 §5.1.1: promises of another request wait until all before them are written, and are waited for.
#[test]
fn requests_promise_in_turn() {
    let link = link(usize::MAX);
    let (one, other) = (link.request(), link.request());
    let mut first = link.take(one).unwrap();
    assert!(link.take(one).is_ok(), "and dropped");
    poll(&link, usize::MAX, true);
    assert_eq!(
        link.take(other).err(),
        Some(NoSlot::NotYet),
        "about to be promised"
    );
    let polled = link.begin_poll(Waker::noop());
    first.is_promised();
    polled.end(usize::MAX, true);
    assert_eq!(link.take(other).err(), Some(NoSlot::NotYet), "behind the poll");
    poll(&link, usize::MAX, false);
    assert_eq!(link.take(other).err(), Some(NoSlot::NotYet), "held back");
    drop(link.begin_poll(Waker::noop()));
    assert_eq!(
        link.take(other).err(),
        Some(NoSlot::NotYet),
        "a poll that did not end"
    );
    poll(&link, usize::MAX, true);
    let second = link.take(other).unwrap();
    assert_eq!(link.take(one).err(), Some(NoSlot::NotYet));
    drop(second);
    assert!(link.take(one).is_ok(), "the other promised nothing");
}

/// A peer that lowers its limit gets nothing more until it has fewer streams open than that.
#[test]
fn a_lowered_limit_holds() {
    let link = link(2);
    let open = [link.take(1), link.take(1)];
    poll(&link, 1, false);
    assert!(link.takes_any());
    let [one, two] = open;
    drop(one);
    assert!(link.take(1).is_err());
    drop(two);
    assert!(link.take(1).is_ok());
}

/// PR-25: a peer that lowers its limit below what is out may be kept waiting for some of it by `h2`; a PING would
/// overtake that and confirm what has not arrived. The peer is to come back over another connection.
#[test]
fn nothing_is_confirmed_once_the_limit_is_below_what_is_out() {
    let link = link(2);
    let open = [link.take(1), link.take(1)];
    let asked = link.ask();
    assert!(!poll(&link, 1, true), "one of the two may not have been sent");
    drop(open);
    assert!(!poll(&link, 2, true), "nor do we know whether it was since");
    assert!(link.is_leaving() && link.confirmed() < asked);
}

/// PR-25: a PING goes out behind what was asked for before the poll that wrote it, never while something is held
/// back, and one at a time; its answer confirms what was asked when it went out.
#[test]
fn a_ping_confirms_what_was_written_before_it() {
    let link = link(1);
    let polled = link.begin_poll(Waker::noop());
    let asked = link.ask();
    assert!(!polled.end(1, true), "asked while the connection was polled");
    assert!(!poll(&link, 1, false), "something is held back");
    assert!(poll(&link, 1, true));
    let later = link.ask();
    let polled = link.begin_poll(Waker::noop());
    assert!(!polled.end(1, true), "one is in flight");
    assert!(link.confirmed() < asked);
    let polled = link.begin_poll(Waker::noop());
    link.ponged();
    assert!(link.confirmed() >= asked && link.confirmed() < later);
    assert!(polled.end(1, true), "the next goes out for what was asked since");
}
