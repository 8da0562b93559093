//! Honest user agents and application servers, and how long their pushes take.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use crate::application_server::{ApplicationServer, Body, PushResource, Tokens, Vapid};
use crate::body::Bodies;
use crate::failure::{BenchResult, within};
use crate::target::Target;
use crate::user_agent::{OnWebSocket, subscription_name};

/// Honest user agents, with a subscription and an application server each. Chosen: at 50 pushes a second each gets 2.5,
/// a quarter of what `limits.pushes_per_second` allows.
const USER_AGENTS: usize = 20;

/// A push that takes longer has failed, and so has a request to the admin listener.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often `/readyz` is asked.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Honest peers, connected.
pub(super) struct Honest<'a> {
    target: &'a Target,
    peers: Vec<Peer>,
    sender: Option<ApplicationServer>,
    arrivals: mpsc::UnboundedReceiver<(u64, Instant)>,
    bodies: Bodies,
    sent: u64,
    every: Duration,
    _stop: watch::Sender<bool>,
    _listening: JoinSet<BenchResult<()>>,
}

struct Peer {
    resource: PushResource,
    tokens: Tokens,
}

/// From POST to delivery.
pub(super) struct Latencies {
    /// In milliseconds, sorted.
    times: Vec<f64>,
    /// Pushes that were not accepted or did not arrive in time.
    pub(super) failed: usize,
    /// How often `/readyz` was asked, and how often it did not answer 200.
    pub(super) asked: usize,
    pub(super) not_ready: usize,
}

impl<'a> Honest<'a> {
    /// Connects, and makes the subscriptions.
    pub(super) async fn connect(target: &'a Target, rate: f64) -> BenchResult<Self> {
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let mut listening = JoinSet::new();
        let mut peers = Vec::new();
        for nth in 0..USER_AGENTS {
            let mut user_agent = OnWebSocket::connect(target.clear()).await?;
            within("hello", user_agent.hello(None)).await?;
            let mut tokens = Tokens::new(Vapid::Reused)?;
            let resource = user_agent.register(subscription_name(nth), tokens.public_key());
            let resource = PushResource::new(within("register", resource).await?.as_str())?;
            tokens.sign(resource.origin(), 1)?;
            peers.push(Peer { resource, tokens });
            let (arrived, stopped) = (arrived.clone(), stopped.clone());
            listening.spawn(async move {
                let bodies = Bodies::new(RUN);
                let arrived = |_: &str, body: &[u8]| {
                    if let Ok(number) = bodies.read(body) {
                        // Fails only when the measurement is over.
                        let _ = arrived.send((number, Instant::now()));
                    }
                };
                user_agent.listen(stopped, arrived).await
            });
        }
        Ok(Self {
            target,
            peers,
            sender: None,
            arrivals,
            bodies: Bodies::new(RUN),
            sent: 0,
            every: Duration::from_secs_f64(1.0 / rate),
            _stop: stop,
            _listening: listening,
        })
    }

    /// Pushes for this time, one message after the other, each not before it is due.
    pub(super) async fn measure(&mut self, duration: Duration) -> Latencies {
        let (mut times, mut failed) = (Vec::new(), 0);
        let admin = self.target.admin();
        let (stop, mut stopped) = watch::channel(false);
        let asking = tokio::spawn(async move {
            let (mut asked, mut not_ready) = (0, 0);
            while let Some(admin) = admin
                && !*stopped.borrow()
            {
                asked += 1;
                let ready = timeout(PATIENCE, is_ready(admin)).await;
                not_ready += usize::from(!matches!(ready, Ok(Ok(true))));
                let _ = timeout(ASK_EVERY, stopped.changed()).await;
            }
            (asked, not_ready)
        });
        let begun = Instant::now();
        let mut due = begun;
        while begun.elapsed() < duration {
            sleep_until(due.into()).await;
            due = (due + self.every).max(Instant::now());
            match timeout(PATIENCE, self.push()).await {
                Ok(Ok(took)) => times.push(took.as_secs_f64() * 1e3),
                Ok(Err(_)) | Err(_) => {
                    failed += 1;
                    self.sender = None;
                }
            }
        }
        let _ = stop.send(true);
        let (asked, not_ready) = asking.await.unwrap_or_default();
        times.sort_by(f64::total_cmp);
        Latencies {
            times,
            failed,
            asked,
            not_ready,
        }
    }

    async fn push(&mut self) -> BenchResult<Duration> {
        let mut sender = match self.sender.take() {
            Some(sender) => sender,
            None => ApplicationServer::connect(self.target.sending()).await?,
        };
        let number = self.sent;
        self.sent += 1;
        let peer = &self.peers[number as usize % self.peers.len()];
        let body = Body::Numbered(&self.bodies, number as usize);
        let begun = Instant::now();
        sender
            .push(&peer.resource, peer.tokens.authorization(0), body)
            .await?;
        self.sender = Some(sender);
        loop {
            match self.arrivals.recv().await {
                Some((arrived, at)) if arrived == number => return Ok(at - begun),
                // A message that arrived too late for its own turn.
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }
}

/// Marks these messages.
const RUN: u64 = 0x686f_6e65_7374;

async fn is_ready(admin: std::net::SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(admin).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    Ok(&status == b"HTTP/1.1 200")
}

impl Latencies {
    /// In milliseconds. A failed push counts as slower than all others.
    pub(super) fn quantile(&self, quantile: f64) -> f64 {
        let all = self.times.len() + self.failed;
        let at = ((all as f64 * quantile).ceil() as usize).saturating_sub(1);
        self.times
            .get(at)
            .copied()
            .unwrap_or(PATIENCE.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A failed push counts as slower than all others, so that an attack that stops all pushes does not look fast.
    #[test]
    fn failures_are_slow() {
        let latencies = |times: &[f64], failed| Latencies {
            times: times.to_vec(),
            failed,
            asked: 0,
            not_ready: 0,
        };
        assert_eq!(latencies(&[1.0, 2.0, 3.0, 4.0], 0).quantile(0.5), 2.0);
        assert_eq!(latencies(&[1.0, 2.0, 3.0, 4.0], 0).quantile(0.99), 4.0);
        assert_eq!(latencies(&[1.0], 3).quantile(0.5), 2_000.0);
        assert_eq!(latencies(&[], 0).quantile(0.5), 2_000.0);
    }
}
