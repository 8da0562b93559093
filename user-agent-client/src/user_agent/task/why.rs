//! Why there is no channel, in sentences for people.

use push_protocol::session::user_agent::{Ended, Why};

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
        Why::Ended(Ended::Unreachable) => "the service can't be reached",
        Why::Ended(Ended::Refused { status, .. }) => {
            return format!("the service refused with HTTP status {status}");
        }
        Why::Ended(Ended::Closed(Some(1001))) => "the service leaves: it said to connect again",
        Why::Ended(Ended::Closed(Some(1012))) => "the service restarts",
        Why::Ended(Ended::Closed(Some(1013))) => "the service has trouble and said to come back later",
        Why::Ended(Ended::Closed(Some(4774))) => "the service said to stay away",
        Why::Ended(Ended::Closed(Some(code))) => {
            return format!("the service closed the channel with code {code}");
        }
        Why::Ended(Ended::Closed(None)) => "the service closed the channel",
        Why::Ended(Ended::Lost) => "the connection broke",
        Why::Ended(Ended::Garbled) => "the service doesn't keep to the protocol",
        Why::NotOpened => "connecting took too long",
        Why::NoAnswer => "the service didn't answer in time",
        Why::NoWelcome => "the service's hello can't be used: is this a Web Push service for user agents?",
        Why::Nonsense => "the service says what means nothing: is this a Web Push service for user agents?",
        Why::Forgotten => {
            "the service says that it doesn't know this user agent: it is asked again before anything is made anew"
        }
        Why::CatchUp => "messages were left with the service, and are fetched now",
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
        let refused = Why::Ended(Ended::Refused {
            status: 400,
            retry_after: None,
        });
        assert_eq!(
            sentence(refused, Some("Ask for events.")),
            "the service refused with HTTP status 400; the service says: Ask for events."
        );
        assert_eq!(
            sentence(Why::Ended(Ended::Closed(Some(1012))), None),
            "the service restarts"
        );
    }
}
