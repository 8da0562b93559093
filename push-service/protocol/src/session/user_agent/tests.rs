//! The user agent's session against a service that is good, slow, away, or lies.

mod sets;
mod wishes;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::identifiers::SubscriptionName;
use crate::message::{Coding, Content};

const SECOND: Duration = Duration::from_secs(1);

fn limits() -> Limits {
    Limits {
        connect_within: 30 * SECOND,
        answer_within: 10 * SECOND,
        keepalive_least: 45 * SECOND,
        keepalive_most: 300 * SECOND,
        backoff_least: SECOND / 10,
        backoff_base: SECOND,
        backoff_most: 300 * SECOND,
        steady_after: 10 * SECOND,
        held_messages: 4,
        held_bytes: 10_000,
        attempts: 3,
        retry_after: SECOND,
        requests: 2,
        ask_again_after: 5 * SECOND,
        nonsense: 10,
        wish_every: 5 * SECOND,
        stop_within: 20 * SECOND,
    }
}

fn name(number: u8) -> SubscriptionName {
    SubscriptionName([number; 16])
}

fn url(number: u32) -> PushResource {
    PushResource::parse(&format!("https://push.example.net/{number}")).unwrap()
}

fn identity(text: &str) -> Option<Identity> {
    Identity::parse(text)
}

fn message(subscription: SubscriptionName, id: &str) -> Arrived {
    Arrived {
        subscription: subscription.to_string().into(),
        id: id.into(),
        content: Some(Content {
            coding: Coding::Absent,
            media_type: None,
            body: Bytes::from_static(b"body"),
        }),
    }
}

/// A user agent, the time, and what it asked for since it was last looked at.
struct Test {
    agent: UserAgent,
    now: Moment,
    out: Vec<Action>,
}

impl Test {
    fn new(durable: Durable) -> Self {
        Self {
            agent: UserAgent::new(Arc::new(limits()), durable, 7),
            now: Moment(1_000_000),
            out: Vec::new(),
        }
    }

    /// Connected, with these subscriptions confirmed.
    fn live(names: &[SubscriptionName]) -> Self {
        Self::new(Durable::default()).brought_to_life(names)
    }

    fn brought_to_life(mut self, names: &[SubscriptionName]) -> Self {
        let test = &mut self;
        for name in names {
            test.agent.subscribe(*name, None, test.now, &mut test.out);
        }
        test.connect("me");
        for (number, name) in names.iter().enumerate() {
            test.confirm(*name, number as u32);
        }
        test.out.clear();
        self
    }

    /// Lets time pass, deadline by deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        while self.agent.next_due() <= end {
            self.now = self.now.max(self.agent.next_due());
            self.agent.tick(self.now, &mut self.out);
        }
        self.now = end;
    }

    fn connect(&mut self, as_whom: &str) {
        self.agent.tick(self.now, &mut self.out);
        assert!(self.out.contains(&Action::Connect), "{:?}", self.out);
        self.agent.opened(self.now, &mut self.out);
        self.agent.welcomed(identity(as_whom), self.now, &mut self.out);
    }

    fn confirm(&mut self, name: SubscriptionName, number: u32) {
        let answer = Registered::At(url(number));
        self.agent.registered(name, answer, self.now, &mut self.out);
    }

    fn arrives(&mut self, message: Arrived) {
        self.agent.arrived(message, self.now, &mut self.out);
    }

    fn handles(&mut self, id: &str, outcome: Outcome) {
        self.agent
            .handled(MessageKey::of(id), outcome, self.now, &mut self.out);
    }

    fn lose(&mut self, ended: Ended) -> Option<Duration> {
        self.agent.ended(ended, self.now, &mut self.out);
        match self.events().last() {
            Some(Event::Disconnected { again_in, .. }) => *again_in,
            other => panic!("{other:?}"),
        }
    }

    fn events(&mut self) -> Vec<Event> {
        let event = |action| match action {
            Action::Tell(event) => Some(event),
            _ => None,
        };
        self.out.drain(..).filter_map(event).collect()
    }

    fn said(&mut self) -> Vec<Say> {
        let say = |action| match action {
            Action::Say(say) => Some(say),
            _ => None,
        };
        self.out.drain(..).filter_map(say).collect()
    }

    /// Ids of the messages that were handed over, with the attempt. The application takes them all.
    fn handed_over(&mut self) -> Vec<(String, u32)> {
        let handed = |action| match action {
            Action::HandOver { message, attempt } => Some((message.id.to_string(), attempt)),
            _ => None,
        };
        let handed: Vec<_> = self.out.drain(..).filter_map(handed).collect();
        for (id, _) in &handed {
            self.agent.taken(MessageKey::of(id), &mut self.out);
        }
        handed
    }

    fn acknowledged(&mut self) -> Vec<(String, Fate)> {
        let acknowledged = |say| match say {
            Say::Acknowledge { message, fate } => Some((message.id.to_string(), fate)),
            _ => None,
        };
        self.said().into_iter().filter_map(acknowledged).collect()
    }

    /// After a crash and a new connection.
    fn restarted(self) -> Self {
        let mut test = Self::new(self.agent.durable().clone());
        test.connect("me");
        test.out.clear();
        test
    }
}

fn delivered(id: &str) -> (String, Fate) {
    (id.into(), Fate::Delivered)
}

/// WS-HEL-7, WS-HEL-1: nobody is greeted by name while nothing rests on it; with a subscription the name is shown.
#[test]
fn greets_by_name_when_there_is_something_to_lose() {
    let mut test = Test::new(Durable::default());
    test.connect("me");
    assert_eq!(test.said(), [Say::Hello(None, Wish::default())]);
    test.lose(Ended::Lost);
    test.agent.subscribe(name(1), None, test.now, &mut test.out);
    test.pass(SECOND);
    test.out.clear();
    test.agent.opened(test.now, &mut test.out);
    assert_eq!(test.said(), [Say::Hello(identity("me"), Wish::default())]);
}

/// WP-SUB-3, PR-1: a subscription is kept before it is asked for, and its push resource before it is told.
#[test]
fn a_subscription_is_kept_before_it_is_told() {
    let mut test = Test::new(Durable::default());
    test.connect("me");
    test.out.clear();
    test.agent.subscribe(name(1), None, test.now, &mut test.out);
    let (asked, application_server) = (name(1), None);
    let expected = [
        Action::Save(Change::Asked {
            name: asked,
            application_server,
        }),
        Action::Say(Say::Register {
            name: asked,
            application_server,
        }),
    ];
    assert_eq!(test.out, expected);
    test.out.clear();
    test.confirm(name(1), 1);
    let (name, push_resource) = (name(1), url(1));
    let expected = [
        Action::Save(Change::Confirmed {
            name,
            push_resource: push_resource.clone(),
        }),
        Action::Tell(Event::Subscribed { name, push_resource }),
    ];
    assert_eq!(test.out, expected);
}

/// WS-REG-7, WS-REG-9, WS-REG-10: few requests at a time; a refusal ends a subscription, trouble is asked again, with
/// growing waits, and no answer ends the channel.
#[test]
fn requests_are_refused_repeated_and_missed() {
    let mut test = Test::new(Durable::default());
    for number in 1..=3 {
        test.agent.subscribe(name(number), None, test.now, &mut test.out);
    }
    test.connect("me");
    let asked = test.said().len() - 1;
    assert_eq!(asked, 2, "no more than the limit");
    test.agent
        .registered(name(1), Registered::Refused(400), test.now, &mut test.out);
    let events = test.events();
    assert_eq!(
        events,
        [Event::Refused {
            name: name(1),
            status: 400
        }]
    );
    for seconds in [5, 10, 20] {
        test.agent
            .registered(name(2), Registered::Trouble, test.now, &mut test.out);
        let again_in = seconds * SECOND;
        let waiting = Event::Waiting {
            name: name(2),
            again_in,
        };
        assert_eq!(test.events(), [waiting]);
        test.agent.heard(test.now);
        test.confirm(name(3), 3);
        test.out.clear();
        test.pass(again_in);
        assert_eq!(test.said().len(), 1);
    }
    test.pass(10 * SECOND);
    let why = Why::NoAnswer;
    assert!(matches!(test.events()[..], [Event::Disconnected { why: w, .. }, ..] if w == why));
}

/// WP-SUB-10: an ended subscription is over for the application at once, also without a network, and the service hears
/// of it when there is one.
#[test]
fn unsubscribe_without_a_network() {
    let mut test = Test::live(&[name(1)]);
    test.lose(Ended::Lost);
    test.agent.unsubscribe(name(1), test.now, &mut test.out);
    assert_eq!(test.out, [Action::Save(Change::Ending(name(1)))]);
    let mut test = Test::new(test.agent.durable().clone());
    test.connect("me");
    test.out.clear();
    test.arrives(message(name(1), "late"));
    assert_eq!(test.acknowledged(), [("late".into(), Fate::NotDelivered)]);
    test.agent.unregistered(name(1), true, test.now, &mut test.out);
    assert_eq!(test.events(), [Event::Unsubscribed(name(1))]);
    assert!(test.agent.durable().registrations.is_empty());
}

/// WP-RCV-5, WS-ACK-5, PR-4: acknowledged after the application is done with it and that is kept, not before.
#[test]
fn acknowledged_after_the_work() {
    let mut test = Test::live(&[name(1)]);
    test.arrives(message(name(1), "a"));
    let key = MessageKey::of("a");
    assert_eq!(test.handed_over(), [("a".into(), 1)]);
    let attempt = Change::Attempt {
        message: key,
        count: 1,
    };
    assert_eq!(test.out.remove(0), Action::Save(attempt));
    test.handles("a", Outcome::Succeeded);
    assert_eq!(test.out.remove(0), Action::Save(Change::Done(key)));
    assert_eq!(test.acknowledged(), [delivered("a")]);
}

/// WS-NOT-2, PR-4: what comes again is handed over again only if it isn't done; what is done is acknowledged again.
#[test]
fn duplicates_are_dropped() {
    let mut test = Test::live(&[name(1)]);
    test.arrives(message(name(1), "a"));
    test.arrives(message(name(1), "b"));
    test.handles("a", Outcome::Succeeded);
    test.out.clear();
    for id in ["a", "b"] {
        test.arrives(message(name(1), id));
    }
    assert_eq!(test.acknowledged(), [delivered("a")], "b is in hand");

    // The work on b ends while nobody can hear of it.
    test.lose(Ended::Lost);
    test.handles("b", Outcome::Succeeded);
    assert_eq!(test.said(), []);
    let mut test = test.restarted();
    for id in ["a", "b", "c"] {
        test.arrives(message(name(1), id));
    }
    assert_eq!(test.agent.counters().duplicates, 2);
    assert_eq!(test.agent.counters().handed_over, 1);
    assert_eq!(test.acknowledged(), [delivered("a"), delivered("b")]);
}

/// WP-RCV-1, WP-RCV-2, E91-15, WS-ACK-1: what is for nobody or can't be read is acknowledged, each with its code.
#[test]
fn what_nobody_can_use_is_acknowledged() {
    let mut test = Test::live(&[name(1)]);
    let mut unreadable = message(name(1), "unreadable");
    unreadable.content = None;
    let mut nameless = message(name(1), "nameless");
    nameless.subscription = "not a name".into();
    test.arrives(message(name(9), "stranger"));
    test.arrives(nameless);
    test.arrives(unreadable);
    test.arrives(message(name(1), "wrong key"));
    test.handles("wrong key", Outcome::NotDecrypted);
    let expected = [
        ("stranger".into(), Fate::NotDelivered),
        ("nameless".into(), Fate::NotDelivered),
        ("unreadable".into(), Fate::NotDecrypted),
        ("wrong key".into(), Fate::NotDecrypted),
    ];
    assert_eq!(test.acknowledged(), expected);
    let counters = test.agent.counters();
    assert_eq!((counters.unknown_subscription, counters.not_decrypted), (2, 2));
}

/// WP-RCV-6: a message that fails is tried again after growing waits, holds nobody back, and is given up in the end.
#[test]
fn a_failing_message() {
    let mut test = Test::live(&[name(1)]);
    test.arrives(message(name(1), "bad"));
    test.handles("bad", Outcome::Failed);
    test.arrives(message(name(1), "good"));
    test.handles("good", Outcome::Succeeded);
    assert_eq!(test.acknowledged(), [delivered("good")]);
    for (wait, attempt) in [(1, 2), (2, 3)] {
        test.pass(wait * SECOND - SECOND / 1_000);
        assert_eq!(test.handed_over(), []);
        test.pass(SECOND / 1_000);
        assert_eq!(test.handed_over(), [("bad".into(), attempt)]);
        test.handles("bad", Outcome::Failed);
    }
    let gave_up = Event::GaveUp {
        name: name(1),
        message: MessageKey::of("bad"),
    };
    assert!(test.out.contains(&Action::Tell(gave_up)));
    assert_eq!(test.acknowledged(), [("bad".into(), Fate::NotDelivered)]);
    test.arrives(message(name(1), "bad"));
    assert_eq!(test.acknowledged(), [delivered("bad")], "it is done");
}

/// WP-RCV-6, PR-4: what only waits for its application is not attempted, however often everything is killed.
#[test]
fn waiting_is_no_attempt() {
    let mut test = Test::live(&[name(1)]);
    for _ in 0..10 {
        test.arrives(message(name(1), "patient"));
        let is_first = |action: &Action| matches!(action, Action::HandOver { attempt: 1, .. });
        assert!(test.out.iter().any(is_first), "{:?}", test.out);
        test = test.restarted();
    }
}

/// WP-RCV-6: attempts are kept before they are made, so a message that kills the application is given up as well.
#[test]
fn a_message_that_kills() {
    let mut test = Test::live(&[name(1)]);
    for attempt in 1..=3 {
        test.arrives(message(name(1), "killer"));
        assert_eq!(test.handed_over(), [("killer".into(), attempt)]);
        test = test.restarted();
    }
    test.arrives(message(name(1), "killer"));
    assert_eq!(test.acknowledged(), [("killer".into(), Fate::NotDelivered)]);
}

/// PR-16: no more than the limit is held. What is passed over comes again on a new channel, in order, when half of it
/// is done; a body that is too large for what is left counts too.
#[test]
fn a_flood_is_passed_over_and_caught_up_with() {
    let mut test = Test::live(&[name(1)]);
    for number in 0..6 {
        test.arrives(message(name(1), &number.to_string()));
    }
    assert_eq!(test.handed_over().len(), 4);
    test.handles("0", Outcome::Succeeded);
    test.arrives(message(name(1), "6"));
    assert_eq!(test.handed_over(), [], "order is kept: 4 and 5 come first");
    test.handles("1", Outcome::Succeeded);
    assert!(
        test.out.contains(&Action::Disconnect(Farewell::Leaving)),
        "{:?}",
        test.out
    );
    test.pass(SECOND);
    test.connect("me");
    for number in 2..7 {
        test.arrives(message(name(1), &number.to_string()));
    }
    assert_eq!(test.handed_over(), [("4".into(), 1), ("5".into(), 1)]);
    assert_eq!(test.agent.held(), 4);

    let mut test = Test::live(&[name(1)]);
    let mut large = message(name(1), "large");
    large.content.as_mut().unwrap().body = vec![0; 9_998].into();
    test.arrives(large);
    test.arrives(message(name(1), "small"));
    assert_eq!(test.agent.counters().passed_over, 1);
}

/// WS-HEL-6, WP-RFR-1, WP-RFR-2, WP-SUB-4: under another identity every subscription is made anew and the application
/// is told until it says that it knows, also after a restart.
#[test]
fn another_identity_loses_no_subscription() {
    let mut test = Test::live(&[name(1), name(2)]);
    test.lose(Ended::Lost);
    test.pass(SECOND);
    test.connect("somebody else");
    assert_eq!(test.said().len(), 3, "a hello and two registrations");
    test.confirm(name(1), 11);
    test.confirm(name(2), 12);
    let renewed = |number: u8| Event::Renewed {
        name: name(number),
        previous: url(u32::from(number) - 1),
        push_resource: url(10 + u32::from(number)),
    };
    assert_eq!(test.events(), [renewed(1), renewed(2)]);
    test.agent.told(name(1), &url(11), &mut test.out);
    let mut test = Test::new(test.agent.durable().clone());
    test.agent.tell_again(&mut test.out);
    assert_eq!(test.events(), [renewed(2)]);
}

/// WS-HEL-6: a service that refuses to make again what it has lost doesn't end it.
#[test]
fn a_lost_subscription_is_not_given_up() {
    let mut test = Test::live(&[name(1)]);
    test.lose(Ended::Lost);
    test.pass(SECOND);
    test.connect("somebody else");
    test.agent
        .registered(name(1), Registered::Refused(400), test.now, &mut test.out);
    assert!(matches!(test.events().last(), Some(Event::Waiting { .. })));
    test.pass(5 * SECOND);
    assert_eq!(test.said().len(), 1);
}

/// WS-CLS-1, R30-LB-4: a service that closes at once a thousand times is asked ever more slowly, and a good channel
/// makes up for it.
#[test]
fn a_service_that_closes_at_once() {
    let mut test = Test::live(&[name(1)]);
    let begin = test.now;
    for _ in 0..1_000 {
        let again_in = test.lose(Ended::Closed(None)).unwrap();
        test.pass(again_in);
        test.connect("me");
        test.out.clear();
    }
    assert!(test.now.since(begin) > 30 * 3_600 * SECOND);
    test.pass(10 * SECOND);
    assert!(test.lose(Ended::Lost).unwrap() <= SECOND);
}

/// WS-CLS-1: 4774 keeps us away until the network changes or the application asks for something; 503 says for how long.
#[test]
fn the_services_word_is_honoured() {
    let mut test = Test::live(&[name(1)]);
    assert_eq!(test.lose(Ended::Closed(Some(4774))), None);
    assert_eq!(test.agent.next_due(), Moment::NEVER);
    test.agent.network_changed(test.now, &mut test.out);
    assert_eq!(test.out, [Action::Connect]);
    test.out.clear();
    assert_eq!(test.lose(Ended::Closed(Some(4774))), None);
    test.agent.subscribe(name(2), None, test.now, &mut test.out);
    assert!(test.out.contains(&Action::Connect));
    let refused = Ended::Refused {
        status: 503,
        retry_after: Some(120 * SECOND),
    };
    let again_in = test.lose(refused).unwrap();
    assert!((120 * SECOND..=180 * SECOND).contains(&again_in), "{again_in:?}");
    test.out.clear();
    test.agent.network_changed(test.now, &mut test.out);
    assert_eq!(test.out, [], "another network is no reason");
}

/// WS-PNG-1, WS-CON-8: silence is asked about at a learned interval, and no answer means that nobody is there.
#[test]
fn silence_is_asked_about() {
    let mut test = Test::live(&[name(1)]);
    test.pass(45 * SECOND);
    assert_eq!(test.out, [Action::Ping]);
    test.agent.heard(test.now);
    assert!(test.agent.keepalive() > 60 * SECOND);
    let next = test.agent.keepalive();
    test.out.clear();
    test.pass(next);
    assert_eq!(test.out, [Action::Ping]);
    test.out.clear();
    test.pass(10 * SECOND);
    assert_eq!(test.out[0], Action::Disconnect(Farewell::TimedOut));
    assert_eq!(test.agent.keepalive(), 45 * SECOND, "what was survived before");
}

/// A changed network is probed at once, and a wait is over.
#[test]
fn a_changed_network_is_probed() {
    let mut test = Test::live(&[name(1)]);
    test.agent.network_changed(test.now, &mut test.out);
    assert_eq!(test.out, [Action::Ping]);
    test.out.clear();
    test.pass(10 * SECOND);
    assert_eq!(test.out[0], Action::Disconnect(Farewell::TimedOut));
    test.out.clear();
    test.agent.network_changed(test.now, &mut test.out);
    assert_eq!(test.out, [Action::Connect]);
}

/// WS-CLS-2: nobody who answers too late, or not at all, is waited for.
#[test]
fn every_wait_has_an_end() {
    let mut test = Test::new(Durable::default());
    test.agent.tick(test.now, &mut test.out);
    test.pass(30 * SECOND);
    assert!(test.out.contains(&Action::Disconnect(Farewell::TimedOut)));
    test.pass(SECOND);
    test.out.clear();
    test.agent.opened(test.now, &mut test.out);
    test.pass(10 * SECOND);
    assert!(test.out.contains(&Action::Disconnect(Farewell::TimedOut)));
}

/// WS-HEL-3, WS-HEL-10: a hello that can't be used, a second one, and nonsense without end close the channel.
#[test]
fn a_service_that_talks_nonsense() {
    let mut test = Test::new(Durable::default());
    test.agent.tick(test.now, &mut test.out);
    test.agent.opened(test.now, &mut test.out);
    test.agent.welcomed(None, test.now, &mut test.out);
    assert!(test.out.contains(&Action::Disconnect(Farewell::ProtocolError)));

    let mut test = Test::live(&[name(1)]);
    test.agent.welcomed(identity("other"), test.now, &mut test.out);
    assert_eq!(test.agent.durable().identity, identity("me"));
    for _ in 0..9 {
        test.agent.nonsense(test.now, &mut test.out);
    }
    assert_eq!(test.out, []);
    test.agent.nonsense(test.now, &mut test.out);
    assert!(test.out.contains(&Action::Disconnect(Farewell::ProtocolError)));
    // Answers that nobody waits for change nothing.
    let before = test.agent.durable().clone();
    test.confirm(name(1), 99);
    test.confirm(name(9), 99);
    test.agent.unregistered(name(1), true, test.now, &mut test.out);
    assert_eq!(test.agent.durable(), &before);
}

/// PR-36 on this side: stop hands over nothing more, waits for what is in hand, acknowledges it and goes.
#[test]
fn stop_waits_for_what_is_in_hand() {
    let mut test = Test::live(&[name(1)]);
    test.arrives(message(name(1), "a"));
    test.arrives(message(name(1), "b"));
    test.handed_over();
    test.out.clear();
    test.agent.stop(test.now, &mut test.out);
    test.arrives(message(name(1), "c"));
    assert_eq!(test.out, []);
    test.handles("a", Outcome::Succeeded);
    assert_eq!(test.acknowledged(), [delivered("a")]);
    test.handles("b", Outcome::Released);
    let count = 0;
    let expected = [
        Action::Save(Change::Attempt {
            message: MessageKey::of("b"),
            count,
        }),
        Action::Disconnect(Farewell::Leaving),
        Action::Tell(Event::Stopped),
    ];
    assert_eq!(test.out, expected);
    assert_eq!(test.agent.next_due(), Moment::NEVER);

    let mut test = Test::live(&[name(1)]);
    test.arrives(message(name(1), "a"));
    test.agent.stop(test.now, &mut test.out);
    test.pass(20 * SECOND);
    assert!(
        test.agent.is_stopped(),
        "an application that never ends is not waited for"
    );
}

/// A request that would be repeated now, and isn't because the application wants an end, doesn't keep the driver busy.
#[test]
fn nothing_is_due_that_is_not_asked_any_more() {
    let mut test = Test::live(&[name(1)]);
    test.agent.subscribe(name(2), None, test.now, &mut test.out);
    test.agent
        .registered(name(2), Registered::Trouble, test.now, &mut test.out);
    test.arrives(message(name(1), "a"));
    test.agent.stop(test.now, &mut test.out);
    test.now = test.now.after(10 * SECOND);
    test.agent.heard(test.now);
    test.agent.tick(test.now, &mut test.out);
    assert!(test.agent.next_due() > test.now);
}
