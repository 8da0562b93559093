//! From a configuration to a node that listens, in the order in which things can fail.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use push_protocol::Ttl;
use push_protocol::capability::{Capabilities, SealingKey};
use push_protocol::origin::Origin;
use push_protocol::session;
use push_protocol::vapid::PublicKey;
use tokio::net::TcpListener;

use super::banner::BannerFacts;
use super::told::Told;
use super::{Beside, Node, ServiceError};
use crate::admin::Readiness;
use crate::broker::{Broker, Policy};
use crate::channels::{Channels, Registry, Shares};
use crate::cluster::Reconciler;
use crate::config::{self, Config, StorageUrl};
use crate::defaults::{ANSWER_WITHIN, DRAIN_ACKNOWLEDGE_WITHIN, PING_BURST, STORAGE_RETRY_AFTER};
use crate::listeners::{ChannelPath, Handlers, Listener, Listeners, TrustedProxies};
use crate::metrics::Metrics;
use crate::random;
use crate::resources::Resources;
use crate::storage::clock::SystemClock;
use crate::storage::embedded::{Embedded, Options};
use crate::storage::memory::Memory;
use crate::storage::redis::url::RedisUrl;
use crate::storage::redis::{self, Redis};
use crate::storage::{Announce, Storage, StorageError};
use crate::tls::acme::{self, Renewer};
use crate::tls::{self, Acceptor, CertificateSource, TicketSecrets};

/// What is derived from the sealing keys for TLS: all nodes have those, and so resume each other's sessions.
const TICKETS: &[u8] = b"TLS session tickets";

pub(super) async fn node(config: Config) -> Result<Node, ServiceError> {
    let metrics = Arc::new(Metrics::new());
    let registry = Registry::new();
    let reconciler = Reconciler::new(Arc::clone(&registry), config.cluster.reconcile);
    let told = Arc::new(Told {
        reconciler,
        outboxes: Arc::default(),
    });
    let (storage, keys) = open_with_keys(&config, Arc::clone(&told) as Arc<dyn Announce>).await?;
    let capabilities = admitted(&*storage, &keys).await?;

    let renewer = renewer(&config).await?;
    let acceptor = acceptor(&config, &keys, renewer.as_ref()).await?;
    let http = bind(&config.listen.http, None)?;
    let tls = bind(&config.listen.tls, acceptor.as_ref())?;
    let admin = bind_admin(&config.listen.admin).await?;
    let facts = facts(&config, &http, &tls, &admin)?;

    let origin = Origin::parse(&facts.public_url).map_err(|error| sentence("public_url", &error))?;
    let policy = policy(&config);
    let broker = Arc::new(Broker::new(
        Arc::clone(&storage),
        Arc::new(capabilities),
        origin,
        policy,
        Arc::clone(&metrics),
    ));
    let shares = Shares {
        attaching: config.channels.attaching,
        delivery_bytes: config.channels.delivery_bytes,
    };
    let channels = Channels::new(Arc::clone(&broker), registry, session_limits(&config), shares);
    let challenges = renewer.as_ref().map(Renewer::challenges);
    let handlers = handlers(&config, &broker, &channels, &metrics, challenges);
    let trusted = TrustedProxies::new(config.listen.trusted_proxies.clone());
    let sockets = http.into_iter().chain(tls).collect();
    let listeners = Listeners::start(
        sockets,
        handlers,
        config.limits.clone(),
        trusted,
        Arc::clone(&metrics),
    );

    let mut node = Node {
        config: config.drain.clone(),
        facts,
        readiness: Arc::new(Readiness::new()),
        storage,
        channels,
        listeners,
        beside: Beside::default(),
    };
    node.serve_admin(admin, &metrics);
    node.run_beside(broker, &told, acceptor, renewer);
    Ok(node)
}

/// Who answers what the listeners bring.
fn handlers(
    config: &Config,
    broker: &Arc<Broker>,
    channels: &Arc<Channels>,
    metrics: &Arc<Metrics>,
    challenges: Option<Arc<acme::Challenges>>,
) -> Handlers {
    let secret = config.security.user_agent_secret.as_ref();
    let secret = secret.map(config::Secret::expose);
    let alternatives = config.listen.alternative_services.as_ref();
    let resources = Resources::new(Arc::clone(broker), &config.limits, Arc::clone(metrics))
        .showing(challenges)
        .naming(alternatives.map(|services| services.as_header().clone()))
        .behind(secret);
    let opening = Arc::clone(channels);
    Handlers {
        resources,
        channels: Arc::clone(channels),
        open_channel: Arc::new(move |connection| opening.open(connection)),
        channel_path: ChannelPath::new(secret),
    }
}

/// Storage, and the keys that it admits.
pub(super) async fn open(
    config: &Config,
    announce: Arc<dyn Announce>,
) -> Result<(Arc<dyn Storage>, Capabilities), ServiceError> {
    let (storage, keys) = open_with_keys(config, announce).await?;
    let capabilities = admitted(&*storage, &keys).await?;
    Ok((storage, capabilities))
}

/// What the keys can do, if storage admits them.
async fn admitted(storage: &dyn Storage, keys: &[SealingKey]) -> Result<Capabilities, ServiceError> {
    let capabilities = Capabilities::new(keys).map_err(|error| sentence("security.sealing_keys", &error))?;
    let fingerprints: Vec<_> = capabilities.fingerprints().collect();
    storage
        .admit_sealing_keys(&fingerprints)
        .await
        .map_err(|error| sentence("security.sealing_keys", &error))?;
    Ok(capabilities)
}

/// Storage, and all keys that seal and open here: the configured ones, and the store's own.
pub(super) async fn open_with_keys(
    config: &Config,
    announce: Arc<dyn Announce>,
) -> Result<(Arc<dyn Storage>, Vec<SealingKey>), ServiceError> {
    let mut keys = config.security.sealing_keys.clone();
    let storage: Arc<dyn Storage> = match &config.storage.url {
        StorageUrl::Memory => {
            if keys.is_empty() {
                keys.push(SealingKey::from_random(random::bytes()));
            }
            Arc::new(Memory::new(
                announce,
                Arc::new(SystemClock),
                config.storage.retention,
            ))
        }
        StorageUrl::Embedded { path } => {
            let embedded = open_embedded(path.clone(), announce, config).await?;
            add_own_key(&embedded, &mut keys)
                .await
                .map_err(|error| sentence("the sealing key", &error))?;
            Arc::new(embedded)
        }
        StorageUrl::Redis(url) => {
            let options = redis_options(config, url.expose(), announce)?;
            let redis = Redis::open(options).await;
            Arc::new(redis.map_err(|error| sentence("storage.url", &error))?)
        }
    };
    Ok((storage, keys))
}

/// Gives up what a Redis lost, and says how many parts of the store that were.
pub(super) async fn begin_anew(config: &Config) -> Result<Option<usize>, ServiceError> {
    let StorageUrl::Redis(url) = &config.storage.url else {
        return Ok(None);
    };
    let options = redis_options(config, url.expose(), Registry::new())?;
    let begun = Redis::begin_anew(&options).await;
    begun.map(Some).map_err(|error| sentence("storage.url", &error))
}

/// How the configuration says that Redis is used.
pub(super) fn redis_options(
    config: &Config,
    url: &str,
    announce: Arc<dyn Announce>,
) -> Result<redis::Options, ServiceError> {
    let url = RedisUrl::parse(url).map_err(|why| sentence("storage.url", &why))?;
    Ok(redis::Options {
        wait_replicas: config.storage.redis.wait_replicas,
        retention: config.storage.retention,
        wait_aof: config.storage.redis.wait_aof,
        ca: config.storage.redis.ca.clone(),
        prefix: config.storage.redis.prefix.to_string(),
        inline_bytes: u32::try_from(config.cluster.inline_bytes).unwrap_or(u32::MAX),
        ..redis::Options::new(url, announce)
    })
}

/// The key that the store made for itself goes on opening what it sealed, behind configured keys; if there are none, it
/// is the one that seals, made now if need be (PR-28).
async fn add_own_key(embedded: &Embedded, keys: &mut Vec<SealingKey>) -> Result<(), StorageError> {
    let own = match embedded.sealing_key().await? {
        Some(own) => own,
        None if !keys.is_empty() => return Ok(()),
        None => {
            let fresh = random::bytes();
            embedded.keep_sealing_key(fresh).await?;
            fresh
        }
    };
    let own = SealingKey::from_random(own);
    if !keys.contains(&own) {
        keys.push(own);
    }
    Ok(())
}

async fn open_embedded(
    directory: PathBuf,
    announce: Arc<dyn Announce>,
    config: &Config,
) -> Result<Embedded, ServiceError> {
    let mut options = Options::new(directory, announce);
    options.retention = config.storage.retention;
    let opened = tokio::task::spawn_blocking(move || Embedded::open(options)).await;
    let opened = opened.map_err(|error| sentence("storage.url", &error))?;
    opened.map_err(|error| sentence("storage.url", &error))
}

/// Who orders certificates, if any are to be ordered.
async fn renewer(config: &Config) -> Result<Option<Renewer>, ServiceError> {
    let acme = &config.tls.acme;
    if acme.domains.is_empty() {
        return Ok(None);
    }
    let settings = acme::Settings {
        domains: acme
            .domains
            .iter()
            .map(|domain| domain.as_str().to_owned())
            .collect(),
        challenge: acme.challenge,
        contact: acme.contact.as_ref().map(|contact| contact.as_str().to_owned()),
        directory: acme.directory.to_string(),
        ca: acme.ca.clone(),
        cache: acme
            .cache
            .clone()
            .unwrap_or_else(|| data_directory(config).join("acme")),
    };
    let made = tokio::task::spawn_blocking(move || Renewer::new(settings)).await;
    let renewer = made.map_err(|error| sentence("tls.acme", &error))?;
    renewer.map(Some).map_err(|error| sentence("tls.acme", &error))
}

async fn acceptor(
    config: &Config,
    keys: &[SealingKey],
    renewer: Option<&Renewer>,
) -> Result<Option<Acceptor>, ServiceError> {
    if config.listen.tls.is_empty() {
        return Ok(None);
    }
    let source = match (&config.tls.certificate, &config.tls.key, renewer) {
        (_, _, Some(renewer)) => renewer.source(),
        (Some(certificate), Some(key), None) => CertificateSource::Files {
            certificate: certificate.clone(),
            key: key.clone(),
        },
        _ => CertificateSource::SelfSigned {
            directory: data_directory(config).to_owned(),
            names: public_host(config).into_iter().collect(),
        },
    };
    let options = tls::Options {
        tickets: TicketSecrets::new(keys.iter().map(|key| key.derive(TICKETS))),
        directory: config.tls.directory.clone(),
        challenges: renewer.map(Renewer::challenges),
    };
    let made = tokio::task::spawn_blocking(move || Acceptor::with(source, options)).await;
    let acceptor = made.map_err(|error| sentence("tls", &error))?;
    acceptor.map(Some).map_err(|error| sentence("tls", &error))
}

/// Where a certificate that was made here is kept: with the data, or in the working directory if there is none.
fn data_directory(config: &Config) -> &Path {
    match &config.storage.url {
        StorageUrl::Embedded { path } => path,
        StorageUrl::Memory | StorageUrl::Redis(_) => Path::new("."),
    }
}

fn public_host(config: &Config) -> Option<String> {
    let url: http::Uri = config.public_url.as_ref()?.as_str().parse().ok()?;
    Some(
        url.host()?
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned(),
    )
}

fn bind(addresses: &[SocketAddr], tls: Option<&Acceptor>) -> Result<Vec<Listener>, ServiceError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = Listener::bind(*address, tls.cloned());
        listeners.push(listener.map_err(|error| sentence(&format!("cannot listen on {address}"), &error))?);
    }
    Ok(listeners)
}

async fn bind_admin(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ServiceError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = TcpListener::bind(address).await;
        listeners.push(
            listener.map_err(|error| sentence(&format!("cannot listen on {address} (admin)"), &error))?,
        );
    }
    Ok(listeners)
}

fn facts(
    config: &Config,
    http: &[Listener],
    tls: &[Listener],
    admin: &[TcpListener],
) -> Result<BannerFacts, ServiceError> {
    let bound = |error| sentence("a listener's address", &error);
    let addresses = |listeners: &[Listener]| {
        listeners
            .iter()
            .map(Listener::address)
            .collect::<Result<Vec<_>, _>>()
    };
    let (http, tls) = (addresses(http).map_err(bound)?, addresses(tls).map_err(bound)?);
    let admin = admin
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<_, _>>()
        .map_err(bound)?;
    let public_url = match (&config.public_url, http.first(), tls.first()) {
        (Some(url), _, _) => url.as_str().to_owned(),
        (None, Some(address), _) => format!("http://{address}"),
        (None, None, Some(address)) => format!("https://{address}"),
        (None, None, None) => return Err(ServiceError("listen: there is no public listener".to_owned())),
    };
    Ok(BannerFacts {
        public_url,
        http,
        tls,
        admin,
        storage: config.storage.url.to_string(),
        self_signed: config.tls.self_signed && !config.listen.tls.is_empty(),
        ordered: !config.tls.acme.domains.is_empty(),
        user_agent_secret: config.security.user_agent_secret.is_some(),
    })
}

fn policy(config: &Config) -> Policy {
    Policy {
        require_vapid: config.security.require_vapid,
        application_servers: config
            .security
            .application_servers
            .iter()
            .map(PublicKey::digest)
            .collect(),
        ttl: Ttl::from_secs(config.limits.ttl.as_secs()),
        budget: config.limits.budget(),
        rate: config.limits.rate(),
        subscriptions_per_user_agent: config.limits.subscriptions_per_user_agent,
    }
}

fn session_limits(config: &Config) -> session::Limits {
    let channels = &config.channels;
    session::Limits {
        hello_within: config.limits.hello_within,
        attach_within: ANSWER_WITHIN,
        in_flight: u16::try_from(channels.in_flight).unwrap_or(u16::MAX),
        acknowledge_within: channels.acknowledge_within,
        page_messages: channels.page_messages,
        page_bytes: channels.page_bytes,
        retry_after: STORAGE_RETRY_AFTER,
        ping_every: channels.ping_every,
        pong_within: channels.pong_within,
        write_within: channels.write_within,
        answer_every: channels.min_ping_interval,
        answer_burst: PING_BURST,
        drain_within: DRAIN_ACKNOWLEDGE_WITHIN,
    }
}

/// What failed, and the sentence of who knows why.
fn sentence(what: &str, error: &dyn std::fmt::Display) -> ServiceError {
    ServiceError(format!("{what}: {error}"))
}
