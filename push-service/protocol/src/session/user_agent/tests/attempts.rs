//! Attempts, crashes and releases: what counts against a message, and what does not.

use super::*;

impl Test {
    fn gave_up(&mut self) -> Vec<GiveUpReason> {
        let gave_up = |event| match event {
            Event::GaveUp { reason, .. } => Some(reason),
            _ => None,
        };
        self.events().into_iter().filter_map(gave_up).collect()
    }

    fn tried(&self, id: &str) -> Tried {
        self.agent.durable().messages.tried(key(name(1), id))
    }
}

/// PR-45: as long as the application works on a message, it is begun and not judged. An attempt is counted when it has failed.
#[test]
fn an_attempt_counts_when_it_is_judged() {
    let mut test = Test::live(&[name(1)]);
    test.arrives(message(name(1), "a"));
    test.handed_over();
    let (attempts, unfinished) = (0, 1);
    assert_eq!(test.tried("a"), Tried { attempts, unfinished });
    test.out.clear();
    test.handles("a", Outcome::Failed);
    let (key, count) = (key(name(1), "a"), 1);
    let kept = [Change::Attempt { message: key, count }, Change::Released(key)].map(Action::Save);
    assert_eq!(
        test.out, kept,
        "an attempt that was kept is never missed by a crash"
    );
    let (attempts, unfinished) = (1, 0);
    assert_eq!(test.tried("a"), Tried { attempts, unfinished });
}

/// PR-45: a message is in hand at each of many more ends than there are attempts, kills and orderly ones. An orderly end
/// counts nothing, a kill no attempt.
#[test]
fn ends_of_the_process_are_no_attempts() {
    let mut test = Test::live(&[name(1)]);
    for _ in 0..10 {
        test.arrives(message(name(1), "a"));
        assert_eq!(test.handed_over(), [("a".into(), 1)]);
        test.agent.stop(test.now, &mut test.out);
        test.pass(20 * SECOND);
        assert!(test.agent.is_stopped());
        test = test.restarted();
    }
    for kill in 1..=3 {
        test.arrives(message(name(1), "a"));
        test.pass_alive(60 * SECOND);
        assert_eq!(test.handed_over(), [("a".into(), kill)]);
        test = test.restarted();
    }
    test.arrives(message(name(1), "a"));
    test.pass_alive(60 * SECOND);
    assert_eq!(test.handed_over(), [("a".into(), 4)]);
    for attempt in [5, 6] {
        test.handles("a", Outcome::Failed);
        test.pass_alive(60 * SECOND);
        assert_eq!(
            test.handed_over(),
            [("a".into(), attempt)],
            "all attempts are left"
        );
    }
    test.handles("a", Outcome::Succeeded);
    assert_eq!(test.acknowledged(), [delivered("a")]);
}

/// PR-45: the application fails on everything, and each time the process ends before that can be seen. No message is given up
/// for it, as long as that happens less often than crashes may.
#[test]
fn an_outage_over_several_runs_gives_nothing_up() {
    let mut test = Test::live(&[name(1)]);
    let most = test.agent.limits.crashes;
    for run in 1..most {
        test.arrives(message(name(1), "a"));
        assert_eq!(test.handed_over(), [("a".into(), run)]);
        test.handles("a", Outcome::Failed);
        assert_eq!(test.tried("a").attempts, run);
        test = test.restarted();
    }
    test.arrives(message(name(1), "a"));
    assert_eq!(test.handed_over(), [("a".into(), most)]);
    test.handles("a", Outcome::Succeeded);
    assert_eq!(test.acknowledged(), [delivered("a")]);
}

/// PR-45, WP-RCV-6: a message that fails in each run is given up in the end, however short the runs are. Crashes and failures
/// count together.
#[test]
fn a_bad_message_is_given_up_over_several_runs() {
    let mut test = Test::live(&[name(1)]);
    let most = test.agent.limits.crashes;
    for run in 1..most {
        test.arrives(message(name(1), "a"));
        test.pass_alive(60 * SECOND);
        assert_eq!(test.handed_over(), [("a".into(), run)]);
        if run % 2 == 0 {
            test.handles("a", Outcome::Failed);
        }
        test = test.restarted();
    }
    test.arrives(message(name(1), "a"));
    test.pass_alive(60 * SECOND);
    assert_eq!(test.handed_over(), [("a".into(), most)]);
    test.handles("a", Outcome::Failed);
    assert_eq!(test.gave_up(), [GiveUpReason::Crashes]);
}

/// PR-45, WP-RCV-6: a message that kills its application each time is given up in the end.
#[test]
fn a_message_that_kills() {
    let mut test = Test::live(&[name(1)]);
    for attempt in 1..=4 {
        test.arrives(message(name(1), "killer"));
        test.pass_alive(60 * SECOND);
        assert_eq!(test.handed_over(), [("killer".into(), attempt)]);
        test = test.restarted();
    }
    test.arrives(message(name(1), "killer"));
    assert_eq!(test.gave_up(), [GiveUpReason::Crashes]);
    test.arrives(message(name(1), "killer"));
    assert_eq!(test.acknowledged(), [delivered("killer")], "it is done");
}

/// PR-45: messages that are in hand beside one that kills are counted one crash with it, and not dragged to the limit: of those that
/// were in hand at a crash one is handed over at a time, and the one with the most crashes last.
#[test]
fn a_message_that_kills_takes_no_others_along() {
    let mut test = Test::live(&[name(1)]);
    let all = ["killer", "b", "c", "d"];
    let mut done = Vec::new();
    for _ in 0..4 {
        let mut waited = 0;
        for id in all.iter().filter(|id| !done.contains(*id)) {
            test.arrives(message(name(1), id));
        }
        loop {
            let handed = test.handed_over();
            if handed.iter().any(|(id, _)| id == "killer") {
                break;
            }
            let Some((id, _)) = handed.first() else {
                waited += 1;
                assert!(waited < 10, "the message that kills is handed over in the end");
                test.pass_alive(SECOND);
                continue;
            };
            assert_eq!(handed.len(), 1, "one at a time");
            test.handles(&id.clone(), Outcome::Succeeded);
            done.extend(all.iter().find(|known| *known == id));
        }
        for id in ["b", "c", "d"] {
            assert!(test.tried(id).unfinished <= 1, "{id}");
        }
        test = test.restarted();
    }
    test.arrives(message(name(1), "killer"));
    assert_eq!(test.gave_up(), [GiveUpReason::Crashes]);
    done.sort_unstable();
    assert_eq!(done, ["b", "c", "d"]);
}

/// PR-45: while the message with which the process ended waits for its turn, others are handed over, also those that come later.
#[test]
fn a_message_that_kills_delays_no_other_message() {
    let mut test = Test::live(&[name(1)]);
    for _ in 0..3 {
        test.arrives(message(name(1), "killer"));
        test.pass_alive(60 * SECOND);
        assert_eq!(test.handed_over().len(), 1);
        test = test.restarted();
    }
    test.arrives(message(name(1), "killer"));
    test.arrives(message(name(1), "good"));
    assert_eq!(test.handed_over(), [("good".into(), 1)]);
    test.handles("good", Outcome::Succeeded);
    test.pass(2 * SECOND);
    assert_eq!(test.handed_over(), [("killer".into(), 4)]);
}

/// PR-45: what the application has not taken by the time it wants an end is taken back, and was never tried.
#[test]
fn a_stop_takes_back_what_was_not_taken() {
    let mut test = Test::live(&[name(1)]);
    test.arrives(message(name(1), "a"));
    test.out.clear();
    test.agent.stop(test.now, &mut test.out);
    let key = key(name(1), "a");
    let expected = [
        Action::TakeBack(key),
        Action::Disconnect(Farewell::Leaving),
        Action::Tell(Event::Stopped),
    ];
    assert_eq!(test.out, expected);
    assert!(!test.agent.taken(key, &mut test.out) && !test.agent.holds(key));
}

/// WP-RCV-6, PR-45: an outcome that is reported again, when the message already waits for its next attempt, changes nothing: the
/// message stays, and is handed over when its wait is over.
#[test]
fn an_outcome_is_taken_once() {
    for second in [
        Outcome::Succeeded,
        Outcome::Failed,
        Outcome::Unable,
        Outcome::NotDecrypted,
        Outcome::Released,
    ] {
        let mut test = Test::live(&[name(1)]);
        test.arrives(message(name(1), "a"));
        test.handed_over();
        test.handles("a", Outcome::Failed);
        let (due, tried) = (test.agent.next_due(), test.tried("a"));
        test.out.clear();
        test.handles("a", second);
        assert_eq!(
            (&test.out[..], test.agent.next_due()),
            (&[][..], due),
            "{second:?}"
        );
        assert_eq!((test.tried("a"), test.agent.held()), (tried, 1), "{second:?}");
        test.pass_alive(2 * SECOND);
        assert_eq!(test.handed_over(), [("a".into(), 2)], "{second:?}");
    }
}

/// WP-RCV-6: the waits between attempts grow up to their most.
#[test]
fn waits_are_capped() {
    let mut test = Test::live(&[name(1)]);
    Arc::make_mut(&mut test.agent.limits).attempts = 20;
    test.arrives(message(name(1), "a"));
    for attempt in 1..=15 {
        assert_eq!(test.handed_over(), [("a".into(), attempt)]);
        test.handles("a", Outcome::Failed);
        test.pass_alive(60 * SECOND);
    }
}

/// PR-46: equal ids of two subscriptions are two messages: both are handed over and acknowledged, in hand and done.
#[test]
fn equal_ids_of_two_subscriptions() {
    let mut test = Test::live(&[name(1), name(2)]);
    for number in [1, 2] {
        test.arrives(message(name(number), "v"));
    }
    assert_eq!(test.handed_over().len(), 2);
    test.handles_of(name(1), "v", Outcome::Succeeded);
    assert_eq!(test.acknowledged(), [delivered("v")]);
    let mut test = test.restarted();
    test.arrives(message(name(2), "v"));
    assert_eq!(test.handed_over(), [("v".into(), 2)]);
    test.arrives(message(name(1), "v"));
    assert_eq!(test.acknowledged(), [delivered("v")], "done before");
}

/// PR-46, WS-NOT-2: what an earlier version knew by the id alone counts for the message that comes again, and for no other one
/// after that.
#[test]
fn records_of_an_earlier_version() {
    let mut durable = Test::live(&[name(1), name(2)]).agent.durable().clone();
    let earlier = [("done", Earlier::Done), ("begun", Earlier::Begun(2))];
    for (id, record) in earlier {
        durable.messages.restore_earlier(MessageKey::of_id(id), record);
    }
    let mut test = Test::new(durable);
    test.connect("me");
    test.out.clear();
    test.arrives(message(name(1), "done"));
    let recognised = Change::Recognised {
        message: key(name(1), "done"),
        earlier: MessageKey::of_id("done"),
    };
    assert_eq!(test.out.remove(0), Action::Save(recognised));
    assert_eq!(test.acknowledged(), [delivered("done")]);
    test.arrives(message(name(2), "done"));
    test.arrives(message(name(1), "begun"));
    test.pass(SECOND);
    assert_eq!(test.handed_over(), [("done".into(), 1), ("begun".into(), 3)]);
}

/// PR-45: attempts and crashes of earlier runs count together, up to the larger of both limits. What reaches it as it arrives is given
/// up then; what is one below has one more attempt.
#[test]
fn earlier_attempts_and_crashes_count_together() {
    use GiveUpReason::{Attempts, Crashes};
    for (attempts, unfinished, on_arrival, on_failure) in [
        (4, 0, Some(Attempts), None),
        (3, 1, Some(Crashes), None),
        (0, 4, Some(Crashes), None),
        (3, 0, None, Some(Crashes)),
        (2, 1, None, Some(Crashes)),
        (1, 2, None, Some(Crashes)),
        (1, 1, None, None),
        (0, 3, None, None),
    ] {
        let mut durable = Test::live(&[name(1)]).agent.durable().clone();
        let tried = Tried { attempts, unfinished };
        durable.messages.restore_tried(key(name(1), "a"), tried);
        let mut test = Test::new(durable);
        test.connect("me");
        test.arrives(message(name(1), "a"));
        assert_eq!(test.gave_up(), Vec::from_iter(on_arrival), "{tried:?}");
        assert_eq!(test.agent.held(), usize::from(on_arrival.is_none()));
        test.pass_alive(60 * SECOND);
        test.handed_over();
        test.handles("a", Outcome::Failed);
        assert_eq!(test.gave_up(), Vec::from_iter(on_failure), "{tried:?}");
    }
}

/// PR-45: failures on two messages with a success in between are two bad messages, and no outage.
#[test]
fn a_success_ends_a_row_of_failures() {
    let mut test = Test::live(&[name(1)]);
    for id in ["a", "b", "c"] {
        test.arrives(message(name(1), id));
    }
    test.handed_over();
    for (id, outcome) in [
        ("a", Outcome::Failed),
        ("b", Outcome::Succeeded),
        ("c", Outcome::Failed),
    ] {
        test.handles(id, outcome);
    }
    assert_eq!((test.tried("a").attempts, test.tried("c").attempts), (1, 1));
    let is_paused = |event: &Event| matches!(event, Event::Paused { .. });
    assert!(!test.events().iter().any(is_paused));
}
