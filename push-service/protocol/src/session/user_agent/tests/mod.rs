//! The user agent's session against a service that is good, slow, away, or lies.

mod attempts;
mod channels;
mod forgotten;
mod messages;
mod outages;
mod sets;
mod shares;
mod stopping;
mod subscriptions;
mod wishes;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::identifiers::SubscriptionName;
use crate::message::{Coding, Content};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn limits() -> Limits {
    Limits {
        connect_within: 30 * SECOND,
        answer_within: 10 * SECOND,
        keepalive_least: 45 * SECOND,
        keepalive_most: 300 * SECOND,
        keepalive_floor: 20 * SECOND,
        backoff_least: SECOND / 10,
        backoff_base: SECOND,
        backoff_most: 300 * SECOND,
        retry_after_most: 86_400 * SECOND,
        steady_after: 10 * SECOND,
        forgotten_apart: 5 * SECOND,
        network_apart: 2 * SECOND,
        network_calm: 60 * SECOND,
        held_messages: 4,
        held_bytes: 10_000,
        attempts: 3,
        crashes: 4,
        retry_base: SECOND,
        retry_most: 60 * SECOND,
        pause_base: SECOND,
        pause_most: 60 * SECOND,
        requests: 2,
        ask_again_after: 5 * SECOND,
        nonsense: 10,
        wish_every: 5 * SECOND,
        stop_within: 20 * SECOND,
    }
}

fn name(number: u8) -> SubscriptionName {
    SubscriptionName([number; 16])
}

fn key(name: SubscriptionName, id: &str) -> MessageKey {
    MessageKey::of(&name.to_string(), id)
}

fn url(number: u32) -> PushResource {
    PushResource::parse(&format!("https://push.example.net/{number}")).unwrap()
}

fn identity(text: &str) -> Option<Identity> {
    Identity::parse(text)
}

pub(super) fn message(subscription: SubscriptionName, id: &str) -> Arrived {
    Arrived {
        subscription: subscription.to_string().into(),
        id: id.into(),
        content: Some(Content {
            coding: Coding::Absent,
            media_type: None,
            body: Bytes::from_static(b"body"),
        }),
        metadata: None,
    }
}

/// A user agent, the time, and what it asked for since it was last looked at.
struct Test {
    agent: UserAgent,
    now: Moment,
    out: Vec<Action>,
}

impl Test {
    fn new(durable: Durable) -> Self {
        Self {
            agent: UserAgent::new(Arc::new(limits()), durable, 7),
            now: Moment(1_000_000),
            out: Vec::new(),
        }
    }

    /// Connected, with these subscriptions confirmed.
    fn live(names: &[SubscriptionName]) -> Self {
        Self::new(Durable::default()).brought_to_life(names)
    }

    fn brought_to_life(mut self, names: &[SubscriptionName]) -> Self {
        let test = &mut self;
        for name in names {
            test.agent.subscribe(*name, None, test.now, &mut test.out);
        }
        test.connect("me");
        for (number, name) in names.iter().enumerate() {
            test.confirm(*name, number as u32);
        }
        test.out.clear();
        self
    }

    /// The next channel, when it is time: what the hello shows.
    fn opens(&mut self) -> Option<Identity> {
        self.out.clear();
        self.now = self.now.max(self.agent.next_due());
        self.agent.tick(self.now, &mut self.out);
        assert_eq!(self.out, [Action::Connect]);
        self.agent.opened(self.now, &mut self.out);
        match self.said().pop() {
            Some(Say::Hello(shown, _)) => shown,
            other => panic!("{other:?}"),
        }
    }

    /// The next channel, on which the service says who we are. What was shown.
    fn welcomed_as(&mut self, as_whom: &str) -> Option<Identity> {
        let shown = self.opens();
        self.agent.welcomed(identity(as_whom), self.now, &mut self.out);
        shown
    }

    /// Lets time pass, deadline by deadline. A millisecond before each of them nothing happens, and none comes twice.
    fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        while self.agent.next_due() <= end {
            let due = self.now.max(self.agent.next_due());
            self.passes_in_vain(Moment(due.0 - 1));
            self.now = due;
            self.agent.tick(self.now, &mut self.out);
            assert!(self.agent.next_due() > self.now, "it was due");
        }
        self.passes_in_vain(end);
        self.now = end;
    }

    /// Nothing is due until then.
    fn passes_in_vain(&mut self, until: Moment) {
        let mut out = Vec::new();
        if self.now <= until {
            self.agent.tick(until, &mut out);
        }
        assert_eq!(out, [], "at {until:?}, due at {:?}", self.agent.next_due());
    }

    /// The same, with a service that is heard all the time.
    fn pass_alive(&mut self, time: Duration) {
        let end = self.now.after(time);
        while self.now < end {
            self.agent.heard(self.now);
            self.pass(end.since(self.now).min(5 * SECOND));
        }
        self.agent.heard(self.now);
    }

    fn connect(&mut self, as_whom: &str) {
        self.agent.tick(self.now, &mut self.out);
        assert!(self.out.contains(&Action::Connect), "{:?}", self.out);
        self.agent.opened(self.now, &mut self.out);
        self.agent.welcomed(identity(as_whom), self.now, &mut self.out);
    }

    fn confirm(&mut self, name: SubscriptionName, number: u32) {
        let answer = Registered::At(url(number));
        self.agent.registered(name, answer, self.now, &mut self.out);
    }

    fn arrives(&mut self, message: Arrived) {
        self.agent.arrived(message, self.now, &mut self.out);
    }

    /// What comes of a message of the first subscription.
    fn handles(&mut self, id: &str, outcome: Outcome) {
        self.handles_of(name(1), id, outcome);
    }

    fn handles_of(&mut self, name: SubscriptionName, id: &str, outcome: Outcome) {
        self.agent
            .handled(key(name, id), outcome, self.now, &mut self.out);
    }

    fn lose(&mut self, ended: ChannelEnd) -> Option<Duration> {
        self.agent.channel_ended(ended, self.now, &mut self.out);
        match self.events().last() {
            Some(Event::Disconnected { again_in, .. }) => *again_in,
            other => panic!("{other:?}"),
        }
    }

    fn events(&mut self) -> Vec<Event> {
        let event = |action| match action {
            Action::Tell(event) => Some(event),
            _ => None,
        };
        self.out.drain(..).filter_map(event).collect()
    }

    fn said(&mut self) -> Vec<Say> {
        let say = |action| match action {
            Action::Say(say) => Some(say),
            _ => None,
        };
        self.out.drain(..).filter_map(say).collect()
    }

    /// Ids of the messages that were handed over, with the attempt. The application takes them all.
    fn handed_over(&mut self) -> Vec<(String, u32)> {
        let handed = |action| match action {
            Action::HandOver { message, attempt } => Some((message, attempt)),
            _ => None,
        };
        let handed: Vec<_> = self.out.drain(..).filter_map(handed).collect();
        let mut taken = Vec::new();
        for (message, attempt) in handed {
            if self.agent.taken(message.key(), &mut self.out) {
                taken.push((message.id.to_string(), attempt));
            }
        }
        taken
    }

    fn acknowledged(&mut self) -> Vec<(String, Disposition)> {
        let acknowledged = |say| match say {
            Say::Acknowledge { message, disposition } => Some((message.id.to_string(), disposition)),
            _ => None,
        };
        self.said().into_iter().filter_map(acknowledged).collect()
    }

    /// After a crash and a new connection.
    fn restarted(self) -> Self {
        let mut test = Self::new(self.agent.durable().clone());
        test.connect("me");
        test.out.clear();
        test
    }
}

fn delivered(id: &str) -> (String, Disposition) {
    (id.into(), Disposition::Delivered)
}
