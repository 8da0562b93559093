//! An application that can't work, and messages that are bad.

use super::*;

impl Test {
    /// Pauses and their ends.
    fn pauses(&mut self) -> Vec<Option<Duration>> {
        let pause = |event| match event {
            Event::Paused { again_in, .. } => Some(Some(again_in)),
            Event::Resumed { .. } => Some(None),
            _ => None,
        };
        self.events().into_iter().filter_map(pause).collect()
    }

    fn attempts(&self, id: &str) -> u32 {
        self.agent.durable().messages.tried(key(name(1), id)).attempts
    }

    /// The application takes what comes and it ends in this way; which messages, in which order.
    fn works_through(&mut self, outcome: Outcome, time: Duration) -> Vec<String> {
        let end = self.now.after(time);
        let mut ids = Vec::new();
        loop {
            let handed = self.handed_over();
            for (id, _) in handed {
                self.handles(&id, outcome);
                ids.push(id);
            }
            let has_more = |action: &Action| matches!(action, Action::HandOver { .. });
            if self.out.iter().any(has_more) {
                continue;
            }
            let due = self.agent.next_due();
            if due > end {
                self.now = end;
                return ids;
            }
            self.now = self.now.max(due);
            self.agent.heard(self.now);
            self.agent.tick(self.now, &mut self.out);
        }
    }
}

/// PR-45: an application that says that it can't work is given no more messages, but one after a wait that doubles up to a
/// minute. Nothing is counted or given up, and when that one succeeds all come, in order.
#[test]
fn unable_pauses() {
    let mut test = Test::live(&[name(1)]);
    for id in ["a", "b", "c"] {
        test.arrives(message(name(1), id));
    }
    let first = key(name(1), "a");
    assert!(test.agent.taken(first, &mut test.out));
    test.out.clear();
    test.handles("a", Outcome::Unable);
    let taken_back: Vec<_> = test
        .out
        .iter()
        .filter(|action| matches!(action, Action::TakeBack(_)))
        .collect();
    assert_eq!(taken_back.len(), 2);
    assert!(test.out.contains(&Action::Save(Change::Released(first))));
    let paused = test.pauses();
    assert!(matches!(paused[..], [Some(wait)] if wait >= SECOND / 2 && wait <= SECOND));
    let mut wait = SECOND;
    for id in ["b", "c", "a", "b", "c", "a", "b", "c"] {
        test.pass_alive(wait / 2 - SECOND / 1_000);
        assert_eq!(test.handed_over(), []);
        test.pass_alive(wait / 2 + SECOND / 1_000);
        let handed = test.handed_over();
        assert_eq!(handed, [(id.into(), 1)], "one, and in turns");
        test.handles(id, Outcome::Unable);
        wait = (2 * wait).min(60 * SECOND);
        let paused = test.pauses();
        assert!(matches!(paused[..], [Some(again_in)] if again_in >= wait / 2 && again_in <= wait));
    }
    test.arrives(message(name(1), "d"));
    test.pass_alive(wait);
    assert_eq!(
        test.handed_over(),
        [("d".into(), 1)],
        "what was never tried first"
    );
    test.handles("d", Outcome::Succeeded);
    let order: Vec<_> = ["a", "b", "c"].map(|id| (id.to_owned(), 1)).into();
    let resumed = test.out.contains(&Action::Tell(Event::Resumed { name: name(1) }));
    assert!(resumed, "{:?}", test.out);
    assert_eq!(test.handed_over(), order);
    assert_eq!(test.agent.counters().given_up, 0);
}

/// PR-45: during an outage of what the application needs every message fails. That is seen with the second one; no attempt is
/// counted, nothing is given up, however long it lasts, and all are handled when it is over.
#[test]
fn an_outage_gives_nothing_up() {
    let mut test = Test::live(&[name(1)]);
    for id in ["a", "b", "c"] {
        test.arrives(message(name(1), id));
    }
    let tried = test.works_through(Outcome::Failed, 600 * SECOND);
    assert!(tried.len() < 25, "a try a minute at most: {tried:?}");
    for id in ["a", "b", "c"] {
        assert!(
            tried.iter().filter(|tried| *tried == id).count() >= 3,
            "{tried:?}"
        );
        assert_eq!(test.attempts(id), 0);
    }
    assert_eq!(test.agent.counters().given_up, 0);
    let mut done = test.works_through(Outcome::Succeeded, 60 * SECOND);
    done.sort();
    assert_eq!(done, ["a", "b", "c"]);
    assert_eq!(test.agent.held(), 0);
}

/// PR-45: an outage that meets one message of each subscription is one, too.
#[test]
fn an_outage_over_many_subscriptions() {
    let names = [1, 2, 3, 4].map(name);
    let mut test = Test::live(&names);
    for name in names {
        test.arrives(message(name, "m"));
    }
    for _ in 0..40 {
        test.handed_over();
        for name in names {
            test.handles_of(name, "m", Outcome::Failed);
        }
        test.pass_alive(10 * SECOND);
    }
    assert_eq!(test.agent.counters().given_up, 0);
    test.handed_over();
    for _ in 0..6 {
        for name in names {
            test.handles_of(name, "m", Outcome::Succeeded);
        }
        test.pass_alive(30 * SECOND);
        test.handed_over();
    }
    assert_eq!(test.agent.held(), 0);
}

/// PR-45, WP-RCV-6: one bad message among good ones is given up after its attempts; also when it is the first in the queue, and
/// when it is the only one.
#[test]
fn one_bad_message_is_given_up() {
    for good in [0, 1, 3] {
        let mut test = Test::live(&[name(1)]);
        test.arrives(message(name(1), "bad"));
        for number in 0..good {
            test.arrives(message(name(1), &number.to_string()));
        }
        for _ in 0..60 {
            for (id, _) in test.handed_over() {
                let outcome = match id.as_str() {
                    "bad" => Outcome::Failed,
                    _ => Outcome::Succeeded,
                };
                test.handles(&id, outcome);
            }
            test.pass(SECOND / 2);
        }
        assert_eq!((test.agent.counters().given_up, test.agent.held()), (1, 0));
    }
}

/// PR-45: several bad messages in a row look like an outage. They don't hide that others can be handled, and are given up once
/// others were handled often enough.
#[test]
fn several_bad_messages_are_given_up() {
    let mut test = Test::live(&[name(1)]);
    for id in ["bad 1", "bad 2"] {
        test.arrives(message(name(1), id));
    }
    let mut handled = 0;
    for round in 0..60 {
        let id = format!("good {round}");
        test.arrives(message(name(1), &id));
        for _ in 0..10 {
            for (id, _) in test.handed_over() {
                let is_bad = id.starts_with("bad");
                handled += usize::from(!is_bad);
                test.handles(
                    &id,
                    if is_bad {
                        Outcome::Failed
                    } else {
                        Outcome::Succeeded
                    },
                );
            }
            test.pass_alive(SECOND);
        }
    }
    assert_eq!((handled, test.agent.counters().given_up), (60, 2));
    assert_eq!(test.agent.held(), 0);
}

/// PR-45, PR-46: an application that is away pauses its subscription, and no other one.
#[test]
fn an_outage_of_one_subscription() {
    let mut test = Test::live(&[name(1), name(2)]);
    test.arrives(message(name(1), "a"));
    test.handed_over();
    test.handles("a", Outcome::Unable);
    for id in ["b", "c"] {
        test.arrives(message(name(1), id));
        test.arrives(message(name(2), id));
        assert_eq!(test.handed_over(), [(id.into(), 1)]);
        test.handles_of(name(2), id, Outcome::Succeeded);
        assert_eq!(test.acknowledged(), [delivered(id)]);
    }
}

/// PR-45: what the application began with before a pause may end in it: that is acknowledged, and ends the pause. A failure
/// in it makes the wait no longer.
#[test]
fn what_ends_in_a_pause() {
    let mut test = Test::live(&[name(1)]);
    for id in ["a", "b", "c"] {
        test.arrives(message(name(1), id));
    }
    test.handed_over();
    test.handles("a", Outcome::Unable);
    test.out.clear();
    test.handles("b", Outcome::Failed);
    assert_eq!(test.pauses(), [], "only what is tried makes it longer");
    assert_eq!(test.attempts("b"), 0);
    test.handles("c", Outcome::Succeeded);
    assert!(
        test.out.contains(&Action::Tell(Event::Resumed { name: name(1) })),
        "{:?}",
        test.out
    );
    assert_eq!(test.handed_over().len(), 2);
}

/// PR-45, PR-46: what arrives in a pause is held up to its share, and the rest is passed over without a loop of connections. All
/// of it is handled in the end.
#[test]
fn a_pause_makes_no_connections() {
    let mut test = Test::live(&[name(1)]);
    for number in 0..8 {
        test.arrives(message(name(1), &number.to_string()));
    }
    test.works_through(Outcome::Unable, 300 * SECOND);
    assert!(test.agent.is_live() && test.agent.held() == 4);
    test.works_through(Outcome::Succeeded, 60 * SECOND);
    assert_eq!(test.agent.held(), 0);
    assert!(
        !test.agent.is_live(),
        "what was passed over comes on the next channel"
    );
}

/// PR-45, WP-SUB-10: a subscription that ends takes its pause along. The same name begins anew.
#[test]
fn a_pause_ends_with_its_subscription() {
    let mut test = Test::live(&[name(1)]);
    test.arrives(message(name(1), "a"));
    test.handed_over();
    test.handles("a", Outcome::Unable);
    test.agent.unsubscribe(name(1), test.now, &mut test.out);
    test.agent
        .unregistered(name(1), Unregistered::Done, test.now, &mut test.out);
    test.agent.subscribe(name(1), None, test.now, &mut test.out);
    test.confirm(name(1), 2);
    test.out.clear();
    test.arrives(message(name(1), "b"));
    assert_eq!(test.handed_over(), [("b".into(), 1)]);
}

/// PR-45, R30-MON-13: who fetches what waits is not told that nothing does while an outage lasts, and no round is asked for.
#[test]
fn fetching_waits_for_the_end_of_an_outage() {
    let mut test = Test::fetching(&[name(1)]);
    for id in ["a", "b"] {
        test.arrives(message(name(1), id));
    }
    test.caught_up(false);
    let is_said = |action: &Action| {
        matches!(
            action,
            Action::Say(_) | Action::Tell(Event::Empty | Event::GaveUp { .. })
        )
    };
    for _ in 0..600 {
        for (id, _) in test.handed_over() {
            test.handles(&id, Outcome::Failed);
        }
        assert!(!test.out.iter().any(is_said), "{:?}", test.out);
        test.pass_alive(SECOND);
    }
    assert_eq!(test.agent.held(), 2);
    test.works_through(Outcome::Succeeded, 60 * SECOND);
    test.caught_up(true);
    assert!(
        test.out.contains(&Action::Tell(Event::Empty)),
        "{:?}, live: {}, held: {}",
        test.out,
        test.agent.is_live(),
        test.agent.held()
    );
}

/// PR-45: a user agent that is killed in a pause tries again at once, and what was tried is not counted.
#[test]
fn a_restart_in_a_pause() {
    let mut test = Test::live(&[name(1)]);
    for id in ["a", "b"] {
        test.arrives(message(name(1), id));
    }
    test.handed_over();
    test.handles("a", Outcome::Failed);
    assert_eq!(test.attempts("a"), 1);
    test.handles("b", Outcome::Failed);
    assert_eq!((test.attempts("a"), test.attempts("b")), (0, 0));
    let mut test = test.restarted();
    test.arrives(message(name(1), "a"));
    assert_eq!(test.handed_over(), [("a".into(), 1)]);
}
