//! From a configuration to a node that listens, in the order in which things can fail.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use push_protocol::Ttl;
use push_protocol::capability::SealingKey;
use push_protocol::origin::Origin;
use push_protocol::session;
use push_protocol::vapid::PublicKey;
use tokio::net::TcpListener;

use super::banner::BannerFacts;
use super::stores::{admitted, open_with_keys};
use super::{AdminListeners, Node, ServiceError, banner, descriptors, sentence};
use crate::admin::{Actions, Admin, AdminPort, Guard, ReadinessWatch};
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
use crate::storage::redis::WaitsFor;
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
    let background = Background::new();
    let readiness = Arc::new(ReadinessWatch::new());
    let hosts: Arc<[config::HostName]> = config.admin.hosts.clone().into();
    let actions = actions(&config).await?;
    let sockets = bind_admin(&config.listen.admin).await?;
    let admin_addresses = addresses_of(&sockets)?;
    let port = Arc::new(AdminPort::new(
        Arc::clone(&metrics),
        Arc::clone(&readiness),
        Arc::clone(&hosts),
    ));
    // From here on probes are answered.
    let admin = AdminListeners::serve(&background, sockets, &port);
    banner::starting(&admin_addresses);

    readiness.starting("certificates");
    // A Redis has no keys of its own and may be away for long: files that can't be read are told before that.
    let certificates = match &config.storage.url {
        StorageUrl::Redis(_) => Some(certificates_of(&config, &config.security.sealing_keys).await?),
        StorageUrl::Memory | StorageUrl::Embedded { .. } => None,
    };
    readiness.starting(format!("storage to be opened, {}", config.storage.url));
    let told_of_waits = Arc::clone(&readiness);
    let waits_for: WaitsFor = Arc::new(move |what| told_of_waits.starting(what));
    let announce = Arc::clone(&told) as Arc<dyn Announce>;
    let (storage, keys) = open_with_keys(&config, announce, Some(waits_for)).await?;
    let capabilities = admitted(&*storage, &keys).await?;
    readiness.starting("certificates and ports");
    let (renewer, acceptor) = match certificates {
        Some(read) => read,
        None => certificates_of(&config, &keys).await?,
    };
    let http = bind(&config.listen.http, None)?;
    let tls = bind(&config.listen.tls, acceptor.as_ref())?;
    let facts = facts(&config, &http, &tls, admin_addresses)?;

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
    let listeners = Listeners::start(
        &background,
        sockets,
        handlers,
        config.limits.clone(),
        trusted,
        Arc::clone(&metrics),
    );

    let acceptance = listeners.acceptance();
    readiness.asks(Arc::new(move || acceptance.refusing()));
    port.built(Admin {
        metrics,
        storage: Arc::clone(&storage),
        acceptor: acceptor.clone(),
        readiness: Arc::clone(&readiness),
        warnings: warnings.into(),
        hosts,
        broker: Arc::clone(&broker),
        actions: Arc::new(actions),
    });
    let mut node = Node {
        config: config.drain.clone(),
        facts,
        readiness,
        storage,
        channels,
        listeners,
        background,
        admin,
        look_at_certificates: None,
    };
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

/// What orders certificates and what presents them, if there is TLS.
async fn certificates_of(
    config: &Config,
    keys: &[SealingKey],
) -> Result<(Option<Renewer>, Option<Acceptor>), ServiceError> {
    let renewer = renewer(config).await?;
    let acceptor = acceptor(config, keys, renewer.as_ref()).await?;
    Ok((renewer, acceptor))
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
        cache: acme_cache(config),
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

/// Where ordered certificates and the account are kept.
pub(super) fn acme_cache(config: &Config) -> PathBuf {
    let cache = config.tls.acme.cache.clone();
    cache.unwrap_or_else(|| data_directory(config).join("acme"))
}

/// The directory of a self-signed certificate: that of the data, or the working directory if the storage has no directory.
pub(super) fn data_directory(config: &Config) -> &Path {
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

fn addresses_of(sockets: &[TcpListener]) -> Result<Vec<SocketAddr>, ServiceError> {
    let addresses = sockets.iter().map(TcpListener::local_addr);
    addresses
        .collect::<Result<_, _>>()
        .map_err(|error| unknown_address(&error))
}

fn unknown_address(error: &std::io::Error) -> ServiceError {
    sentence("a listener's address", error)
}

fn facts(
    config: &Config,
    http: &[Listener],
    tls: &[Listener],
    admin: Vec<SocketAddr>,
) -> Result<BannerFacts, ServiceError> {
    let addresses = |listeners: &[Listener]| {
        listeners
            .iter()
            .map(Listener::address)
            .collect::<Result<Vec<_>, _>>()
    };
    let (http, tls) = (addresses(http), addresses(tls));
    let known = |error: std::io::Error| unknown_address(&error);
    let (http, tls) = (http.map_err(known)?, tls.map_err(known)?);
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
