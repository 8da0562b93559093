//! Faults that the simulation found: a test for each, in a few steps.

use super::*;
use crate::identifiers::SubscriptionName;
use crate::message::{Coding, Content};

const START: Moment = Moment(1_000);

fn name(number: u8) -> SubscriptionName {
    SubscriptionName([number; 16])
}

fn limits() -> Limits {
    let second = Duration::from_secs(1);
    Limits {
        connect_within: 10 * second,
        answer_within: 10 * second,
        keepalive_least: 45 * second,
        keepalive_most: 300 * second,
        keepalive_floor: 20 * second,
        backoff_least: second / 10,
        backoff_base: second,
        backoff_most: 60 * second,
        retry_after_most: 3_600 * second,
        steady_after: 60 * second,
        forgotten_apart: 5 * second,
        network_apart: 2 * second,
        network_calm: 60 * second,
        held_messages: 4,
        held_bytes: 100,
        attempts: 3,
        crashes: 4,
        retry_base: second,
        retry_most: 60 * second,
        pause_base: second,
        pause_most: 60 * second,
        requests: 1,
        ask_again_after: second,
        nonsense: 10,
        wish_every: 5 * second,
        stop_within: second,
    }
}

fn identity(text: &str) -> Option<Identity> {
    Identity::parse(text)
}

fn at(path: &str) -> PushResource {
    PushResource::parse(&format!("https://push.example.net/{path}")).unwrap()
}

/// Brings up a channel, on which the service says who we are.
fn welcome(user_agent: &mut UserAgent, as_whom: &str, out: &mut Vec<Action>) -> Moment {
    let now = user_agent.next_due().max(START);
    user_agent.tick(now, out);
    user_agent.opened(now, out);
    user_agent.welcomed(identity(as_whom), now, out);
    now
}

/// The service has forgotten who we are, and says so until it is believed.
fn forgets(user_agent: &mut UserAgent, as_whom: &str, out: &mut Vec<Action>) -> Moment {
    welcome(user_agent, as_whom, out);
    assert!(!user_agent.is_live());
    welcome(user_agent, as_whom, out)
}

/// A user agent with a channel and these subscriptions asked for.
fn live(names: &[u8]) -> (UserAgent, Vec<Action>) {
    let mut user_agent = UserAgent::new(Arc::new(limits()), Durable::default(), 1);
    let mut out = Vec::new();
    for number in names {
        user_agent.subscribe(name(*number), None, START, &mut out);
    }
    welcome(&mut user_agent, "somebody", &mut out);
    (user_agent, out)
}

fn arrived(subscription: u8, id: &str, bytes: usize) -> Arrived {
    Arrived {
        subscription: name(subscription).to_string().into(),
        id: id.into(),
        content: Some(Content {
            coding: Coding::Aes128gcm,
            media_type: None,
            body: vec![0; bytes].into(),
        }),
        metadata: None,
    }
}

fn handed_over(out: &[Action]) -> usize {
    let is_hand_over = |action: &&Action| matches!(action, Action::HandOver { .. });
    out.iter().filter(is_hand_over).count()
}

/// WS-CLS-1: a request that may be repeated, but has to wait for the answer to another, does not keep the driver busy.
#[test]
fn a_request_that_waits_for_room_is_not_due() {
    let (mut user_agent, mut out) = live(&[1, 2]);
    user_agent.registered(name(1), Registered::Trouble, START, &mut out);
    assert_eq!(
        out.last(),
        Some(&Action::Say(Say::Register {
            name: name(2),
            application_server: None
        }))
    );
    let later = START.after(Duration::from_secs(2));
    user_agent.tick(later, &mut out);
    assert!(user_agent.next_due() > later, "{:?}", user_agent.next_due());
    user_agent.registered(name(2), Registered::At(at("2")), later, &mut out);
    let again = Action::Say(Say::Register {
        name: name(1),
        application_server: None,
    });
    assert!(out.contains(&again), "asked again as soon as there is room");
}

/// WS-REG-1, WS-UNR-1: in whatever order subscriptions are asked for, ended and answered, each is asked about in the end, though
/// not all of them are looked through after each answer.
#[test]
fn all_are_asked_about() {
    for seed in 0..200_u64 {
        let mut state = seed;
        let mut below = |end: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % end
        };
        let mut limits = limits();
        limits.requests = 3;
        let mut user_agent = UserAgent::new(Arc::new(limits), Durable::default(), 1);
        let mut now = START;
        let mut out = Vec::new();
        welcome(&mut user_agent, "somebody", &mut out);
        let mut asked = Vec::new();
        let mut rounds = 0;
        loop {
            for action in std::mem::take(&mut out) {
                match action {
                    Action::Say(Say::Register { name, .. }) => asked.push((name, true)),
                    Action::Say(Say::Unregister(name)) => asked.push((name, false)),
                    _ => {}
                }
            }
            rounds += 1;
            let some = name(below(12) as u8);
            match below(8) {
                0 | 1 if rounds < 60 => user_agent.subscribe(some, None, now, &mut out),
                2 if rounds < 60 => user_agent.unsubscribe(some, now, &mut out),
                _ if asked.is_empty() => {
                    let due = user_agent.next_due();
                    if rounds >= 60 && user_agent.requests.next_due(3) == Moment::NEVER {
                        break;
                    }
                    now = due.max(now);
                    user_agent.tick(now, &mut out);
                }
                number => {
                    let at = below(asked.len() as u64) as usize;
                    let (name, is_register) = asked.swap_remove(at);
                    let trouble = number == 7 && rounds < 60;
                    if is_register {
                        let answer = if trouble {
                            Registered::Trouble
                        } else {
                            Registered::At(at_path(name))
                        };
                        user_agent.registered(name, answer, now, &mut out);
                    } else {
                        let answer = match trouble {
                            true => Unregistered::Trouble,
                            false => Unregistered::Done,
                        };
                        user_agent.unregistered(name, answer, now, &mut out);
                    }
                }
            }
            // Pings are answered.
            user_agent.heard(now);
        }
        let registrations = user_agent.durable().registrations.values();
        for registration in registrations {
            assert!(
                matches!(registration.stage, Stage::Confirmed(_)),
                "seed {seed}: {registration:?}"
            );
        }
    }
}

fn at_path(name: SubscriptionName) -> PushResource {
    at(&name.to_string())
}

/// WS-CLS-1, WS-HEL-6: what was to be ended under an identity that the service forgot is not asked for any more, and does
/// not keep the driver busy either.
#[test]
fn a_forgotten_identity_takes_its_requests_along() {
    let (mut user_agent, mut out) = live(&[1]);
    user_agent.registered(name(1), Registered::At(at("1")), START, &mut out);
    user_agent.unsubscribe(name(1), START, &mut out);
    user_agent.channel_ended(ChannelEnd::Lost, START, &mut out);
    let now = forgets(&mut user_agent, "somebody else", &mut out);
    assert!(user_agent.is_live() && user_agent.durable().registrations.is_empty());
    assert!(user_agent.next_due() > now);
}

/// WP-SUB-10: a message that waits for its next attempt or for its application is let go with its subscription, and one
/// that the application has gets no other attempt; both are acknowledged, and don't come again.
#[test]
fn an_ended_subscription_takes_its_messages_along() {
    let (mut user_agent, mut out) = live(&[1]);
    user_agent.registered(name(1), Registered::At(at("1")), START, &mut out);
    let (waits, in_hand) = (arrived(1, "waits", 1), arrived(1, "in hand", 1));
    user_agent.arrived(waits.clone(), START, &mut out);
    user_agent.arrived(in_hand.clone(), START, &mut out);
    let not_taken = arrived(1, "not taken", 1);
    user_agent.arrived(not_taken.clone(), START, &mut out);
    user_agent.taken(in_hand.key(), &mut out);
    user_agent.handled(waits.key(), Outcome::Failed, START, &mut out);
    out.clear();
    user_agent.unsubscribe(name(1), START, &mut out);
    assert!(user_agent.holds(in_hand.key()) && !user_agent.holds(not_taken.key()));
    user_agent.handled(in_hand.key(), Outcome::Failed, START, &mut out);
    user_agent.tick(START.after(Duration::from_secs(5)), &mut out);
    assert_eq!((handed_over(&out), user_agent.held()), (0, 0));
    for message in [waits, in_hand, not_taken] {
        assert!(out.contains(&Action::Save(Change::Done(message.key()))));
        let disposition = Disposition::NotDelivered;
        let message = Arc::new(message);
        assert!(out.contains(&Action::Say(Say::Acknowledge { message, disposition })));
    }
}

/// WP-RFR-2: an application that passes on one push resource while the next one is already there has still to
/// tell of that one, also after a restart.
#[test]
fn telling_of_an_old_push_resource_is_not_enough() {
    let (mut user_agent, mut out) = live(&[1]);
    user_agent.registered(name(1), Registered::At(at("1")), START, &mut out);
    for (as_whom, path) in [("b", "2"), ("c", "3")] {
        user_agent.channel_ended(ChannelEnd::Lost, START, &mut out);
        let now = forgets(&mut user_agent, as_whom, &mut out);
        user_agent.registered(name(1), Registered::At(at(path)), now, &mut out);
    }
    user_agent.confirm_renewal(name(1), &at("2"), &mut out);
    let mut again = UserAgent::new(Arc::new(limits()), user_agent.durable().clone(), 1);
    out.clear();
    again.tell_again(&mut out);
    let renewed = Event::Renewed {
        name: name(1),
        previous: at("1"),
        push_resource: at("3"),
    };
    assert_eq!(out, [Action::Tell(renewed)]);
    out.clear();
    again.confirm_renewal(name(1), &at("3"), &mut out);
    assert_eq!(out, [Action::Save(Change::RenewalConfirmed(name(1)))]);
}

/// WS-ACK-5: a message that is larger than all that may be held is handed over when nothing else is held.
#[test]
fn one_message_always_fits() {
    let (mut user_agent, mut out) = live(&[1]);
    user_agent.registered(name(1), Registered::At(at("1")), START, &mut out);
    let large = arrived(1, "large", limits().held_bytes + 1);
    user_agent.arrived(large.clone(), START, &mut out);
    user_agent.arrived(arrived(1, "behind it", 1), START, &mut out);
    assert_eq!((handed_over(&out), user_agent.counters().passed_over), (1, 1));
    user_agent.handled(large.key(), Outcome::Succeeded, START, &mut out);
    assert!(
        out.contains(&Action::Disconnect(Farewell::Leaving)),
        "what was behind it comes on the next channel"
    );
}
