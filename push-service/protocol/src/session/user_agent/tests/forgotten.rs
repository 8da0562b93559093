//! The user agent's session against a service that says that it does not know us: once, again and again, or truly.

use super::*;

impl Test {
    fn renewals(&mut self) -> usize {
        let events = self.events().into_iter();
        events
            .filter(|event| matches!(event, Event::Renewed { .. }))
            .count()
    }

    /// Answers every request for a subscription, each with another push resource.
    fn confirms_all(&mut self, number: &mut u32) {
        let said = |action: &Action| match action {
            Action::Say(Say::Register { name, .. }) => Some(*name),
            _ => None,
        };
        while let Some(asked) = self.out.iter().find_map(said) {
            let is_other = |action: &Action| said(action) != Some(asked);
            self.out.retain(is_other);
            *number += 1;
            self.confirm(asked, *number);
        }
    }
}

/// PR-47, WS-HEL-6: another identity in one hello changes nothing: the next one shows the old identity, some seconds later.
#[test]
fn one_word_changes_nothing() {
    let mut test = Test::live(&[name(1), name(2)]);
    let before = test.agent.durable().clone();
    test.lose(ChannelEnd::Lost);
    test.welcomed_as("somebody else");
    assert_eq!(test.out[0], Action::Disconnect(Farewell::Leaving));
    let Some(Event::Disconnected { why, again_in }) = test.events().pop() else {
        panic!("it is told")
    };
    assert_eq!((why, again_in), (DisconnectReason::Forgotten, Some(5 * SECOND)));
    assert_eq!(test.welcomed_as("me"), identity("me"));
    assert!(test.agent.is_live() && test.said().is_empty());
    assert_eq!(test.agent.durable(), &before);
    // What was said before it knew us again does not count any more.
    test.lose(ChannelEnd::Lost);
    test.welcomed_as("somebody else");
    assert!(!test.agent.is_live());
}

/// PR-47: sooner than after some seconds it is not believed, whatever made us ask.
#[test]
fn a_word_said_too_soon_does_not_count() {
    let mut test = Test::live(&[name(1)]);
    test.lose(ChannelEnd::Lost);
    test.welcomed_as("b");
    let due = test.agent.next_due();
    test.out.clear();
    test.agent.network_changed(test.now, &mut test.out);
    assert_eq!(
        test.out,
        [Action::Connect],
        "another network may lead to the service that knows us"
    );
    test.agent.opened(test.now, &mut test.out);
    test.agent.welcomed(identity("b"), test.now, &mut test.out);
    assert!(!test.agent.is_live());
    assert_eq!(test.agent.next_due(), due);
    assert_eq!(test.welcomed_as("b"), identity("me"));
    assert!(test.agent.is_live());
}

/// PR-47, WP-RFR-1, WP-RFR-2: a service that has truly forgotten us makes everything anew within ten seconds, and the
/// application is told. Identity and keys are replaced with the first new subscription, each key with its own.
#[test]
fn a_service_that_forgot_us() {
    let mut test = Test::live(&[name(1), name(2)]);
    let (before, begin) = (test.agent.durable().clone(), test.now);
    test.lose(ChannelEnd::Lost);
    test.welcomed_as("b");
    test.welcomed_as("c");
    assert!(test.now.since(begin) < 10 * SECOND, "{:?}", test.now.since(begin));
    assert_eq!(test.agent.durable(), &before);
    let confirmed = |number| {
        let push_resource = url(number);
        Change::Confirmed {
            name: name(number as u8),
            push_resource,
        }
    };
    assert_eq!(test.agent.durable().renews_keys(&confirmed(1)), None);
    test.out.clear();
    test.confirm(name(1), 1);
    let saved = |number| Action::Save(confirmed(number));
    let identified = Change::Identified(identity("c").unwrap());
    assert_eq!(test.out[..2], [Action::Save(identified.clone()), saved(1)]);
    let mut half = before.clone();
    half.apply(&identified);
    for number in [1, 2] {
        assert_eq!(half.renews_keys(&confirmed(number)), Some(name(number as u8)));
    }
    test.confirm(name(2), 2);
    assert_eq!(test.renewals(), 2);
    assert_eq!(test.agent.durable().renews_keys(&confirmed(1)), None);
    assert_eq!(test.agent.durable().identity, identity("c"));
}

/// PR-47: a service that says twice that it doesn't know us and makes nothing new, as a proxy does in a long deployment, takes
/// nothing away: each channel begins with what it may know, and those that are of no use come ever more slowly.
#[test]
fn a_service_that_makes_nothing_new() {
    for refusal in [Registered::Refused(404), Registered::Trouble, Registered::Unknown] {
        let mut test = Test::live(&[name(1), name(2)]);
        let (before, begin) = (test.agent.durable().clone(), test.now);
        test.lose(ChannelEnd::Lost);
        let mut channels = 0;
        while test.now.since(begin) < 600 * SECOND {
            assert_eq!(test.welcomed_as("b"), identity("me"));
            channels += 1;
            for number in [1, 2, 1, 2] {
                test.agent
                    .registered(name(number), refusal.clone(), test.now, &mut test.out);
            }
            assert!(!test.agent.is_live());
        }
        assert!(channels < 30, "{channels}");
        assert_eq!(test.agent.durable(), &before);
        assert_eq!(test.renewals(), 0);
        test.welcomed_as("me");
        test.pass(SECOND);
        assert!(test.agent.is_live() && test.said().is_empty());
        assert!(test.agent.next_due() > test.now);
    }
}

/// PR-47: another identity in each hello, and another push resource for each request: renewals become ever rarer.
#[test]
fn a_service_that_forgets_again_and_again() {
    let mut test = Test::live(&[name(1)]);
    let (mut number, mut renewals, mut early) = (100, 0, 0);
    let begin = test.now;
    test.lose(ChannelEnd::Lost);
    while test.now.since(begin) < 3_600 * SECOND {
        number += 1;
        test.welcomed_as(&format!("somebody {number}"));
        test.confirms_all(&mut number);
        renewals += test.renewals();
        if test.now.since(begin) <= 10 * SECOND {
            early = renewals;
        }
        if test.agent.is_live() {
            test.lose(ChannelEnd::Closed(Some(1000)));
        }
    }
    assert!(early <= 1 && (4..30).contains(&renewals), "{early}, {renewals}");
}

/// PR-47: the same without a hello: a set that is gone as soon as it is monitored, however often it is made anew.
#[test]
fn a_set_that_is_gone_again_and_again() {
    let mut test = Test::new(Durable::default());
    test.agent.subscribe(name(1), None, test.now, &mut test.out);
    let (mut number, mut renewals) = (0, 0);
    let begin = test.now;
    while test.now.since(begin) < 3_600 * SECOND {
        let shown = test.opens();
        if shown.is_none() {
            test.agent.opened_without_set(test.now, &mut test.out);
        }
        for _ in 0..2 {
            if shown.is_some() || renewals + number > 0 {
                test.agent.forgotten(test.now, &mut test.out);
            }
            number += 1;
            let made = NewSubscription {
                set: Identity::of_set(&format!("https://h/set/{number}")).unwrap(),
                resource: SubscriptionResource::parse("https://h/s").unwrap(),
                push_resource: url(number as u32),
            };
            test.agent
                .subscription_made(name(1), made, test.now, &mut test.out);
            renewals += test.renewals();
        }
    }
    assert!((4..30).contains(&renewals), "{renewals}");
}

/// PR-47: a channel that ends while everything is made anew leaves all as it was, and the next one begins with it.
#[test]
fn an_end_while_everything_is_made_anew() {
    let mut test = Test::live(&[name(1), name(2)]);
    let before = test.agent.durable().clone();
    test.lose(ChannelEnd::Lost);
    test.welcomed_as("b");
    test.welcomed_as("c");
    assert!(test.agent.is_live());
    test.lose(ChannelEnd::Lost);
    assert_eq!(test.agent.durable(), &before);
    assert_eq!(test.welcomed_as("me"), identity("me"));
    test.out.clear();
    test.pass(30 * SECOND);
    assert_eq!(test.out, [], "all is as it was");
}

/// PR-47: what the service brought since it said so proves that it knows us: its next such word is a first one.
#[test]
fn a_channel_of_use_is_proof() {
    for brings in [false, true] {
        let mut test = Test::live(&[name(1)]);
        test.agent.forgotten(test.now, &mut test.out);
        test.opens();
        test.agent
            .monitoring(identity("me").unwrap(), test.now, &mut test.out);
        if brings {
            test.arrives(message(name(1), "a"));
        } else {
            test.pass(10 * SECOND);
        }
        test.lose(ChannelEnd::Lost);
        test.opens();
        test.agent.forgotten(test.now, &mut test.out);
        assert!(!test.agent.is_live(), "brings: {brings}");
    }
}

/// PR-47, WS-CLS-1: a service that was believed, and makes a subscription in our own set, knows us after all: the others hold, and are
/// not asked for again.
#[test]
fn a_service_that_knows_us_after_all() {
    let mut test = Test::live(&[name(1), name(2)]);
    let set = Identity::of_set("https://h/set").unwrap();
    let mut durable = test.agent.durable().clone();
    durable.identity = Some(set.clone());
    test = Test::new(durable);
    for _ in 0..2 {
        test.opens();
        test.agent.forgotten(test.now, &mut test.out);
    }
    assert!(test.agent.is_live());
    test.agent
        .registered(name(2), Registered::Trouble, test.now, &mut test.out);
    let made = NewSubscription {
        set: set.clone(),
        resource: SubscriptionResource::parse("https://h/s").unwrap(),
        push_resource: url(7),
    };
    test.agent
        .subscription_made(name(1), made, test.now, &mut test.out);
    assert_eq!(test.renewals(), 1);
    assert_eq!(test.agent.durable().identity, Some(set));
    assert!(test.agent.next_due() > test.now);
    test.pass(30 * SECOND);
    assert!(
        test.agent.next_due() > test.now && test.out.is_empty(),
        "{:?}",
        test.out
    );
}
