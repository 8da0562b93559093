//! What one subscription may hold of what is held, and the others beside it.

use super::*;

impl Test {
    fn handed_of(&mut self, name: SubscriptionName) -> Vec<String> {
        let handed = |action| match action {
            Action::HandOver { message, .. } if message.name() == Some(name) => Some(message.id.to_string()),
            _ => None,
        };
        self.out.drain(..).filter_map(handed).collect()
    }
}

/// PR-46: of what is held one subscription has half at most, while there is another one; and one that holds nothing finds room
/// beside two that are stuck.
#[test]
fn one_subscription_holds_half() {
    let names = [1, 2, 3].map(name);
    let mut test = Test::live(&names);
    for name in [names[0], names[1]] {
        for number in 0..10 {
            test.arrives(message(name, &number.to_string()));
        }
    }
    assert_eq!(test.handed_of(names[0]), ["0", "1"]);
    assert_eq!(test.agent.held(), 3);
    test.arrives(message(names[2], "0"));
    assert_eq!(test.handed_of(names[2]), ["0"]);
}

/// PR-46: the same for bytes, however few messages they are.
#[test]
fn one_subscription_holds_half_of_the_bytes() {
    let mut test = Test::live(&[name(1), name(2)]);
    let large = |id: &str| {
        let mut large = message(name(1), id);
        large.content.as_mut().unwrap().body = vec![0; 3_000].into();
        large
    };
    test.arrives(large("a"));
    test.arrives(large("b"));
    assert_eq!(test.handed_of(name(1)), ["a"]);
    test.arrives(message(name(2), "c"));
    assert_eq!(test.handed_of(name(2)), ["c"]);
}

/// PR-46: a subscription whose messages all fail, or that is slow, has its messages passed over; another one goes on, message by
/// message, without a new channel.
#[test]
fn a_stuck_subscription_stops_no_other() {
    let mut test = Test::live(&[name(1), name(2)]);
    for number in 0..10 {
        test.arrives(message(name(1), &number.to_string()));
    }
    test.handed_over();
    for number in 0..100 {
        let id = format!("fast {number}");
        test.arrives(message(name(2), &id));
        assert_eq!(test.handed_over(), [(id.clone(), 1)]);
        test.handles_of(name(2), &id, Outcome::Succeeded);
        assert_eq!(test.acknowledged(), [delivered(&id)]);
    }
    assert!(test.agent.is_live());
}

/// PR-46, PR-16: what was passed over of one subscription comes on a new channel once half of what that one held is done, whatever
/// others hold; in its order. There is no channel more than that takes.
#[test]
fn catching_up_is_a_matter_of_one_subscription() {
    let mut test = Test::live(&[name(1), name(2)]);
    Arc::make_mut(&mut test.agent.limits).held_messages = 8;
    for number in 0..10 {
        test.arrives(message(name(2), &number.to_string()));
    }
    let mut done = 0;
    let mut channels = 0;
    while done < 20 {
        for number in done..20 {
            test.arrives(message(name(1), &number.to_string()));
        }
        while test.agent.is_live() && done < 20 {
            let is_held = test.agent.holds(key(name(1), &done.to_string()));
            assert!(is_held, "{done} comes next");
            test.handles(&done.to_string(), Outcome::Succeeded);
            done += 1;
        }
        if !test.agent.is_live() {
            channels += 1;
            test.pass(SECOND);
            test.connect("me");
        }
    }
    assert!(channels <= 20, "{channels}: each brings a message at least");
    test.pass_alive(600 * SECOND);
    assert_eq!(test.agent.held(), 4, "the other one still has its messages");
}

/// PR-46: a single subscription has no other to share with.
#[test]
fn alone_it_holds_all() {
    let mut test = Test::live(&[name(1)]);
    for number in 0..10 {
        test.arrives(message(name(1), &number.to_string()));
    }
    assert_eq!(test.handed_of(name(1)).len(), 4);
}

/// PR-46, R30-MON-12: while one subscription is stuck, fetching what waits brings the messages of another one: in the same round, or in
/// a round that begins when nothing of that subscription is in hand. That nothing waits is told only after a round that began with
/// nothing in hand at all.
#[test]
fn fetching_beside_a_stuck_subscription() {
    let mut test = Test::fetching(&[name(1), name(2)]);
    for number in 0..3 {
        test.arrives(message(name(1), &number.to_string()));
    }
    for number in 0..2 {
        test.arrives(message(name(2), &number.to_string()));
    }
    assert_eq!(test.asked_for(), [], "the round goes on");
    assert!(test.agent.holds(key(name(2), "0")) && !test.agent.holds(key(name(2), "1")));
    test.caught_up(false);
    test.out.clear();
    test.handles_of(name(2), "0", Outcome::Succeeded);
    assert_eq!(test.asked_for().len(), 1, "a round for what was passed over");
    test.arrives(message(name(2), "1"));
    test.handles_of(name(2), "1", Outcome::Succeeded);
    for number in 0..2 {
        test.handles(&number.to_string(), Outcome::Succeeded);
    }
    test.out.clear();
    test.caught_up(true);
    assert!(!test.is_told_empty(), "it began with something in hand");
    test.caught_up(true);
    assert!(test.is_told_empty());
}
