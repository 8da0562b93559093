//! Messages: handed over, tried again, passed over or given up, and acknowledged when that is kept.

use super::*;

/// WP-RCV-5, WS-ACK-5, PR-4: acknowledged after the application is done with it and that is kept, not before.
#[test]
fn acknowledged_after_the_work() {
    let mut test = Test::live(&[name(1)]);
    test.arrives(message(name(1), "a"));
    let key = key(name(1), "a");
    assert_eq!(test.handed_over(), [("a".into(), 1)]);
    assert_eq!(test.out.remove(0), Action::Save(Change::Begun(key)));
    test.handles("a", Outcome::Succeeded);
    assert_eq!(test.out.remove(0), Action::Save(Change::Done(key)));
    assert_eq!(test.acknowledged(), [delivered("a")]);
}

/// WS-NOT-2, PR-4: what comes again is handed over again only if it isn't done; what is done is acknowledged again.
#[test]
fn duplicates_are_dropped() {
    let mut test = Test::live(&[name(1)]);
    test.arrives(message(name(1), "a"));
    test.arrives(message(name(1), "b"));
    test.handles("a", Outcome::Succeeded);
    test.out.clear();
    for id in ["a", "b"] {
        test.arrives(message(name(1), id));
    }
    assert_eq!(test.acknowledged(), [delivered("a")], "b is in hand");

    // The work on b ends while there is no channel.
    test.lose(ChannelEnd::Lost);
    test.handles("b", Outcome::Succeeded);
    assert_eq!(test.said(), []);
    let mut test = test.restarted();
    for id in ["a", "b", "c"] {
        test.arrives(message(name(1), id));
    }
    assert_eq!(test.agent.counters().duplicates, 2);
    assert_eq!(test.agent.counters().handed_over, 1);
    assert_eq!(test.acknowledged(), [delivered("a"), delivered("b")]);
}

/// WP-RCV-1, WP-RCV-2, E91-15, WS-ACK-1: what is for no subscription or can't be read is acknowledged, each with its code.
#[test]
fn unusable_messages_are_acknowledged() {
    let mut test = Test::live(&[name(1)]);
    let mut unreadable = message(name(1), "unreadable");
    unreadable.content = None;
    let mut nameless = message(name(1), "nameless");
    nameless.subscription = "not a name".into();
    test.arrives(message(name(9), "stranger"));
    test.arrives(nameless);
    test.arrives(unreadable);
    test.arrives(message(name(1), "wrong key"));
    test.handles("wrong key", Outcome::NotDecrypted);
    let expected = [
        ("stranger".into(), Disposition::NotDelivered),
        ("nameless".into(), Disposition::NotDelivered),
        ("unreadable".into(), Disposition::NotDecrypted),
        ("wrong key".into(), Disposition::NotDecrypted),
    ];
    assert_eq!(test.acknowledged(), expected);
    let counters = test.agent.counters();
    assert_eq!((counters.unknown_subscription, counters.not_decrypted), (2, 2));
}

/// WS-NOT-2, WS-ACK-1, PR-45: an id that can't be one (empty, too long, with a NUL or another control character) is refused on
/// arrival, compared character by character: no attempt is made, nothing is kept, and it does not come again.
#[test]
fn an_id_that_cannot_be_one_is_refused() {
    let mut test = Test::live(&[name(1)]);
    let longest = "a".repeat(Arrived::ID_BYTES);
    let too_long = "a".repeat(Arrived::ID_BYTES + 1);
    let refused = ["", "a\0b", "\u{1b}[2J", "\n", "\u{7f}", "\u{9b}", &too_long];
    for id in refused {
        test.arrives(message(name(1), id));
        assert_eq!(test.out.len(), 1, "nothing is kept or handed over: {id:?}");
        assert_eq!(test.acknowledged(), [(id.to_owned(), Disposition::NotDelivered)]);
    }
    assert_eq!(test.agent.counters().refused, refused.len() as u64);
    for id in [longest.as_str(), "/message/ä?b=\"c\" d", "="] {
        test.arrives(message(name(1), id));
        assert_eq!(test.handed_over(), [(id.into(), 1)]);
    }
}

/// WP-RCV-6: a message that fails is tried again after growing waits, delays no other message, and is given up in the end.
#[test]
fn a_failing_message() {
    let mut test = Test::live(&[name(1)]);
    test.arrives(message(name(1), "bad"));
    test.handles("bad", Outcome::Failed);
    test.arrives(message(name(1), "good"));
    test.handles("good", Outcome::Succeeded);
    assert_eq!(test.acknowledged(), [delivered("good")]);
    for (wait, attempt) in [(1, 2), (2, 3)] {
        test.pass(wait * SECOND - SECOND / 1_000);
        assert_eq!(test.handed_over(), []);
        test.pass(SECOND / 1_000);
        assert_eq!(test.handed_over(), [("bad".into(), attempt)]);
        test.handles("bad", Outcome::Failed);
    }
    let gave_up = Event::GaveUp {
        name: name(1),
        message: key(name(1), "bad"),
        reason: GiveUpReason::Attempts,
    };
    assert!(test.out.contains(&Action::Tell(gave_up)));
    assert_eq!(test.acknowledged(), [("bad".into(), Disposition::NotDelivered)]);
    test.arrives(message(name(1), "bad"));
    assert_eq!(test.acknowledged(), [delivered("bad")], "it is done");
}

/// WP-RCV-6, PR-4: what only waits for its application is not attempted, however often everything is killed.
#[test]
fn waiting_is_no_attempt() {
    let mut test = Test::live(&[name(1)]);
    for _ in 0..10 {
        test.arrives(message(name(1), "patient"));
        let is_first = |action: &Action| matches!(action, Action::HandOver { attempt: 1, .. });
        assert!(test.out.iter().any(is_first), "{:?}", test.out);
        test = test.restarted();
    }
}

/// PR-16: no more than the limit is held. What is passed over comes again on a new channel, in order, when half of it
/// is done; a body that is too large for what is left counts too.
#[test]
fn a_flood_is_passed_over_and_caught_up_with() {
    let mut test = Test::live(&[name(1)]);
    for number in 0..6 {
        test.arrives(message(name(1), &number.to_string()));
    }
    assert_eq!(test.handed_over().len(), 4);
    test.handles("0", Outcome::Succeeded);
    test.arrives(message(name(1), "6"));
    assert_eq!(test.handed_over(), [], "order is kept: 4 and 5 come first");
    test.handles("1", Outcome::Succeeded);
    assert!(
        test.out.contains(&Action::Disconnect(Farewell::Leaving)),
        "{:?}",
        test.out
    );
    let (why, again_in) = (DisconnectReason::CatchUp, Some(SECOND / 10));
    let disconnected = Event::Disconnected { why, again_in };
    assert_eq!(test.events().last(), Some(&disconnected), "the least wait");
    test.pass(SECOND);
    test.connect("me");
    for number in 2..7 {
        test.arrives(message(name(1), &number.to_string()));
    }
    assert_eq!(test.handed_over(), [("4".into(), 1), ("5".into(), 1)]);
    assert_eq!(test.agent.held(), 4);

    let mut test = Test::live(&[name(1)]);
    let mut large = message(name(1), "large");
    large.content.as_mut().unwrap().body = vec![0; 9_998].into();
    test.arrives(large);
    test.arrives(message(name(1), "small"));
    assert_eq!(test.agent.counters().passed_over, 1);
}

/// PR-46: of a message counts all that a service can make long: its id, its body, and what names its coding.
#[test]
fn all_that_can_be_long_counts() {
    let aesgcm = Coding::Aesgcm {
        encryption: "12345".into(),
        crypto_key: "1234567".into(),
    };
    for (coding, bytes) in [
        (Coding::Absent, 3 + 4),
        (Coding::Aes128gcm, 3 + 4),
        (Coding::Other("gz".into()), 3 + 4 + 2),
        (aesgcm, 3 + 4 + 12),
    ] {
        let mut arrived = message(name(1), "123");
        arrived.content.as_mut().unwrap().coding = coding;
        assert_eq!(arrived.bytes(), bytes, "{:?}", arrived.content);
        arrived.content = None;
        assert_eq!(arrived.bytes(), 3);
    }
}

/// WP-SUB-10: when a subscription ends, a message that was handed over and not taken is taken back; one that waits was never given.
#[test]
fn only_what_was_handed_over_is_taken_back() {
    let mut test = Test::live(&[name(1)]);
    for id in ["waits", "offered"] {
        test.arrives(message(name(1), id));
    }
    test.handed_over();
    test.handles("waits", Outcome::Failed);
    test.handles("offered", Outcome::Released);
    let again_in = test.lose(ChannelEnd::Lost).unwrap();
    test.pass(again_in);
    test.connect("me");
    test.arrives(message(name(1), "offered"));
    test.out.clear();
    test.agent.unsubscribe(name(1), test.now, &mut test.out);
    let taken_back = test.out.iter().filter_map(|action| match action {
        Action::TakeBack(key) => Some(*key),
        _ => None,
    });
    assert_eq!(taken_back.collect::<Vec<_>>(), [key(name(1), "offered")]);
    assert_eq!(test.agent.held(), 0);
}

/// PR-47, PR-48: an acknowledgement that waits for a channel is for the service that sent the message: it is dropped when that service
/// turns out to have forgotten us.
#[test]
fn acknowledgements_end_with_the_identity() {
    let mut test = Test::live(&[name(1)]);
    test.arrives(message(name(1), "a"));
    test.handed_over();
    test.lose(ChannelEnd::Lost);
    test.handles("a", Outcome::Succeeded);
    for _ in 0..2 {
        test.welcomed_as("b");
    }
    test.confirm(name(1), 7);
    assert_eq!(test.agent.durable().identity, identity("b"));
    test.lose(ChannelEnd::Lost);
    test.welcomed_as("b");
    assert_eq!(test.acknowledged(), []);
}
