//! An application server that gets receipts (RFC 8030 §6.3): by server push, over one connection.
//!
//! A figure only counts if every message that asked for a receipt was told of, once, with 204.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use h2::client::{Builder, PushPromises};
use http::Request;
use tokio::task::JoinHandle;

use crate::application_server::{ApplicationServer, Body, PushResource};
use crate::connector::{Connector, Transport};
use crate::failure::{BenchResult, Failure, PATIENCE, While as _, within};
use crate::user_agent::set::{delete, subscribe};

/// Streams that the service may push at a time. Chosen: more than it opens, so that its own bound holds.
const STREAMS: u32 = 1_000;

/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The receipts of a measurement. Dropping it hangs up.
pub(crate) struct Receipts {
    subscription: Box<str>,
    told: Arc<ReceiptLog>,
    listening: JoinHandle<()>,
}

/// What was told so far, by the messages' URLs.
#[derive(Default)]
struct ReceiptLog(Mutex<ReceiptCounts>);

#[derive(Default)]
struct ReceiptCounts {
    /// Whether it was asked for, and how often it was told.
    messages: HashMap<Box<str>, (bool, u32)>,
    told: usize,
    fault: Option<String>,
}

impl Receipts {
    /// Gets a new receipt subscription and begins to monitor it.
    pub(crate) async fn listen(connector: &Connector) -> BenchResult<Self> {
        let subscription = subscription(connector).await?;
        let told = Arc::<ReceiptLog>::default();
        let log = Arc::clone(&told);
        let promises = monitor(connector, &subscription).await?;
        let listening = tokio::spawn(async move { log.take(promises).await });
        Ok(Self {
            subscription,
            told,
            listening,
        })
    }

    /// Where they are told.
    pub(crate) fn subscription(&self) -> &str {
        &self.subscription
    }

    /// A message with this URL was answered 202.
    pub(crate) fn asked(&self, message: &str) {
        self.told.log().messages.entry(message.into()).or_default().0 = true;
    }

    /// Waits until so many were told.
    pub(crate) async fn told(&self, count: usize) -> BenchResult<()> {
        let started = Instant::now();
        loop {
            let told = {
                let log = self.told.log();
                log.check()?;
                log.told
            };
            if told >= count {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return Err(Failure::new(format!("{told} of {count} receipts arrived")));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// That each was told once, and none that was not asked for.
    pub(crate) fn settle(&self) -> BenchResult<()> {
        let log = self.told.log();
        log.check()?;
        let wrong = log.messages.values().filter(|message| **message != (true, 1));
        match wrong.count() {
            0 => Ok(()),
            wrong => Err(Failure::new(format!(
                "{wrong} receipts arrived twice, not at all, or without being requested"
            ))),
        }
    }
}

impl Drop for Receipts {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl ReceiptLog {
    /// Takes what is promised, until that ends.
    async fn take(&self, mut promises: Monitored) {
        loop {
            let promise = match promises.promises.push_promise().await {
                Some(Ok(promise)) => promise,
                Some(Err(error)) => return self.failed(format!("receipts stopped arriving: {error}")),
                None => return self.failed("receipts stopped arriving".to_owned()),
            };
            let (request, answer) = promise.into_parts();
            match answer.await {
                Ok(answer) if answer.status() == 204 => self.log().tell(&request.uri().to_string()),
                Ok(answer) => self.failed(format!("a receipt says {}, not 204", answer.status())),
                Err(error) => self.failed(format!("a receipt cannot be read: {error}")),
            }
        }
    }

    fn failed(&self, fault: String) {
        self.log().fault.get_or_insert(fault);
    }

    fn log(&self) -> MutexGuard<'_, ReceiptCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReceiptCounts {
    fn tell(&mut self, message: &str) {
        self.messages.entry(message.into()).or_default().1 += 1;
        self.told += 1;
    }

    fn check(&self) -> BenchResult<()> {
        match &self.fault {
            None => Ok(()),
            Some(fault) => Err(Failure::new(fault.clone())),
        }
    }
}

/// A new receipt subscription: that of a message whose receipt is never told, because no user agent takes it.
async fn subscription(connector: &Connector) -> BenchResult<Box<str>> {
    let identities = subscribe(connector, 1, None).await?;
    let unread = identities
        .first()
        .ok_or_else(|| Failure::new("no subscription"))?;
    let unread = PushResource::new(unread.push_resource.as_str())?.with_receipts(None);
    let mut sender = ApplicationServer::connect(connector).await?;
    sender
        .push(&unread, None, Body::Made(b"this is not read"))
        .await?;
    let receipts = sender.receipts()?;
    connector.made(|| delete(connector.clone(), receipts.to_owned()));
    Ok(receipts.into())
}

/// An open request, on a connection of its own.
struct Monitored {
    promises: PushPromises,
    /// While it lives the request is open, and so is the connection.
    _answer: h2::client::ResponseFuture,
    _requests: h2::client::SendRequest<&'static [u8]>,
}

async fn monitor(connector: &Connector, url: &str) -> BenchResult<Monitored> {
    let stream = connector.by(Transport::Http2).connect().await?;
    let handshake = Builder::new()
        .enable_push(true)
        .max_concurrent_streams(STREAMS)
        .handshake::<_, &'static [u8]>(stream);
    let (mut requests, mut connection) = handshake.await.doing("speaking HTTP/2")?;
    let pings = connection.ping_pong();
    // It ends with the last stream, or with the service: then the promises end.
    tokio::spawn(connection);
    let request = Request::get(url).body(()).doing("asking for receipts")?;
    let (mut answer, _) = requests
        .send_request(request, true)
        .doing("asking for receipts")?;
    let promises = answer.push_promises();
    if let Some(mut pings) = pings {
        let seen = async { pings.ping(h2::Ping::opaque()).await.doing("asking for receipts") };
        within("a request is seen", seen).await?;
    }
    Ok(Monitored {
        promises,
        _answer: answer,
        _requests: requests,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipts() -> Receipts {
        Receipts {
            subscription: "http://h/receipts/a".into(),
            told: Arc::default(),
            listening: tokio::spawn(std::future::pending()),
        }
    }

    /// R30-RDL-2: only what was asked for and told once settles.
    #[tokio::test]
    async fn each_receipt_is_told_once() {
        for (asked, told, is_good) in [
            (1, 1, true),
            (1, 0, false),
            (1, 2, false),
            (0, 1, false),
            (0, 0, true),
        ] {
            let receipts = receipts();
            (0..asked).for_each(|_| receipts.asked("http://h/m/1"));
            (0..told).for_each(|_| receipts.told.log().tell("http://h/m/1"));
            assert_eq!(receipts.settle().is_ok(), is_good, "asked {asked}, told {told}");
        }
    }

    /// A receipt that says something else than 204 is a failure, also for a sender that waits.
    #[tokio::test]
    async fn a_fault_is_told() {
        let receipts = receipts();
        receipts.told.failed("a receipt says 410, not 204".to_owned());
        assert!(receipts.told(1).await.is_err() && receipts.settle().is_err());
    }
}
