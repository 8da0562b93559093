//! Why there is no channel, in sentences for people.

use push_protocol::session::user_agent::{ChannelEnd, Why};

/// `said` is the service's explanation.
pub(super) fn sentence(why: Why, said: Option<&str>) -> String {
    let text = text(why);
    match said {
        Some(said) => format!("{text}; the service says: {said}"),
        None => text,
    }
}

fn text(why: Why) -> String {
    let text = match why {
        Why::Ended(ChannelEnd::Unreachable) => "the service cannot be reached",
        Why::Ended(ChannelEnd::Refused { status, .. }) => {
            return format!("the service refused the connection with HTTP status {status}");
        }
        Why::Ended(ChannelEnd::Closed(Some(1001))) => "the service shuts down and said to connect again",
        Why::Ended(ChannelEnd::Closed(Some(1012))) => "the service restarts",
        Why::Ended(ChannelEnd::Closed(Some(1013))) => "the service has an error and said to connect later",
        Why::Ended(ChannelEnd::Closed(Some(4774))) => "the service said not to connect again",
        Why::Ended(ChannelEnd::Closed(Some(code))) => {
            return format!("the service closed the channel with code {code}");
        }
        Why::Ended(ChannelEnd::Closed(None)) => "the service closed the channel",
        Why::Ended(ChannelEnd::Lost) => "the connection was lost",
        Why::Ended(ChannelEnd::Garbled) => "the service broke the protocol",
        Why::NotOpened => "connecting took too long",
        Why::NoAnswer => "the service didn't answer in time",
        Why::NoWelcome => {
            "the service's answer to hello cannot be used: is this a Web Push service for user agents?"
        }
        Why::Nonsense => {
            "the service sent something that cannot be understood: is this a Web Push service for user \
             agents?"
        }
        Why::Forgotten => {
            "the service says that it does not know this user agent; it is asked again before new \
             subscriptions are made"
        }
        Why::CatchUp => "a new channel is opened to fetch messages that the service kept",
        Why::Stopped => "stopped",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The service's own words follow ours.
    #[test]
    fn the_service_explains_itself() {
        let refused = Why::Ended(ChannelEnd::Refused {
            status: 400,
            retry_after: None,
        });
        assert_eq!(
            sentence(refused, Some("Ask for events.")),
            "the service refused the connection with HTTP status 400; the service says: Ask for events."
        );
        assert_eq!(
            sentence(Why::Ended(ChannelEnd::Closed(Some(1012))), None),
            "the service restarts"
        );
    }
}
