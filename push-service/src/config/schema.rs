//! Every key: what it means, its default, its range. What this page says, `config print-default` prints.
//!
//! The reasons and sources of the defaults stand in [`crate::defaults`]; here is what an operator has to know.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use push_protocol::capability::SealingKey;
use push_protocol::origin::Origin;
use push_protocol::vapid::PublicKey;

use super::acme::{AcmeDirectory, Domain, MailAddress};
use super::sections::section;
use super::values::{
    AlternativeServices, Credential, ForwardedHeader, HostName, IpNetwork, Prefix, Secret, StorageUrl,
};
use crate::defaults;
use crate::logging::LogFormat;
use crate::storage::redis::WaitReplicas;
use crate::tls::acme::ChallengeKind;

const INSTANT: Duration = Duration::ZERO;
const SOON: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

section! {
    /// How the service runs.
    "" Config {
        /// Origin of all URLs that the service hands out, and the audience that VAPID tokens must name. Not set: derived
        /// from the first public listener, which is right only for tests on one machine. Subscriptions end when this
        /// address no longer leads to the service: choose one that you can keep.
        public_url: Option<Origin> = None;
    } sections {
        /// Where it listens.
        listen: Listen;
        /// How it proves its name.
        tls: Tls;
        /// Where it keeps messages and subscriptions.
        storage: Storage;
        /// How several nodes work together.
        cluster: Cluster;
        /// Who may use it.
        security: Security;
        /// Who may ask the admin listener, and what operators may do there.
        admin: Admin;
        /// What one peer may take.
        limits: Limits;
        /// How messages go out.
        channels: Channels;
        /// How it leaves.
        drain: Drain;
        /// What its log looks like.
        log: Log;
    }
}

section! {
    /// Where the service listens. Each listener is an IP address and a port; port 0 means any free port.
    "listen" Listen {
        /// Plain HTTP/1.1, WebSocket, and HTTP/2 with prior knowledge: for loopback, or behind a proxy that ends TLS.
        http: Vec<SocketAddr> = address(defaults::LISTEN_HTTP);
        /// The same over TLS. Needs a certificate: see section `tls`.
        tls: Vec<SocketAddr> = Vec::new();
        /// QUIC, on UDP. Not available yet: leave it empty.
        quic: Vec<SocketAddr> = Vec::new();
        /// Metrics, health and the admin API, without authentication: keep it off the public network.
        admin: Vec<SocketAddr> = address(defaults::LISTEN_ADMIN);
        /// Addresses or networks of your proxies. Only from these the service takes a peer's address (PROXY protocol, or
        /// `forwarded_header`). Limits per address do not apply to the proxies' own requests. Needs public_url.
        trusted_proxies: Vec<IpNetwork> = Vec::new();
        /// The header field in which these proxies name the peer. The service reads only this field, so a proxy has to set
        /// it or to append to it in every request. `Forwarded` is read as RFC 7239 says, any other field as a list of
        /// addresses.
        forwarded_header: ForwardedHeader = ForwardedHeader::default();
        /// Value of the header field Alt-Svc in answers (RFC 7838): another port of this service. RFC 8030 reserves port
        /// 1001, where middleboxes may keep idle connections for longer. For example `h2=":1001"; ma=86400`.
        alternative_services: Option<AlternativeServices> = None;
    }
}

section! {
    /// The certificate of the TLS listeners.
    "tls" Tls {
        /// PEM file with the certificate chain, the service's own certificate first. Reloaded when it changes.
        certificate: Option<PathBuf> = None;
        /// PEM file with the private key of this certificate.
        key: Option<PathBuf> = None;
        /// Directory with further certificates: NAME.pem, with its key in NAME.key. A peer gets the one for the host that
        /// it asks for (SNI), else the certificate above. Reloaded when files change.
        directory: Option<PathBuf> = None;
        /// Make a self-signed certificate at start. For tests: peers do not trust it.
        self_signed: bool = false;
    } sections {
        /// Certificates that come by themselves.
        acme: Acme;
    }
}

section! {
    /// Automatic certificates from an ACME server (RFC 8555) such as Let's Encrypt. They are renewed when a third of their
    /// lifetime is left. For one node; for several see docs/tls.md.
    "tls.acme" Acme {
        /// Host names of the certificate. Setting it means that you agree to the ACME server's terms of service.
        domains: Vec<Domain> = Vec::new();
        /// How the ACME server verifies the hosts. `tls-alpn-01`: it connects to port 443, which must lead to listen.tls.
        /// `http-01`: it connects to port 80, which must lead to listen.http.
        challenge: ChallengeKind = ChallengeKind::TlsAlpn01;
        /// Your mail address, sent to the ACME server when the account is made.
        contact: Option<MailAddress> = None;
        /// URL of the ACME server's directory.
        directory: AcmeDirectory = AcmeDirectory::default();
        /// PEM file with the CA certificates of a private ACME server. Not set: those of this machine.
        ca: Option<PathBuf> = None;
        /// Directory for the account, the certificate and their keys. Not set: `acme` in the data directory; with Redis, in
        /// the working directory.
        cache: Option<PathBuf> = None;
    }
}

section! {
    /// Where messages and subscriptions are stored.
    "storage" Storage {
        /// `embedded:DIRECTORY` (durable, on this machine), `memory:` (lost when the process ends: for tests), or Redis for
        /// several nodes: `redis://…`, `redis+cluster://…`, `redis+sentinel://…/name`; over TLS `rediss://…`, and so on.
        url: StorageUrl = StorageUrl::Embedded { path: defaults::STORAGE_PATH.into() };
        /// A user agent that has not connected for this time is forgotten, with its subscriptions.
        retention: Duration = defaults::RETENTION, in DAY..=DAY * 3_660;
        /// A user agent that never received a push and never connected again is forgotten after this time. With Redis at
        /// least twice `cluster.reconcile`. With `retention` or more, it is kept like all others.
        unused_retention: Duration = defaults::UNUSED_RETENTION, in SECOND..=DAY * 3_660;
    } sections {
        /// Settings for Redis only.
        redis: Redis;
    }
}

section! {
    /// Settings for Redis only.
    "storage.redis" Redis {
        /// How many replicas must have a message before the push is answered 201: from 0 (only the primary) to 16, or `all`
        /// connected replicas. If it is less than the number of connected replicas, a planned failover may lose messages.
        wait_replicas: WaitReplicas = WaitReplicas::default();
        /// With `wait_replicas = "all"`: the least number of replicas that must have the message.
        wait_replicas_min: u32 = defaults::WAIT_REPLICAS_MIN, in 1..=defaults::WAIT_REPLICAS_MOST;
        /// Whether a message must be on the disk of the primary, and of those replicas, before the push is answered 201.
        /// Needs Redis 7.2 or Valkey, with `appendonly yes`.
        wait_aof: bool = false;
        /// With `rediss://`: PEM file with the CA certificates to trust. Not set: those of this machine.
        ca: Option<PathBuf> = None;
        /// The user whose name the service gives to Redis, as it is, not percent-encoded. Used in place of the one in
        /// `storage.url`.
        username: Option<Credential> = None;
        /// That user's password, as it is, not percent-encoded. Used in place of the one in `storage.url`. Keep it in a file, and
        /// name the file with PUSH_SERVICE__STORAGE__REDIS__PASSWORD_FILE.
        password: Option<Credential> = None;
        /// How long the start waits for a Redis that is away, loads its data or has no primary yet. Then the process ends.
        /// Meanwhile `/healthz` of the admin listener is 200 and `/readyz` 503. A wrong password or a Redis that is not fit
        /// ends it at once.
        start_within: Duration = defaults::REDIS_START_WITHIN, in INSTANT..=DAY;
        /// Prefix of all keys in Redis. Services that share a Redis need different ones.
        prefix: Prefix = Prefix::default();
    }
}

section! {
    /// How nodes that share a Redis work together. Refused without Redis.
    "cluster" Cluster {
        /// Bodies up to this many bytes are sent within the wake-up to the node that delivers; it reads larger ones from
        /// Redis.
        inline_bytes: usize = defaults::CLUSTER_INLINE_BYTES, in 0..=65_536;
        /// How often a node compares its sessions with Redis, in case wake-ups were lost.
        reconcile: Duration = defaults::CLUSTER_RECONCILE, in SECOND..=HOUR;
    }
}

section! {
    /// Who may use the service.
    "security" Security {
        /// Keys that seal all URLs, made by `push-service keys generate`. The first key seals, every key opens. To rotate,
        /// put a new key in front. Removing a key ends all subscriptions that were sealed with it. Empty: the embedded
        /// store makes a key and keeps it.
        sealing_keys: Vec<SealingKey> = Vec::new();
        /// Refuse push messages that are not signed (VAPID, RFC 8292).
        require_vapid: bool = false;
        /// Public VAPID keys of the application servers that may send. Empty: any may. Not empty: all other
        /// messages are refused, also unsigned ones.
        application_servers: Vec<PublicKey> = Vec::new();
        /// A secret word that user agents must have in the URL: `wss://host/WORD` for the WebSocket, `/subscribe/WORD` for
        /// HTTP. Not set: anyone who reaches the service may subscribe.
        user_agent_secret: Option<Secret> = None;
    }
}

section! {
    /// Who may ask the admin listener, and what operators may do there (docs/admin.md).
    "admin" Admin {
        /// Names under which you ask the admin listeners. A request must name one of these, an IP address, or `localhost`
        /// in its `Host` field. So a web page cannot read metrics through a name of its own (DNS rebinding).
        hosts: Vec<HostName> = Vec::new();
        /// File with the token that admin actions need, alone in one line: at least 32 characters without spaces, made for
        /// example by `openssl rand -hex 32`. Only its owner may read the file. It is read again for each action. Not set: no
        /// actions, the listener only answers questions.
        token_file: Option<PathBuf> = None;
    }
}

section! {
    /// What one peer may use, and for how long. A peer that exceeds a limit is refused; other peers are not affected.
    "limits" Limits {
        /// Largest body of a push message, in bytes.
        body_bytes: usize = defaults::BODY_BYTES, in 4_096..=1_048_576;
        /// Largest header of a request, in bytes.
        header_bytes: usize = defaults::HEADER_BYTES, in 8_192..=1_048_576;
        /// Open connections of all public listeners together. Lowered at start if the limit of open files is too low.
        connections: usize = defaults::CONNECTIONS, in 1..=10_000_000;
        /// Open connections from one address (IPv6: from one /64 network). 0: no limit.
        connections_per_address: u32 = defaults::CONNECTIONS_PER_ADDRESS;
        /// Work that one address may cause (IPv6: one /64 network), in tokens per second; a token is about one microsecond.
        /// Beyond it requests wait, then get 429; docs/operations.md lists the costs. 0: no limit.
        work_per_address: u32 = defaults::WORK_PER_ADDRESS;
        /// The burst: work that the address may cause at once, before the rate applies.
        work_per_address_burst: u32 = defaults::WORK_PER_ADDRESS_BURST, in 10_000..=1_000_000_000;
        /// Work that one application server key (VAPID) may cause, in tokens per second. 0: no limit.
        work_per_sender: u32 = defaults::WORK_PER_SENDER;
        /// The burst.
        work_per_sender_burst: u32 = defaults::WORK_PER_SENDER_BURST, in 10_000..=1_000_000_000;
        /// Work that one user agent may cause on its channel, in tokens per second. Acknowledging messages that were sent
        /// on the same channel is free. Beyond it the channel is read more slowly, then closed. 0: no limit.
        work_per_user_agent: u32 = defaults::WORK_PER_USER_AGENT;
        /// The burst.
        work_per_user_agent_burst: u32 = defaults::WORK_PER_USER_AGENT_BURST, in 10_000..=1_000_000_000;
        /// Records that one address may make per second: subscriptions, and receipt subscriptions of unsigned messages. 0:
        /// no limit.
        records_per_address: f64 = defaults::RECORDS_PER_ADDRESS, in 0.0..=1_000_000.0;
        /// The burst.
        records_per_address_burst: u32 = defaults::RECORDS_PER_ADDRESS_BURST, in 1..=1_000_000_000;
        /// Addresses or networks without budgets and without a limit of connections, such as your own application servers
        /// or a load test. Loopback is included only if it is in the list.
        unlimited_networks: Vec<IpNetwork> = Vec::new();
        /// Most subscriptions of one user agent.
        subscriptions_per_user_agent: usize = defaults::SUBSCRIPTIONS_PER_USER_AGENT, in 1..=100_000;
        /// Push messages per second to one subscription, on average. 0: no limit.
        pushes_per_second: f64 = defaults::PUSHES_PER_SECOND, in 0.0..=1_000_000.0;
        /// The burst: push messages to one subscription at once, before the rate applies.
        pushes_burst: u32 = defaults::PUSHES_BURST, in 1..=1_000_000;
        /// Most messages that may wait for one user agent.
        queue_messages: u32 = defaults::QUEUE_MESSAGES, in 1..=1_000_000;
        /// Most bytes that may wait for one user agent. Each message counts its body and 128 bytes.
        queue_bytes: u64 = defaults::QUEUE_BYTES, in 8_192..=1_073_741_824;
        /// Most bytes that may wait of one sender: of one application server key (VAPID) or, without VAPID, of one address
        /// (IPv6: one /64 network). Counted like `queue_bytes`. Beyond it a push gets 429. 0: no cap.
        sender_bytes: u64 = defaults::SENDER_BYTES;
        /// Most bytes that may wait in the whole store, counted like `queue_bytes`. A push of very low urgency gets 503
        /// from 85 percent on, low from 90, normal from 95, high from 100. 0: no cap except the reserve of the disk, or
        /// Redis's maxmemory.
        store_bytes: u64 = defaults::STORE_BYTES;
        /// Longest TTL. A longer one is reduced to it, and the answer's TTL header says so.
        ttl: Duration = defaults::TTL, in SECOND..=DAY * 365;
        /// Time from the start of a WebSocket to its hello.
        hello_within: Duration = defaults::HELLO_WITHIN, in SOON..=HOUR;
        /// Time from the first byte of a request to the end of its header.
        header_within: Duration = defaults::HEADER_WITHIN, in SOON..=HOUR;
        /// Time from the end of a request's header to the end of its body.
        body_within: Duration = defaults::BODY_WITHIN, in SOON..=HOUR;
        /// Time from the start of a connection to the end of its TLS handshake.
        tls_handshake_within: Duration = defaults::TLS_HANDSHAKE_WITHIN, in SOON..=HOUR;
        /// An HTTP connection without a request is closed after this time.
        idle_for: Duration = defaults::IDLE_FOR, in SECOND..=HOUR;
        /// Most open streams of one HTTP/2 connection.
        http2_streams: u32 = defaults::HTTP2_STREAMS, in 1..=65_536;
    }
}

section! {
    /// How messages are sent to connected user agents.
    "channels" Channels {
        /// Most messages that are sent on one channel and not acknowledged yet. The others wait in storage.
        in_flight: usize = defaults::IN_FLIGHT, in 2..=1_024;
        /// A message that is not acknowledged within this time no longer counts towards `in_flight`. It stays stored, and
        /// is sent again when the user agent connects again.
        acknowledge_within: Duration = defaults::ACKNOWLEDGE_WITHIN, in SECOND..=HOUR;
        /// A channel that was silent for this time gets a ping.
        ping_every: Duration = defaults::PING_EVERY, in SECOND..=DAY;
        /// The channel is closed if the ping is not answered within this time.
        pong_within: Duration = defaults::PONG_WITHIN, in SECOND..=HOUR;
        /// A channel is closed if its user agent reads nothing for this time.
        write_within: Duration = defaults::WRITE_WITHIN, in SECOND..=HOUR;
        /// Most bytes of messages that were read from storage and wait to be sent, over all channels.
        delivery_bytes: usize = defaults::DELIVERY_BYTES, in 1_048_576..=2_147_483_647;
        /// Most messages that are read from storage at once for one channel.
        page_messages: usize = defaults::PAGE_MESSAGES, in 1..=100;
        /// Most bytes that are read from storage at once for one channel; at least one message is always read.
        page_bytes: usize = defaults::PAGE_BYTES, in 4_096..=16_777_216;
        /// Shortest time between pings of a user agent. If it keeps sending them faster, its channel is closed.
        min_ping_interval: Duration = defaults::MIN_PING_INTERVAL, in INSTANT..=HOUR;
        /// User agents that may attach at the same time; others wait for their turn.
        attaching: usize = defaults::ATTACHING, in 1..=65_536;
    }
}

section! {
    /// How the service shuts down after SIGTERM. A second SIGTERM ends it at once.
    "drain" Drain {
        /// Time that the service still accepts everything after `/readyz` begins to fail, so that load balancers notice.
        delay: Duration = defaults::DRAIN_DELAY, in INSTANT..=HOUR;
        /// Channels are then closed one by one over this time, so that not all user agents connect elsewhere at once.
        spread: Duration = defaults::DRAIN_SPREAD, in INSTANT..=HOUR;
        /// The process ends at the latest this long after the signal. On Kubernetes, keep it below
        /// terminationGracePeriodSeconds.
        deadline: Duration = defaults::DRAIN_DEADLINE, in INSTANT..=HOUR * 3;
    }
}

section! {
    /// The log of `serve`, on standard error. PUSH_SERVICE_LOG sets what is logged.
    "log" Log {
        /// "text", "json", or "auto": text on a terminal and in systemd's journal, else JSON.
        format: LogFormat = LogFormat::Auto;
    }
}

/// A list of one address that is a constant.
fn address(constant: &str) -> Vec<SocketAddr> {
    constant.parse().into_iter().collect()
}
