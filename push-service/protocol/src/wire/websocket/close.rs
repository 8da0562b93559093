//! Which code and which sentence each end of a channel gets.

use crate::session::CloseReason;
use crate::wire::frame::FrameError;

/// The WebSocket close code for a reason (RFC 6455 §7.4.1). Firefox comes back after every one of them, with back-off;
/// 4774, which would keep it away, is never sent.
// WS-CLS-1.
pub fn close_code(reason: CloseReason) -> u16 {
    match reason {
        // The last one ends monitors, and is never said on a WebSocket.
        CloseReason::GoingAway | CloseReason::Unknown | CloseReason::CaughtUp => 1001,
        CloseReason::Protocol(_) => 1002,
        CloseReason::Binary => 1003,
        CloseReason::NotUtf8 => 1007,
        CloseReason::TooManyRequests | CloseReason::OverBudget | CloseReason::SlowReader => 1008,
        CloseReason::TooLarge => 1009,
        CloseReason::HelloTimeout
        | CloseReason::NotHello
        | CloseReason::SecondHello
        | CloseReason::Malformed(_)
        | CloseReason::Displaced
        | CloseReason::PongTimeout => 1011,
        CloseReason::ServiceRestart => 1012,
        CloseReason::TryAgainLater => 1013,
    }
}

/// What is said with the code: a sentence for people who debug the user agent.
pub fn close_text(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::GoingAway => "this node is shutting down: connect again",
        CloseReason::Unknown => "this user agent is not known, or has been ended: connect again",
        CloseReason::CaughtUp => "no more messages wait",
        CloseReason::Protocol(what) | CloseReason::Malformed(what) => what,
        CloseReason::Binary => "binary messages are not supported: send JSON objects as text",
        CloseReason::NotUtf8 => "a text message is not UTF-8",
        CloseReason::TooManyRequests => "too many pings",
        CloseReason::OverBudget => "too many requests: connect again later; no message is lost",
        CloseReason::SlowReader => "nothing was read for too long; waiting messages stay stored",
        CloseReason::TooLarge => "a message is too large",
        CloseReason::HelloTimeout => "hello did not arrive in time",
        CloseReason::NotHello => "the first message must be hello",
        CloseReason::SecondHello => "hello was sent twice on one connection",
        CloseReason::Displaced => "this user agent has opened a newer connection",
        CloseReason::PongTimeout => "a ping was not answered in time",
        CloseReason::ServiceRestart => "storage failed and the service restarts: connect again",
        CloseReason::TryAgainLater => "storage is unavailable: connect again later; no message is lost",
    }
}

impl From<FrameError> for CloseReason {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Protocol(what) => Self::Protocol(what),
            FrameError::NotUtf8 => Self::NotUtf8,
            FrameError::TooLarge => Self::TooLarge,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WS-CON-3, WS-CON-5, WS-CON-6, WS-CON-8, WS-HEL-9, WS-HEL-11, WS-TYP-2, WS-CLS-1: each reason has its code, its
    /// sentence fits a close frame, and no code keeps Firefox away.
    #[test]
    fn codes() {
        let rows = [
            (CloseReason::GoingAway, 1001),
            (CloseReason::Unknown, 1001),
            (CloseReason::Protocol("x"), 1002),
            (CloseReason::Binary, 1003),
            (CloseReason::NotUtf8, 1007),
            (CloseReason::TooManyRequests, 1008),
            (CloseReason::OverBudget, 1008),
            (CloseReason::SlowReader, 1008),
            (CloseReason::TooLarge, 1009),
            (CloseReason::HelloTimeout, 1011),
            (CloseReason::NotHello, 1011),
            (CloseReason::SecondHello, 1011),
            (CloseReason::Malformed("x"), 1011),
            (CloseReason::Displaced, 1011),
            (CloseReason::PongTimeout, 1011),
            (CloseReason::ServiceRestart, 1012),
            (CloseReason::TryAgainLater, 1013),
        ];
        for (reason, code) in rows {
            assert_eq!(close_code(reason), code, "{reason:?}");
            assert!((1..=123).contains(&close_text(reason).len()));
        }
    }
}
