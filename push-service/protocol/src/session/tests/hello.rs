//! From a connection to a welcome: who is known, what storage says of it, and how long a hello may take.

use super::*;

/// WS-HEL-1, WS-HEL-7: a user agent without an identity gets one, and storage is not asked.
#[test]
fn a_stranger_is_welcomed_without_storage() {
    let (mut session, mut out) = (Session::new(Arc::new(limits()), Moment(0)), Vec::new());
    session.hello(None, identity(2), Moment(0), &mut out);
    assert!(
        matches!(&out[..], [Action::Welcome { fresh: true, .. }]),
        "{out:?}"
    );
    assert_eq!(session.user_agent(), Some(identity(2).id()));
}

/// WS-HEL-2, WS-HEL-12: a known user agent keeps its identity, and stored messages follow the welcome at once.
#[test]
fn the_known_get_their_messages_with_the_welcome() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    queue.store(1, Urgency::Normal);
    live(&queue, &mut out);
    assert!(
        matches!(&out[..], [Action::Welcome { fresh: false, .. }, Action::Offer(_)]),
        "{out:?}"
    );
}

/// PR-3, PR-8: an unknown identity is replaced by a fresh one; trouble is not "unknown" and closes.
#[test]
fn unknown_is_not_trouble() {
    for (outcome, welcomed) in [(AttachOutcome::Unknown, true), (AttachOutcome::Trouble, false)] {
        let (mut session, mut out) = (Session::new(Arc::new(limits()), Moment(0)), Vec::new());
        session.hello(Some(identity(1)), identity(2), Moment(0), &mut out);
        out.clear();
        session.attached(outcome, Moment(0), &mut out);
        match &out[..] {
            [
                Action::Welcome {
                    identity: given,
                    fresh: true,
                },
            ] if welcomed => assert_eq!(*given, identity(2)),
            [Action::Close(CloseReason::TryAgainLater)] if !welcomed => {}
            other => panic!("{other:?}"),
        }
    }
}

/// WS-CON-5, WS-HEL-9, WS-HEL-10: hello comes first, once, and in time.
#[test]
fn hello_first_once_in_time() {
    let new = || Session::new(Arc::new(limits()), Moment(0));
    let mut out = Vec::new();
    assert!(!new().may_request(&mut out));
    assert_eq!(closed(&out), Some(CloseReason::NotHello));

    let (mut session, mut out) = (new(), Vec::new());
    session.hello(None, identity(2), Moment(0), &mut out);
    session.hello(None, identity(3), Moment(0), &mut out);
    assert_eq!(closed(&out), Some(CloseReason::SecondHello));

    let (mut session, mut out) = (new(), Vec::new());
    assert_eq!(session.next_due(), Moment(5_000));
    session.tick(Moment(4_999), &mut out);
    assert_eq!(closed(&out), None);
    session.tick(Moment(5_000), &mut out);
    assert_eq!(closed(&out), Some(CloseReason::HelloTimeout));
}

/// WS-CLS-2, PR-3: a hello for which storage takes too long is told to come back, before the user agent gives up.
#[test]
fn a_slow_attach_is_told_in_time() {
    let mut out = Vec::new();
    let mut session = Session::new(Arc::new(limits()), Moment(0));
    session.hello(Some(identity(1)), identity(2), Moment(1_000), &mut out);
    assert_eq!(session.next_due(), Moment(9_000));
    session.tick(Moment(8_999), &mut out);
    assert_eq!(closed(&out), None);
    session.tick(Moment(9_000), &mut out);
    assert_eq!(closed(&out), Some(CloseReason::TryAgainLater));
}

/// PR-11: a wake-up that comes before the head of the queue is not lost.
#[test]
fn a_wake_up_during_the_attach() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    let mut session = Session::new(Arc::new(limits()), Moment(0));
    session.hello(Some(identity(1)), identity(2), Moment(0), &mut out);
    let Some(Action::Attach { head, .. }) = out.pop() else {
        panic!("{out:?}")
    };
    let head = queue.page(&head);
    let early = queue.store(1, Urgency::Normal);
    session.woken(early, Moment(0), &mut out);
    assert!(out.is_empty());
    session.attached(AttachOutcome::Known(head), Moment(0), &mut out);
    assert!(
        matches!(&out[..], [Action::Welcome { .. }, Action::Page(_)]),
        "{out:?}"
    );
}

/// R30-URG-6, WS-HEL-12: what the hello wants is what follows the welcome; the same once more, as a request, reads nothing.
#[test]
fn the_filter_comes_with_the_hello() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    for urgency in [Urgency::Low, Urgency::High, Urgency::Normal] {
        queue.store(1, urgency);
    }
    let mut session = Session::new(Arc::new(limits()), Moment(0));
    session.begin_with(Urgency::High);
    session.hello(Some(identity(1)), identity(2), Moment(0), &mut out);
    let Some(Action::Attach { head, .. }) = out.pop() else {
        panic!("{out:?}")
    };
    session.attached(AttachOutcome::Known(queue.page(&head)), Moment(0), &mut out);
    assert_eq!(offers(&out), [20]);
    out.clear();
    session.begin_with(Urgency::VeryLow);
    session.set_minimum(Urgency::High, Moment(0), &mut out);
    assert!(out.is_empty(), "{out:?}");
    session.set_minimum(Urgency::Low, Moment(0), &mut out);
    answer_pages(&mut session, &queue, &mut out);
    assert_eq!(offers(&out), [10, 30]);
}
