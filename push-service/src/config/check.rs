//! What no single value can show: keys that contradict each other, and what this build cannot do.
//!
//! Each rule gives a sentence that says what to change. All of them run before a port opens. Keys that have no effect beside
//! others are in `without_effect`.

use std::net::SocketAddr;

use super::Config;
use super::fault::Fault;
use super::unsure::Unsure;
use super::values::StorageUrl;
use super::without_effect::{self, is_redis};
use crate::defaults;
use crate::storage::redis::url::RedisUrl;
use crate::tls::acme::ChallengeKind;

/// The faults of a configuration whose values are good one by one. Those that depend on unsure values are left out.
pub(super) fn faults(config: &Config, unsure: &Unsure) -> Vec<String> {
    let rules: [fn(&Config, &mut Vec<Fault>); 9] = [
        user_agent_secret,
        public_url,
        listeners,
        tls,
        acme,
        redis,
        sealing_keys,
        sizes,
        times,
    ];
    let mut faults = Vec::new();
    for rule in rules {
        rule(config, &mut faults);
    }
    faults.extend(without_effect::faults(config));
    let is_one = |fault: &Fault| unsure.is_sure_of(&fault.keys);
    faults
        .into_iter()
        .filter(is_one)
        .map(|fault| fault.sentence)
        .collect()
}

/// Without `public_url` the first listener's address is in every endpoint, so all senders must reach the service there.
fn public_url(config: &Config, faults: &mut Vec<Fault>) {
    let listen = &config.listen;
    let mut public = listen.http.iter().chain(&listen.tls);
    let Some(first) = public.next().filter(|_| config.public_url.is_none()) else {
        return;
    };
    let scheme = if listen.http.is_empty() { "https" } else { "http" };
    let endpoints = format!("every endpoint would begin with {scheme}://{first}");
    let keys = ["public_url", "listen.http", "listen.tls"];
    if first.ip().is_unspecified() {
        let sentence =
            format!("public_url is not set, and application servers cannot reach {first}: set public_url");
        faults.push(Fault::new(&keys, sentence));
    } else if let Some(other) = public.find(|other| first.ip().is_loopback() && !other.ip().is_loopback()) {
        let sentence = format!(
            "public_url is not set, so {endpoints}, but other machines reach the service at {other}: set \
             public_url"
        );
        faults.push(Fault::new(&keys, sentence));
    }
    let orders = !config.tls.acme.domains.is_empty() && !listen.tls.is_empty();
    let from_elsewhere = [
        (
            "listen.trusted_proxies",
            !listen.trusted_proxies.is_empty(),
            "the URL that your proxy serves",
        ),
        ("tls.acme.domains", orders, "`https://` and the domain"),
    ];
    for (key, is_set, what) in from_elsewhere {
        if is_set {
            let sentence =
                format!("{key} is set, but public_url is not, so {endpoints}: set public_url to {what}");
            faults.push(Fault::new(
                &[key, "public_url", "listen.http", "listen.tls"],
                sentence,
            ));
        }
    }
}

/// User agents connect at `/SECRET`, where no resource may be.
fn user_agent_secret(config: &Config, faults: &mut Vec<Fault>) {
    const RESOURCES: [&str; 8] = [
        "subscribe",
        "subscription",
        "subscriptions",
        "push",
        "wpush",
        "message",
        "receipts",
        ".well-known",
    ];
    let secret = config.security.user_agent_secret.as_ref();
    if let Some(word) = secret.and_then(|secret| RESOURCES.iter().find(|word| secret.expose() == **word)) {
        let sentence = format!(
            "security.user_agent_secret is `{word}`, which is the path of a resource: choose a random word"
        );
        faults.push(Fault::new(&["security.user_agent_secret"], sentence));
    }
}

fn listeners(config: &Config, faults: &mut Vec<Fault>) {
    let listen = &config.listen;
    let public: Vec<_> = listen.http.iter().chain(&listen.tls).copied().collect();
    let public_keys = ["listen.http", "listen.tls"];
    if public.is_empty() {
        let sentence = "listen.http and listen.tls are both empty: set at least one address";
        faults.push(Fault::new(&public_keys, sentence));
    }
    if !listen.quic.is_empty() {
        let sentence = "listen.quic is not available yet: leave it empty";
        faults.push(Fault::new(&["listen.quic"], sentence));
    }
    for admin in &listen.admin {
        if let Some(other) = public.iter().find(|public| collide(**public, *admin)) {
            let sentence = format!(
                "listen.admin {admin} is also a public listener ({other}): give it a port of its own"
            );
            faults.push(Fault::new(
                &["listen.admin", "listen.http", "listen.tls"],
                sentence,
            ));
        }
    }
    for (i, one) in listen.admin.iter().enumerate() {
        if let Some(other) = listen.admin[i + 1..].iter().find(|other| collide(*one, **other)) {
            let sentence =
                format!("listen.admin uses the same port twice ({one} and {other}): remove one of them");
            faults.push(Fault::new(&["listen.admin"], sentence));
        }
    }
    for (i, one) in public.iter().enumerate() {
        if let Some(other) = public[i + 1..].iter().find(|other| collide(*one, **other)) {
            let sentence = format!(
                "listen.http and listen.tls use the same port ({one} and {other}): choose another port for one \
                 of them"
            );
            faults.push(Fault::new(&public_keys, sentence));
        }
    }
}

/// Whether both cannot be bound: the same port, on the same address or on all of them.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (one.ip() == other.ip() || any)
}

fn tls(config: &Config, faults: &mut Vec<Fault>) {
    let tls = &config.tls;
    let sentence = match (&tls.certificate, &tls.key) {
        (Some(_), None) => "tls.certificate is set without tls.key: set both or neither",
        (None, Some(_)) => "tls.key is set without tls.certificate: set both or neither",
        (Some(_), Some(_)) if tls.self_signed => {
            "tls.self_signed and tls.certificate are both set: choose one"
        }
        (None, None) if !tls.self_signed && tls.acme.domains.is_empty() && !config.listen.tls.is_empty() => {
            "listen.tls needs a certificate: set tls.certificate and tls.key, or tls.acme.domains to order \
             one, or tls.self_signed for tests"
        }
        _ => return,
    };
    let keys = [
        "tls.certificate",
        "tls.key",
        "tls.self_signed",
        "tls.acme.domains",
        "listen.tls",
    ];
    faults.push(Fault::new(&keys, sentence));
}

fn acme(config: &Config, faults: &mut Vec<Fault>) {
    let acme = &config.tls.acme;
    if acme.domains.is_empty() {
        return;
    }
    if config.tls.certificate.is_some() || config.tls.self_signed {
        faults.push(Fault::new(
            &["tls.acme.domains", "tls.certificate", "tls.self_signed"],
            "tls.acme.domains and one of tls.certificate and tls.self_signed are both set: choose one (further \
             certificates belong in tls.directory)",
        ));
    }
    if acme.challenge == ChallengeKind::Http01 && config.listen.http.is_empty() {
        faults.push(Fault::new(
            &["tls.acme.challenge", "listen.http"],
            "tls.acme.challenge is http-01, but listen.http is empty: set listen.http, or use tls-alpn-01",
        ));
    }
    if acme.domains.len() > defaults::ACME_DOMAINS {
        let sentence = format!(
            "tls.acme.domains has {} names; the maximum is {}",
            acme.domains.len(),
            defaults::ACME_DOMAINS
        );
        faults.push(Fault::new(&["tls.acme.domains"], sentence));
    }
}

fn redis(config: &Config, faults: &mut Vec<Fault>) {
    if !is_redis(config) {
        return;
    }
    if config.security.sealing_keys.is_empty() {
        faults.push(Fault::new(
            &["security.sealing_keys", "storage.url"],
            "security.sealing_keys is empty, and with Redis it must be set, to the same list on every node: make \
             a key with `push-service keys generate`",
        ));
    }
    let own = &config.storage.redis;
    if own.username.is_some() && own.password.is_none() && !has_password(config) {
        faults.push(Fault::new(
            &["storage.redis.username", "storage.redis.password", "storage.url"],
            "storage.redis.username is set, but there is no password: set storage.redis.password",
        ));
    }
    if config.storage.unused_retention < 2 * config.cluster.reconcile {
        // Only this comparison shows that a user agent stays connected.
        faults.push(Fault::new(
            &["storage.unused_retention", "cluster.reconcile", "storage.url"],
            "storage.unused_retention must be at least twice cluster.reconcile: else new user agents are \
             forgotten while they are connected",
        ));
    }
}

/// Whether `storage.url` has a password.
fn has_password(config: &Config) -> bool {
    match &config.storage.url {
        StorageUrl::Redis(url) => RedisUrl::parse(url.expose()).is_ok_and(|url| url.password.is_some()),
        StorageUrl::Embedded { .. } | StorageUrl::Memory => false,
    }
}

fn sealing_keys(config: &Config, faults: &mut Vec<Fault>) {
    let about = ["security.sealing_keys"];
    let keys = &config.security.sealing_keys;
    if keys.len() > defaults::SEALING_KEYS {
        let sentence = format!(
            "security.sealing_keys has {} keys; the maximum is {}: remove the oldest, at the end of the list",
            keys.len(),
            defaults::SEALING_KEYS
        );
        faults.push(Fault::new(&about, sentence));
    }
    if keys
        .iter()
        .enumerate()
        .any(|(i, key)| keys[i + 1..].contains(key))
    {
        let sentence = "security.sealing_keys has the same key twice: remove one";
        faults.push(Fault::new(&about, sentence));
    }
}

fn sizes(config: &Config, faults: &mut Vec<Fault>) {
    let limits = &config.limits;
    let largest = limits.body_bytes as u64 + defaults::MESSAGE_OVERHEAD_BYTES;
    if limits.queue_bytes < largest {
        let sentence = format!(
            "limits.queue_bytes {} is too small for one message of limits.body_bytes {}: set at least {largest}",
            limits.queue_bytes, limits.body_bytes
        );
        faults.push(Fault::new(&["limits.queue_bytes", "limits.body_bytes"], sentence));
    }
    let caps = [
        ("limits.sender_bytes", limits.sender_bytes),
        ("limits.store_bytes", limits.store_bytes),
    ];
    for (key, cap) in caps {
        // A cap below the limit of one queue is probably given in the wrong unit.
        if (1..limits.queue_bytes).contains(&cap) {
            let sentence = format!(
                "{key} {cap} is less than limits.queue_bytes {}: set at least that, or 0 for no cap",
                limits.queue_bytes
            );
            faults.push(Fault::new(&[key, "limits.queue_bytes"], sentence));
        }
    }
}

fn times(config: &Config, faults: &mut Vec<Fault>) {
    let (channels, drain) = (&config.channels, &config.drain);
    if channels.pong_within >= channels.ping_every {
        faults.push(Fault::new(
            &["channels.pong_within", "channels.ping_every"],
            "channels.pong_within must be shorter than channels.ping_every",
        ));
    }
    if config.limits.ttl > config.storage.retention {
        faults.push(Fault::new(
            &["limits.ttl", "storage.retention"],
            "limits.ttl must not be longer than storage.retention",
        ));
    }
    if drain.delay + drain.spread > drain.deadline {
        faults.push(Fault::new(
            &["drain.deadline", "drain.delay", "drain.spread"],
            "drain.deadline must be at least drain.delay plus drain.spread",
        ));
    }
}
