//! What is read of the queue, in which order, and when reading ends.

use super::*;

fn only_page(out: &mut Vec<Action>) -> PageRequest {
    match out.pop() {
        Some(Action::Page(request)) if out.is_empty() => request,
        other => panic!("{other:?} after {out:?}"),
    }
}

/// PR-3, WS-HEL-6: a user agent that storage doesn't know has nothing to read: the first message of its first subscription is
/// offered as it comes.
#[test]
fn an_unknown_user_agent_reads_nothing() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    let mut session = Session::new(Arc::new(limits()), Moment(0));
    session.hello(Some(identity(1)), identity(2), Moment(0), &mut out);
    session.attached(AttachOutcome::Unknown, Moment(0), &mut out);
    session.subscribes();
    out.clear();
    session.woken(queue.store(1, Urgency::Normal), Moment(0), &mut out);
    assert_eq!(offers(&out), [10]);
}

/// R30-MON-12, PR-19: a monitor that asks for what waits gets all of it, page by page and beyond any window, and is closed after
/// that, not before.
#[test]
fn what_waits_is_offered_once() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    for _ in 0..8 {
        queue.store(1, Urgency::Normal);
    }
    let wanted = Wanted::Everything(Urgency::VeryLow);
    let mut session = Session::monitor(
        identity(1).id(),
        wanted,
        true,
        Arc::new(limits()),
        Moment(0),
        &mut out,
    );
    let Some(Action::Attach { head, .. }) = out.pop() else {
        panic!("{out:?}")
    };
    session.attached(AttachOutcome::Known(queue.page(&head)), Moment(0), &mut out);
    assert_eq!((offers(&out), closed(&out)), (vec![10, 20, 30, 40], None));
    assert!(!session.has_unacknowledged(), "the window holds nothing");
    let next = queue.store(1, Urgency::Normal);
    session.woken(next, Moment(0), &mut out);
    assert_eq!(closed(&out), None, "a page is under way");
    answer_pages(&mut session, &queue, &mut out);
    assert_eq!(offers(&out), (1..=9).map(|n| n * 10).collect::<Vec<_>>());
    assert_eq!(closed(&out), Some(CloseReason::CaughtUp));
    let offered_at = |out: &[Action]| out.iter().rposition(|action| matches!(action, Action::Offer(_)));
    let closed_at = |out: &[Action]| out.iter().position(|action| matches!(action, Action::Close(_)));
    assert!(offered_at(&out) < closed_at(&out));
}

/// PR-11: what lost hints told of is read from storage, and what was lost while a page is under way by one more page.
#[test]
fn lost_hints_are_made_up_for() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    let mut session = live(&queue, &mut out);
    out.clear();
    queue.store(1, Urgency::Normal);
    session.read_again(Moment(0), &mut out);
    let request = only_page(&mut out);
    let page = queue.page(&request);
    queue.store(1, Urgency::Normal);
    session.woken(WakeUp::ReadAgain, Moment(0), &mut out);
    assert!(out.is_empty(), "one page at a time");
    session.paged(PageOutcome::Page(page), Moment(0), &mut out);
    assert_eq!(offers(&out), [10]);
    answer_pages(&mut session, &queue, &mut out);
    assert_eq!(offers(&out), [10, 20]);
    assert_eq!(session.cursor(), Some(queue.last));
}

/// PR-5, PR-17: a page that storage could not read is asked for again after a while: of the queue, and of a subscription that
/// lags.
#[test]
fn a_page_that_failed_is_read_again() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    for _ in 0..5 {
        queue.store(1, Urgency::Normal);
    }
    let mut session = live(&queue, &mut out);
    out.retain(|action| matches!(action, Action::Page(_)));
    let request = only_page(&mut out);
    session.paged(PageOutcome::Trouble, Moment(0), &mut out);
    assert!(out.is_empty());
    assert_eq!(session.next_due(), Moment(1_000));
    session.tick(Moment(999), &mut out);
    assert!(out.is_empty());
    session.tick(Moment(1_000), &mut out);
    assert_eq!(only_page(&mut out), request);
    session.paged(PageOutcome::Page(queue.page(&request)), Moment(1_000), &mut out);
    assert!(out.is_empty(), "the rest lags: {out:?}");

    session.acknowledge(vec![message(10, 1, Urgency::Normal).id], Moment(1_000), &mut out);
    out.retain(|action| matches!(action, Action::Page(_)));
    let request = only_page(&mut out);
    assert_eq!(request.scope, Scope::These(vec![SubscriptionId([1; 8])]));
    session.paged(PageOutcome::Trouble, Moment(1_000), &mut out);
    session.tick(Moment(2_000), &mut out);
    assert_eq!(only_page(&mut out), request);
    session.paged(PageOutcome::Page(queue.page(&request)), Moment(2_000), &mut out);
    assert_eq!(offers(&out), [40]);
}

/// PR-17, PR-11: a subscription that lags catches up with the cursor, however many pages that takes; what was stored behind the
/// cursor without a hint is found on the way, and afterwards the next message is offered as it comes.
#[test]
fn a_lag_catches_up() {
    for (subscriptions, is_told) in [(1, true), (1, false), (2, true)] {
        let (mut queue, mut out) = (Queue::default(), Vec::new());
        for _ in 0..4 {
            queue.store(1, Urgency::Normal);
        }
        if subscriptions == 2 {
            queue.store(2, Urgency::Normal);
        }
        let mut session = live(&queue, &mut out);
        if !is_told {
            queue.store(1, Urgency::Normal);
        }
        answer_pages(&mut session, &queue, &mut out);
        let acknowledges = |session: &mut Session, number, out: &mut Vec<Action>| {
            session.acknowledge(vec![message(number, 1, Urgency::Normal).id], Moment(0), out);
        };
        acknowledges(&mut session, 10, &mut out);
        answer_pages(&mut session, &queue, &mut out);
        acknowledges(&mut session, 20, &mut out);
        answer_pages(&mut session, &queue, &mut out);
        acknowledges(&mut session, 30, &mut out);
        answer_pages(&mut session, &queue, &mut out);
        let mut expected: Vec<_> = queue.messages.keys().map(|number| number.0).collect();
        let mut offered = offers(&out);
        expected.sort_unstable();
        offered.sort_unstable();
        assert_eq!(offered, expected, "{subscriptions} {is_told}");
        out.clear();
        let next = queue.store(1, Urgency::Normal);
        session.woken(next, Moment(0), &mut out);
        assert!(matches!(&out[..], [Action::Offer(_)]), "{out:?}");
    }
}

/// PR-17: a lag of many pages, behind a cursor that has gone ahead.
#[test]
fn a_long_lag_is_read_to_its_end() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    for _ in 0..10 {
        queue.store(1, Urgency::Normal);
    }
    queue.store(2, Urgency::Normal);
    let mut session = live(&queue, &mut out);
    answer_pages(&mut session, &queue, &mut out);
    for number in (10..=100).step_by(10) {
        session.acknowledge(vec![message(number, 1, Urgency::Normal).id], Moment(0), &mut out);
        answer_pages(&mut session, &queue, &mut out);
    }
    assert_eq!(offers(&out), [10, 20, 30, 110, 40, 50, 60, 70, 80, 90, 100]);
}

/// PR-15, R30-URG-6: of a subscription that lags, too, only what its monitor wants is offered.
#[test]
fn a_lag_keeps_to_what_is_wanted() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    for urgency in [
        Urgency::High,
        Urgency::High,
        Urgency::High,
        Urgency::High,
        Urgency::Low,
        Urgency::High,
    ] {
        queue.store(1, urgency);
    }
    let interest = |subscription, minimum| Interest {
        subscription: Some(SubscriptionId([subscription; 8])),
        minimum,
    };
    let wanted = Wanted::monitored([interest(1, Urgency::High), interest(2, Urgency::Low)]);
    let limits = Arc::new(limits());
    let mut session = Session::monitor(identity(1).id(), wanted, false, limits, Moment(0), &mut out);
    let Some(Action::Attach { head, .. }) = out.pop() else {
        panic!("{out:?}")
    };
    session.attached(AttachOutcome::Known(queue.page(&head)), Moment(0), &mut out);
    answer_pages(&mut session, &queue, &mut out);
    for number in [10, 20, 30] {
        session.acknowledge(vec![message(number, 1, Urgency::High).id], Moment(0), &mut out);
        answer_pages(&mut session, &queue, &mut out);
    }
    assert_eq!(offers(&out), [10, 20, 30, 40, 60]);
}

/// PR-18: what is on the wire is looked for page by page, and none of it is taken for gone because it stands at the edge of a page.
#[test]
fn the_edge_of_a_page_is_on_the_wire() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    for number in 1..=7 {
        queue.last = MessageNumber(number);
        queue
            .messages
            .insert(queue.last, message(number, number as u8 % 3, Urgency::Normal));
    }
    let mut session = live(&queue, &mut out);
    answer_pages(&mut session, &queue, &mut out);
    assert_eq!(offers(&out), [1, 2, 3, 4, 5, 6]);
    out.clear();
    session.woken(WakeUp::Last(queue.last), Moment(0), &mut out);
    answer_pages(&mut session, &queue, &mut out);
    assert!(offers(&out).is_empty(), "all are on the wire");
    queue.messages.remove(&MessageNumber(4));
    session.woken(WakeUp::Last(queue.last), Moment(0), &mut out);
    answer_pages(&mut session, &queue, &mut out);
    assert_eq!(offers(&out), [7]);
}

/// PR-17: a subscription that lags and the rest of the queue are read in turns, so that neither waits for the other.
#[test]
fn lags_and_cursor_take_turns() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    for _ in 0..10 {
        queue.store(1, Urgency::Normal);
    }
    let mut session = live(&queue, &mut out);
    answer_pages(&mut session, &queue, &mut out);
    out.clear();
    session.read_again(Moment(0), &mut out);
    let (rest, lag) = (
        Scope::AllBut(vec![SubscriptionId([1; 8])]),
        Scope::These(vec![SubscriptionId([1; 8])]),
    );
    for (number, scope) in [(10, &rest), (20, &lag), (30, &rest), (40, &lag)] {
        let at = out.iter().position(|action| matches!(action, Action::Page(_)));
        let Action::Page(request) = out.remove(at.unwrap()) else {
            unreachable!()
        };
        assert_eq!(request.scope, *scope, "{number}");
        // Meanwhile there is room for the lag, and something new that was not told.
        session.acknowledge(vec![message(number, 1, Urgency::Normal).id], Moment(0), &mut out);
        session.read_again(Moment(0), &mut out);
        session.paged(PageOutcome::Page(queue.page(&request)), Moment(0), &mut out);
    }
    assert_eq!(offers(&out)[..2], [40, 50]);
}
