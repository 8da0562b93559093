//! The end that the application wants.

use super::*;

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
    let expected = [
        Action::Save(Change::Released(key(name(1), "b"))),
        Action::Disconnect(Farewell::Leaving),
        Action::Tell(Event::Stopped),
    ];
    assert_eq!(test.out, expected);
    assert_eq!(test.agent.next_due(), Moment::NEVER);

    let mut test = Test::live(&[name(1)]);
    test.arrives(message(name(1), "a"));
    test.handed_over();
    test.agent.stop(test.now, &mut test.out);
    test.pass(20 * SECOND);
    assert!(
        test.agent.is_stopped(),
        "an application that never ends is not waited for"
    );
    let mut test = test.restarted();
    test.arrives(message(name(1), "a"));
    assert_eq!(test.handed_over(), [("a".into(), 1)], "that was no attempt");
}

/// A request that would be repeated now, and isn't because the application wants an end, doesn't keep the driver busy.
#[test]
fn nothing_is_due_that_is_not_asked_any_more() {
    let mut test = Test::live(&[name(1)]);
    test.agent.subscribe(name(2), None, test.now, &mut test.out);
    test.agent
        .registered(name(2), Registered::Trouble, test.now, &mut test.out);
    test.arrives(message(name(1), "a"));
    test.handed_over();
    test.agent.stop(test.now, &mut test.out);
    test.now = test.now.after(10 * SECOND);
    test.agent.heard(test.now);
    test.agent.tick(test.now, &mut test.out);
    assert!(test.agent.next_due() > test.now);
}

/// PR-36 on this side: once the application wants an end no message is handed over again, nothing is wished for, and no channel is
/// opened, whatever happens. The only deadline left without a channel is that of the end.
#[test]
fn nothing_begins_after_a_stop() {
    for ended in [ChannelEnd::Lost, ChannelEnd::Closed(Some(4774))] {
        let mut test = Test::live(&[name(1)]);
        assert!(!test.agent.is_stopping());
        for id in ["a", "b"] {
            test.arrives(message(name(1), id));
        }
        test.handed_over();
        test.agent.stop(test.now, &mut test.out);
        let end = test.now.after(20 * SECOND);
        assert!(test.agent.is_stopping() && !test.agent.is_stopped());
        test.handles("a", Outcome::Failed);
        test.out.clear();
        test.agent
            .set_lowest_urgency(crate::urgency::Urgency::High, test.now, &mut test.out);
        test.pass_alive(5 * SECOND);
        assert_eq!(test.out, []);

        assert_eq!(test.lose(ended), None);
        assert_eq!(test.agent.next_due(), end);
        test.agent.subscribe(name(2), None, test.now, &mut test.out);
        test.agent.network_changed(test.now, &mut test.out);
        test.pass(14 * SECOND);
        assert!(!test.out.contains(&Action::Connect), "{:?}", test.out);
        test.out.clear();
        test.pass(SECOND);
        let expected = [
            Action::Save(Change::Released(key(name(1), "b"))),
            Action::Tell(Event::Stopped),
        ];
        assert_eq!(test.out, expected);
        assert!(test.agent.is_stopping() && test.agent.is_stopped());
    }
}
