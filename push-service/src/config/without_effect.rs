//! Keys that the service does not read under other settings.
//!
//! An operator who sets such a key expects something that will not happen, so it is refused with the reason. A key counts as
//! set if it differs from its default: so the file that `config print-default` prints is accepted.
//!
//! Not in this table are limits that another limit keeps from being reached: what they say stays true.

use super::Config;
use super::fault::Fault;
use super::values::StorageUrl;
use crate::storage::redis::WaitReplicas;

/// Keys, and settings under which they have no effect.
struct Group {
    keys: &'static [Key],
    /// Whether they have no effect.
    is_idle: fn(&Config) -> bool,
    /// Why not, and what to do: the end of a sentence.
    why: &'static str,
    /// Which keys decide that.
    because_of: &'static [&'static str],
}

struct Key {
    name: &'static str,
    is_set: fn(&Config, &Config) -> bool,
}

/// Keys by their names in the configuration, as [`Key`]s that are set if they differ from a default.
macro_rules! keys {
    ($($section:ident $(. $key:ident)+),+ $(,)?) => {
        &[$(Key {
            name: concat!(stringify!($section) $(, ".", stringify!($key))+),
            is_set: |config, default| config.$section$(.$key)+ != default.$section$(.$key)+,
        }),+]
    };
}

const GROUPS: &[Group] = &[
    Group {
        keys: keys![admin.token_file, admin.hosts],
        is_idle: |config| config.listen.admin.is_empty(),
        why: "listen.admin is empty, so there is no admin listener: set listen.admin, or remove this key",
        because_of: &["listen.admin"],
    },
    Group {
        keys: keys![listen.forwarded_header],
        is_idle: |config| config.listen.trusted_proxies.is_empty(),
        why: "listen.trusted_proxies is empty, so the field is not read: set listen.trusted_proxies, or remove this key",
        because_of: &["listen.trusted_proxies"],
    },
    Group {
        keys: keys![
            tls.certificate,
            tls.key,
            tls.directory,
            tls.self_signed,
            tls.acme.domains,
            limits.tls_handshake_within
        ],
        is_idle: |config| config.listen.tls.is_empty(),
        why: "listen.tls is empty, so nothing is served over TLS: set listen.tls, or remove this key",
        because_of: &["listen.tls"],
    },
    Group {
        keys: keys![
            tls.acme.contact,
            tls.acme.ca,
            tls.acme.cache,
            tls.acme.directory,
            tls.acme.challenge
        ],
        is_idle: |config| config.tls.acme.domains.is_empty(),
        why: "tls.acme.domains is empty, so no certificate is ordered: set tls.acme.domains, or remove this key",
        because_of: &["tls.acme.domains"],
    },
    Group {
        keys: keys![
            storage.redis.wait_replicas,
            storage.redis.wait_replicas_min,
            storage.redis.wait_aof,
            storage.redis.ca,
            storage.redis.username,
            storage.redis.password,
            storage.redis.start_within,
            storage.redis.prefix,
            cluster.inline_bytes,
            cluster.reconcile
        ],
        is_idle: |config| !is_redis(config),
        why: "storage.url is not a Redis: set it to one, or remove this key",
        because_of: &["storage.url"],
    },
    Group {
        keys: keys![storage.redis.wait_replicas_min],
        is_idle: |config| {
            is_redis(config) && !matches!(config.storage.redis.wait_replicas, WaitReplicas::All { .. })
        },
        why: "storage.redis.wait_replicas is not \"all\": set it to \"all\", or remove this key",
        because_of: &["storage.url", "storage.redis.wait_replicas"],
    },
    Group {
        keys: keys![storage.redis.ca],
        is_idle: |config| is_redis(config) && !is_redis_over_tls(config),
        why: "storage.url does not speak TLS: use rediss instead of redis there, or remove this key",
        because_of: &["storage.url"],
    },
    Group {
        keys: keys![limits.work_per_address_burst],
        is_idle: |config| config.limits.work_per_address == 0,
        why: "limits.work_per_address is 0, which means no limit: set a rate, or remove this key",
        because_of: &["limits.work_per_address"],
    },
    Group {
        keys: keys![limits.work_per_sender_burst],
        is_idle: |config| config.limits.work_per_sender == 0,
        why: "limits.work_per_sender is 0, which means no limit: set a rate, or remove this key",
        because_of: &["limits.work_per_sender"],
    },
    Group {
        keys: keys![limits.work_per_user_agent_burst],
        is_idle: |config| config.limits.work_per_user_agent == 0,
        why: "limits.work_per_user_agent is 0, which means no limit: set a rate, or remove this key",
        because_of: &["limits.work_per_user_agent"],
    },
    Group {
        keys: keys![limits.records_per_address_burst],
        is_idle: |config| config.limits.records_per_address == 0.0,
        why: "limits.records_per_address is 0, which means no limit: set a rate, or remove this key",
        because_of: &["limits.records_per_address"],
    },
    Group {
        keys: keys![limits.pushes_burst],
        is_idle: |config| config.limits.pushes_per_second == 0.0,
        why: "limits.pushes_per_second is 0, which means no limit: set a rate, or remove this key",
        because_of: &["limits.pushes_per_second"],
    },
    Group {
        keys: keys![limits.unlimited_networks],
        is_idle: |config| {
            let limits = &config.limits;
            let work = [
                limits.work_per_address,
                limits.work_per_sender,
                limits.work_per_user_agent,
            ];
            work == [0; 3]
                && limits.records_per_address == 0.0
                && limits.connections_per_address == 0
                && limits.sender_bytes == 0
        },
        why: "all limits that it lifts are 0, which means no limit: remove this key",
        because_of: &[
            "limits.work_per_address",
            "limits.work_per_sender",
            "limits.work_per_user_agent",
            "limits.records_per_address",
            "limits.connections_per_address",
            "limits.sender_bytes",
        ],
    },
];

/// The keys that are set and have no effect.
pub(super) fn faults(config: &Config) -> Vec<Fault> {
    let default = Config::default();
    let idle = GROUPS.iter().filter(|group| (group.is_idle)(config));
    let set = idle.flat_map(|group| {
        let set = group.keys.iter().filter(|key| (key.is_set)(config, &default));
        set.map(move |key| {
            let about = [&[key.name], group.because_of].concat();
            Fault::new(&about, format!("{} is set, but {}", key.name, group.why))
        })
    });
    set.collect()
}

pub(super) fn is_redis(config: &Config) -> bool {
    matches!(config.storage.url, StorageUrl::Redis(_))
}

fn is_redis_over_tls(config: &Config) -> bool {
    matches!(&config.storage.url, StorageUrl::Redis(url) if url.expose().starts_with("rediss"))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet, HashMap};

    use super::super::sections::{Item, Section as _, dotted};
    use super::*;

    /// Keys that always have an effect.
    const ALWAYS: &[&str] = &[
        "public_url",
        "listen.http",
        "listen.tls",
        "listen.quic",
        "listen.admin",
        "listen.trusted_proxies",
        "listen.alternative_services",
        "storage.url",
        "storage.retention",
        "storage.unused_retention",
        "security.sealing_keys",
        // Beside `application_servers` it adds nothing, but what it says is true.
        "security.require_vapid",
        "security.application_servers",
        "security.user_agent_secret",
        "limits.body_bytes",
        "limits.header_bytes",
        "limits.connections",
        "limits.connections_per_address",
        "limits.work_per_address",
        "limits.work_per_sender",
        "limits.work_per_user_agent",
        "limits.records_per_address",
        "limits.subscriptions_per_user_agent",
        "limits.pushes_per_second",
        "limits.queue_messages",
        "limits.queue_bytes",
        "limits.sender_bytes",
        "limits.store_bytes",
        "log.format",
        "limits.ttl",
        "limits.hello_within",
        "limits.header_within",
        "limits.body_within",
        "limits.idle_for",
        "limits.http2_streams",
        "channels.in_flight",
        "channels.acknowledge_within",
        "channels.ping_every",
        "channels.pong_within",
        "channels.write_within",
        "channels.delivery_bytes",
        "channels.page_messages",
        "channels.page_bytes",
        "channels.min_ping_interval",
        "channels.attaching",
        "drain.delay",
        "drain.spread",
        "drain.deadline",
    ];

    /// Each key: a value that is not its default, and settings beside it under which it has no effect. The last column is what
    /// makes it effective.
    const ROWS: &[(&str, &str, &str, &str)] = &[
        ("admin.token_file", "'token'", "listen.admin = []", ""),
        (
            "listen.forwarded_header",
            "'Forwarded'",
            "",
            "listen.trusted_proxies = ['10.0.0.0/8']\npublic_url = 'https://a.example'",
        ),
        ("admin.hosts", "['a.example']", "listen.admin = []", ""),
        (
            "tls.certificate",
            "'a.pem'",
            "tls.key = 'k'",
            "listen.tls = ['127.0.0.1:1']",
        ),
        (
            "tls.key",
            "'k.pem'",
            "tls.certificate = 'a'",
            "listen.tls = ['127.0.0.1:1']",
        ),
        (
            "tls.directory",
            "'d'",
            "",
            "listen.tls = ['127.0.0.1:1']\ntls.self_signed = true",
        ),
        ("tls.self_signed", "true", "", "listen.tls = ['127.0.0.1:1']"),
        (
            "tls.acme.domains",
            "['a.example']",
            "",
            "listen.tls = ['127.0.0.1:1']\npublic_url = 'https://a.example'",
        ),
        (
            "limits.tls_handshake_within",
            "'3s'",
            "",
            "listen.tls = ['127.0.0.1:1']\ntls.self_signed = true",
        ),
        ("tls.acme.contact", "'a@b.example'", "", ACME),
        ("tls.acme.ca", "'ca.pem'", "", ACME),
        ("tls.acme.cache", "'cache'", "", ACME),
        ("tls.acme.directory", "'https://acme.example/'", "", ACME),
        ("tls.acme.challenge", "'http-01'", "", ACME),
        ("storage.redis.wait_replicas", "1", "", REDIS),
        ("storage.redis.wait_aof", "true", "storage.url = 'memory:'", REDIS),
        ("storage.redis.username", "'push'", "", WITH_PASSWORD),
        ("storage.redis.password", "'p'", "", REDIS),
        ("storage.redis.start_within", "'1m'", "", REDIS),
        ("storage.redis.prefix", "'other'", "", REDIS),
        ("cluster.inline_bytes", "1", "", REDIS),
        ("cluster.reconcile", "'30s'", "", REDIS),
        ("storage.redis.wait_replicas_min", "2", "", WAITING),
        ("storage.redis.wait_replicas_min", "2", REDIS, WAITING),
        ("storage.redis.ca", "'ca.pem'", "", OVER_TLS),
        ("storage.redis.ca", "'ca.pem'", REDIS, OVER_TLS),
        (
            "limits.work_per_address_burst",
            "20000",
            "limits.work_per_address = 0",
            "",
        ),
        (
            "limits.work_per_sender_burst",
            "20000",
            "limits.work_per_sender = 0",
            "",
        ),
        (
            "limits.work_per_user_agent_burst",
            "20000",
            "limits.work_per_user_agent = 0",
            "",
        ),
        (
            "limits.records_per_address_burst",
            "2",
            "limits.records_per_address = 0",
            "",
        ),
        ("limits.pushes_burst", "2", "limits.pushes_per_second = 0", ""),
        (
            "limits.unlimited_networks",
            "['10.0.0.0/8']",
            "limits.connections_per_address = 0\nlimits.work_per_address = 0\nlimits.work_per_sender = 0\n\
             limits.work_per_user_agent = 0\nlimits.records_per_address = 0\nlimits.sender_bytes = 0",
            "limits.work_per_address = 0",
        ),
    ];

    const ACME: &str =
        "listen.tls = ['127.0.0.1:1']\ntls.acme.domains = ['a.example']\npublic_url = 'https://a.example'";
    const KEY: &str = "security.sealing_keys = ['AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8']\n";
    const REDIS: &str = "storage.url = 'redis://localhost'";
    const WITH_PASSWORD: &str = "storage.url = 'redis://:p@localhost'";
    const WAITING: &str = "storage.url = 'redis://localhost'\nstorage.redis.wait_replicas = 'all'";
    const OVER_TLS: &str = "storage.url = 'rediss://localhost'";

    /// A key that has no effect beside other settings is refused, with a sentence that names it; beside others it is accepted.
    #[test]
    fn a_key_without_effect_is_refused() {
        for (key, value, idle, effective) in ROWS {
            let read = |beside: &str| {
                let text = format!("{KEY}{key} = {value}\n{beside}");
                Config::from_sources(Some(("push.toml", &text)), HashMap::new())
            };
            let refused = read(idle).unwrap_err();
            let expected = format!("{key} is set, but ");
            let about = refused
                .faults()
                .iter()
                .filter(|fault| fault.starts_with(&expected));
            assert_eq!(about.count(), 1, "{key}: {refused}");
            let beside = match *key {
                "tls.certificate" => format!("{effective}\ntls.key = 'k'"),
                "tls.key" => format!("{effective}\ntls.certificate = 'a'"),
                _ => (*effective).to_owned(),
            };
            read(&beside).unwrap_or_else(|refused| panic!("{key}: {refused}"));
        }
    }

    /// Every key of the configuration is judged: either it always has an effect, or it is in the table and in the test.
    #[test]
    fn every_key_is_judged() {
        let mut items = Vec::new();
        Config::describe(&mut items);
        let (mut section, mut keys) = ("", BTreeSet::new());
        for item in items {
            match item {
                Item::Section { path, .. } => section = path,
                Item::Key { name, .. } => _ = keys.insert(dotted(section, name)),
            }
        }
        let in_table: BTreeMap<_, _> = GROUPS
            .iter()
            .flat_map(|group| group.keys)
            .map(|key| (key.name, ()))
            .collect();
        for key in &keys {
            let is_idle = in_table.contains_key(key.as_str());
            assert_ne!(
                is_idle,
                ALWAYS.contains(&key.as_str()),
                "{key}: put it into GROUPS, if other settings leave it without effect, or else into ALWAYS"
            );
            assert_eq!(
                is_idle,
                ROWS.iter().any(|row| row.0 == key),
                "{key} needs a row in ROWS"
            );
        }
        for key in ALWAYS.iter().chain(in_table.keys()) {
            assert!(keys.contains(*key), "{key} is no key of the configuration");
        }
    }
}
