//! Receipts: whether a message was acknowledged or given up (RFC 8030 §5.1, §6.3).
//!
//! A receipt proves that the user agent acknowledged the message, and no more: it may have handled it, given it up after
//! several attempts, or not been able to decrypt it. Only the application itself can say what it did with a message.
//!
//! The stream of receipts is read as Server-Sent Events over HTTP/1.1, and not by server push: application servers sit
//! behind proxies that drop pushes, and one way works in clear, over TLS and through those. The service keeps a receipt until it
//! is heard, so a stream that breaks loses none; the same may come twice.

mod stream;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep_until, timeout};
use url::Url;

use self::stream::{NoStream, Stream};
use crate::defaults::{RECEIPTS_AGAIN_AFTER, RECEIPTS_AGAIN_MOST, RECEIPTS_SILENCE};
use crate::tls::Trust;

/// Where a service sends receipts: the receipt subscription resource. A capability: its URL is all that is needed to
/// listen. It may be kept and used for any number of messages to the same service.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceiptSubscription(Url);

impl ReceiptSubscription {
    /// Takes an absolute `https:` or `http:` URL.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
        is_http.then_some(Self(url))
    }

    /// The URL itself.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Not in clear where the other one isn't.
    pub(super) fn is_as_safe_as(&self, other: &Url) -> bool {
        self.0.scheme() == "https" || other.scheme() != "https"
    }
}

/// [`parse`](ReceiptSubscription::parse).
impl FromStr for ReceiptSubscription {
    type Err = ReceiptSubscriptionError;

    fn from_str(text: &str) -> Result<Self, ReceiptSubscriptionError> {
        Self::parse(text).ok_or(ReceiptSubscriptionError)
    }
}

/// A text is no absolute `https:` or `http:` URL, and so no receipt subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ReceiptSubscriptionError;

impl std::error::Error for ReceiptSubscriptionError {}

impl fmt::Display for ReceiptSubscriptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("A receipt subscription is an absolute https: or http: URL.")
    }
}

impl fmt::Debug for ReceiptSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReceiptSubscription(…)")
    }
}

/// Whether the service delivered a message.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// Which: the same as [`Accepted::message`](super::Accepted::message).
    pub message: Url,
    /// The user agent acknowledged it (204), whatever it did with it; else the service gave it up (410): it expired, or its
    /// subscription ended.
    pub is_acknowledged: bool,
}

impl fmt::Debug for Receipt {
    /// Without the message resource.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("is_acknowledged", &self.is_acknowledged)
            .finish_non_exhaustive()
    }
}

/// Receipts as they come.
pub struct Receipts {
    subscription: ReceiptSubscription,
    trust: Trust,
    within: Duration,
    stream: Option<Stream>,
    failures: u32,
    /// The wait after the first failure.
    again_after: Duration,
    /// The next attempt to listen.
    not_before: Instant,
}

impl Receipts {
    pub(super) fn new(subscription: ReceiptSubscription, trust: Trust, within: Duration) -> Self {
        Self {
            subscription,
            trust,
            within,
            stream: None,
            failures: 0,
            again_after: RECEIPTS_AGAIN_AFTER,
            not_before: Instant::now(),
        }
    }

    /// The next one. Connects, and connects again, ever more slowly, whenever that is over: as long as it takes, so give it a
    /// deadline.
    ///
    /// Cancel safe: nothing that came is lost.
    ///
    /// # Errors
    ///
    /// [`ReceiptError`], after which nothing more is to be heard.
    pub async fn next(&mut self) -> Result<Receipt, ReceiptError> {
        loop {
            let Some(stream) = &mut self.stream else {
                self.listen().await?;
                continue;
            };
            match timeout(RECEIPTS_SILENCE, stream.next(&self.subscription.0)).await {
                Ok(Some(receipt)) => {
                    self.failures = 0;
                    return Ok(receipt);
                }
                Ok(None) | Err(_) => self.stream = None,
            }
        }
    }

    async fn listen(&mut self) -> Result<(), ReceiptError> {
        sleep_until(self.not_before).await;
        // Before the attempt, so that one that is dropped counts too.
        self.not_before = Instant::now() + self.wait();
        self.failures = self.failures.saturating_add(1);
        let opening = Stream::open(&self.subscription.0, &self.trust);
        match timeout(self.within, opening).await {
            Ok(Ok(stream)) => self.stream = Some(stream),
            Ok(Err(NoStream::Never(error))) => return Err(error),
            Ok(Err(NoStream::Later(told))) => {
                self.not_before = self.not_before.max(Instant::now() + told.unwrap_or_default());
            }
            Err(_) => {}
        }
        Ok(())
    }

    fn wait(&self) -> Duration {
        let wait = self.again_after.saturating_mul(1 << self.failures.min(20));
        wait.min(RECEIPTS_AGAIN_MOST)
    }
}

impl fmt::Debug for Receipts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipts(…)")
    }
}

/// Why no receipts are to be heard. `Display` is a sentence that says what to do; it holds no URL.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReceiptError {
    /// 404: the receipt subscription is over. Messages that were not told of by now never are.
    Gone,
    /// The service doesn't tell of receipts in this way.
    NotOffered(StatusCode),
    /// There are no certificates to trust; and why.
    NobodyToTrust(String),
}

impl fmt::Display for ReceiptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str(
                "The push service no longer knows this receipt subscription (404); the next message gets a \
                 new one.",
            ),
            Self::NotOffered(status) => write!(
                f,
                "The push service does not send receipts as Server-Sent Events ({}); it is unknown whether \
                 the message was acknowledged.",
                status.as_u16()
            ),
            Self::NobodyToTrust(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ReceiptError {}
