//! How much is on the wire, and that a user agent that fills its window delays no other.

use super::*;

/// PR-16: no more than the window is on the wire, and an acknowledgement makes room for the rest.
#[test]
fn the_window_bounds_the_wire() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    for n in 0..20 {
        queue.store(n % 4, Urgency::Normal);
    }
    let mut session = live(&queue, &mut out);
    answer_pages(&mut session, &queue, &mut out);
    assert_eq!(offers(&out), [10, 20, 30, 40, 50, 60]);
    let acknowledged = queue.messages.pop_first().unwrap().1.id;
    out.clear();
    session.acknowledge(vec![acknowledged], Moment(0), &mut out);
    answer_pages(&mut session, &queue, &mut out);
    assert_eq!(offers(&out), [70]);
}

/// PR-17, KU-6, WS-ACK-6: a subscription that never acknowledges doesn't stop the others, now or later.
#[test]
fn one_that_never_acknowledges_delays_no_other() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    for _ in 0..10 {
        queue.store(1, Urgency::Normal);
    }
    queue.store(2, Urgency::Normal);
    let mut session = live(&queue, &mut out);
    answer_pages(&mut session, &queue, &mut out);
    assert_eq!(offers(&out), [10, 20, 30, 110]);

    out.clear();
    session.heard(Moment(60_000));
    session.tick(Moment(60_000), &mut out);
    answer_pages(&mut session, &queue, &mut out);
    assert!(
        out.iter()
            .any(|action| matches!(action, Action::Unacknowledged(4)))
    );
    assert_eq!(
        offers(&out),
        [40, 50, 60],
        "what was offered once is not offered again on this channel"
    );
}

/// PR-7, PR-17: a record that is gone, behind whose last page a subscription lags, is read once and not for ever; what
/// is stored anew is offered.
#[test]
fn a_lag_behind_a_queue_that_is_gone() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    for _ in 0..10 {
        queue.store(1, Urgency::Normal);
    }
    let mut session = live(&queue, &mut out);
    answer_pages(&mut session, &queue, &mut out);
    assert_eq!(offers(&out), [10, 20, 30]);

    out.clear();
    let mut gone = Queue::default();
    session.acknowledge(vec![message(10, 1, Urgency::Normal).id], Moment(0), &mut out);
    let pages = |out: &[Action]| out.iter().filter(|a| matches!(a, Action::Page(_))).count();
    assert_eq!(pages(&out), 1);
    session.paged(PageOutcome::Page(Page::default()), Moment(0), &mut out);
    assert_eq!(pages(&out), 1, "no other page is wanted");
    out.clear();
    session.woken(gone.store(1, Urgency::Normal), Moment(0), &mut out);
    answer_pages(&mut session, &gone, &mut out);
    assert_eq!(offers(&out), [10]);
}

/// PR-14, PR-18: hints that messages were acknowledged elsewhere may be lost. Told how far the queue is, a session whose
/// window is full, or half full of one subscription, looks for what holds it, and goes on with what has room then. What
/// still waits keeps its place, and is not offered again.
#[test]
fn acknowledged_elsewhere_and_not_told() {
    for (subscriptions, first) in [(3, vec![10, 20, 30, 40, 50, 60]), (1, vec![10, 20, 30])] {
        let (mut queue, mut out) = (Queue::default(), Vec::new());
        for n in 0..12 {
            queue.store(n % subscriptions, Urgency::Normal);
        }
        let mut session = live(&queue, &mut out);
        answer_pages(&mut session, &queue, &mut out);
        assert_eq!(offers(&out), first);

        out.clear();
        assert!(session.cursor() < Some(queue.last), "so it is told");
        session.woken(WakeUp::Last(queue.last), Moment(0), &mut out);
        answer_pages(&mut session, &queue, &mut out);
        assert_eq!(offers(&out), Vec::<u64>::new(), "nothing has left");

        let kept = first[1];
        for number in first.iter().filter(|number| **number != kept) {
            queue.messages.remove(&MessageNumber(*number));
        }
        session.woken(WakeUp::Last(queue.last), Moment(0), &mut out);
        answer_pages(&mut session, &queue, &mut out);
        let next = first.len() as u64 + 1;
        let expected: Vec<_> = (next..next + first.len() as u64 - 1).map(|n| n * 10).collect();
        assert_eq!(offers(&out), expected);
    }
}
