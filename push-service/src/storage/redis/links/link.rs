//! One connection to one server: how it is made, shared, and given up.
//!
//! A [`Slot`] holds the connection for one kind of work. It is made when it is needed, by one attempt at a time for all who
//! wait, with a deadline and a pause after a failure. An attempt belongs to the slot, not to the step that wanted it first:
//! a step that is cancelled does not take it from the others.
//!
//! What it deliberately does not know: what is sent over it, and whose server it is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    PushInfo, PushKind, RedisConnectionInfo, TlsCertificates,
};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::defaults::{REDIS_CONNECT_WITHIN, REDIS_LINK_WAITING, REDIS_PROBE_EVERY};
use crate::storage::redis::url::{Address, RedisUrl};
use crate::tasks::PanicAlarm;

/// How every server of the store is entered.
pub(super) struct Connector {
    settings: RedisConnectionInfo,
    /// Over TLS, and with which authorities instead of the machine's.
    tls: Option<TlsCertificates>,
    /// Where tasks report that use it.
    pub(super) alarm: PanicAlarm,
}

impl Connector {
    /// The way in that `url` tells, trusting the authorities in `authorities` (PEM) instead of the machine's if given.
    pub(super) fn new(url: &RedisUrl, authorities: Option<Vec<u8>>, alarm: &PanicAlarm) -> Self {
        let mut settings = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_db(i64::from(url.database));
        if let Some(user) = &url.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &url.password {
            settings = settings.set_password(password);
        }
        let tls = url.tls.then_some(TlsCertificates {
            client_tls: None,
            root_cert: authorities,
        });
        let alarm = alarm.clone();
        Self { settings, tls, alarm }
    }

    /// The same way in for a sentinel, which has no databases, with user and password or without.
    pub(super) fn of_sentinel(&self, with_password: bool) -> Self {
        let mut settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        if with_password && let Some(password) = self.settings.password() {
            settings = settings.set_password(password);
            if let Some(user) = self.settings.username() {
                settings = settings.set_username(user);
            }
        }
        Self {
            settings,
            tls: self.tls.clone(),
            alarm: self.alarm.clone(),
        }
    }

    /// The credentials, for one server to use at another: the arguments of `MIGRATE`.
    pub(super) fn credentials(&self) -> Vec<String> {
        match (self.settings.username(), self.settings.password()) {
            (Some(user), Some(password)) => vec!["AUTH2".to_owned(), user.to_owned(), password.to_owned()],
            (None, Some(password)) => vec!["AUTH".to_owned(), password.to_owned()],
            _ => Vec::new(),
        }
    }

    /// Whether there is a password to be shown.
    pub(super) fn has_password(&self) -> bool {
        self.settings.password().is_some()
    }

    /// Connects and says who we are. What the server pushes is handed to `push`, and the connection's end as well.
    ///
    /// # Errors
    ///
    /// A sentence, after [`REDIS_CONNECT_WITHIN`] at the latest.
    pub(super) async fn open(
        &self,
        address: &Address,
        push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, String> {
        let client = self.client(address).map_err(|error| said(&error))?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(REDIS_LINK_WAITING)
            .set_push_sender(move |info| {
                push(info);
                Ok::<(), ()>(())
            });
        let opening = client.get_multiplexed_async_connection_with_config(&config);
        match timeout(REDIS_CONNECT_WITHIN, opening).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(format!("{address}: {}", said(&error))),
            Err(_) => Err(format!("{address} does not answer")),
        }
    }

    fn client(&self, address: &Address) -> redis::RedisResult<Client> {
        let (host, port) = (address.host.clone(), address.port);
        let place = match self.tls {
            None => ConnectionAddr::Tcp(host, port),
            Some(_) => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            },
        };
        let info: ConnectionInfo = place
            .into_connection_info()?
            .set_tcp_settings(TcpSettings::default().set_nodelay(true))
            .set_redis_settings(self.settings.clone());
        match &self.tls {
            None => Client::open(info),
            Some(authorities) => Client::build_with_tls(info, authorities.clone()),
        }
    }
}

/// What an error of the driver says. The driver's own words for a server's error hold what the server said, and scripts
/// and servers say nothing about keys and arguments.
pub(super) fn said(error: &redis::RedisError) -> String {
    let mut said = error.to_string();
    if let Some((at, _)) = said.char_indices().nth(SAID_CHARACTERS) {
        said.truncate(at);
    }
    said
}

/// Of a server's sentence, so much is repeated.
const SAID_CHARACTERS: usize = 200;

/// A connection that many use at a time. Cheap to clone; it is closed when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Link {
    connection: MultiplexedConnection,
    lost: Arc<AtomicBool>,
}

impl Link {
    /// Connects.
    pub(super) async fn open(connector: &Connector, address: &Address) -> Result<Self, String> {
        let lost = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&lost);
        let push = move |info: PushInfo| {
            if info.kind == PushKind::Disconnection {
                flag.store(true, Ordering::Relaxed);
            }
        };
        let connection = connector.open(address, push).await?;
        Ok(Self { connection, lost })
    }

    /// What commands are sent on.
    pub(super) fn connection(&mut self) -> &mut MultiplexedConnection {
        &mut self.connection
    }

    /// Whether it has ended, as far as is known.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The place of one connection, which is made when it is needed.
pub(super) struct Slot {
    state: Mutex<LinkState>,
}

enum LinkState {
    /// There is no connection, and none is tried before then.
    Closed { why: Arc<str>, until: Instant },
    /// An attempt is under way.
    Opening(Opening),
    /// There is one.
    Open(Link),
}

#[derive(Clone)]
struct Opening {
    outcome: watch::Receiver<Option<Result<Link, Arc<str>>>>,
    /// Ends the attempt with the slot.
    _attempt: Arc<AbortOnDropHandle<()>>,
}

impl Slot {
    /// An empty one.
    pub(super) fn new() -> Self {
        let state = Mutex::new(LinkState::Closed {
            why: Arc::from(""),
            until: Instant::now(),
        });
        Self { state }
    }

    /// The connection, if there is one.
    pub(super) fn ready(&self) -> Option<Link> {
        match &*self.lock() {
            LinkState::Open(link) if !link.is_lost() => Some(link.clone()),
            _ => None,
        }
    }

    /// The connection, made if need be. Resolves within [`REDIS_CONNECT_WITHIN`].
    ///
    /// # Errors
    ///
    /// Why it can't be made; at once if it could not a moment ago.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the attempt to those who wait for it as well.
    pub(super) async fn link(&self, connector: &Arc<Connector>, address: &Address) -> Result<Link, Arc<str>> {
        let mut opening = match self.begin(connector, address) {
            Ok(opening) => opening,
            Err(known) => return known,
        };
        let outcome = match opening.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        let outcome = outcome.unwrap_or_else(|| Err(Arc::from("the attempt to connect was cancelled")));
        self.settle(&opening, &outcome);
        outcome
    }

    /// Steps that ask from now on get another connection. Steps that use this one go on.
    pub(super) fn give_up(&self, link: &Link) {
        let mut state = self.lock();
        if matches!(&*state, LinkState::Open(open) if Arc::ptr_eq(&open.lost, &link.lost)) {
            *state = LinkState::Closed {
                why: Arc::from("the connection was lost"),
                until: Instant::now(),
            };
        }
    }

    /// Joins the attempt under way, or begins one; what is known already comes as the error.
    fn begin(
        &self,
        connector: &Arc<Connector>,
        address: &Address,
    ) -> Result<Opening, Result<Link, Arc<str>>> {
        let mut state = self.lock();
        match &*state {
            LinkState::Open(link) if !link.is_lost() => return Err(Ok(link.clone())),
            LinkState::Closed { why, until } if Instant::now() < *until => return Err(Err(Arc::clone(why))),
            LinkState::Opening(opening) => return Ok(opening.clone()),
            LinkState::Open(_) | LinkState::Closed { .. } => {}
        }
        let (tell, outcome) = watch::channel(None);
        let (connector, address) = (Arc::clone(connector), address.clone());
        let attempt = tokio::spawn(async move {
            let link = Link::open(&connector, &address).await;
            // If no step waits any more, the next one finds it.
            tell.send_replace(Some(link.map_err(Arc::from)));
        });
        let opening = Opening {
            outcome,
            _attempt: Arc::new(AbortOnDropHandle::new(attempt)),
        };
        *state = LinkState::Opening(opening.clone());
        Ok(opening)
    }

    /// Remembers the outcome of an attempt, if that has not happened yet.
    fn settle(&self, of: &Opening, outcome: &Result<Link, Arc<str>>) {
        let mut state = self.lock();
        if matches!(&*state, LinkState::Opening(now) if now.outcome.same_channel(&of.outcome)) {
            *state = match outcome {
                Ok(link) => LinkState::Open(link.clone()),
                Err(why) => LinkState::Closed {
                    why: Arc::clone(why),
                    until: Instant::now() + REDIS_PROBE_EVERY,
                },
            };
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LinkState> {
        // Nothing panics while it is held, and a state is replaced whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
