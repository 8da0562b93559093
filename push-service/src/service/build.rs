//! From a configuration to a node that listens, in the order in which things can fail.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use push_protocol::Ttl;
use push_protocol::capability::SealingKey;
use push_protocol::origin::Origin;
use push_protocol::session;
use push_protocol::vapid::PublicKey;
use tokio::net::TcpListener;

use super::banner::BannerFacts;
use super::stores::{admitted, open_with_keys};
use super::{AdminListeners, Node, ServiceError, ShownByAdmin, descriptors, sentence};
use crate::admin::{Actions, Guard, ReadinessWatch};
use crate::broker::{Broker, Policy};
use crate::budgets::Budgets;
use crate::channels::{ChannelBounds, Channels, Registry};
use crate::cluster::{Announcer, Reconciler};
use crate::config::{self, Config, StorageUrl};
use crate::defaults::{ANSWER_WITHIN, DRAIN_ACKNOWLEDGE_WITHIN, PING_BURST, STORAGE_RETRY_AFTER};
use crate::history::History;
use crate::listeners::{ChannelPath, Handlers, Listener, Listeners, TrustedProxies};
use crate::metrics::Metrics;
use crate::resources::Resources;
use crate::storage::Announce;
use crate::tasks::Background;
use crate::tls::acme::{self, Renewer};
use crate::tls::{self, Acceptor, CertificateSource, TicketSecrets};

/// What is derived from the sealing keys for TLS: all nodes have those, and so resume each other's sessions.
const TICKETS: &[u8] = b"TLS session tickets";

/// What is derived from the first sealing key for digests of addresses, so that all nodes count an address as the same sender.
const ADDRESSES: &[u8] = b"digests of addresses";

pub(super) async fn node(mut config: Config) -> Result<Node, ServiceError> {
    let room = descriptors::make_room(&config)?;
    config.limits.connections = room.connections;
    let warnings: Vec<String> = room.warning.into_iter().collect();
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let metrics = Arc::new(Metrics::new());
    if config.listen.trusted_proxies.is_empty() {
        metrics.trusts_no_proxy();
    }
    let registry = Registry::new();
    let reconciler = Reconciler::new(Arc::clone(&registry), config.cluster.reconcile);
    let history = History::new();
    let told = Arc::new(Announcer {
        reconciler,
        outboxes: Arc::default(),
        history: Arc::clone(&history),
    });
    let (storage, keys) = open_with_keys(&config, Arc::clone(&told) as Arc<dyn Announce>).await?;
    let capabilities = admitted(&*storage, &keys).await?;

    let renewer = renewer(&config).await?;
    let acceptor = acceptor(&config, &keys, renewer.as_ref()).await?;
    let actions = actions(&config).await?;
    let http = bind(&config.listen.http, None)?;
    let tls = bind(&config.listen.tls, acceptor.as_ref())?;
    let admin = bind_admin(&config.listen.admin).await?;
    let facts = facts(&config, &http, &tls, &admin)?;

    let origin = Origin::parse(&facts.public_url).map_err(|error| sentence("public_url", &error))?;
    let policy = policy(&config);
    let budgets =
        Budgets::new(&config.limits, Arc::clone(&metrics)).with_address_secret(address_secret(&keys));
    let budgets = Arc::new(budgets);
    let broker = Broker::new(
        Arc::clone(&storage),
        Arc::new(capabilities),
        origin,
        policy,
        Arc::clone(&metrics),
    );
    let broker = Arc::new(broker.with_budgets(budgets).recording(Arc::clone(&history)));
    let shares = ChannelBounds {
        attaching: config.channels.attaching,
        delivery_bytes: config.channels.delivery_bytes,
    };
    let channels = Channels::new(
        Arc::clone(&broker),
        registry,
        session_limits(&config),
        shares,
        Arc::clone(&metrics),
    );
    let challenges = renewer.as_ref().map(Renewer::challenges);
    let handlers = handlers(&config, &broker, &channels, &metrics, challenges);
    let trusted = TrustedProxies::new(
        config.listen.trusted_proxies.clone(),
        config.listen.forwarded_header.clone(),
    );
    let sockets = http.into_iter().chain(tls).collect();
    let background = Background::new();
    let listeners = Listeners::start(
        &background,
        sockets,
        handlers,
        config.limits.clone(),
        trusted,
        Arc::clone(&metrics),
    );

    let mut node = Node {
        config: config.drain.clone(),
        facts,
        readiness: Arc::new(ReadinessWatch::new()),
        storage,
        channels,
        listeners,
        background,
        admin: AdminListeners::default(),
        look_at_certificates: None,
    };
    let shown = ShownByAdmin {
        metrics: Arc::clone(&metrics),
        acceptor: acceptor.clone(),
        warnings: warnings.into(),
        hosts: config.admin.hosts.clone().into(),
        broker: Arc::clone(&broker),
        actions: Arc::new(actions),
    };
    node.serve_admin(admin, &shown);
    node.run_background(broker, &told, acceptor, renewer);
    Ok(node)
}

/// The parts that take what the listeners accept.
fn handlers(
    config: &Config,
    broker: &Arc<Broker>,
    channels: &Arc<Channels>,
    metrics: &Arc<Metrics>,
    challenges: Option<Arc<tls::Challenges>>,
) -> Handlers {
    let secret = config.security.user_agent_secret.as_ref();
    let secret = secret.map(config::Secret::expose);
    let alternatives = config.listen.alternative_services.as_ref();
    let resources = Resources::new(Arc::clone(broker), &config.limits, Arc::clone(metrics))
        .with_challenges(challenges)
        .with_alternatives(alternatives.map(|services| services.as_header().clone()))
        .with_secret(secret);
    Handlers {
        resources,
        channels: Arc::clone(channels),
        channel_path: ChannelPath::new(secret),
    }
}

/// Orders certificates; `None` if `tls.acme.domains` is empty.
pub(super) async fn renewer(config: &Config) -> Result<Option<Renewer>, ServiceError> {
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

/// Who may act on the admin listener.
pub(super) async fn actions(config: &Config) -> Result<Actions, ServiceError> {
    let file = config.admin.token_file.clone();
    let made = tokio::task::spawn_blocking(move || Guard::new(file)).await;
    let guard = made.map_err(|error| sentence("admin.token_file", &error))?;
    guard
        .map(Actions::new)
        .map_err(|error| sentence("admin.token_file", &error))
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

/// The directory of a self-signed certificate: that of the data, or the working directory if the storage has no directory.
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
        (None, None, None) => {
            return Err(ServiceError(
                "listen: there is no public listener; set listen.http or listen.tls".to_owned(),
            ));
        }
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

fn address_secret(keys: &[SealingKey]) -> Option<[u8; 32]> {
    keys.first().map(|key| key.derive(ADDRESSES))
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
        queue_limits: config.limits.queue_limits(),
        caps: config.limits.caps(),
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
        ask_storage_again_after: STORAGE_RETRY_AFTER,
        ping_every: channels.ping_every,
        pong_within: channels.pong_within,
        write_within: channels.write_within,
        answer_every: channels.min_ping_interval,
        answer_burst: PING_BURST,
        drain_within: DRAIN_ACKNOWLEDGE_WITHIN,
    }
}
