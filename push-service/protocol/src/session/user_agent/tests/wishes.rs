//! What the user agent's session wants to be brought: the lowest urgency, and what waits.

use super::*;
use crate::urgency::Urgency;

fn at_least(lowest: Urgency) -> Wish {
    Wish {
        lowest,
        ..Wish::default()
    }
}

fn waiting(lowest: Urgency) -> Wish {
    let extent = Extent::Waiting;
    Wish { lowest, extent }
}

impl Test {
    fn wants(&mut self, lowest: Urgency) {
        self.agent.set_lowest_urgency(lowest, self.now, &mut self.out);
    }

    /// One that fetches what waits, with these subscriptions confirmed.
    pub(super) fn fetching(names: &[SubscriptionName]) -> Self {
        let mut test = Self::new(Durable::default());
        test.agent = test.agent.fetching_what_waits();
        test.brought_to_life(names)
    }

    pub(super) fn caught_up(&mut self, nothing: bool) {
        self.agent.caught_up(nothing, self.now, &mut self.out);
    }

    /// What the service was asked to bring since it was last looked at.
    pub(super) fn asked_for(&mut self) -> Vec<Wish> {
        let wish = |say| match say {
            Say::Hello(_, wish) | Say::Bring(wish) => Some(wish),
            Say::Register { .. } | Say::Unregister(_) | Say::Acknowledge { .. } => None,
        };
        self.said().into_iter().filter_map(wish).collect()
    }

    pub(super) fn is_told_empty(&mut self) -> bool {
        self.events().contains(&Event::Empty)
    }
}

/// R30-URG-5, R30-URG-7, WS-URG-1: who wants everything never speaks of it, so that a service that knows no urgency keeps the
/// channel; any other wish is said with each hello, and behind it.
#[test]
fn the_wish_comes_with_every_channel() {
    let mut test = Test::new(Durable::default());
    test.connect("me");
    assert_eq!(test.asked_for(), [Wish::default()]);
    test.wants(Urgency::VeryLow);
    assert_eq!(test.out, []);
    test.lose(ChannelEnd::Lost);
    test.wants(Urgency::High);
    assert_eq!(test.out, [], "there is no channel to say it on");
    for _ in 0..2 {
        test.pass(SECOND);
        test.connect("me");
        assert_eq!(test.asked_for(), [at_least(Urgency::High); 2]);
        test.lose(ChannelEnd::Lost);
    }
}

/// R30-URG-5: a change while the hello is under way is said when it is answered, also the one back to everything.
#[test]
fn a_change_during_the_hello() {
    for (first, then) in [
        (Urgency::VeryLow, Urgency::Low),
        (Urgency::High, Urgency::VeryLow),
    ] {
        let mut test = Test::new(Durable::default());
        test.wants(first);
        test.agent.tick(test.now, &mut test.out);
        test.agent.opened(test.now, &mut test.out);
        test.wants(then);
        assert_eq!(test.asked_for(), [at_least(first)]);
        test.agent.welcomed(identity("me"), test.now, &mut test.out);
        assert_eq!(test.asked_for(), [at_least(then)]);
    }
}

/// R30-URG-5, R30-URG-6: a change is said at once. Of many in a row the last is, when the service can be asked again; none,
/// if it is what the service knows. What is in hand stays there.
#[test]
fn changes_are_said_at_their_pace() {
    let mut test = Test::live(&[name(1)]);
    test.arrives(message(name(1), "a"));
    test.handed_over();
    test.wants(Urgency::High);
    assert_eq!(test.asked_for(), [at_least(Urgency::High)]);
    for lowest in [Urgency::Low, Urgency::Normal, Urgency::Low] {
        test.wants(lowest);
    }
    test.pass(5 * SECOND - SECOND / 1_000);
    assert_eq!(test.said(), []);
    test.pass(SECOND / 1_000);
    assert_eq!(test.asked_for(), [at_least(Urgency::Low)]);
    test.wants(Urgency::High);
    test.wants(Urgency::Low);
    test.pass(10 * SECOND);
    assert_eq!(test.said(), []);
    test.handles("a", Outcome::Succeeded);
    assert_eq!(test.acknowledged(), [delivered("a")]);
}

/// R30-MON-12, R30-MON-13: rounds are asked for with empty hands until one brings nothing; only then nothing waits.
#[test]
fn what_waits_is_fetched_to_the_end() {
    let mut test = Test::fetching(&[name(1)]);
    for id in ["a", "b"] {
        test.arrives(message(name(1), id));
    }
    test.handed_over();
    test.handles("a", Outcome::Succeeded);
    test.caught_up(false);
    test.out.clear();
    test.handles("b", Outcome::Succeeded);
    let round = Say::Bring(waiting(Urgency::VeryLow));
    let acknowledged = |say: &Say| matches!(say, Say::Acknowledge { .. });
    let said = test.said();
    assert!(acknowledged(&said[0]) && said[1..] == [round], "{said:?}");
    test.arrives(message(name(1), "c"));
    test.handles("c", Outcome::Succeeded);
    test.caught_up(false);
    assert_eq!(test.asked_for(), [waiting(Urgency::VeryLow)]);
    assert!(!test.is_told_empty());
    test.caught_up(true);
    assert_eq!(test.events(), [Event::Empty]);
    test.pass(SECOND);
    assert_eq!(test.out, [], "nothing is asked any more");
}

/// R30-MON-13, WP-RCV-6: while a message is in hand, or fails and waits for its next attempt, nothing is taken for done; it
/// may be the service that has lost it.
#[test]
fn not_empty_while_something_is_in_hand() {
    let mut test = Test::fetching(&[name(1)]);
    test.arrives(message(name(1), "a"));
    test.handed_over();
    test.lose(ChannelEnd::Lost);
    test.pass(SECOND);
    test.connect("me");
    test.caught_up(true);
    test.handles("a", Outcome::Failed);
    assert!(!test.is_told_empty());
    test.pass(SECOND);
    assert_eq!(test.handed_over(), [("a".into(), 2)]);
    test.handles("a", Outcome::Succeeded);
    assert_eq!(test.asked_for(), [waiting(Urgency::VeryLow)]);
    test.caught_up(true);
    assert!(test.is_told_empty());
}

/// R30-MON-12, PR-16: a round that brings more than is held is ended, and what is behind it comes with the next, in order.
#[test]
fn a_flood_is_fetched_in_pieces() {
    let mut test = Test::fetching(&[name(1)]);
    for number in 0..7 {
        test.arrives(message(name(1), &number.to_string()));
    }
    let nothing = Extent::Nothing;
    let handed: Vec<_> = test
        .out
        .iter()
        .filter(|action| matches!(action, Action::HandOver { .. }))
        .collect();
    assert_eq!(handed.len(), 4);
    assert_eq!(
        test.asked_for(),
        [Wish {
            extent: nothing,
            ..Wish::default()
        }],
        "once"
    );
    test.caught_up(true);
    for number in 0..4 {
        assert_eq!(test.asked_for(), []);
        test.handles(&number.to_string(), Outcome::Succeeded);
    }
    assert_eq!(test.asked_for(), [waiting(Urgency::VeryLow)]);
    for number in 4..7 {
        test.arrives(message(name(1), &number.to_string()));
    }
    let expected: Vec<_> = (4..7).map(|number| (number.to_string(), 1)).collect();
    assert_eq!(test.handed_over(), expected);
}

/// PR-19, R30-ACK-5: a service that brings again and again what it does not let us acknowledge is asked ever more slowly.
#[test]
fn a_service_that_brings_the_same_again() {
    let mut test = Test::fetching(&[name(1)]);
    test.arrives(message(name(1), "a"));
    test.handles("a", Outcome::Succeeded);
    test.caught_up(false);
    for wait in [5, 10, 20] {
        assert_eq!(test.asked_for(), [waiting(Urgency::VeryLow)]);
        test.arrives(message(name(1), "a"));
        test.caught_up(false);
        assert_eq!(test.acknowledged(), [delivered("a")]);
        test.pass(wait * SECOND - SECOND / 1_000);
        assert_eq!(test.asked_for(), []);
        test.pass(SECOND / 1_000);
    }
}

/// R30-URG-6, R30-MON-12: with a lower wish there may be more, so what was empty is asked for again.
#[test]
fn a_lower_wish_begins_anew() {
    let mut test = Test::new(Durable::default());
    test.agent = test.agent.fetching_what_waits();
    test.wants(Urgency::High);
    let mut test = test.brought_to_life(&[name(1)]);
    test.caught_up(true);
    assert!(test.is_told_empty());
    test.wants(Urgency::Low);
    assert_eq!(test.asked_for(), [waiting(Urgency::Low)]);
    test.caught_up(true);
    assert!(test.is_told_empty());
}

/// R30-URG-6, R30-MON-12: of a wish that changed while the hello was under way, what was asked for before says nothing.
#[test]
fn a_change_during_the_hello_begins_anew() {
    let mut test = Test::fetching(&[name(1)]);
    test.wants(Urgency::High);
    test.lose(ChannelEnd::Lost);
    test.pass(SECOND);
    test.agent.tick(test.now, &mut test.out);
    test.agent.opened(test.now, &mut test.out);
    test.wants(Urgency::Low);
    assert_eq!(test.asked_for(), [waiting(Urgency::High)]);
    test.agent.welcomed(identity("me"), test.now, &mut test.out);
    assert_eq!(test.asked_for(), [waiting(Urgency::Low)]);
    assert!(!test.is_told_empty());
    test.caught_up(true);
    assert!(test.is_told_empty());
}

/// R30-MON-12: without a subscription nothing can wait. A channel that is lost is come back to, and begins anew.
#[test]
fn a_user_agent_without_subscriptions_is_empty() {
    let mut test = Test::fetching(&[name(1)]);
    test.lose(ChannelEnd::Lost);
    test.pass(SECOND);
    test.connect("me");
    assert_eq!(test.asked_for(), [waiting(Urgency::VeryLow)]);
    test.agent.unsubscribe(name(1), test.now, &mut test.out);
    test.agent
        .unregistered(name(1), Unregistered::Done, test.now, &mut test.out);
    assert!(test.is_told_empty());
}

/// R30-MON-12, PR-46: beside another subscription, a round goes on while as many messages are passed over as may be held, and ends with
/// the next one.
#[test]
fn a_round_ends_when_too_much_is_passed_over() {
    let mut test = Test::fetching(&[name(1), name(2)]);
    for number in 0..6 {
        test.arrives(message(name(1), &number.to_string()));
    }
    assert_eq!(test.agent.counters().passed_over, 4);
    assert_eq!(test.asked_for(), []);
    test.arrives(message(name(1), "6"));
    let nothing = Wish {
        extent: Extent::Nothing,
        ..Wish::default()
    };
    assert_eq!(test.asked_for(), [nothing]);
}

/// PR-19, R30-MON-12: a round that ended at least one message was of use, whether the application saw that message or not. The next one
/// begins at once.
#[test]
fn a_round_of_use_is_followed_at_once() {
    let mut unreadable = message(name(1), "unreadable");
    unreadable.content = None;
    let worn_out = message(name(1), "tried too often");
    let mut durable = Test::live(&[name(1)]).agent.durable().clone();
    let tried = Tried {
        attempts: 4,
        unfinished: 0,
    };
    durable.messages.restore_tried(worn_out.key(), tried);
    for useful in [unreadable, worn_out, message(name(9), "of another subscription")] {
        let mut test = Test::new(durable.clone());
        test.agent = test.agent.fetching_what_waits();
        test.connect("me");
        for _ in 0..2 {
            test.arrives(useful.clone());
            test.out.clear();
            test.caught_up(false);
            assert_eq!(test.asked_for(), [waiting(Urgency::VeryLow)], "{}", useful.id);
            if useful.name() != Some(name(9)) {
                // It is known the second time.
                break;
            }
        }
    }
}
