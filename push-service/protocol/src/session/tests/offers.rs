//! What is offered, from what storage says and what wake-ups tell, early, late, twice or never.

use super::*;

/// PR-7: a message that follows the cursor is offered as it comes; a gap is read from storage; a repetition is not
/// offered again; a number that is not above the cursor with an id never seen makes it read from the start.
#[test]
fn gaps_are_read() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    let mut session = live(&queue, &mut out);
    let first = queue.store(1, Urgency::Normal);
    out.clear();
    session.woken(first.clone(), Moment(0), &mut out);
    session.woken(first, Moment(0), &mut out);
    assert_eq!(offers(&out), [10]);

    queue.store(1, Urgency::Normal);
    let third = queue.store(2, Urgency::Normal);
    out.clear();
    session.woken(third, Moment(0), &mut out);
    let [Action::Page(request)] = &out[..] else {
        panic!("{out:?}")
    };
    assert_eq!(request.after, MessageNumber(10));
    let page = queue.page(request);
    out.clear();
    session.paged(PageOutcome::Page(page), Moment(0), &mut out);
    assert_eq!(offers(&out), [20, 30]);

    let strange = WakeUp::Stored {
        message: Arc::new(PushMessage {
            id: MessageId {
                number: MessageNumber(15),
                nonce: 99,
            },
            ..(*message(15, 1, Urgency::Normal)).clone()
        }),
        previous: MessageNumber(5),
    };
    out.clear();
    session.woken(strange, Moment(0), &mut out);
    assert!(
        matches!(&out[..], [Action::Page(request)] if request.after == MessageNumber::START),
        "{out:?}"
    );
}

/// PR-21, WS-ACK-8: a message with TTL 0 is offered now or never, beside the window, and moves no cursor.
#[test]
fn a_passing_message() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    let mut session = live(&queue, &mut out);
    out.clear();
    session.woken(
        WakeUp::Passing(message(0, 1, Urgency::Normal)),
        Moment(0),
        &mut out,
    );
    assert_eq!(offers(&out), [0]);
    assert!(!session.has_unacknowledged());
    out.clear();
    session.acknowledge(vec![message(0, 1, Urgency::Normal).id], Moment(0), &mut out);
    assert!(out.is_empty(), "there is nothing to remove");
    session.set_writable(false, Moment(0), &mut out);
    session.woken(
        WakeUp::Passing(message(0, 1, Urgency::Normal)),
        Moment(0),
        &mut out,
    );
    assert!(
        matches!(out[..], [Action::Unheard(_)]),
        "the channel was not writable"
    );
    out.clear();
    session.set_writable(true, Moment(0), &mut out);
    let next = queue.store(1, Urgency::Normal);
    session.woken(next, Moment(0), &mut out);
    assert_eq!(offers(&out), [10]);
}

/// PR-22, R30-URG-6: messages below the filter stay, and come when it is lowered.
#[test]
fn the_filter_can_be_lowered() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    let mut session = live(&queue, &mut out);
    session.set_minimum(Urgency::High, Moment(0), &mut out);
    answer_pages(&mut session, &queue, &mut out);
    out.clear();
    for urgency in [Urgency::Low, Urgency::High, Urgency::Normal] {
        let wake_up = queue.store(1, urgency);
        session.woken(wake_up, Moment(0), &mut out);
    }
    assert_eq!(offers(&out), [20]);
    out.clear();
    session.set_minimum(Urgency::VeryLow, Moment(0), &mut out);
    answer_pages(&mut session, &queue, &mut out);
    assert_eq!(offers(&out), [10, 30]);
}

/// PR-4: what is acknowledged while a page is under way, which storage may have read before, is not offered again; what
/// is still on the wire and what comes behind it are as ever.
#[test]
fn acknowledged_behind_a_page() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    for _ in 0..3 {
        queue.store(1, Urgency::Normal);
    }
    let mut session = live(&queue, &mut out);
    assert_eq!(offers(&out), [10, 20, 30]);
    out.clear();
    session.set_minimum(Urgency::Low, Moment(0), &mut out);
    let Some(Action::Page(request)) = out.pop() else {
        panic!("{out:?}")
    };
    let read_before = queue.page(&request);
    let acknowledged = queue.messages[&MessageNumber(20)].id;
    session.acknowledge(vec![acknowledged], Moment(1), &mut out);
    session.paged(PageOutcome::Page(read_before), Moment(300), &mut out);
    assert_eq!(offers(&out), [0; 0]);
    queue.messages.remove(&MessageNumber(20));
    let wake_up = queue.store(1, Urgency::Normal);
    session.woken(wake_up, Moment(300), &mut out);
    assert_eq!(offers(&out), [40]);
}

/// PR-7, PR-4: a failover loses the message that a session has seen last, and others are stored with lower numbers. A
/// later message shows that, and all are offered, in order.
#[test]
fn a_failover_behind_the_cursor() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    queue.store(1, Urgency::Normal);
    queue.store(1, Urgency::Normal);
    let mut session = live(&queue, &mut out);
    assert_eq!(session.cursor(), Some(MessageNumber(20)));
    out.clear();
    queue.messages.remove(&MessageNumber(20));
    queue.last = MessageNumber(5);
    queue.store(2, Urgency::Normal);
    let wake_up = queue.store(2, Urgency::Normal);
    session.woken(wake_up, Moment(0), &mut out);
    answer_pages(&mut session, &queue, &mut out);
    assert_eq!(offers(&out), [15, 25]);
}

/// PR-14: a session tells how far it has come while it may hold a seat, and not before or after; told how far the queue is,
/// it reads what it has missed, and reads nothing when it has missed nothing.
#[test]
fn compared_with_the_queue() {
    let (mut queue, mut out) = (Queue::default(), Vec::new());
    queue.store(1, Urgency::Normal);
    let mut stranger = Session::new(Arc::new(limits()), Moment(0));
    assert_eq!(stranger.cursor(), None);
    stranger.hello(None, identity(2), Moment(0), &mut out);
    assert_eq!(stranger.cursor(), None, "storage has no record of it");
    stranger.subscribes();
    assert_eq!(stranger.cursor(), Some(MessageNumber::START));

    out.clear();
    let mut session = live(&queue, &mut out);
    assert_eq!(session.cursor(), Some(queue.last));
    out.clear();
    session.woken(WakeUp::Last(queue.last), Moment(0), &mut out);
    assert!(out.is_empty(), "{out:?}");
    queue.store(1, Urgency::Normal);
    session.woken(WakeUp::Last(queue.last), Moment(0), &mut out);
    answer_pages(&mut session, &queue, &mut out);
    assert_eq!((offers(&out), session.cursor()), (vec![20], Some(queue.last)));
    session.channel_ended();
    assert_eq!(session.cursor(), None);
}
