//! What no single value can show: keys that contradict each other, and what this build cannot do.
//!
//! Each rule gives a sentence that says what to change. All of them run before a port opens.

use std::net::SocketAddr;

use super::Config;
use super::acme::AcmeDirectory;
use super::values::{Prefix, StorageUrl};
use crate::defaults;
use crate::storage::redis::WaitReplicas;
use crate::tls::acme::ChallengeKind;

/// The faults of a configuration whose values are good one by one.
pub(super) fn faults(config: &Config) -> Vec<String> {
    let rules: [fn(&Config, &mut Vec<String>); 7] =
        [listeners, tls, acme, storage, sealing_keys, sizes, times];
    let mut faults = Vec::new();
    for rule in rules {
        rule(config, &mut faults);
    }
    faults
}

fn listeners(config: &Config, faults: &mut Vec<String>) {
    let listen = &config.listen;
    let public: Vec<_> = listen.http.iter().chain(&listen.tls).copied().collect();
    if public.is_empty() {
        faults.push("listen.http and listen.tls are both empty: set at least one address".to_owned());
    }
    if !listen.quic.is_empty() {
        faults.push("listen.quic is not available yet: leave it empty".to_owned());
    }
    for admin in &listen.admin {
        if let Some(other) = public.iter().find(|public| collide(**public, *admin)) {
            faults.push(format!(
                "listen.admin {admin} is also a public listener ({other}): give it a port of its own"
            ));
        }
    }
    for (i, one) in public.iter().enumerate() {
        if let Some(other) = public[i + 1..].iter().find(|other| collide(*one, **other)) {
            faults.push(format!(
                "listen.http and listen.tls use the same port ({one} and {other}): choose another port for \
                 one of them"
            ));
        }
    }
    let first = listen.http.first().or(listen.tls.first());
    if let Some(first) = first.filter(|first| first.ip().is_unspecified() && config.public_url.is_none()) {
        faults.push(format!(
            "public_url is not set, and application servers cannot reach {first}: set public_url"
        ));
    }
}

/// Whether both cannot be bound: the same port, on the same address or on all of them.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (one.ip() == other.ip() || any)
}

fn tls(config: &Config, faults: &mut Vec<String>) {
    let tls = &config.tls;
    let fault = match (&tls.certificate, &tls.key) {
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
    faults.push(fault.to_owned());
}

fn acme(config: &Config, faults: &mut Vec<String>) {
    let acme = &config.tls.acme;
    if acme.domains.is_empty() {
        let set = [
            ("contact", acme.contact.is_some()),
            ("ca", acme.ca.is_some()),
            ("cache", acme.cache.is_some()),
            ("directory", acme.directory != AcmeDirectory::default()),
        ];
        for (key, _) in set.iter().filter(|(_, set)| *set) {
            faults.push(format!("tls.acme.{key} is set, but tls.acme.domains is empty"));
        }
        return;
    }
    if config.tls.certificate.is_some() || config.tls.self_signed {
        faults.push(
            "tls.acme.domains and one of tls.certificate and tls.self_signed are both set: choose one \
             (further certificates belong in tls.directory)"
                .to_owned(),
        );
    }
    if config.listen.tls.is_empty() {
        faults.push(
            "tls.acme.domains is set, but listen.tls is empty: set listen.tls, or remove tls.acme.domains"
                .to_owned(),
        );
    }
    if acme.challenge == ChallengeKind::Http01 && config.listen.http.is_empty() {
        faults.push(
            "tls.acme.challenge is http-01, but listen.http is empty: set listen.http, or use tls-alpn-01"
                .to_owned(),
        );
    }
    if acme.domains.len() > defaults::ACME_DOMAINS {
        faults.push(format!(
            "tls.acme.domains has {} names; the maximum is {}",
            acme.domains.len(),
            defaults::ACME_DOMAINS
        ));
    }
}

fn storage(config: &Config, faults: &mut Vec<String>) {
    if matches!(config.storage.url, StorageUrl::Redis(_)) && config.security.sealing_keys.is_empty() {
        faults.push(
            "security.sealing_keys is empty, and with Redis it must be set, to the same list on every node: \
             make a key with `push-service keys generate`"
                .to_owned(),
        );
    }
    let redis = &config.storage.redis;
    let over_tls = match &config.storage.url {
        StorageUrl::Redis(url) => Some(url.expose().starts_with("rediss")),
        _ => None,
    };
    let set = [
        ("wait_replicas", redis.wait_replicas.is_any()),
        (
            "wait_replicas_min",
            redis.wait_replicas_min != defaults::WAIT_REPLICAS_MIN,
        ),
        ("wait_aof", redis.wait_aof),
        ("ca", redis.ca.is_some()),
        ("prefix", redis.prefix != Prefix::default()),
    ];
    for (key, _) in set.iter().filter(|(_, set)| *set && over_tls.is_none()) {
        faults.push(format!(
            "storage.redis.{key} is set, but storage.url is not a Redis: remove it, or set storage.url"
        ));
    }
    let waits_for_all = matches!(redis.wait_replicas, WaitReplicas::All { .. });
    if redis.wait_replicas_min != defaults::WAIT_REPLICAS_MIN && over_tls.is_some() && !waits_for_all {
        faults.push(
            "storage.redis.wait_replicas_min is set, but storage.redis.wait_replicas is not \"all\""
                .to_owned(),
        );
    }
    if redis.ca.is_some() && over_tls == Some(false) {
        faults.push("storage.redis.ca is set, but storage.url does not speak TLS: use rediss".to_owned());
    }
}

fn sealing_keys(config: &Config, faults: &mut Vec<String>) {
    let keys = &config.security.sealing_keys;
    if keys.len() > defaults::SEALING_KEYS {
        faults.push(format!(
            "security.sealing_keys has {} keys; the maximum is {}: remove the oldest, at the end of the list",
            keys.len(),
            defaults::SEALING_KEYS
        ));
    }
    if keys
        .iter()
        .enumerate()
        .any(|(i, key)| keys[i + 1..].contains(key))
    {
        faults.push("security.sealing_keys has the same key twice: remove one".to_owned());
    }
}

fn sizes(config: &Config, faults: &mut Vec<String>) {
    let largest = config.limits.body_bytes as u64 + defaults::MESSAGE_OVERHEAD_BYTES;
    if config.limits.queue_bytes < largest {
        faults.push(format!(
            "limits.queue_bytes {} is too small for one message of limits.body_bytes {}: set at least \
             {largest}",
            config.limits.queue_bytes, config.limits.body_bytes
        ));
    }
    let caps = [
        ("sender_bytes", config.limits.sender_bytes),
        ("store_bytes", config.limits.store_bytes),
    ];
    for (key, cap) in caps {
        // A cap below the limit of one queue is probably given in the wrong unit.
        if (1..config.limits.queue_bytes).contains(&cap) {
            faults.push(format!(
                "limits.{key} {cap} is less than limits.queue_bytes {}: set at least that, or 0 for no cap",
                config.limits.queue_bytes
            ));
        }
    }
}

fn times(config: &Config, faults: &mut Vec<String>) {
    let (channels, drain) = (&config.channels, &config.drain);
    if channels.pong_within >= channels.ping_every {
        faults.push("channels.pong_within must be shorter than channels.ping_every".to_owned());
    }
    if config.limits.ttl > config.storage.retention {
        faults.push("limits.ttl must not be longer than storage.retention".to_owned());
    }
    let least = 2 * config.cluster.reconcile;
    if config.storage.unused_retention < least {
        // Only this comparison shows that a user agent stays connected.
        faults.push(
            "storage.unused_retention must be at least twice cluster.reconcile: else new user agents are \
             forgotten while they are connected"
                .to_owned(),
        );
    }
    if drain.delay + drain.spread > drain.deadline {
        faults.push("drain.deadline must be at least drain.delay plus drain.spread".to_owned());
    }
}
