//! Why there is no channel, in sentences for people.

use push_protocol::session::user_agent::{ChannelEnd, DisconnectReason};

/// `said` is the service's explanation.
pub(super) fn sentence(why: DisconnectReason, said: Option<&str>) -> String {
    let text = text(why);
    match said {
        Some(said) => format!("{text}; the service says: {said}"),
        None => text,
    }
}

fn text(why: DisconnectReason) -> String {
    let text = match why {
        DisconnectReason::Ended(ChannelEnd::Unreachable) => "the service cannot be reached",
        DisconnectReason::Ended(ChannelEnd::Refused { status, .. }) => {
            return format!("the service refused the connection with HTTP status {status}");
        }
        DisconnectReason::Ended(ChannelEnd::Closed(Some(1001))) => {
            "the service shuts down and said to connect again"
        }
        DisconnectReason::Ended(ChannelEnd::Closed(Some(1012))) => "the service restarts",
        DisconnectReason::Ended(ChannelEnd::Closed(Some(1013))) => {
            "the service has an error and said to connect later"
        }
        DisconnectReason::Ended(ChannelEnd::Closed(Some(4774))) => "the service said not to connect again",
        DisconnectReason::Ended(ChannelEnd::Closed(Some(code))) => {
            return format!("the service closed the channel with code {code}");
        }
        DisconnectReason::Ended(ChannelEnd::Closed(None)) => "the service closed the channel",
        DisconnectReason::Ended(ChannelEnd::Lost) => "the connection was lost",
        DisconnectReason::Ended(ChannelEnd::Garbled) => "the service broke the protocol",
        DisconnectReason::NotOpened => "connecting took too long",
        DisconnectReason::NoAnswer => "the service didn't answer in time",
        DisconnectReason::NoWelcome => {
            "the service's answer to hello cannot be used: is this a Web Push service for user agents?"
        }
        DisconnectReason::Nonsense => {
            "the service sent something that cannot be understood: is this a Web Push service for user \
             agents?"
        }
        DisconnectReason::Forgotten => {
            "the service says that it does not know this user agent; it is asked again before new \
             subscriptions are made"
        }
        DisconnectReason::CatchUp => "a new channel is opened to fetch messages that the service kept",
        DisconnectReason::Stopped => "stopped",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The service's own words follow ours.
    #[test]
    fn the_service_explains_itself() {
        let refused = DisconnectReason::Ended(ChannelEnd::Refused {
            status: 400,
            retry_after: None,
        });
        assert_eq!(
            sentence(refused, Some("Ask for events.")),
            "the service refused the connection with HTTP status 400; the service says: Ask for events."
        );
        assert_eq!(
            sentence(DisconnectReason::Ended(ChannelEnd::Closed(Some(1012))), None),
            "the service restarts"
        );
    }
}
