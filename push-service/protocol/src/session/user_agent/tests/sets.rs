//! The user agent's session against a service that knows it by its subscription set (RFC 8030 §4.1).

use super::*;

fn new_subscription(set: &str, number: u32) -> NewSubscription {
    NewSubscription {
        set: Identity::of_set(&format!("https://push.example.net/subscriptions/{set}")).unwrap(),
        resource: SubscriptionResource::parse(&format!("https://push.example.net/subscription/{number}"))
            .unwrap(),
        push_resource: url(number),
    }
}

impl Test {
    /// A live channel to a service that does not know the user agent before its first subscription.
    fn live_without_set() -> Self {
        let mut test = Self::new(Durable::default());
        test.agent.tick(test.now, &mut test.out);
        test.agent.opened(test.now, &mut test.out);
        assert_eq!(test.said(), [Say::Hello(None, Wish::default())]);
        test.agent.opened_without_set(test.now, &mut test.out);
        assert!(test.agent.is_live());
        test.out.clear();
        test
    }

    fn enroll(&mut self, name: SubscriptionName, set: &str, number: u32) {
        let made = new_subscription(set, number);
        self.agent.subscription_made(name, made, self.now, &mut self.out);
    }
}

/// R30-SUB-2, R30-SET-2: without an identity the channel is live; the first subscription brings one, which is kept before
/// anything rests on it, and shown on the next channel.
#[test]
fn the_first_subscription_brings_the_set() {
    let mut test = Test::live_without_set();
    test.agent.subscribe(name(1), None, test.now, &mut test.out);
    test.out.clear();
    test.enroll(name(1), "a", 1);
    let NewSubscription { set, resource, .. } = new_subscription("a", 1);
    let saved = [
        Change::Identified(set.clone()),
        Change::ResourceGiven {
            name: name(1),
            resource: resource.clone(),
        },
        Change::Confirmed {
            name: name(1),
            push_resource: url(1),
        },
    ];
    let subscribed = Event::Subscribed {
        name: name(1),
        push_resource: url(1),
    };
    let mut expected: Vec<_> = saved.into_iter().map(Action::Save).collect();
    expected.push(Action::Tell(subscribed));
    assert_eq!(test.out, expected);
    assert_eq!(
        test.agent.durable().subscription_at(url(1).as_str()),
        Some(name(1))
    );
    assert_eq!(test.agent.durable().subscription_at(url(2).as_str()), None);
    test.lose(ChannelEnd::Lost);
    test.pass(SECOND);
    test.agent.opened(test.now, &mut test.out);
    assert!(
        test.out
            .contains(&Action::Say(Say::Hello(Some(set), Wish::default())))
    );
}

/// R30-MON-17, R30-EXP-5, WS-HEL-6, WP-RFR-2, PR-47: a set that is gone takes nothing along: when the service has said so twice,
/// every subscription is asked for again, and the application is told. Nothing is replaced before the service has made one.
#[test]
fn a_set_that_is_gone() {
    for is_live in [true, false] {
        let mut test = Test::live_without_set();
        for number in [1, 2] {
            test.agent.subscribe(name(number), None, test.now, &mut test.out);
            test.enroll(name(number), "a", number.into());
        }
        test.agent.unsubscribe(name(2), test.now, &mut test.out);
        let set = new_subscription("a", 1).set;
        let before = test.agent.durable().clone();
        for says in 0..2 {
            if says == 1 {
                assert_eq!(test.opens(), Some(set.clone()));
            }
            if is_live && says == 1 {
                test.agent.monitoring(set.clone(), test.now, &mut test.out);
            }
            test.out.clear();
            test.agent.forgotten(test.now, &mut test.out);
        }
        let again = Say::Register {
            name: name(1),
            application_server: None,
        };
        assert!(test.said().contains(&again));
        assert_eq!(test.agent.durable(), &before, "nothing is replaced yet");
        test.enroll(name(1), "b", 7);
        assert_eq!(test.agent.durable().identity, Some(new_subscription("b", 7).set));
        let registrations = &test.agent.durable().registrations;
        assert_eq!(
            registrations.keys().collect::<Vec<_>>(),
            [&name(1)],
            "nothing is left to be ended"
        );
        assert_eq!(
            registrations[&name(1)].resource,
            Some(new_subscription("b", 7).resource)
        );
        let renewed = Event::Renewed {
            name: name(1),
            previous: url(1),
            push_resource: url(7),
        };
        assert_eq!(test.events(), [renewed]);
    }
}

/// R30-SET-3, WS-HEL-6, PR-47: a subscription in another set than that of the others means that those are lost, if the service
/// says so twice.
#[test]
fn another_set_unsettles_the_others() {
    let mut test = Test::live_without_set();
    for number in [1, 2] {
        test.agent.subscribe(name(number), None, test.now, &mut test.out);
    }
    test.enroll(name(1), "a", 1);
    test.out.clear();
    test.enroll(name(2), "b", 2);
    assert!(test.out.contains(&Action::Disconnect(Farewell::Leaving)));
    assert_eq!(test.agent.durable().identity, Some(new_subscription("a", 1).set));
    test.opens();
    test.agent
        .monitoring(new_subscription("a", 1).set, test.now, &mut test.out);
    assert!(test.agent.believes_forgotten(test.now));
    test.out.clear();
    test.enroll(name(2), "b", 2);
    assert!(test.out.contains(&Action::Say(Say::Register {
        name: name(1),
        application_server: None
    })));
    assert_eq!(test.agent.durable().identity, Some(new_subscription("b", 2).set));
}

/// WP-SUB-10: a subscription that is ended while the service makes it, the first of all too, is ended there as soon as it
/// is known where.
#[test]
fn ended_while_it_is_made() {
    let mut test = Test::live_without_set();
    test.agent.subscribe(name(1), None, test.now, &mut test.out);
    test.agent.unsubscribe(name(1), test.now, &mut test.out);
    test.out.clear();
    test.enroll(name(1), "a", 1);
    assert_eq!(test.said(), [Say::Unregister(name(1))]);
    let registration = &test.agent.durable().registrations[&name(1)];
    assert_eq!(registration.resource, Some(new_subscription("a", 1).resource));
    test.agent
        .unregistered(name(1), Unregistered::Done, test.now, &mut test.out);
    assert!(test.agent.durable().registrations.is_empty());
}

/// R30-SUB-7: a service that says when it can make a subscription isn't asked before, however long that is, up
/// to a maximum; what is said is what is waited. So it is for ending one.
#[test]
fn told_to_ask_later() {
    for (told, waits) in [(1, 5), (60, 60), (3_600, 3_600), (31_536_000, 86_400)] {
        let mut test = Test::live_without_set();
        test.agent.subscribe(name(1), None, test.now, &mut test.out);
        let later = Registered::Later(told * SECOND);
        test.agent.registered(name(1), later, test.now, &mut test.out);
        let again_in = waits * SECOND;
        let waiting = Event::Waiting {
            name: name(1),
            again_in,
        };
        assert_eq!(test.events(), std::slice::from_ref(&waiting));
        let due = test.agent.next_due().since(test.now);
        assert_eq!(due, again_in.min(45 * SECOND));
        let mut test = Test::live(&[name(1)]);
        test.agent.unsubscribe(name(1), test.now, &mut test.out);
        test.out.clear();
        let later = Unregistered::Later(told * SECOND);
        test.agent.unregistered(name(1), later, test.now, &mut test.out);
        assert_eq!(test.events(), [waiting]);
    }
}

/// R30-SET-1: what a service calls a set is a URL, longer than the WebSocket's identities may be, and not endless.
#[test]
fn what_a_set_may_be_called() {
    let long = format!("https://push.example.net/subscriptions/{}", "x".repeat(200));
    assert!(Identity::parse(&long).is_none());
    assert_eq!(Identity::of_set(&long).unwrap().as_str(), long);
    for wrong in [
        "",
        "/subscriptions/x",
        "ftp://h/x",
        &format!("https://h/{}", "x".repeat(1_000)),
    ] {
        assert!(Identity::of_set(wrong).is_none(), "{wrong}");
    }
    assert_eq!(
        format!("{:?}", new_subscription("a", 1).resource),
        "SubscriptionResource(…)"
    );
}

/// PR-47: a service that says twice on live channels that our set is gone, and then makes a subscription in that very set, knows us: the
/// channel is the same one, nothing is asked again, and answers to what was asked meanwhile change nothing.
#[test]
fn a_set_that_was_there_after_all() {
    let mut test = Test::live_without_set();
    for number in [1, 2] {
        test.agent.subscribe(name(number), None, test.now, &mut test.out);
        test.enroll(name(number), "a", number.into());
        assert!(test.agent.is_live(), "the second one is in the same set");
    }
    test.agent.forgotten(test.now, &mut test.out);
    test.opens();
    test.agent
        .monitoring(new_subscription("a", 1).set, test.now, &mut test.out);
    test.out.clear();
    test.agent.forgotten(test.now, &mut test.out);
    let connected = Action::Tell(Event::Connected);
    assert!(!test.out.contains(&connected), "it was connected before");
    assert_eq!(test.agent.requests_under_way(), 2);
    test.enroll(name(1), "a", 1);
    test.out.clear();
    test.agent
        .registered(name(2), Registered::Trouble, test.now, &mut test.out);
    assert_eq!(test.out, []);
    assert_eq!(test.agent.requests_under_way(), 0);
    test.pass_alive(60 * SECOND);
    assert_eq!(test.said(), []);
}

/// R30-SUB-2: a subscription that was not asked for is ignored.
#[test]
fn an_answer_that_was_not_asked_for() {
    let mut test = Test::live_without_set();
    let before = test.agent.durable().clone();
    test.enroll(name(1), "a", 1);
    assert_eq!((test.agent.durable(), &test.out[..]), (&before, &[][..]));
}

/// PR-47: while all subscriptions are made anew and one has to be asked for again later, the next one is asked for.
#[test]
fn trouble_with_one_does_not_stop_the_others() {
    let mut test = Test::live_without_set();
    for number in [1, 2] {
        test.agent.subscribe(name(number), None, test.now, &mut test.out);
        test.enroll(name(number), "a", number.into());
    }
    test.agent.forgotten(test.now, &mut test.out);
    test.opens();
    test.agent
        .monitoring(new_subscription("a", 1).set, test.now, &mut test.out);
    test.agent.subscribe(name(9), None, test.now, &mut test.out);
    test.out.clear();
    let register = |number| Say::Register {
        name: name(number),
        application_server: None,
    };
    test.agent.forgotten(test.now, &mut test.out);
    assert_eq!(test.said(), [register(1)], "no more than the limit");
    test.agent
        .registered(name(9), Registered::Trouble, test.now, &mut test.out);
    assert_eq!(test.said(), [register(2)]);
}

/// R30-ACK-5: the application is told that acknowledgements have to wait, as long as there is a channel on which they do.
#[test]
fn acknowledgements_that_wait_are_told() {
    let mut test = Test::live_without_set();
    let again_in = 7 * SECOND;
    test.agent
        .acknowledgements_wait(again_in, test.now, &mut test.out);
    assert_eq!(test.events(), [Event::AcknowledgementsWait { again_in }]);
    test.lose(ChannelEnd::Lost);
    test.agent
        .acknowledgements_wait(again_in, test.now, &mut test.out);
    assert_eq!(test.out, []);
}
