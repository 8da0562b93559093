//! When the service is connected to, how long each answer is waited for, and what its words and closes are taken for.

use super::*;

/// WS-HEL-7, WS-HEL-1: nobody is greeted by name while nothing rests on it; with a subscription the name is shown.
#[test]
fn greets_by_name_when_there_is_something_to_lose() {
    let mut test = Test::new(Durable::default());
    test.connect("me");
    assert_eq!(test.said(), [Say::Hello(None, Wish::default())]);
    test.lose(Ended::Lost);
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
        let again_in = test.lose(Ended::Closed(None)).unwrap();
        test.pass(again_in);
        test.connect("me");
        test.out.clear();
    }
    assert!(test.now.since(begin) > 30 * 3_600 * SECOND);
    test.pass(10 * SECOND);
    assert!(test.lose(Ended::Lost).unwrap() <= SECOND);
}

/// WS-CLS-1: 4774 keeps us away until the network changes or the application asks for something; 503 says for how long.
#[test]
fn the_services_word_is_honoured() {
    let mut test = Test::live(&[name(1)]);
    assert_eq!(test.lose(Ended::Closed(Some(4774))), None);
    assert_eq!(test.agent.next_due(), Moment::NEVER);
    test.agent.network_changed(test.now, &mut test.out);
    assert_eq!(test.out, [Action::Connect]);
    test.out.clear();
    assert_eq!(test.lose(Ended::Closed(Some(4774))), None);
    test.agent.subscribe(name(2), None, test.now, &mut test.out);
    assert!(test.out.contains(&Action::Connect));
    let refused = Ended::Refused {
        status: 503,
        retry_after: Some(120 * SECOND),
    };
    let again_in = test.lose(refused).unwrap();
    assert!((120 * SECOND..=180 * SECOND).contains(&again_in), "{again_in:?}");
    test.out.clear();
    test.agent.network_changed(test.now, &mut test.out);
    assert_eq!(test.out, [], "another network is no reason");
}

/// WS-PNG-1, WS-CON-8: silence is asked about at a learned interval, and no answer means that nobody is there.
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

/// WS-CLS-2: nobody who answers too late, or not at all, is waited for.
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
    // Answers that nobody waits for change nothing.
    let before = test.agent.durable().clone();
    test.confirm(name(1), 99);
    test.confirm(name(9), 99);
    test.agent.unregistered(name(1), true, test.now, &mut test.out);
    assert_eq!(test.agent.durable(), &before);
}
