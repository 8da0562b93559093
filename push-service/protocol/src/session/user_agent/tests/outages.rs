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

/// A service that offers what is not acknowledged: each message once on a channel, in order, up to its window, of which it frees the
/// place of a message that is not acknowledged for a minute.
struct Service {
    waiting: Vec<Arrived>,
    window: usize,
    offered: Vec<(MessageKey, Moment)>,
    channels: usize,
    /// Each try, in order.
    tried: Vec<String>,
}

impl Service {
    const FREED_AFTER: Duration = Duration::from_secs(60);

    fn new(window: usize, waiting: Vec<Arrived>) -> Self {
        Self {
            waiting,
            window,
            offered: Vec::new(),
            channels: 0,
            tried: Vec::new(),
        }
    }

    fn offers(&mut self, test: &mut Test) {
        for message in self.waiting.clone() {
            let in_window = |(key, at): &&(MessageKey, Moment)| {
                at.after(Self::FREED_AFTER) > test.now && self.waiting.iter().any(|other| other.key() == *key)
            };
            let is_full = self.offered.iter().filter(in_window).count() >= self.window;
            if is_full || !test.agent.is_live() {
                return;
            }
            if self.offered.iter().all(|(key, _)| *key != message.key()) {
                self.offered.push((message.key(), test.now));
                test.arrives(message);
            }
        }
    }

    /// Time passes, and the application ends each message at once.
    fn works(&mut self, test: &mut Test, time: Duration, outcome: impl Fn(&str) -> Outcome) {
        let end = test.now.after(time);
        loop {
            for action in std::mem::take(&mut test.out) {
                match action {
                    Action::HandOver { message, .. } => {
                        if !test.agent.taken(message.key(), &mut test.out) {
                            continue;
                        }
                        self.tried.push(message.id.to_string());
                        let outcome = outcome(&message.id);
                        test.agent
                            .handled(message.key(), outcome, test.now, &mut test.out);
                    }
                    Action::Say(Say::Acknowledge { message, .. }) => {
                        self.waiting.retain(|other| other.key() != message.key());
                    }
                    Action::Connect => {
                        self.channels += 1;
                        self.offered.clear();
                        test.agent.opened(test.now, &mut test.out);
                        test.agent.welcomed(identity("me"), test.now, &mut test.out);
                    }
                    _ => {}
                }
            }
            self.offers(test);
            if !test.out.is_empty() {
                continue;
            }
            let freed = self.offered.iter().map(|(_, at)| at.after(Self::FREED_AFTER));
            let freed = freed.filter(|at| *at > test.now).min().unwrap_or(Moment::NEVER);
            let due = test.agent.next_due().min(freed);
            if due > end {
                test.now = end;
                return;
            }
            test.now = test.now.max(due);
            test.agent.heard(test.now);
            test.agent.tick(test.now, &mut test.out);
        }
    }
}

/// With what is bad the application says that it can't work: that counts for nothing, however often.
fn unable_if_bad(id: &str) -> Outcome {
    match id.starts_with("bad") {
        true => Outcome::Unable,
        false => Outcome::Succeeded,
    }
}

/// Fails on what is bad.
fn failed_if_bad(id: &str) -> Outcome {
    match id.starts_with("bad") {
        true => Outcome::Failed,
        false => Outcome::Succeeded,
    }
}

const HOUR: Duration = Duration::from_secs(3_600);

/// `bad 0` and so on, in front of `good 0` and so on.
fn bad_then_good(bad: usize, good: usize) -> Vec<Arrived> {
    let bad = (0..bad).map(|number| message(name(1), &format!("bad {number}")));
    let good = (0..good).map(|number| message(name(1), &format!("good {number}")));
    bad.chain(good).collect()
}

/// What is good is tried once each, in the order in which the service offers it.
fn assert_good_in_order(service: &Service, good: usize) {
    let tried = service.tried.iter().filter(|id| id.starts_with("good"));
    let expected: Vec<_> = (0..good).map(|number| format!("good {number}")).collect();
    assert!(tried.eq(expected.iter()), "{:?}", service.tried);
}

/// PR-45, PR-46: a subscription that may hold one message and has a bad one is not stuck: what is behind it is handled, in order. An
/// outage does not count against the message, so it is not given up.
#[test]
fn a_share_of_one_with_a_bad_message() {
    let mut test = Test::live(&[name(1)]);
    Arc::make_mut(&mut test.agent.limits).held_messages = 1;
    let mut service = Service::new(32, bad_then_good(1, 10));
    service.works(&mut test, HOUR, unable_if_bad);
    assert_good_in_order(&service, 10);
    assert_eq!(service.waiting, bad_then_good(1, 0));
    assert_eq!((test.agent.counters().given_up, test.agent.held()), (0, 1));
}

/// PR-45, PR-46: the same for a share that is full of bad ones, and for several times as many, also with a service whose window is full
/// of them.
#[test]
fn a_share_full_of_bad_messages() {
    for (bad, window) in [(4, 32), (5, 32), (12, 32), (5, 4), (5, 2), (12, 4)] {
        let mut test = Test::live(&[name(1)]);
        let mut service = Service::new(window, bad_then_good(bad, 10));
        service.works(&mut test, 24 * HOUR, unable_if_bad);
        assert_good_in_order(&service, 10);
        let left = service.waiting.len();
        assert!(left <= bad, "{bad} bad, a window of {window}: {left} left");
        assert!(
            service
                .waiting
                .iter()
                .all(|message| message.id.starts_with("bad"))
        );
    }
}

/// PR-45, PR-46: pauses that messages in front of others begin again and again are counted for those, although they are set aside in
/// each: they are given up.
#[test]
fn what_is_set_aside_is_given_up_in_the_end() {
    let mut test = Test::live(&[name(1)]);
    let mut service = Service::new(32, bad_then_good(6, 1));
    for number in 1..40 {
        service.works(&mut test, HOUR, failed_if_bad);
        service.waiting.push(message(name(1), &format!("good {number}")));
    }
    service.works(&mut test, HOUR, failed_if_bad);
    assert_good_in_order(&service, 40);
    assert_eq!(service.waiting, []);
    assert_eq!(test.agent.counters().given_up, 6);
}

/// PR-45, PR-46: in an outage no message is given up or acknowledged, each gets its turn, and new channels that are opened for what
/// doesn't fit are few: with a share of one, and with a larger one. All of it is handled when the outage is over.
#[test]
fn a_pause_makes_few_connections() {
    for (held, most) in [(1, 12), (4, 12)] {
        let mut test = Test::live(&[name(1)]);
        Arc::make_mut(&mut test.agent.limits).held_messages = held;
        let mut service = Service::new(32, bad_then_good(0, 8));
        service.works(&mut test, HOUR, |_| Outcome::Unable);
        let channels = service.channels;
        assert!((1..=most).contains(&channels), "{channels} with {held} held");
        let last = service.tried.split_off(service.tried.len() / 2);
        for number in 0..8 {
            let id = format!("good {number}");
            assert!(held == 1 || last.contains(&id), "{id}, held {held}: {last:?}");
        }
        assert_eq!((test.agent.counters().given_up, service.waiting.len()), (0, 8));
        service.works(&mut test, 24 * HOUR, |_| Outcome::Succeeded);
        assert_eq!((service.waiting.len(), test.agent.held()), (0, 0));
        assert!(service.channels <= channels + 20);
        service.channels = 0;
        service.works(&mut test, HOUR, |_| Outcome::Succeeded);
        assert_eq!(service.channels, 0);
    }
}

/// PR-45, PR-46: messages that expire while they are set aside are not asked for again and again.
#[test]
fn nothing_is_asked_for_that_is_gone() {
    let mut test = Test::live(&[name(1)]);
    Arc::make_mut(&mut test.agent.limits).held_messages = 1;
    let mut service = Service::new(32, bad_then_good(2, 0));
    service.works(&mut test, HOUR, unable_if_bad);
    service.waiting.retain(|message| test.agent.holds(message.key()));
    service.works(&mut test, HOUR, unable_if_bad);
    service.channels = 0;
    service.works(&mut test, 10 * HOUR, unable_if_bad);
    assert_eq!((service.channels, test.agent.held()), (0, 1));
}

/// PR-45, R30-MON-12: who fetches what waits gets what is behind bad messages, too, in a round of its own.
#[test]
fn fetching_behind_bad_messages() {
    let mut test = Test::fetching(&[name(1), name(2)]);
    for id in ["bad 0", "bad 1", "good"] {
        test.arrives(message(name(1), id));
    }
    test.caught_up(false);
    assert!(!test.agent.holds(key(name(1), "good")));
    let mut rounds = 0;
    for _ in 0..600 {
        let is_round = |action: &Action| matches!(action, Action::Say(Say::Bring(_)));
        let begins = test.out.iter().any(is_round);
        for (id, _) in test.handed_over() {
            test.handles(&id, unable_if_bad(&id));
        }
        if begins {
            rounds += 1;
            for id in ["bad 0", "bad 1", "good"] {
                test.arrives(message(name(1), id));
            }
            test.caught_up(false);
        }
        if test.agent.durable().messages.is_done(key(name(1), "good")) {
            assert!(rounds <= 2, "{rounds}");
            return;
        }
        test.pass_alive(SECOND);
    }
    panic!("never tried");
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

/// PR-45: a pause does not end, nor does it wait for ever, when the message that is tried in it turns out to be unreadable or is given
/// back: then the next one is tried.
#[test]
fn a_trial_that_judges_nothing_is_followed_by_another() {
    for outcome in [Outcome::NotDecrypted, Outcome::Released] {
        let mut test = Test::live(&[name(1)]);
        for id in ["a", "b"] {
            test.arrives(message(name(1), id));
        }
        test.handed_over();
        for id in ["a", "b"] {
            test.handles(id, Outcome::Unable);
        }
        test.pass_alive(SECOND);
        assert_eq!(test.handed_over(), [("a".into(), 1)]);
        test.handles("a", outcome);
        assert_eq!(test.handed_over(), [("b".into(), 1)], "{outcome:?}");
        assert_eq!(test.pauses(), []);
    }
}

/// PR-45, PR-46: in a pause a new channel brings what does not fit only after the old one was quiet, and after each message that is held
/// was tried more often.
#[test]
fn a_new_channel_for_a_pause_has_to_be_due() {
    let mut test = Test::live(&[name(1)]);
    Arc::make_mut(&mut test.agent.limits).held_messages = 2;
    for id in ["a", "b", "c"] {
        test.arrives(message(name(1), id));
    }
    let taken = [key(name(1), "a"), key(name(1), "b")];
    test.agent.taken(taken[0], &mut test.out);
    test.handles("a", Outcome::Unable);
    assert!(test.agent.is_live(), "it brought a message just now");
    test.pass_alive(SECOND);
    assert_eq!(test.handed_over(), [("b".into(), 1)]);
    test.handles("b", Outcome::Unable);
    assert!(
        test.agent.is_live(),
        "both were tried, but it was not quiet for long"
    );

    let mut test = Test::live(&[name(1)]);
    Arc::make_mut(&mut test.agent.limits).held_messages = 2;
    for id in ["a", "b", "c"] {
        test.arrives(message(name(1), id));
    }
    test.pass_alive(crate::session::user_agent::outages::QUIET);
    test.agent.taken(taken[0], &mut test.out);
    test.handles("a", Outcome::Unable);
    assert!(test.agent.is_live(), "the other one was not tried");
    test.pass_alive(SECOND);
    test.handed_over();
    test.handles("b", Outcome::Unable);
    assert!(!test.agent.is_live());
}

/// PR-45, PR-46: a message that was set aside, comes again and doesn't fit stops none of those behind it.
#[test]
fn what_stays_aside_stops_nothing() {
    let mut test = Test::live(&[name(1)]);
    Arc::make_mut(&mut test.agent.limits).held_messages = 1;
    test.arrives(message(name(1), "a"));
    test.handed_over();
    test.handles("a", Outcome::Unable);
    test.arrives(message(name(1), "b"));
    assert!(test.agent.holds(key(name(1), "b")) && !test.agent.holds(key(name(1), "a")));
    test.pass_alive(SECOND);
    test.handed_over();
    test.handles("b", Outcome::Unable);
    let again_in = test.lose(ChannelEnd::Lost).unwrap();
    test.pass(again_in);
    test.connect("me");
    test.arrives(message(name(1), "a"));
    assert!(test.agent.holds(key(name(1), "b")), "both were tried as often");
    test.arrives(message(name(1), "c"));
    assert!(test.agent.holds(key(name(1), "c")) && !test.agent.holds(key(name(1), "b")));
}

/// PR-45, PR-46: in a pause a message takes the place of one that was tried more often, by bytes as well.
#[test]
fn places_are_given_up_by_bytes() {
    let large = |id: &str, bytes: usize| {
        let mut large = message(name(1), id);
        large.content.as_mut().unwrap().body = vec![0; bytes - id.len()].into();
        large
    };
    for (bytes, fits) in [(6_000, true), (6_001, false)] {
        let mut test = Test::live(&[name(1)]);
        for id in ["a", "b"] {
            test.arrives(large(id, 4_000));
        }
        test.agent.taken(key(name(1), "a"), &mut test.out);
        test.handles("a", Outcome::Unable);
        test.arrives(large("c", bytes));
        assert_eq!(test.agent.holds(key(name(1), "c")), fits, "{bytes}");
        assert_eq!(test.agent.holds(key(name(1), "a")), !fits);
        assert!(test.agent.holds(key(name(1), "b")), "it was never tried");
    }
}

/// PR-45: a message that was set aside in enough pauses is given up when it comes again after the last of them, and not before.
#[test]
fn enough_pauses_are_counted_while_set_aside() {
    for (pauses, is_given_up) in [(2, false), (3, true), (4, true)] {
        let mut test = Test::live(&[name(1)]);
        Arc::make_mut(&mut test.agent.limits).held_messages = 1;
        test.arrives(message(name(1), "a"));
        test.handed_over();
        test.handles("a", Outcome::Unable);
        test.agent.held.get_mut(key(name(1), "a")).unwrap().outages = pauses;
        test.arrives(message(name(1), "b"));
        test.pass_alive(SECOND);
        test.handed_over();
        test.handles("b", Outcome::Succeeded);
        if !test.agent.is_live() {
            test.pass(SECOND);
            test.connect("me");
        }
        test.out.clear();
        test.arrives(message(name(1), "a"));
        let gave_up = Event::GaveUp {
            name: name(1),
            message: key(name(1), "a"),
            reason: GiveUpReason::Outages,
        };
        assert_eq!(test.events().contains(&gave_up), is_given_up, "{pauses}");
    }
}
