//! The configuration as an operator meets it: files and variables in, types or sentences out.

use std::collections::HashMap;
use std::time::Duration;

use super::*;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const OTHER_KEY: &str = "HwECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

fn from_file(text: &str) -> Result<Config, ConfigError> {
    Config::from_sources(Some(("push.toml", text)), HashMap::new())
}

fn from_environment(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_sources(None, variables.collect())
}

/// With nothing configured, the service is for trying: on loopback, embedded, open to any sender.
#[test]
fn the_defaults_are_the_documented_ones() {
    let config = from_environment(&[]).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.public_url, None);
    assert_eq!(config.listen.http, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(config.listen.admin, ["127.0.0.1:9090".parse().unwrap()]);
    assert!(config.listen.tls.is_empty() && config.listen.quic.is_empty());
    assert_eq!(config.storage.url.to_string(), "embedded:push-service-data");
    assert_eq!(config.limits.body_bytes, 5_632);
    assert_eq!(config.limits.ttl, Duration::from_secs(30 * 86_400));
    assert_eq!(config.channels.acknowledge_within, Duration::from_secs(60));
    assert_eq!(config.channels.ping_every, Duration::from_secs(300));
    assert!(!config.security.require_vapid);
}

/// The printed defaults are complete and parse back to the defaults, so they cannot go stale.
#[test]
fn the_printed_defaults_parse_back_to_the_defaults() {
    let printed = template();
    assert_eq!(from_file(&printed).unwrap(), Config::default(), "{printed}");
    for key in [
        "public_url",
        "wait_replicas",
        "user_agent_secret",
        "attaching",
        "deadline",
    ] {
        assert!(printed.contains(&format!("\n{key} = ")), "{key}");
    }
}

/// The environment comes after the file, and an empty variable unsets what the file sets.
#[test]
fn the_environment_overrides_the_file() {
    let file = "public_url = \"https://a.example\"\n[limits]\nbody_bytes = 4096\nttl = 60\n[storage.redis]\n";
    let variables = [
        ("PUSH_SERVICE__LIMITS__BODY_BYTES", "8192"),
        ("PUSH_SERVICE__PUBLIC_URL", ""),
        ("PUSH_SERVICE__LISTEN__HTTP", "127.0.0.1:1, [::1]:2"),
        ("PUSH_SERVICE__SECURITY__REQUIRE_VAPID", "true"),
        ("PUSH_SERVICE__LIMITS__PUSHES_PER_SECOND", "0.5"),
        ("PUSH_SERVICE_PORT", "tcp://10.0.0.1:80"),
        ("PUSH_SERVICE_LOG", "debug"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = Config::from_sources(Some(("push.toml", file)), variables.into()).unwrap();
    assert_eq!(config.limits.body_bytes, 8_192);
    assert_eq!(config.limits.ttl, Duration::from_secs(60));
    assert_eq!(config.public_url, None);
    assert_eq!(config.listen.http.len(), 2);
    assert!(config.security.require_vapid);
    assert_eq!(
        config.limits.rate().map(|rate| (rate.per_second, rate.burst)),
        Some((0.5, 100.0))
    );
}

/// Every form of value that a key takes is read into its type.
#[test]
fn values_become_types() {
    let config = from_file(&format!(
        "public_url = 'https://Push.Example:443/'\n\
         [listen]\ntls = ['[::]:443']\ntrusted_proxies = ['10.0.0.0/8', '::1']\n\
         forwarded_header = 'Forwarded'\n\
         [admin]\nhosts = ['Admin.Example.', 'push-admin']\n\
         [tls]\nself_signed = true\n\
         [storage]\nurl = 'memory:'\nretention = '500d'\n\
         [security]\nsealing_keys = ['{KEY}', '{OTHER_KEY}=']\nuser_agent_secret = 'open-sesame'\n\
         [limits]\npushes_per_second = 0\n"
    ))
    .unwrap();
    assert_eq!(config.public_url.unwrap().as_str(), "https://push.example");
    assert_eq!(config.storage.url, StorageUrl::Memory);
    assert_eq!(config.security.sealing_keys.len(), 2);
    assert_eq!(config.security.sealing_keys[0].to_base64url(), KEY);
    assert_eq!(config.security.user_agent_secret.unwrap().expose(), "open-sesame");
    assert_eq!(config.limits.rate(), None);
    assert_eq!(config.listen.forwarded_header.name(), "forwarded");
    let hosts: Vec<_> = config.admin.hosts.iter().map(HostName::as_str).collect();
    assert_eq!(hosts, ["admin.example", "push-admin"]);
    let proxies = &config.listen.trusted_proxies;
    assert!(proxies[0].contains("10.200.1.1".parse().unwrap()));
    assert!(proxies[0].contains("::ffff:10.1.1.1".parse().unwrap()));
    assert!(!proxies[0].contains("11.0.0.1".parse().unwrap()));
    assert!(proxies[1].contains("::1".parse().unwrap()));
    assert!(!proxies[1].contains("::2".parse().unwrap()));
}

/// An unknown key is refused wherever it stands, in the spelling of its source, with the nearest known one.
#[test]
fn an_unknown_key_is_refused_with_the_nearest() {
    let files = [
        (
            "[limit]\nx = 1",
            "push.toml: limit.x: there is no such key; `push-service config print-default` prints all keys",
        ),
        (
            "[limits]\nbody_byte = 1",
            "push.toml: limits.body_byte: there is no such key; did you mean limits.body_bytes?",
        ),
        (
            "[limit]\nbody_bytes = 1",
            "push.toml: limit.body_bytes: there is no such key; did you mean limits.body_bytes?",
        ),
        (
            "in_flight = 3",
            "push.toml: in_flight: there is no such key; did you mean channels.in_flight?",
        ),
        (
            "[tsl]",
            "push.toml: tsl: there is no such key; did you mean listen.tls?",
        ),
        (
            "tls = true",
            "push.toml: tls is a section, not a key; its keys are tls.certificate, tls.key, tls.directory, tls.self_signed",
        ),
    ];
    for (text, sentence) in files {
        assert_eq!(from_file(text).unwrap_err().to_string(), sentence, "{text}");
    }
    let refused = from_environment(&[("PUSH_SERVICE__PUBLIC_ULR", "https://a.example")]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "PUSH_SERVICE__PUBLIC_ULR: there is no such key; did you mean PUSH_SERVICE__PUBLIC_URL?"
    );
}

/// A bad value is refused with its key, itself, and what would do.
#[test]
fn a_bad_value_is_refused_with_a_sentence() {
    let rows = [
        (
            "LIMITS__BODY_BYTES",
            "many",
            "`many` is not accepted; it takes a whole number, from 4096 to 1048576",
        ),
        ("LIMITS__BODY_BYTES", "4095", "`4095` is not accepted"),
        (
            "LIMITS__TTL",
            "31 moons",
            "`31 moons` is not accepted; it takes a time such as",
        ),
        (
            "LIMITS__PUSHES_PER_SECOND",
            "-1",
            "`-1` is not accepted; it takes a number, from 0",
        ),
        ("LIMITS__PUSHES_PER_SECOND", "NaN", "`NaN` is not accepted"),
        (
            "CHANNELS__IN_FLIGHT",
            "0",
            "`0` is not accepted; it takes a whole number, from 2 to 1024",
        ),
        (
            "CHANNELS__ACKNOWLEDGE_WITHIN",
            "0",
            "`0` is not accepted; it takes a time such as",
        ),
        (
            "LISTEN__HTTP",
            "127.0.0.1:1,localhost:8080",
            ": `localhost:8080` is not accepted; it takes a list",
        ),
        (
            "LISTEN__TRUSTED_PROXIES",
            "10.0.0.0/33",
            "`10.0.0.0/33` is not accepted",
        ),
        ("LISTEN__TRUSTED_PROXIES", "ten", "`ten` is not accepted"),
        (
            "SECURITY__REQUIRE_VAPID",
            "yes",
            "`yes` is not accepted; it takes true or false",
        ),
        ("SECURITY__APPLICATION_SERVERS", "AAAA", "`AAAA` is not accepted"),
        (
            "STORAGE__URL",
            "postgres://host",
            "`postgres://host` is not accepted; it takes `embedded:DIRECTORY`",
        ),
        ("STORAGE__URL", "embedded:", "`embedded:` is not accepted"),
        (
            "PUBLIC_URL",
            "push.example",
            "`push.example` is not accepted; it takes an origin",
        ),
        ("PUBLIC_URL", "https://push.example/push", "is not accepted"),
        ("PUBLIC_URL", "https://push.example?x", "is not accepted"),
        ("PUBLIC_URL", "https://push.example:0", "is not accepted"),
        ("PUBLIC_URL", "ftp://push.example", "is not accepted"),
    ];
    for (key, value, expected) in rows {
        let name = format!("PUSH_SERVICE__{key}");
        let sentence = from_environment(&[(&name, value)]).unwrap_err().to_string();
        assert!(sentence.starts_with(&format!("{name}: ")), "{sentence}");
        assert!(sentence.contains(expected), "{sentence}");
    }
}

/// What contradicts itself, or cannot be done yet, is refused before a port opens.
#[test]
fn contradictions_are_refused() {
    let rows = [
        (
            "[security]\nuser_agent_secret = 'subscribe'",
            "which is the path of a resource: choose a random word",
        ),
        (
            "[tls]\ncertificate = 'a.pem'",
            "tls.certificate is set without tls.key",
        ),
        ("[tls]\nkey = 'a.pem'", "tls.key is set without tls.certificate"),
        (
            "[tls]\nkey = 'a'\ncertificate = 'b'\nself_signed = true",
            "both set: choose one",
        ),
        (
            "[tls.acme]\ndomains = ['push.example']",
            "tls.acme.domains is set, but listen.tls is empty",
        ),
        (
            "[listen]\ntls = ['127.0.0.1:8443']\n[tls]\nself_signed = true\nacme.domains = ['push.example']",
            "tls.acme.domains and one of tls.certificate",
        ),
        (
            "[listen]\nhttp = []\ntls = ['127.0.0.1:8443']\n[tls.acme]\ndomains = ['a.b']\nchallenge = 'http-01'",
            "tls.acme.challenge is http-01, but listen.http is empty: set listen.http, or use tls-alpn-01",
        ),
        (
            "[tls.acme]\ncontact = 'a@b.c'",
            "tls.acme.contact is set, but tls.acme.domains is empty",
        ),
        (
            "[listen]\ntls = ['127.0.0.1:8443']",
            "listen.tls needs a certificate",
        ),
        (
            "[listen]\nadmin = ['127.0.0.1:8080']",
            "listen.admin 127.0.0.1:8080 is also a public listener",
        ),
        ("[listen]\nadmin = ['0.0.0.0:8080']", "is also a public listener"),
        ("[listen]\nhttp = []", "set at least one address"),
        (
            "[listen]\nhttp = ['127.0.0.1:1', '127.0.0.1:1']",
            "use the same port",
        ),
        ("[listen]\nhttp = ['0.0.0.0:8080']", "set public_url"),
        (
            "[listen]\nquic = ['127.0.0.1:443']",
            "listen.quic is not available yet",
        ),
        (
            "[storage]\nurl = 'redis+cluster://localhost'",
            "make a key with `push-service keys generate`",
        ),
        ("[storage.redis]\nwait_replicas = 1", "storage.url is not a Redis"),
        (
            "[storage.redis]\nwait_aof = true",
            "storage.redis.wait_aof is set",
        ),
        ("[storage.redis]\nca = 'ca.pem'", "storage.redis.ca is set"),
        (
            "[storage]\nurl = 'redis://h'\n[storage.redis]\nca = 'ca.pem'",
            "does not speak TLS: use rediss",
        ),
        (
            "[limits]\nbody_bytes = 9000\nqueue_bytes = 9000",
            "limits.queue_bytes 9000 is too small for one message",
        ),
        (
            "[limits]\nsender_bytes = 1000000",
            "limits.sender_bytes 1000000 is less than limits.queue_bytes 4194304",
        ),
        (
            "[limits]\nstore_bytes = 4096",
            "limits.store_bytes 4096 is less than limits.queue_bytes",
        ),
        (
            "[channels]\nping_every = 5",
            "channels.pong_within must be shorter",
        ),
        ("[storage]\nretention = '20d'", "limits.ttl must not be longer"),
        (
            "[storage]\nurl = 'redis://h'\nunused_retention = '110s'",
            "storage.unused_retention must be at least twice cluster.reconcile",
        ),
        (
            "[cluster]\nreconcile = '5s'\n[storage]\nurl = 'redis://h'\nunused_retention = '9s'",
            "storage.unused_retention must be at least twice cluster.reconcile",
        ),
        (
            "[listen]\ntrusted_proxies = ['10.0.0.0/8']",
            "listen.trusted_proxies is set, but public_url is not, so every endpoint would begin with \
             http://127.0.0.1:8080: set public_url to the URL that your proxy serves",
        ),
        (
            "[listen]\ntls = ['192.0.2.7:443']\n[tls]\nself_signed = true",
            "public_url is not set, so every endpoint would begin with http://127.0.0.1:8080, but other \
             machines reach the service at 192.0.2.7:443: set public_url",
        ),
        (
            "[listen]\nhttp = []\ntls = ['192.0.2.7:443']\n[tls.acme]\ndomains = ['a.example']",
            "tls.acme.domains is set, but public_url is not, so every endpoint would begin with \
             https://192.0.2.7:443: set public_url to `https://` and the domain",
        ),
        (
            "[listen]\nadmin = ['127.0.0.1:9090', '0.0.0.0:9090']",
            "listen.admin uses the same port twice",
        ),
        ("[drain]\ndeadline = 3", "drain.deadline must be at least"),
    ];
    for (text, expected) in rows {
        let sentence = from_file(text).unwrap_err().to_string();
        assert!(sentence.contains(expected), "{text}: {sentence}");
    }
    let twice = format!("[security]\nsealing_keys = ['{KEY}', '{KEY}']");
    assert!(
        from_file(&twice)
            .unwrap_err()
            .to_string()
            .contains("the same key twice")
    );
}

/// DESIGN §5: a URL of Redis is refused with what exactly is wrong with it.
#[test]
fn a_bad_url_of_redis_is_refused_with_its_fault() {
    let rows = [
        ("redis://a,b", "it names several servers"),
        (
            "redis+cluster://a/2",
            "a cluster has only database 0: remove the number",
        ),
        ("rediss+sentinel://a", "the name of the primary"),
        ("redis", "it is not a URL"),
        ("http://a", "rediss"),
    ];
    for (url, expected) in rows {
        let sentence = from_file(&format!("[storage]\nurl = '{url}'"))
            .unwrap_err()
            .to_string();
        assert!(sentence.contains(expected), "{url}: {sentence}");
    }
}

/// All faults are told at once, of every kind and from every source: an operator should not have to start the service five
/// times.
#[test]
fn all_faults_are_told_at_once() {
    let file = "[limits]\nbody_bytes = 'x'\nttl = 'y'\n[drain]\ndelay = 'z'\n\
                [tls]\nself_signed = true\n[listn]\nhttp = []\n";
    let variables = [
        ("PUSH_SERVICE__LIMITS__CONNECTION", "7"),
        ("PUSH_SERVICE__CHANNELS__PING_EVERY", "soon"),
        ("PUSH_SERVICE_STORAGE_URL", "memory:"),
        ("PUSH_SERVICE_LOG", "verbose"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let refused = Config::from_sources(Some(("push.toml", file)), variables.into()).unwrap_err();
    let begin = [
        "PUSH_SERVICE_LOG: `verbose` is not a level",
        "PUSH_SERVICE_STORAGE_URL: there is no such variable; did you mean PUSH_SERVICE__STORAGE__URL?",
        "PUSH_SERVICE__LIMITS__CONNECTION: there is no such key; did you mean PUSH_SERVICE__LIMITS__CONNECTIONS?",
        "push.toml: listn.http: there is no such key; did you mean listen.http?",
        "push.toml: limits.body_bytes: `x` is not accepted",
        "push.toml: limits.ttl: `y` is not accepted",
        "PUSH_SERVICE__CHANNELS__PING_EVERY: `soon` is not accepted",
        "push.toml: drain.delay: `z` is not accepted",
        "tls.self_signed is set, but listen.tls is empty",
    ];
    assert_eq!(refused.faults().len(), begin.len(), "{refused}");
    for (fault, begin) in refused.faults().iter().zip(begin) {
        assert!(fault.starts_with(begin), "{fault}");
    }
}

/// A fault that only follows from another one is not told: what depends on a value that was refused, or on a key that was
/// probably misspelt, is not judged.
#[test]
fn what_follows_from_a_fault_is_not_told() {
    let rows = [
        "[storage]\nurl = 'redi://host'\n[storage.redis]\nca = 'ca.pem'\nwait_replicas = 1",
        "[storage]\nur = 'redis://host'\n[cluster]\nreconcile = '5s'",
        "[listen]\ntsl = ['127.0.0.1:8443']\n[tls]\nself_signed = true",
        "[listen]\ntls = 'port 8443'\n[tls]\nself_signed = true",
        "public_ulr = 'https://push.example'\n[listen]\ntrusted_proxies = ['10.0.0.0/8']",
        "[channels]\nping_every = 'soon'\npong_within = '10m'",
        "[security]\nsealing_keys = ['AAAA']\n[storage]\nurl = 'redis://host'",
        "storage = 'redis://host'\n[cluster]\nreconcile = '5s'",
    ];
    for text in rows {
        let refused = from_file(text).unwrap_err();
        assert_eq!(refused.faults().len(), 1, "{text}: {refused}");
    }
    let variables = [
        ("PUSH_SERVICE__TLS__SELF_SIGNED", "true"),
        ("PUSH_SERVICE_LISTEN_TLS", "127.0.0.1:8443"),
    ];
    let refused = from_environment(&variables).unwrap_err();
    assert_eq!(refused.faults().len(), 1, "{refused}");
}

/// A file that cannot be read is told with the faults of the environment; what the file might have set is not judged.
#[test]
fn an_unreadable_file_hides_no_other_fault() {
    let broken = Some(("push.toml", "[listen"));
    let variables = [
        ("PUSH_SERVICE__TLS__SELF_SIGNED", "true"),
        ("PUSH_SERVICE__LIMITS__TTL", "long"),
        ("PUSH_SERVICE_LOG", "off"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let refused = Config::from_sources(broken, variables.into()).unwrap_err();
    let begin = ["PUSH_SERVICE_LOG: ", "push.toml: ", "PUSH_SERVICE__LIMITS__TTL: "];
    assert_eq!(refused.faults().len(), begin.len(), "{refused}");
    for (fault, begin) in refused.faults().iter().zip(begin) {
        assert!(fault.starts_with(begin), "{fault}");
    }
}

/// Secrets are never printed: not in a fault, not by `Debug`, not in the summary, not when the file is no TOML.
#[test]
fn secrets_are_never_printed() {
    let faults = [
        "[security]\nsealing_keys = ['hunter2']",
        "[security]\nsealing_keys = 'hunter2'",
        "[security]\nuser_agent_secret = 'hunter2 / hunter2'",
        "[security]\nsealing_keys = ['hunter2]",
        "[storage]\nurl = 'rediss://user:hunter2@host'",
        "[storage]\nurl = 'redis://user:hunter2@host'",
        "[storage]\nurl = 'redis://host?password=hunter2'",
        "[storage]\nurl = 'redis://user:hunter2@host:port'",
        "[storage]\nurl = 'redis://hunter2@host'",
        "[storage]\nurl = 'redis://:hunter2'",
        "public_url = 'https://user:hunter2@host'",
    ];
    for text in faults {
        let refused = from_file(text).unwrap_err();
        let printed = format!("{refused} {refused:?}");
        assert!(!printed.contains("hunter2"), "{text}: {printed}");
    }
    let text = format!("[security]\nsealing_keys = ['{KEY}']\nuser_agent_secret = 'hunter2'");
    let config = from_file(&text).unwrap();
    let printed = format!("{config:?} {config}");
    assert!(
        !printed.contains("hunter2") && !printed.contains(KEY),
        "{printed}"
    );
    assert!(!printed.contains("0, 1, 2, 3"), "{printed}");
}

/// A file that is no TOML is refused with the place.
#[test]
fn broken_toml_is_refused_with_its_place() {
    let sentence = from_file("[limits]\nbody_bytes = = 3").unwrap_err().to_string();
    assert!(
        sentence.starts_with("push.toml: ") && sentence.contains("line 2"),
        "{sentence}"
    );
}
