//! Subscriptions: kept before they are asked for, asked again after trouble, and made anew when the service forgets.

use super::*;

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
    let why = DisconnectReason::NoAnswer;
    assert!(matches!(test.events()[..], [Event::Disconnected { why: w, .. }, ..] if w == why));
}

/// WP-SUB-10: an ended subscription is over for the application at once, also without a network, and the service hears
/// of it when there is one.
#[test]
fn unsubscribe_without_a_network() {
    let mut test = Test::live(&[name(1)]);
    test.lose(ChannelEnd::Lost);
    test.agent.unsubscribe(name(1), test.now, &mut test.out);
    assert_eq!(test.out, [Action::Save(Change::Ending(name(1)))]);
    let mut test = Test::new(test.agent.durable().clone());
    test.connect("me");
    test.out.clear();
    test.arrives(message(name(1), "late"));
    assert_eq!(test.acknowledged(), [("late".into(), Disposition::NotDelivered)]);
    test.agent
        .unregistered(name(1), Unregistered::Done, test.now, &mut test.out);
    assert_eq!(test.events(), [Event::Unsubscribed(name(1))]);
    assert!(test.agent.durable().registrations.is_empty());
}

/// WS-HEL-6, WP-RFR-1, WP-RFR-2, WP-SUB-4: under another identity every subscription is made anew and the application
/// is told until it says that it knows, also after a restart.
#[test]
fn another_identity_loses_no_subscription() {
    let mut test = Test::live(&[name(1), name(2)]);
    test.lose(ChannelEnd::Lost);
    test.welcomed_as("somebody else");
    test.welcomed_as("somebody else");
    assert_eq!(test.said().len(), 2, "two registrations");
    test.confirm(name(1), 11);
    test.confirm(name(2), 12);
    let renewed = |number: u8| Event::Renewed {
        name: name(number),
        previous: url(u32::from(number) - 1),
        push_resource: url(10 + u32::from(number)),
    };
    assert_eq!(test.events(), [renewed(1), renewed(2)]);
    test.agent.confirm_renewal(name(1), &url(11), &mut test.out);
    let mut test = Test::new(test.agent.durable().clone());
    test.agent.tell_again(&mut test.out);
    assert_eq!(test.events(), [renewed(2)]);
}

/// WS-HEL-6: a service that refuses to make again what it has lost doesn't end it.
#[test]
fn a_lost_subscription_is_not_given_up() {
    let mut test = Test::live(&[name(1)]);
    test.lose(ChannelEnd::Lost);
    test.welcomed_as("somebody else");
    test.welcomed_as("somebody else");
    test.out.clear();
    test.agent
        .registered(name(1), Registered::Refused(400), test.now, &mut test.out);
    assert!(matches!(test.events()[0], Event::Waiting { .. }));
    let is_asked_again = (0..5).any(|_| {
        test.welcomed_as("somebody else");
        test.said().len() == 1
    });
    assert!(is_asked_again);
}

/// WP-SUB-3, WP-SUB-10: to ask for a subscription that is there changes nothing; one that is ending begins anew. One of which no
/// service has heard is gone at once.
#[test]
fn a_subscription_is_made_once() {
    let mut test = Test::live(&[name(1)]);
    test.agent.subscribe(name(1), None, test.now, &mut test.out);
    assert_eq!(test.out, []);
    test.agent.unsubscribe(name(1), test.now, &mut test.out);
    test.out.clear();
    test.agent.subscribe(name(1), None, test.now, &mut test.out);
    let asked = Change::Asked {
        name: name(1),
        application_server: None,
    };
    assert_eq!(test.out, [Action::Save(asked)], "its end is being asked for");
    assert_eq!(test.agent.requests_under_way(), 1);

    let mut test = Test::new(Durable::default());
    assert_eq!(test.agent.requests_under_way(), 0);
    test.agent.subscribe(name(1), None, test.now, &mut test.out);
    test.out.clear();
    test.agent.unsubscribe(name(1), test.now, &mut test.out);
    assert_eq!(test.events(), [Event::Unsubscribed(name(1))]);
    assert!(test.agent.durable().registrations.is_empty());
}

/// PR-47: a service that does not know us says so in its answer to a request, too: it is asked again on another channel.
#[test]
fn an_answer_may_say_that_we_are_unknown() {
    let mut test = Test::live(&[name(1)]);
    test.agent.subscribe(name(2), None, test.now, &mut test.out);
    test.out.clear();
    test.agent
        .registered(name(2), Registered::Unknown, test.now, &mut test.out);
    assert_eq!(test.out[0], Action::Disconnect(Farewell::Leaving));
    let events = test.events();
    assert!(
        matches!(
            events[..],
            [Event::Disconnected {
                why: DisconnectReason::Forgotten,
                ..
            }]
        ),
        "{events:?}"
    );
}
