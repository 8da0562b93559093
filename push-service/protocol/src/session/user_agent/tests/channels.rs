//! When the service is connected to, how long each answer is waited for, and what its words and closes are taken for.

use super::*;

/// WS-HEL-7, WS-HEL-1: the identity is not shown while nothing rests on it; with a subscription the name is shown.
#[test]
fn greets_by_name_when_there_is_something_to_lose() {
    let mut test = Test::new(Durable::default());
    test.connect("me");
    assert_eq!(test.said(), [Say::Hello(None, Wish::default())]);
    test.lose(ChannelEnd::Lost);
    test.agent.subscribe(name(1), None, test.now, &mut test.out);
    test.pass(SECOND);
    test.out.clear();
    test.agent.opened(test.now, &mut test.out);
    assert_eq!(test.said(), [Say::Hello(identity("me"), Wish::default())]);
}

/// WS-CLS-1, R30-LB-4: a service that closes at once a thousand times is asked ever more slowly, and a good channel
/// makes up for it.
#[test]
fn a_service_that_closes_at_once() {
    let mut test = Test::live(&[name(1)]);
    let begin = test.now;
    for _ in 0..1_000 {
        let again_in = test.lose(ChannelEnd::Closed(None)).unwrap();
        test.pass(again_in);
        test.connect("me");
        test.out.clear();
    }
    assert!(test.now.since(begin) > 30 * 3_600 * SECOND);
    test.pass(10 * SECOND);
    assert!(test.lose(ChannelEnd::Lost).unwrap() <= SECOND);
}

/// WS-CLS-1, R30-SUB-7: 4774 keeps us away until the network changes or the application asks for something; 503 says for how
/// long, and 1013 and 1008 mean a while: no network shortens any of them.
#[test]
fn the_services_word_is_honoured() {
    let mut test = Test::live(&[name(1)]);
    assert_eq!(test.lose(ChannelEnd::Closed(Some(4774))), None);
    assert_eq!(test.agent.next_due(), Moment::NEVER);
    test.agent.network_changed(test.now, &mut test.out);
    assert_eq!(
        test.out,
        [],
        "a change that is reported need not be another network"
    );
    assert!(test.agent.next_due().since(test.now) <= 32 * SECOND);
    test.pass(32 * SECOND);
    assert_eq!(test.out[0], Action::Connect);
    test.agent.opened(test.now, &mut test.out);
    assert_eq!(test.lose(ChannelEnd::Closed(Some(4774))), None);
    test.agent.subscribe(name(2), None, test.now, &mut test.out);
    assert!(test.out.contains(&Action::Connect));
    let refused = ChannelEnd::Refused {
        status: 503,
        retry_after: Some(120 * SECOND),
    };
    let again_in = test.lose(refused).unwrap();
    assert!((120 * SECOND..=180 * SECOND).contains(&again_in), "{again_in:?}");
    test.out.clear();
    let until = test.agent.next_due();
    test.agent.network_changed(test.now, &mut test.out);
    assert_eq!(
        (test.agent.next_due(), test.out.len()),
        (until, 0),
        "another network is no reason"
    );
    for code in [1013, 1008] {
        test.opens();
        test.lose(ChannelEnd::Closed(Some(code)));
        let until = test.agent.next_due();
        test.pass(SECOND / 20);
        test.out.clear();
        test.agent.network_changed(test.now, &mut test.out);
        assert_eq!((test.agent.next_due(), test.out.len()), (until, 0), "{code}");
    }
}

/// R30-SUB-7: what is told of a wait is what is waited, an hour too; a year is cut to the maximum.
#[test]
fn a_long_wait_is_waited() {
    for (told, least) in [(3_600, 3_600), (31_536_000, 86_400)] {
        let mut test = Test::live(&[name(1)]);
        let refused = ChannelEnd::Refused {
            status: 503,
            retry_after: Some(told * SECOND),
        };
        let again_in = test.lose(refused).unwrap();
        assert!(
            (least * SECOND..(least + 2) * SECOND).contains(&again_in),
            "{again_in:?}"
        );
        assert_eq!(test.agent.next_due(), test.now.after(again_in));
    }
}

/// WS-PNG-1, WS-CON-8: silence is asked about at a learned interval, and no answer means that the service is not there.
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

/// WS-CLS-1: a network that changes twice a second is not followed with a connection, or a ping, for each change; the last
/// change is heeded all the same.
#[test]
fn a_storm_of_changes() {
    for is_reachable in [false, true] {
        let mut test = Test::live(&[name(1)]);
        if !is_reachable {
            test.lose(ChannelEnd::Lost);
        }
        let mut seen = 0;
        for _ in 0..40 {
            test.agent.network_changed(test.now, &mut test.out);
            test.pass(SECOND / 2);
            seen += test.out.len();
            if test.out.contains(&Action::Connect) {
                test.lose(ChannelEnd::Unreachable);
            }
            test.agent.heard(test.now);
            test.out.clear();
        }
        assert!((3..=12).contains(&seen), "{seen}");
        test.pass(16 * SECOND);
        assert!(!test.out.is_empty(), "the last change");
    }
}

/// PR-48, WS-PNG-3: a channel that ends without a word after a silence longer than any that was survived says what the network
/// allows, with a ping under way or not, and also if something was said into the silence; a service that leaves, restarts or
/// closes for its own reasons says nothing of the network.
#[test]
fn the_end_of_a_silent_channel_is_evidence() {
    let settled = |ended, says: bool| {
        let mut test = Test::live(&[name(1)]);
        for _ in 0..2 {
            test.pass(45 * SECOND);
            test.agent.heard(test.now);
        }
        let before = test.agent.keepalive();
        assert!(before > 60 * SECOND);
        test.pass(60 * SECOND);
        if says {
            test.agent.subscribe(name(2), None, test.now, &mut test.out);
            test.pass(2 * SECOND);
        }
        test.lose(ended);
        (before, test.agent.keepalive())
    };
    for says in [false, true] {
        assert_eq!(settled(ChannelEnd::Lost, says).1, 45 * SECOND);
        for code in [None, Some(1000), Some(1001), Some(1012), Some(1013), Some(4774)] {
            let (before, after) = settled(ChannelEnd::Closed(code), says);
            assert_eq!(before, after, "{code:?}");
        }
    }
}

/// PR-48: what the application finishes while there is no channel is acknowledged first thing on the next one; its body is not
/// kept for that.
#[test]
fn messages_in_hand_are_acknowledged_on_the_next_channel() {
    for ended in [
        ChannelEnd::Lost,
        ChannelEnd::Closed(Some(1001)),
        ChannelEnd::Closed(None),
    ] {
        let mut test = Test::live(&[name(1)]);
        for id in ["a", "b"] {
            test.arrives(message(name(1), id));
        }
        test.handed_over();
        let again_in = test.lose(ended).unwrap();
        assert!(again_in <= SECOND, "at once: {again_in:?}");
        test.handles("a", Outcome::Succeeded);
        assert_eq!(test.acknowledged(), []);
        test.welcomed_as("me");
        assert_eq!(test.acknowledged(), [delivered("a")]);
        test.handles("b", Outcome::Succeeded);
        assert_eq!(test.acknowledged(), [delivered("b")]);
        test.lose(ended);
        test.welcomed_as("me");
        assert_eq!(test.acknowledged(), [], "once");
    }
}

/// WS-CLS-2: a service that answers too late, or not at all, is not waited for.
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
    assert_eq!(test.agent.counters().nonsense, 11, "a second welcome is nonsense");
    // Answers that are not waited for change nothing.
    let before = test.agent.durable().clone();
    test.confirm(name(1), 99);
    test.confirm(name(9), 99);
    test.agent
        .unregistered(name(1), Unregistered::Done, test.now, &mut test.out);
    assert_eq!(test.agent.durable(), &before);
}

/// While there is no channel, none can end: another end of it, nonsense, and a stop disconnect nothing.
#[test]
fn a_channel_ends_once() {
    let mut test = Test::live(&[name(1)]);
    test.lose(ChannelEnd::Lost);
    test.agent
        .channel_ended(ChannelEnd::Lost, test.now, &mut test.out);
    for _ in 0..20 {
        test.agent.nonsense(test.now, &mut test.out);
    }
    assert_eq!(test.out, []);
    test.agent.stop(test.now, &mut test.out);
    assert_eq!(test.out, [Action::Tell(Event::Stopped)]);
}

/// PR-48: what the user agent says ends a silence as well. A channel that is lost soon after it said nothing of the network, if the
/// silence before was one that the network survives.
#[test]
fn what_is_said_ends_a_silence() {
    let mut test = Test::live(&[name(1)]);
    test.pass(45 * SECOND);
    test.agent.heard(test.now);
    let before = test.agent.keepalive();
    assert!(before > 45 * SECOND);
    test.pass(40 * SECOND);
    test.agent.subscribe(name(2), None, test.now, &mut test.out);
    test.pass(9 * SECOND);
    test.lose(ChannelEnd::Lost);
    assert_eq!(test.agent.keepalive(), before);
}

/// WS-CLS-1: a service that says that it is busy or in trouble, or that we are wrong, means seconds: waits after it begin larger. After
/// another end they begin small.
#[test]
fn some_ends_mean_longer_waits() {
    let refused = |status| ChannelEnd::Refused {
        status,
        retry_after: None,
    };
    for (ended, ceiling) in [
        (ChannelEnd::Lost, 1),
        (ChannelEnd::Closed(Some(1001)), 1),
        (refused(429), 1),
        (refused(503), 1),
        (ChannelEnd::Closed(Some(1013)), 8),
        (ChannelEnd::Closed(Some(1008)), 32),
        (refused(400), 32),
        (refused(428), 32),
        (refused(430), 32),
        (refused(499), 32),
    ] {
        let waits = (0..50).map(|seed| {
            let mut test = Test::live(&[name(1)]);
            test.agent.backoff = Backoff::new(SECOND / 10, SECOND, 300 * SECOND, seed);
            test.lose(ended).unwrap()
        });
        let longest = waits.max().unwrap();
        assert!(
            (ceiling * SECOND * 3 / 4..ceiling * SECOND).contains(&longest),
            "{ended:?}: {longest:?}"
        );
    }
}
