//! A message as handlers get it, and why a handler did not handle it.

use std::io;

use push_protocol::{Topic, Urgency};
use user_agent_client::Message;
use user_agent_client::message::Data;

use super::supervisor::Environment;

/// A message, as handlers get it.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) subscription: String,
    pub(super) id: String,
    pub(super) attempt: u32,
    /// When the service accepted it, if the service says so: milliseconds since 1970.
    pub(super) time: Option<u64>,
    /// When it came to this machine: milliseconds since 1970.
    pub(super) received: u64,
    pub(super) urgency: Option<Urgency>,
    pub(super) topic: Option<Topic>,
    /// `None`: it was sent without data.
    pub(super) data: Option<Data>,
}

/// Why a message was not handled.
#[derive(Debug)]
pub(super) enum NotHandled {
    /// This attempt failed; and why. Most likely another message would have succeeded.
    Failed(String),
    /// Nothing can be done at the moment, with any message; and why. This was no attempt.
    Unable(String),
    /// The command was ended by a signal that asks a process to end. If such a signal comes to `listen`, too, this was no attempt.
    Stopped(String),
    /// Standard output is closed: no message can be handled.
    Closed(io::Error),
}

impl Delivery {
    pub(super) fn of(message: &Message) -> Self {
        Self {
            subscription: message.subscription().to_owned(),
            id: message.id().to_owned(),
            attempt: message.attempt(),
            time: message.time(),
            received: message.received(),
            urgency: message.urgency(),
            topic: message.topic(),
            data: message.data().cloned(),
        }
    }

    /// What a command is told beside the content.
    pub(super) fn environment(&self) -> Environment {
        let mut environment = Environment::default();
        environment.set("PUSH_SUBSCRIPTION", Some(self.subscription.as_str()));
        environment.set("PUSH_MESSAGE_ID", Some(self.id.as_str()));
        environment.set("PUSH_ATTEMPT", Some(self.attempt.to_string()));
        environment.set("PUSH_TIME", self.time.map(|time| time.to_string()));
        environment.set("PUSH_RECEIVED", Some(self.received.to_string()));
        environment.set("PUSH_URGENCY", self.urgency.map(Urgency::as_str));
        environment.set("PUSH_TOPIC", self.topic.as_ref().map(Topic::as_str));
        environment
    }

    /// For the tests of what is done with one.
    #[cfg(test)]
    pub(super) fn example(subscription: &str, data: Option<Data>) -> Self {
        Self {
            subscription: subscription.to_owned(),
            id: "7".to_owned(),
            attempt: 1,
            time: None,
            received: 1_500,
            urgency: None,
            topic: None,
            data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R30-URG-4, R30-TOP-7: a command is told all that is known of a message; what no service said is not in its environment.
    #[test]
    fn a_command_is_told_what_is_known() {
        let delivery = Delivery::example("door", None);
        let environment = delivery.environment();
        let rows = [
            ("PUSH_SUBSCRIPTION", Some("door")),
            ("PUSH_MESSAGE_ID", Some("7")),
            ("PUSH_ATTEMPT", Some("1")),
            ("PUSH_RECEIVED", Some("1500")),
            ("PUSH_TIME", None),
            ("PUSH_URGENCY", None),
            ("PUSH_TOPIC", None),
        ];
        for (name, value) in rows {
            assert_eq!(environment.get(name), value, "{name}");
        }
        let all = Delivery {
            time: Some(1_000),
            urgency: Some(Urgency::VeryLow),
            topic: Topic::parse("t_1"),
            ..delivery
        };
        let environment = all.environment();
        for (name, value) in [
            ("PUSH_TIME", "1000"),
            ("PUSH_URGENCY", "very-low"),
            ("PUSH_TOPIC", "t_1"),
        ] {
            assert_eq!(environment.get(name), Some(value), "{name}");
        }
    }
}
