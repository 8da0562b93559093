//! What closes a channel: silence, haste, a full outlet, a drain, a newer channel.

use super::*;

/// WS-CON-8, WS-PNG-4: a silent user agent is asked, and closed if it doesn't answer; any word of it counts.
#[test]
fn silence_is_asked_about() {
    let mut out = Vec::new();
    let mut session = live(&Queue::default(), &mut out);
    session.heard(Moment(10_000));
    assert_eq!(session.next_due(), Moment(310_000));
    out.clear();
    session.tick(Moment(310_000), &mut out);
    assert!(matches!(&out[..], [Action::Ping]), "{out:?}");
    session.heard(Moment(311_000));
    session.tick(Moment(611_000), &mut out);
    session.tick(Moment(640_999), &mut out);
    assert_eq!(closed(&out), None);
    session.tick(Moment(641_000), &mut out);
    assert_eq!(closed(&out), Some(CloseReason::PongTimeout));
}

/// WS-PNG-3: pings are answered at some pace; who asks faster is closed.
#[test]
fn answers_have_a_pace() {
    let mut out = Vec::new();
    let mut session = live(&Queue::default(), &mut out);
    for ping in 0..3 {
        assert!(session.may_answer(Moment(ping), &mut out), "{ping}");
    }
    assert!(session.may_answer(Moment(10_000), &mut out));
    assert!(!session.may_answer(Moment(10_001), &mut out));
    assert_eq!(closed(&out), Some(CloseReason::TooManyRequests));
}

/// PR-16: a channel that takes nothing is offered nothing, and closed in the end.
#[test]
fn a_stalled_channel() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    let mut session = live(&queue, &mut out);
    session.set_writable(false, Moment(0), &mut out);
    let wake_up = queue.store(1, Urgency::Normal);
    out.clear();
    session.woken(wake_up, Moment(0), &mut out);
    assert!(out.is_empty());
    assert_eq!(session.next_due(), Moment(30_000));
    session.set_writable(true, Moment(1), &mut out);
    answer_pages(&mut session, &queue, &mut out);
    assert_eq!(offers(&out), [10]);
    session.set_writable(false, Moment(2), &mut out);
    session.tick(Moment(30_002), &mut out);
    assert_eq!(closed(&out), Some(CloseReason::SlowReader));
}

/// PR-36: a drained channel offers nothing more and goes when what is on the wire is acknowledged, or after a second.
#[test]
fn drain() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    live(&queue, &mut out).drain(Moment(0), &mut out);
    assert_eq!(closed(&out), Some(CloseReason::GoingAway));

    queue.store(1, Urgency::Normal);
    for acknowledges in [true, false] {
        let mut out = Vec::new();
        let mut session = live(&queue, &mut out);
        session.drain(Moment(0), &mut out);
        session.woken(queue.store(2, Urgency::Normal), Moment(0), &mut out);
        assert_eq!(offers(&out).len(), 1);
        assert_eq!(closed(&out), None);
        if acknowledges {
            session.acknowledge(
                vec![queue.messages.first_key_value().unwrap().1.id],
                Moment(0),
                &mut out,
            );
        } else {
            session.tick(Moment(1_000), &mut out);
        }
        assert_eq!(closed(&out), Some(CloseReason::GoingAway));
        queue.messages.pop_last();
    }
}

/// PR-10: a session whose seat was taken closes.
#[test]
fn displaced() {
    let mut out = Vec::new();
    let mut session = live(&Queue::default(), &mut out);
    session.read_again(Moment(0), &mut out);
    session.paged(PageOutcome::Displaced, Moment(0), &mut out);
    assert_eq!(closed(&out), Some(CloseReason::Displaced));
    assert_eq!(session.next_due(), Moment::NEVER);
}
