//! Events as sentences for people. No sentence holds a capability URL or a key.

use std::time::Duration;

use user_agent_client::Event;
use user_agent_client::user_agent::GiveUpReason;

/// The sentence for an event; `None` for a message.
pub(super) fn sentence(event: &Event) -> Option<String> {
    Some(match event {
        Event::Message(_) | Event::Failed(_) | Event::Unsubscribed => return None,
        Event::Empty => "no more messages wait".to_owned(),
        Event::Delayed => {
            "connected; waiting for the service's answer (a service delays user agents that connect often)"
                .to_owned()
        }
        Event::Connected => "connected".to_owned(),
        Event::WithoutPush => {
            "server push does not work with this service, or a proxy blocks it: messages come as \
             Server-Sent Events"
                .to_owned()
        }
        Event::Disconnected { why, again_in } => disconnected(why, *again_in),
        Event::Subscribed(subscription) => {
            format!("{}: the service confirmed the subscription", subscription.label)
        }
        Event::Renewed(subscription) => renewed(&subscription.label),
        Event::Refused { label, why } => {
            format!("{label}: the service refused this subscription, and it was removed: {why}")
        }
        Event::Waiting { label, why, again_in } => {
            format!("{label}: {why}; trying again in {}", seconds(*again_in))
        }
        Event::GaveUp { label, reason } => gave_up(label, *reason),
        Event::Paused { label, again_in } => format!(
            "{label}: messages cannot be handled now and wait; one is tried again in {}",
            seconds(*again_in)
        ),
        Event::Resumed { label } => format!("{label}: messages can be handled again"),
        Event::AcknowledgementsWait { again_in } => format!(
            "the service does not accept acknowledgements now; they are sent again in {}",
            seconds(*again_in)
        ),
        // What a later library may tell of.
        _ => return None,
    })
}

fn gave_up(label: &str, reason: GiveUpReason) -> String {
    let why = match reason {
        GiveUpReason::Attempts => "failed too often",
        GiveUpReason::Crashes => {
            "failed in several runs of this program, or was being handled when it was killed or crashed, too often"
        }
        GiveUpReason::Outages => "failed too often, while other messages could be handled",
    };
    format!("{label}: a message {why}; it is given up, and acknowledged")
}

fn renewed(label: &str) -> String {
    format!(
        "{label}: the service lost this subscription; a new one was made, with a new URL and new keys; the \
         old ones no longer work"
    )
}

fn disconnected(why: &str, again_in: Option<Duration>) -> String {
    let why = why.trim_end_matches('.');
    match again_in {
        Some(again_in) => format!("{why}; connecting again in {}", seconds(again_in)),
        None => format!("{why}; connecting again only when the network changes"),
    }
}

/// Whole seconds, rounded up.
pub(super) fn seconds(duration: Duration) -> String {
    format!(
        "{} s",
        duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
    )
}

#[cfg(test)]
mod tests {
    use user_agent_client::user_agent::RequestError;

    use super::*;

    /// What people wait for is said in whole seconds, and when nothing is going to happen by itself, that is said.
    #[test]
    fn sentences_say_when() {
        let event = |again_in| Event::Disconnected {
            why: "The connection broke.".into(),
            again_in,
        };
        let rows = [
            (
                Some(Duration::from_millis(2001)),
                "The connection broke; connecting again in 3 s",
            ),
            (
                Some(Duration::ZERO),
                "The connection broke; connecting again in 0 s",
            ),
            (
                None,
                "The connection broke; connecting again only when the network changes",
            ),
        ];
        for (again_in, expected) in rows {
            assert_eq!(sentence(&event(again_in)).unwrap(), expected);
        }
    }

    /// Everything that concerns a subscription names it.
    #[test]
    fn sentences_name_the_subscription() {
        let why = || RequestError::Status {
            status: 409,
            explanation: Some("no".into()),
        };
        let events = [
            Event::Refused {
                label: "door".into(),
                why: why(),
            },
            Event::Waiting {
                label: "door".into(),
                why: why(),
                again_in: Duration::from_secs(5),
            },
            Event::GaveUp {
                label: "door".into(),
                reason: GiveUpReason::Crashes,
            },
            Event::Paused {
                label: "door".into(),
                again_in: Duration::from_secs(1),
            },
            Event::Resumed { label: "door".into() },
        ];
        for event in events {
            let sentence = sentence(&event).unwrap();
            assert!(sentence.starts_with("door: "), "{sentence}");
        }
    }
}
