//! The attacks: what each hostile connection prepares, and what it does again and again.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::ValueEnum;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::channel::{Channel, append, append_pong, connect};
use super::ground::Ground;
use crate::failure::{BenchResult, Failure, While as _};
use crate::http1::Connection;
use crate::user_agent::subscription_name;

/// Ids in one acknowledgement: as many as fit into the longest frame that the service accepts.
const IDS: usize = 390;

/// Messages of a full queue: the default of `limits.queue_messages`.
const QUEUE: usize = 1_000;

/// Subscriptions over which a hostile sender spreads its messages, because each has its own rate limit.
const SPREAD: usize = 40;

/// Queues that are filled, for any number of connections.
const FULL_QUEUES: usize = 4;

/// Small messages in one write.
const A_WRITE: usize = 200;

/// Between two logins of one connection: 100 Hz.
const LOGIN_EVERY: Duration = Duration::from_millis(10);

/// A hostile behaviour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Attack {
    /// Acknowledgements of ids that never existed, 390 in each frame
    UnknownAcks,
    /// Registers and unregisters beside 1,000 waiting messages
    Register,
    /// Pushes to a full queue, each of which makes room for itself
    FullQueue,
    /// Pushes to a full queue, each of which is refused
    FullQueueRefused,
    /// POST /subscribe without credentials
    Subscribe,
    /// Pushes that ask for a receipt, without VAPID
    Receipts,
    /// Pushes with a forged VAPID signature
    ForgedVapid,
    /// Pushes with verified tokens, a new one each, that name seven long audiences
    PaddedAudiences,
    /// Pongs, which get no answer
    Pongs,
    /// Nacks, which get no answer
    Nacks,
    /// Connections to the admin listener that say nothing
    AdminIdle,
    /// The largest bodies with the longest time to live, to user agents that never come
    BacklogBomb,
    /// Pushes with a topic each
    Topics,
    /// Connections that say hello with one identity, at 100 Hz each
    DuplicateLogin,
    /// User agents that connect, say hello and go, again and again
    Reconnect,
}

/// What a hostile connection has prepared for its attack.
#[derive(Default)]
pub(super) struct Arms {
    identity: Option<String>,
    /// Paths of push resources.
    paths: Vec<String>,
    /// Number of attacks so far.
    turn: u64,
    http: Option<Connection>,
    channel: Option<Channel>,
    bytes: Vec<u8>,
    key: Option<EcdsaKeyPair>,
    random: Option<SystemRandom>,
}

impl Attack {
    /// Its name on the command line.
    pub(super) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Makes what the `nth` connection needs.
    pub(super) async fn prepare(self, ground: &Ground, nth: usize) -> BenchResult<Arms> {
        let mut arms = Arms::default();
        match self {
            Self::UnknownAcks => {
                let id = |nth: usize| {
                    let bytes = [(nth as u64 + 1).to_be_bytes(), (nth as u64 * 7).to_be_bytes()].concat();
                    json!({"version": URL_SAFE_NO_PAD.encode(bytes)})
                };
                let updates: Vec<_> = (0..IDS).map(|at| id(nth * IDS + at)).collect();
                let ack = json!({"messageType": "ack", "updates": updates});
                append(&mut arms.bytes, &ack.to_string());
                arms.enlist(ground, nth, 1).await?;
            }
            Self::Register => {
                arms.enlist(ground, nth, SPREAD).await?;
                if nth < FULL_QUEUES {
                    arms.fill(ground, nth, QUEUE - 1, "normal").await?;
                }
                let name = subscription_name(SPREAD + 1).to_string();
                for _ in 0..A_WRITE / 20 {
                    for kind in ["register", "unregister"] {
                        append(
                            &mut arms.bytes,
                            &json!({"messageType": kind, "channelID": name}).to_string(),
                        );
                    }
                }
            }
            Self::FullQueue | Self::FullQueueRefused if nth < FULL_QUEUES => {
                let urgency = if self == Self::FullQueue { "normal" } else { "high" };
                arms.enlist(ground, nth, SPREAD).await?;
                arms.fill(ground, nth, QUEUE, urgency).await?;
            }
            // They should share the queues that the first connections fill, but do not know them: each uses its own.
            Self::FullQueue | Self::FullQueueRefused => arms.enlist(ground, nth, SPREAD).await?,
            Self::Receipts | Self::Topics | Self::BacklogBomb | Self::Reconnect | Self::DuplicateLogin => {
                arms.enlist(ground, nth, 10).await?;
            }
            Self::ForgedVapid | Self::PaddedAudiences => {
                arms.enlist(ground, nth, SPREAD).await?;
                arms.key()?;
            }
            Self::Pongs => {
                (0..A_WRITE).for_each(|_| append_pong(&mut arms.bytes));
                arms.enlist(ground, nth, 1).await?;
            }
            Self::Nacks => {
                let nack = json!({"messageType": "nack", "code": 301, "version": "x"}).to_string();
                (0..A_WRITE).for_each(|_| append(&mut arms.bytes, &nack));
                arms.enlist(ground, nth, 1).await?;
            }
            Self::Subscribe | Self::AdminIdle => {}
        }
        Ok(arms)
    }

    /// Attacks once, or for as long as the service lets it.
    pub(super) async fn strike(self, ground: &Ground, nth: usize, arms: &mut Arms) -> BenchResult<()> {
        arms.turn += 1;
        match self {
            Self::UnknownAcks => arms.flood(ground, nth, IDS as u64).await,
            Self::Register => arms.flood(ground, nth, A_WRITE as u64 / 10).await,
            Self::Pongs | Self::Nacks => arms.flood(ground, nth, A_WRITE as u64).await,
            Self::Subscribe => {
                let request = format!(
                    "POST /subscribe HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n\r\n",
                    ground.sending
                );
                arms.ask(ground, nth, &request).await
            }
            Self::FullQueue => arms.push(ground, nth, "urgency: normal\r\n", 100).await,
            Self::FullQueueRefused => arms.push(ground, nth, "urgency: very-low\r\n", 4_000).await,
            Self::Receipts => arms.push(ground, nth, "prefer: respond-async\r\n", 100).await,
            Self::BacklogBomb => arms.push(ground, nth, "", 4_096).await,
            Self::Topics => {
                let topic = format!("topic: t{nth}-{}\r\n", arms.turn);
                arms.push(ground, nth, &topic, 100).await
            }
            Self::ForgedVapid => {
                let token = arms.token(ground, 1, true)?;
                arms.push(ground, nth, &token, 100).await
            }
            Self::PaddedAudiences => {
                let token = arms.token(ground, 7, false)?;
                arms.push(ground, nth, &token, 100).await
            }
            Self::AdminIdle => match ground.admin {
                Some(admin) => idle(ground, nth, admin).await,
                None => Err(Failure::new("the admin listener is not known")),
            },
            Self::DuplicateLogin => {
                tokio::time::sleep(LOGIN_EVERY).await;
                let identity = arms.identity.clone();
                let channel = arms.log_in(ground, nth, identity.as_deref()).await?;
                // The channel before was displaced by now or is closed here.
                arms.channel = Some(channel);
                Ok(())
            }
            Self::Reconnect => {
                let identity = arms.identity.clone();
                arms.log_in(ground, nth, identity.as_deref()).await.map(drop)
            }
        }
    }
}

/// Holds a silent connection, for as long as the service keeps it open.
async fn idle(ground: &Ground, nth: usize, to: SocketAddr) -> BenchResult<()> {
    let mut stream = connect(to, ground.source(nth)).await?;
    ground.sent(1);
    let mut byte = [0];
    while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {}
    Err(Failure::new("the connection is closed"))
}

impl Arms {
    /// Becomes a user agent with this number of subscriptions, and disconnects.
    async fn enlist(&mut self, ground: &Ground, nth: usize, subscriptions: usize) -> BenchResult<()> {
        let mut channel = Channel::open(ground.nodes[0], ground.source(nth)).await?;
        self.identity = Some(channel.hello(None).await?);
        for at in 0..subscriptions {
            match channel.register(at).await {
                Ok(url) => self.paths.push(path(&url)?),
                // If the service slows it down, it keeps the subscriptions that it has.
                Err(_) if at > 0 => break,
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Fills the queue with this number of small messages.
    async fn fill(&mut self, ground: &Ground, nth: usize, messages: usize, urgency: &str) -> BenchResult<()> {
        let urgency = format!("urgency: {urgency}\r\n");
        for _ in 0..messages {
            self.turn += 1;
            self.push(ground, nth, &urgency, 100).await?;
        }
        Ok(())
    }

    fn key(&mut self) -> BenchResult<()> {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).doing("a key")?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random);
        self.key = Some(key.doing("a key")?);
        self.random = Some(random);
        Ok(())
    }

    /// An `Authorization` field with a new token for this number of audiences: ours, and long ones that don't matter.
    fn token(&self, ground: &Ground, audiences: usize, is_forged: bool) -> BenchResult<String> {
        let (Some(key), Some(random)) = (&self.key, &self.random) else {
            return Err(Failure::new("no key"));
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut audience = vec![
            format!("http://{}", ground.nodes[0]),
            "http://push.test".to_owned(),
        ];
        audience.extend((1..audiences).map(|nth| format!("https://{nth}{}.example", "x".repeat(240))));
        let claims = json!({
            "aud": if audiences > 1 { json!(audience) } else { json!(audience[0]) },
            "exp": now.as_secs() + 3_600,
            "jti": self.turn,
        });
        let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ES256"}"#);
        let mut token = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = [1; 64];
        if is_forged {
            random.fill(&mut signature[1..]).doing("randomness")?;
        } else {
            let signed = key.sign(random, token.as_bytes()).doing("signing")?;
            signature.copy_from_slice(signed.as_ref());
        }
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        let public = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
        Ok(format!("authorization: vapid t={token}, k={public}\r\n"))
    }

    /// Pushes to the next of its subscriptions.
    async fn push(&mut self, ground: &Ground, nth: usize, fields: &str, body: usize) -> BenchResult<()> {
        let path = self.paths.get(self.turn as usize % self.paths.len().max(1));
        let path = path.ok_or_else(|| Failure::new("no subscription"))?;
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nttl: 2592000\r\ncontent-encoding: aes128gcm\r\n\
             content-length: {body}\r\n{fields}\r\n",
            ground.sending
        );
        // A String takes every write.
        let _ = write!(request, "{:0body$}", 0);
        self.ask(ground, nth, &request).await
    }

    async fn ask(&mut self, ground: &Ground, nth: usize, request: &str) -> BenchResult<()> {
        let mut http = match self.http.take() {
            Some(http) => http,
            None => Connection::new(connect(ground.sending, ground.source(nth)).await?),
        };
        http.request().extend_from_slice(request.as_bytes());
        ground.sent(1);
        ground.answered(http.exchange().await?);
        let is_kept = http.fields("connection").iter().all(|said| *said != "close");
        self.http = is_kept.then_some(http);
        Ok(())
    }

    async fn log_in(&self, ground: &Ground, nth: usize, identity: Option<&str>) -> BenchResult<Channel> {
        let node = ground.nodes[(nth + self.turn as usize) % ground.nodes.len()];
        let mut channel = Channel::open(node, ground.source(nth)).await?;
        ground.sent(1);
        channel.hello(identity).await?;
        Ok(channel)
    }

    /// Connects again, and floods the channel until the service ends it.
    async fn flood(&self, ground: &Ground, nth: usize, each: u64) -> BenchResult<()> {
        let mut channel = Channel::open(ground.nodes[0], ground.source(nth)).await?;
        channel.hello(self.identity.as_deref()).await?;
        channel.flood(&self.bytes, || ground.sent(each)).await;
        Err(Failure::new("the channel is ended"))
    }
}

fn path(url: &str) -> BenchResult<String> {
    let host = url.find("://").map(|at| at + 3);
    let path = host.and_then(|host| Some(host + url[host..].find('/')?));
    let path = path.ok_or_else(|| Failure::new("a URL without a path"))?;
    Ok(url[path..].to_owned())
}
