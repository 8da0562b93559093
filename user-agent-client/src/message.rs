//! What an application gets: a push message, decrypted, to be acknowledged when the work is done.

use std::fmt;
use std::sync::Arc;

use push_protocol::session::user_agent::{Arrived, MessageKey, Outcome};
use push_protocol::{Topic, Urgency};
use serde::de::DeserializeOwned;

use crate::queue::Sender;

/// A push message.
///
/// It stays with the push service until [`acknowledge`](Self::acknowledge) is called, which is what to do once the work
/// is done and durable. [`fail`](Self::fail), or dropping it, means that it failed: it comes again after a while, a
/// limited number of times. [`unable`](Self::unable) means that nothing can be handled at the moment. A crash in
/// between brings it again as well; only many crashes with the same message in hand give it up.
// WP-RCV-6, PR-45.
pub struct Message {
    label: Arc<str>,
    arrived: Arc<Arrived>,
    attempt: u32,
    data: Option<Data>,
    received: u64,
    verdict: Judge,
}

impl Message {
    pub(crate) fn new(
        label: Arc<str>,
        arrived: Arc<Arrived>,
        attempt: u32,
        data: Option<Data>,
        received: u64,
        verdicts: Sender<Verdict>,
    ) -> Self {
        let verdict = Judge {
            verdict: Verdict {
                message: arrived.key(),
                outcome: Outcome::Released,
                is_said: false,
            },
            to: verdicts,
        };
        Self {
            label,
            arrived,
            attempt,
            data,
            received,
            verdict,
        }
    }

    /// The application has it from now on: dropping it is a failure.
    pub(crate) fn seen(mut self) -> Self {
        self.verdict.verdict.outcome = Outcome::Failed;
        self
    }

    fn judge(mut self, outcome: Outcome) {
        self.verdict.verdict.outcome = outcome;
        self.verdict.verdict.is_said = true;
    }

    /// The name that its subscription was given by [`subscribe`](crate::user_agent::UserAgent::subscribe).
    pub fn subscription(&self) -> &str {
        &self.label
    }

    /// Its id: the same each time it comes, and unique within its subscription. Some services use the same id in several
    /// subscriptions, for messages that have nothing to do with each other.
    pub fn id(&self) -> &str {
        &self.arrived.id
    }

    /// Which attempt this is, from 1. A crash of the process while the application had it counts here. What was released, or
    /// could not be tried, does not.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When the service accepted it, by the service's clock: milliseconds since 1970. Said over HTTP/2 (RFC 8030 §6.1,
    /// `Last-Modified`, in whole seconds); over a WebSocket, services say nothing of it.
    pub fn time(&self) -> Option<u64> {
        self.arrived.metadata.as_deref()?.time
    }

    /// When it came to this process, by this machine's clock: milliseconds since 1970. The same at each attempt, until a restart.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// How urgent its sender said that it is. RFC 8030 §5.3 forbids services to pass it on, so it is nearly always `None`.
    pub fn urgency(&self) -> Option<Urgency> {
        self.arrived.metadata.as_deref()?.urgency
    }

    /// Its topic. RFC 8030 §5.4 forbids services to pass it on, so it is nearly always `None`.
    pub fn topic(&self) -> Option<Topic> {
        self.arrived.metadata.as_deref()?.topic
    }

    /// What it says; `None` if it was sent without a body, as a mere wake-up.
    // WP-RCV-3.
    pub fn data(&self) -> Option<&Data> {
        self.data.as_ref()
    }

    /// The work is done: the message is not needed any more. Returns at once; the acknowledgement is kept and sent in the
    /// background.
    pub fn acknowledge(self) {
        self.judge(Outcome::Succeeded);
    }

    /// The work failed: the message comes again after a while, or is given up if this was the last attempt. If several messages
    /// of a subscription fail in a row and none succeeds, the same is done as for [`unable`](Self::unable): then it is not
    /// the messages.
    // PR-45.
    pub fn fail(self) {
        self.judge(Outcome::Failed);
    }

    /// The application can't work at the moment, with any message of this subscription: what it needs is away. This was no
    /// attempt. All messages of the subscription wait, and one of them comes after a while to see whether it works again:
    /// [`Event::Paused`](crate::Event::Paused) says when, [`Event::Resumed`](crate::Event::Resumed) that it does.
    // PR-45.
    pub fn unable(self) {
        self.judge(Outcome::Unable);
    }

    /// Nothing was tried with it: for an application that is about to stop. It comes again on the next channel, and this
    /// was no attempt. The next channel is opened at once, unless the user agent is stopping: an application that goes on,
    /// and releases the same message again and again, is better off not reading [`Events`](crate::Events).
    pub fn release(self) {
        self.judge(Outcome::Released);
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("subscription", &self.label)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// What the application did with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Verdict {
    pub(crate) message: MessageKey,
    pub(crate) outcome: Outcome,
    /// The application said so. Otherwise the message was dropped, which an application that stops may do with all that it has.
    pub(crate) is_said: bool,
}

/// Reports the outcome of a message exactly once, also if the message is dropped.
struct Judge {
    verdict: Verdict,
    /// Not longer than the messages that are held, which the session bounds.
    to: Sender<Verdict>,
}

impl Drop for Judge {
    fn drop(&mut self) {
        // A user agent that is gone needs no verdict: the message comes again.
        let _ = self.to.try_send(self.verdict);
    }
}

/// The decrypted content of a message. Each way to read it may be used any number of times.
// WP-RCV-7.
#[derive(Clone, PartialEq, Eq)]
pub struct Data(Vec<u8>);

impl Data {
    /// As if these bytes had been sent: also for the tests of an application.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// As it was sent.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As text: UTF-8 without its byte order mark; bytes that are not UTF-8 become U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.without_mark()).into_owned()
    }

    /// As text, if all of it is; without its byte order mark.
    pub fn utf8(&self) -> Option<&str> {
        std::str::from_utf8(self.without_mark()).ok()
    }

    /// As JSON.
    ///
    /// # Errors
    ///
    /// Where it isn't, or is not a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.text())
    }

    fn without_mark(&self) -> &[u8] {
        self.0.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.0)
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use crate::queue::channel;

    use super::*;

    /// WP-RCV-7: bytes, text and JSON, as browsers read them.
    #[test]
    fn data_reads_as_in_browsers() {
        let data = |bytes: &[u8]| Data::new(bytes);
        let rows: [(&[u8], &str); 4] = [
            (b"", ""),
            ("Grüße ☃".as_bytes(), "Grüße ☃"),
            (b"\xef\xbb\xbfx", "x"),
            (b"a\xffb", "a\u{fffd}b"),
        ];
        for (bytes, text) in rows {
            assert_eq!(data(bytes).bytes(), bytes);
            assert_eq!(data(bytes).text(), text);
            assert_eq!(data(bytes).text(), text);
        }
        assert_eq!(data(b"\xef\xbb\xbfx").utf8(), Some("x"));
        assert_eq!(data(b"a\xffb").utf8(), None);
        assert_eq!(data(b"\xef\xbb\xbf[1,2]").json::<Vec<u8>>().unwrap(), [1, 2]);
        assert!(data(b"[1,").json::<Vec<u8>>().is_err());
        assert_eq!(format!("{:?}", data(b"secret")), "Data(6 bytes)");
    }

    /// WP-RCV-5, WP-RCV-6, PR-45: acknowledged, failed, unable, dropped, released, never seen: each is told once, and as what it is.
    #[test]
    fn every_message_gets_one_verdict() {
        let (to, mut verdicts) = channel(usize::MAX);
        let arrived = Arc::new(Arrived {
            subscription: "x".into(),
            id: "id".into(),
            content: None,
            metadata: None,
        });
        let message = || Message::new("news".into(), Arc::clone(&arrived), 1, None, 0, to.clone());
        message().seen().acknowledge();
        message().seen().fail();
        message().seen().unable();
        drop(message().seen());
        message().seen().release();
        drop(message());
        let expected = [
            (Outcome::Succeeded, true),
            (Outcome::Failed, true),
            (Outcome::Unable, true),
            (Outcome::Failed, false),
            (Outcome::Released, true),
            (Outcome::Released, false),
        ];
        for (outcome, is_said) in expected {
            let message = MessageKey::of("x", "id");
            let expected = Verdict {
                message,
                outcome,
                is_said,
            };
            assert_eq!(verdicts.try_recv(), Some(expected));
        }
        assert!(verdicts.try_recv().is_none());
    }
}
