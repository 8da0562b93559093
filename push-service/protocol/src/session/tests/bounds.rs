//! What a channel's session counts and bounds: requests, acknowledgements, stalls, its record, its end.

use super::*;

fn seconds(seconds: u64) -> Moment {
    Moment(seconds * 1_000)
}

/// PR-12: storage may have a record of a user agent that it knew, or that asked for a subscription, and of no other.
#[test]
fn who_may_have_a_record() {
    let mut out = Vec::new();
    let mut session = Session::new(Arc::new(limits()), Moment(0));
    assert!(!session.is_recorded() && session.user_agent().is_none());
    session.hello(Some(identity(1)), identity(2), Moment(0), &mut out);
    assert!(session.is_recorded());
    assert_eq!(session.user_agent(), Some(identity(1).id()));
    session.attached(AttachOutcome::Unknown, Moment(0), &mut out);
    assert!(!session.is_recorded());
    assert_eq!(session.user_agent(), Some(identity(2).id()));
    session.subscribes();
    assert!(session.is_recorded());
    assert!(live(&Queue::default(), &mut out).is_recorded());
}

/// PR-18, PR-42, WS-ACK-8: every acknowledgement of a stored message goes to storage; those that this channel sent are counted,
/// once.
#[test]
fn acknowledgements_of_this_channel_are_counted() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    for _ in 0..3 {
        queue.store(1, Urgency::Normal);
    }
    let mut session = live(&queue, &mut out);
    assert!(session.has_unacknowledged());
    let id = |number| message(number, 1, Urgency::Normal).id;
    for (numbers, stored, counted) in [
        (&[0_u64][..], 0, 0),
        (&[10, 20, 0, 990], 3, 2),
        (&[10, 20], 2, 0),
        (&[30], 1, 1),
    ] {
        out.clear();
        let ids = numbers.iter().map(|number| id(*number)).collect();
        assert_eq!(
            session.acknowledge(ids, Moment(0), &mut out),
            counted,
            "{numbers:?}"
        );
        let told = out.iter().find_map(|action| match action {
            Action::Acknowledge(ids) => Some(ids.len()),
            _ => None,
        });
        assert_eq!(told.unwrap_or_default(), stored, "{numbers:?}");
    }
    assert!(!session.has_unacknowledged());
}

/// PR-19, R30-H2-4: a refused message makes room, is not offered again on this channel, and ends a drain as an acknowledgement does.
#[test]
fn a_refused_message_makes_room() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    for _ in 0..4 {
        queue.store(1, Urgency::Normal);
    }
    let mut session = live(&queue, &mut out);
    answer_pages(&mut session, &queue, &mut out);
    assert_eq!(offers(&out), [10, 20, 30]);
    out.clear();
    session.refused(message(20, 1, Urgency::Normal).id, Moment(0), &mut out);
    answer_pages(&mut session, &queue, &mut out);
    assert_eq!(offers(&out), [40]);
    session.drain(Moment(0), &mut out);
    for number in [10, 30, 40] {
        assert_eq!(closed(&out), None);
        session.refused(message(number, 1, Urgency::Normal).id, Moment(0), &mut out);
    }
    assert_eq!(closed(&out), Some(CloseReason::GoingAway));
}

/// WS-PNG-3: so many answers at once, and not one more; then one in each interval.
#[test]
fn a_burst_of_answers() {
    let mut out = Vec::new();
    let mut session = live(&Queue::default(), &mut out);
    for _ in 0..3 {
        assert!(session.may_answer(seconds(0), &mut out));
    }
    assert!(session.may_answer(seconds(10), &mut out));
    assert!(session.may_answer(seconds(20), &mut out));
    assert_eq!(closed(&out), None);
    assert!(!session.may_answer(seconds(20), &mut out));
    assert_eq!(closed(&out), Some(CloseReason::TooManyRequests));
}

/// PR-16: a stall counts from its beginning and is over when the channel takes something; one that others wait for ends sooner.
#[test]
fn stalls_are_bounded() {
    let mut out = Vec::new();
    let mut session = live(&Queue::default(), &mut out);
    out.clear();
    session.give_way(Duration::ZERO, seconds(50), &mut out);
    assert!(out.is_empty(), "nothing stalls");
    session.set_writable(false, seconds(60), &mut out);
    session.set_writable(false, seconds(70), &mut out);
    session.give_way(Duration::from_secs(3), Moment(62_999), &mut out);
    session.tick(Moment(89_999), &mut out);
    assert!(out.is_empty(), "{out:?}");
    session.set_writable(true, Moment(89_999), &mut out);
    session.tick(seconds(90), &mut out);
    assert!(out.is_empty(), "{out:?}");
    session.set_writable(false, seconds(100), &mut out);
    session.give_way(Duration::from_secs(3), seconds(103), &mut out);
    assert_eq!(closed(&out), Some(CloseReason::SlowReader));

    let mut out = Vec::new();
    let mut session = live(&Queue::default(), &mut out);
    session.set_writable(false, seconds(0), &mut out);
    session.set_writable(false, seconds(10), &mut out);
    session.tick(seconds(30), &mut out);
    assert_eq!(closed(&out), Some(CloseReason::SlowReader));
}

/// PR-16, PR-5: while a channel stalls, nothing is read and no time for reading comes.
#[test]
fn a_stalled_channel_reads_nothing() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    let mut session = live(&queue, &mut out);
    queue.store(1, Urgency::Normal);
    session.read_again(Moment(0), &mut out);
    session.paged(PageOutcome::Trouble, Moment(0), &mut out);
    assert_eq!(session.next_due(), seconds(1));
    out.clear();
    session.set_writable(false, Moment(0), &mut out);
    assert_eq!(session.next_due(), seconds(30));
    session.tick(seconds(5), &mut out);
    assert!(out.is_empty(), "{out:?}");
    session.set_writable(true, seconds(5), &mut out);
    answer_pages(&mut session, &queue, &mut out);
    assert_eq!(offers(&out), [10]);
}

/// PR-36: a draining channel serves requests, offers nothing of a page that was under way, and leaves in time, not before.
#[test]
fn a_drain_lasts_a_second() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    queue.store(1, Urgency::Normal);
    let mut session = live(&queue, &mut out);
    queue.store(1, Urgency::Normal);
    out.clear();
    session.read_again(Moment(0), &mut out);
    let Some(Action::Page(request)) = out.pop() else {
        panic!("{out:?}")
    };
    session.drain(Moment(0), &mut out);
    assert!(session.may_request(&mut out) && session.is_live());
    session.paged(PageOutcome::Page(queue.page(&request)), Moment(0), &mut out);
    assert_eq!(session.next_due(), seconds(1));
    session.tick(Moment(999), &mut out);
    assert!(out.is_empty(), "{out:?}");
    session.tick(seconds(1), &mut out);
    assert_eq!(closed(&out), Some(CloseReason::GoingAway));
}

/// PR-17, PR-36: what is on the wire for too long is forgotten; then nothing keeps a drain.
#[test]
fn what_is_forgotten_keeps_no_drain() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    queue.store(1, Urgency::Normal);
    let mut session = live(&queue, &mut out);
    assert_eq!(session.next_due(), seconds(60));
    out.clear();
    session.drain(Moment(59_500), &mut out);
    session.tick(seconds(60), &mut out);
    assert!(
        matches!(
            &out[..],
            [Action::Unacknowledged(1), Action::Close(CloseReason::GoingAway)]
        ),
        "{out:?}"
    );
}

/// A closed session says nothing more, serves no request and has nothing due.
#[test]
fn closed_is_closed() {
    for is_stalled in [true, false] {
        let (mut queue, mut out) = (Queue::default(), Vec::new());
        queue.store(1, Urgency::Normal);
        let mut session = live(&queue, &mut out);
        assert!(!session.is_closed() && session.may_request(&mut out));
        session.set_writable(!is_stalled, Moment(0), &mut out);
        session.close(CloseReason::Binary, &mut out);
        assert!(session.is_closed() && !session.is_live());
        out.clear();
        session.close(CloseReason::Binary, &mut out);
        assert!(!session.may_request(&mut out));
        session.woken(queue.store(1, Urgency::Normal), Moment(0), &mut out);
        session.read_again(Moment(0), &mut out);
        session.drain(Moment(0), &mut out);
        session.tick(seconds(10_000), &mut out);
        assert!(out.is_empty(), "{out:?}");
        assert_eq!(session.next_due(), Moment::NEVER);
    }
}

/// Moments are compared without a way below zero or beyond the end of time.
#[test]
fn moments() {
    let (early, late) = (Moment(1_000), Moment(3_500));
    assert_eq!(late.since(early), Duration::from_millis(2_500));
    assert_eq!(early.since(late), Duration::ZERO);
    assert_eq!(early.after(Duration::from_millis(2_500)), late);
    assert_eq!(late.after(Duration::MAX), Moment::NEVER);
}
