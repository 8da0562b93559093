//! The service's session against a queue and a user agent that behave as badly as they may.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::identifiers::{MessageId, MessageNumber, SubscriptionId, SubscriptionName, UserAgentIdentity};
use crate::message::{Coding, Content, PushMessage};
use crate::urgency::Urgency;

fn limits() -> Limits {
    Limits {
        hello_within: Duration::from_secs(5),
        attach_within: Duration::from_secs(8),
        in_flight: 6,
        acknowledge_within: Duration::from_secs(60),
        page_messages: 4,
        page_bytes: 1 << 16,
        retry_after: Duration::from_secs(1),
        ping_every: Duration::from_secs(300),
        pong_within: Duration::from_secs(30),
        write_within: Duration::from_secs(30),
        answer_every: Duration::from_secs(10),
        answer_burst: 3,
        drain_within: Duration::from_secs(1),
    }
}

fn message(number: u64, subscription: u8, urgency: Urgency) -> Arc<PushMessage> {
    Arc::new(PushMessage {
        id: MessageId {
            number: MessageNumber(number),
            nonce: number * 31,
        },
        subscription: SubscriptionId([subscription; 8]),
        name: SubscriptionName([subscription; 16]),
        urgency,
        content: Content {
            coding: Coding::Absent,
            media_type: None,
            body: Bytes::new(),
        },
        key: None,
        sealed_by: crate::capability::KeyId(0),
        accepted_at_ms: 0,
        remaining_ms: 60_000,
    })
}

fn identity(seed: u8) -> UserAgentIdentity {
    UserAgentIdentity::from_random([seed; 16])
}

/// The storage's side of a queue, as its contract says.
#[derive(Default)]
struct Queue {
    messages: BTreeMap<MessageNumber, Arc<PushMessage>>,
    last: MessageNumber,
}

impl Queue {
    fn store(&mut self, subscription: u8, urgency: Urgency) -> WakeUp {
        let previous = self.last;
        let message = message(previous.0 + 10, subscription, urgency);
        self.last = message.id.number;
        self.messages.insert(self.last, Arc::clone(&message));
        WakeUp::Stored { message, previous }
    }

    fn page(&self, request: &PageRequest) -> Page {
        let in_scope = |message: &&Arc<PushMessage>| {
            message.urgency >= request.minimum
                && match &request.scope {
                    Scope::AllBut(except) => !except.contains(&message.subscription),
                    Scope::These(these) => these.contains(&message.subscription),
                }
        };
        let above = self
            .messages
            .range(MessageNumber(request.after.0 + 1)..)
            .map(|(_, message)| message);
        let mut messages: Vec<_> = above
            .filter(in_scope)
            .take(request.messages + 1)
            .cloned()
            .collect();
        let more = messages.len() > request.messages;
        messages.truncate(request.messages);
        let upto = if more {
            messages.last().map_or(self.last, |m| m.id.number)
        } else {
            self.last
        };
        Page { messages, upto, more }
    }
}

fn offers(actions: &[Action]) -> Vec<u64> {
    let number = |action: &Action| match action {
        Action::Offer(message) => Some(message.id.number.0),
        _ => None,
    };
    actions.iter().filter_map(number).collect()
}

fn closed(actions: &[Action]) -> Option<CloseReason> {
    actions.iter().find_map(|action| match action {
        Action::Close(reason) => Some(*reason),
        _ => None,
    })
}

/// A session that said hello as somebody known, whose queue is `queue`.
fn live(queue: &Queue, out: &mut Vec<Action>) -> Session {
    let mut session = Session::new(Arc::new(limits()), Moment(0));
    session.hello(Some(identity(1)), identity(2), Moment(0), out);
    let Some(Action::Attach { head, .. }) = out.pop() else {
        panic!("{out:?}")
    };
    session.attached(AttachOutcome::Known(queue.page(&head)), Moment(0), out);
    session
}

/// WS-HEL-1, WS-HEL-7: somebody without an identity gets one, and storage is not asked.
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

/// WS-HEL-2, WS-HEL-12: somebody known keeps the identity, and stored messages follow the welcome at once.
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
fn one_that_never_acknowledges_stops_nobody() {
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
        matches!(out[..], [Action::Unheard]),
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
    session.ended();
    assert_eq!(session.cursor(), None);
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

/// Answers pages until none is wanted.
fn answer_pages(session: &mut Session, queue: &Queue, out: &mut Vec<Action>) {
    while let Some(at) = out.iter().position(|action| matches!(action, Action::Page(_))) {
        let Action::Page(request) = out.remove(at) else {
            unreachable!()
        };
        session.paged(PageOutcome::Page(queue.page(&request)), Moment(0), out);
    }
}

/// PR-4, PR-6, PR-7, PR-17, PR-18: whatever happens to wake-ups, pages and acknowledgements, every message is offered,
/// first offers of one subscription come in order, and the window is never exceeded.
#[test]
fn nothing_is_lost_whatever_happens() {
    for seed in 0..3_000 {
        Scenario::new(seed).run();
    }
}

struct Scenario {
    random: u64,
    seed: u64,
    queue: Queue,
    session: Session,
    now: Moment,
    out: Vec<Action>,
    page: Option<PageRequest>,
    delayed: Vec<WakeUp>,
    on_wire: HashSet<MessageId>,
    first_offers: HashMap<SubscriptionId, Vec<MessageNumber>>,
    stored: HashMap<SubscriptionId, Vec<MessageNumber>>,
    hints_lost: bool,
}

impl Scenario {
    fn new(seed: u64) -> Self {
        let mut out = Vec::new();
        let queue = Queue::default();
        let session = live(&queue, &mut out);
        Self {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            seed,
            queue,
            session,
            now: Moment(0),
            out,
            page: None,
            delayed: Vec::new(),
            on_wire: HashSet::new(),
            first_offers: HashMap::new(),
            stored: HashMap::new(),
            hints_lost: false,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    fn run(mut self) {
        for _ in 0..120 {
            self.step();
            self.perform();
        }
        for _ in 0..400 {
            self.settle();
        }
        for (subscription, stored) in &self.stored {
            let offered = self.first_offers.get(subscription).cloned().unwrap_or_default();
            assert_eq!(&offered, stored, "seed {}: {subscription}", self.seed);
        }
    }

    fn step(&mut self) {
        match self.below(10) {
            0..4 => self.store(),
            4 => self.late_wake_up(),
            5 => self.answer_page(),
            6 => self.acknowledge(),
            7 => {
                let writable = self.below(2) == 0;
                self.session.set_writable(writable, self.now, &mut self.out);
            }
            8 => self.pass_time(),
            _ if self.hints_lost => self.read_again(),
            _ => {}
        }
    }

    fn store(&mut self) {
        let subscription = self.below(3) as u8;
        let wake_up = self.queue.store(subscription, Urgency::Normal);
        self.stored
            .entry(SubscriptionId([subscription; 8]))
            .or_default()
            .push(self.queue.last);
        match self.below(6) {
            0 => self.hints_lost = true,
            1 | 2 => self.delayed.push(wake_up),
            3 => {
                self.session.woken(wake_up.clone(), self.now, &mut self.out);
                self.session.woken(wake_up, self.now, &mut self.out);
            }
            _ => self.session.woken(wake_up, self.now, &mut self.out),
        }
    }

    fn late_wake_up(&mut self) {
        if !self.delayed.is_empty() {
            let at = self.below(self.delayed.len() as u64) as usize;
            let wake_up = self.delayed.swap_remove(at);
            self.session.woken(wake_up, self.now, &mut self.out);
        }
    }

    fn answer_page(&mut self) {
        let Some(request) = self.page.take() else { return };
        let outcome = match self.below(5) {
            0 => PageOutcome::Trouble,
            _ => PageOutcome::Page(self.queue.page(&request)),
        };
        self.session.paged(outcome, self.now, &mut self.out);
    }

    fn acknowledge(&mut self) {
        // The subscription 0 acknowledges late or never.
        let patient = self.below(8) == 0;
        let ready = |id: &&MessageId| {
            patient
                || self
                    .queue
                    .messages
                    .get(&id.number)
                    .is_some_and(|m| m.subscription.0[0] != 0)
        };
        let Some(id) = self.on_wire.iter().filter(ready).min().copied() else {
            return;
        };
        self.on_wire.remove(&id);
        if self.below(4) == 0 {
            // Elsewhere, and the hint is lost.
            self.queue.messages.remove(&id.number);
            self.hints_lost = true;
        } else {
            self.session.acknowledge(vec![id], self.now, &mut self.out);
        }
    }

    fn pass_time(&mut self) {
        self.now.0 += self.below(20_000);
        self.session.heard(self.now);
        if self.session.next_due() <= self.now {
            self.session.tick(self.now, &mut self.out);
        }
    }

    fn read_again(&mut self) {
        self.hints_lost = false;
        self.session.read_again(self.now, &mut self.out);
        let last = WakeUp::Last(self.queue.last);
        self.session.woken(last, self.now, &mut self.out);
    }

    fn settle(&mut self) {
        self.session.set_writable(true, self.now, &mut self.out);
        self.perform();
        while !self.delayed.is_empty() {
            self.late_wake_up();
        }
        if self.hints_lost {
            self.read_again();
        }
        self.perform();
        self.answer_page();
        self.perform();
        self.now.0 += 1_000;
        self.session.heard(self.now);
        self.session.tick(self.now, &mut self.out);
        self.perform();
        while !self.on_wire.is_empty() {
            let id = *self.on_wire.iter().min().unwrap();
            self.on_wire.remove(&id);
            self.session.acknowledge(vec![id], self.now, &mut self.out);
        }
        self.perform();
    }

    fn perform(&mut self) {
        for action in std::mem::take(&mut self.out) {
            match action {
                Action::Ended(_) => {}
                Action::Offer(message) => {
                    assert!(
                        self.queue.messages.contains_key(&message.id.number),
                        "seed {}",
                        self.seed
                    );
                    self.on_wire.insert(message.id);
                    let offers = self.first_offers.entry(message.subscription).or_default();
                    if !offers.contains(&message.id.number) {
                        offers.push(message.id.number);
                    }
                }
                Action::Page(request) => {
                    assert!(request.messages <= limits().page_messages && request.messages > 0);
                    assert_eq!(
                        self.page.replace(request),
                        None,
                        "seed {}: one page at a time",
                        self.seed
                    );
                }
                Action::Acknowledge(ids) => {
                    for id in ids {
                        self.queue.messages.remove(&id.number);
                    }
                }
                Action::Close(CloseReason::SlowReader) => {
                    // Stalled for too long: the scenario goes on with a new channel.
                    self.reconnect();
                }
                Action::Close(reason) => panic!("seed {}: {reason:?}", self.seed),
                Action::Attach { .. } | Action::Welcome { .. } => {}
                Action::Ping | Action::Unheard | Action::Unacknowledged(_) => {}
            }
        }
    }

    fn reconnect(&mut self) {
        self.page = None;
        self.on_wire.clear();
        self.hints_lost = false;
        let mut out = Vec::new();
        self.session = live(&self.queue, &mut out);
        self.out = out;
        self.perform();
    }
}
