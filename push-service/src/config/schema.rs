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
use super::values::{AlternativeServices, IpNetwork, Prefix, Secret, StorageUrl};
use crate::defaults;
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
        /// Origin of every resource URL that is handed out, and the audience that VAPID tokens must name.
        /// Not set: derived from the first public listener, which is right for trying on one machine.
        /// Subscriptions live as long as this address reaches the service: choose one that can stay.
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
        /// What one peer may take.
        limits: Limits;
        /// How messages go out.
        channels: Channels;
        /// How it leaves.
        drain: Drain;
    }
}

section! {
    /// Where the service listens. Each listener is an IP address and a port; port 0 takes a free one.
    "listen" Listen {
        /// Plain HTTP/1.1, WebSocket, and HTTP/2 with prior knowledge: for loopback, or behind a proxy that ends TLS.
        http: Vec<SocketAddr> = address(defaults::LISTEN_HTTP);
        /// The same over TLS.
        tls: Vec<SocketAddr> = Vec::new();
        /// QUIC, on UDP. Not available yet: leave it empty.
        quic: Vec<SocketAddr> = Vec::new();
        /// Metrics, health and the admin API. Whoever reaches it may read it: keep it off the public network.
        admin: Vec<SocketAddr> = address(defaults::LISTEN_ADMIN);
        /// Proxies whose word about a peer's address is taken (PROXY protocol or `Forwarded`): addresses or networks.
        /// Limits per address do not apply to the proxies themselves.
        trusted_proxies: Vec<IpNetwork> = Vec::new();
        /// Where else the service is, as the header field Alt-Svc of its answers says (RFC 7838): RFC 8030 has port 1001,
        /// which middleboxes may leave idle for longer. For example `h2=":1001"; ma=86400`.
        alternative_services: Option<AlternativeServices> = None;
    }
}

section! {
    /// The certificate of the TLS listeners.
    "tls" Tls {
        /// PEM file with the certificate chain, the service's own first. Read again when it changes.
        certificate: Option<PathBuf> = None;
        /// PEM file with its private key.
        key: Option<PathBuf> = None;
        /// Directory with further certificates, NAME.pem with its key in NAME.key: who asks for a host in one of them gets it,
        /// everybody else the one above. Looked at again and again.
        directory: Option<PathBuf> = None;
        /// Make a certificate at start that nobody trusts: for trying.
        self_signed: bool = false;
    } sections {
        /// Certificates that come by themselves.
        acme: Acme;
    }
}

section! {
    /// Certificates that come by themselves, from an ACME server (RFC 8555) such as Let's Encrypt, and are renewed with a third
    /// of their life left. For one node; for several see docs/tls.md.
    "tls.acme" Acme {
        /// The host names to order one certificate for. Not empty: you agree to the terms of service of the server.
        domains: Vec<Domain> = Vec::new();
        /// How the server looks whether the hosts are yours: `tls-alpn-01` comes to port 443, which must lead to listen.tls,
        /// `http-01` to port 80, which must lead to listen.http.
        challenge: ChallengeKind = ChallengeKind::TlsAlpn01;
        /// A mail address for the server, told when the account is made.
        contact: Option<MailAddress> = None;
        /// The server's directory.
        directory: AcmeDirectory = AcmeDirectory::default();
        /// PEM file with the authorities that the server is trusted by, instead of this machine's: for a server of your own.
        ca: Option<PathBuf> = None;
        /// Directory for the account, the certificate and their keys. Not set: `acme` where the data is, with Redis in the
        /// working directory.
        cache: Option<PathBuf> = None;
    }
}

section! {
    /// Where messages and subscriptions are kept.
    "storage" Storage {
        /// `embedded:DIRECTORY` (durable, on this machine), `memory:` (gone at the end: for tests), or Redis for several
        /// nodes: `redis://…`, `redis+cluster://…`, `redis+sentinel://…/name`, over TLS `rediss://…` and so on.
        url: StorageUrl = StorageUrl::Embedded { path: defaults::STORAGE_PATH.into() };
        /// A user agent that does not show up for so long is forgotten, with its subscriptions.
        retention: Duration = defaults::RETENTION, in DAY..=DAY * 3_660;
        /// A user agent that never received a push, and never came back, is forgotten after this time. With the value of
        /// `retention` or more, it is kept like all others. At least twice `cluster.reconcile`.
        unused_retention: Duration = defaults::UNUSED_RETENTION, in SECOND..=DAY * 3_660;
    } sections {
        /// What only Redis knows.
        redis: Redis;
    }
}

section! {
    /// What only Redis knows.
    "storage.redis" Redis {
        /// How many replicas must have a message before it is answered 201, from 0 (the primary alone) to 16; or `all`: every
        /// replica that is connected then. A number below that of the connected replicas may lose messages in a
        /// planned failover.
        wait_replicas: WaitReplicas = WaitReplicas::default();
        /// With `wait_replicas = "all"`: the least number of replicas that must have the message.
        wait_replicas_min: u32 = defaults::WAIT_REPLICAS_MIN, in 1..=defaults::WAIT_REPLICAS_MOST;
        /// Whether a message must be on the disk of the primary, and of those replicas, before it is answered 201. Needs
        /// Redis 7.2 or Valkey, with `appendonly yes`.
        wait_aof: bool = false;
        /// With `rediss://`: a PEM file with the authorities that are trusted, instead of this machine's.
        ca: Option<PathBuf> = None;
        /// What the names of all keys begin with: another one for each service that shares a Redis.
        prefix: Prefix = Prefix::default();
    }
}

section! {
    /// How nodes that share a Redis work together. Without Redis there is one node, and this says nothing.
    "cluster" Cluster {
        /// Bodies up to so many bytes travel in the wake-up to the node that delivers; larger ones it reads from storage.
        inline_bytes: usize = defaults::CLUSTER_INLINE_BYTES, in 0..=65_536;
        /// How often a node compares its sessions with storage, for wake-ups that were lost.
        reconcile: Duration = defaults::CLUSTER_RECONCILE, in SECOND..=HOUR;
    }
}

section! {
    /// Who may use the service.
    "security" Security {
        /// Keys that seal resource URLs, from `push-service keys generate`. The first seals, all open: put a new key in
        /// front to rotate. Dropping a key ends every subscription that was sealed with it.
        /// Empty: the embedded store makes and keeps one.
        sealing_keys: Vec<SealingKey> = Vec::new();
        /// Refuse push messages that are not signed (VAPID, RFC 8292).
        require_vapid: bool = false;
        /// Public VAPID keys of the only application servers that may send. Empty: any may. Given: unsigned messages
        /// are refused as well.
        application_servers: Vec<PublicKey> = Vec::new();
        /// A word that user agents must know: it stands in the path of the WebSocket, `wss://host/WORD`, and in
        /// `/subscribe/WORD`. Not set: whoever reaches the service may subscribe.
        user_agent_secret: Option<Secret> = None;
    }
}

section! {
    /// What one peer may take, and how long. Who asks for more is answered so; nobody else pays for it.
    "limits" Limits {
        /// Bytes of a push message's body.
        body_bytes: usize = defaults::BODY_BYTES, in 4_096..=1_048_576;
        /// Bytes of one request's header.
        header_bytes: usize = defaults::HEADER_BYTES, in 8_192..=1_048_576;
        /// Connections at a time, over all public listeners. Lowered at start if the limit of open files does not allow them.
        connections: usize = defaults::CONNECTIONS, in 1..=10_000_000;
        /// Connections at a time from one address (IPv6: from one network of 64 bits). 0: no limit.
        connections_per_address: u32 = defaults::CONNECTIONS_PER_ADDRESS;
        /// Work that one address may cause (IPv6: one network of 64 bits), in tokens a second; a token is about a microsecond.
        /// Beyond it requests wait, then get 429; docs/operations.md lists the costs. 0: no limit.
        work_per_address: u32 = defaults::WORK_PER_ADDRESS;
        /// The same at once, before the rate counts.
        work_per_address_burst: u32 = defaults::WORK_PER_ADDRESS_BURST, in 10_000..=1_000_000_000;
        /// Work that one application server key (VAPID) may cause, in tokens a second. 0: no limit.
        work_per_sender: u32 = defaults::WORK_PER_SENDER;
        /// The same at once.
        work_per_sender_burst: u32 = defaults::WORK_PER_SENDER_BURST, in 10_000..=1_000_000_000;
        /// Work that one user agent may cause on its channel, in tokens a second. Acknowledging messages that were
        /// sent there is free. Beyond it the channel is read more slowly, then closed. 0: no limit.
        work_per_user_agent: u32 = defaults::WORK_PER_USER_AGENT;
        /// The same at once.
        work_per_user_agent_burst: u32 = defaults::WORK_PER_USER_AGENT_BURST, in 10_000..=1_000_000_000;
        /// Records that one address may make in a second: subscriptions, and queues for receipts of unsigned
        /// messages. 0: no limit.
        records_per_address: f64 = defaults::RECORDS_PER_ADDRESS, in 0.0..=1_000_000.0;
        /// The same at once.
        records_per_address_burst: u32 = defaults::RECORDS_PER_ADDRESS_BURST, in 1..=1_000_000_000;
        /// Addresses or networks without budgets and without a limit of connections: your own application servers, a load
        /// test. Loopback is not one of them unless it is named.
        unlimited_networks: Vec<IpNetwork> = Vec::new();
        /// Subscriptions of one user agent.
        subscriptions_per_user_agent: usize = defaults::SUBSCRIPTIONS_PER_USER_AGENT, in 1..=100_000;
        /// Push messages a second to one subscription, over time. 0: no limit.
        pushes_per_second: f64 = defaults::PUSHES_PER_SECOND, in 0.0..=1_000_000.0;
        /// Push messages to one subscription that may come at once, before the rate counts.
        pushes_burst: u32 = defaults::PUSHES_BURST, in 1..=1_000_000;
        /// Messages that may wait for one user agent.
        queue_messages: u32 = defaults::QUEUE_MESSAGES, in 1..=1_000_000;
        /// Bytes that may wait for one user agent: bodies, and 128 for each message.
        queue_bytes: u64 = defaults::QUEUE_BYTES, in 8_192..=1_073_741_824;
        /// Bytes that may wait of one sender: of one application server key (VAPID) or, without VAPID, of one address (of
        /// IPv6, one /64 network). Counted like `queue_bytes`; beyond it a push gets 429. 0: no cap.
        sender_bytes: u64 = defaults::SENDER_BYTES;
        /// Bytes that may wait in the whole store, counted like `queue_bytes`. A push of very low urgency gets 503 beyond 85
        /// percent of it, low beyond 90, normal beyond 95, high beyond 100. 0: no cap but the reserve of the disk, or Redis's
        /// maxmemory.
        store_bytes: u64 = defaults::STORE_BYTES;
        /// The longest time to live. Longer ones are clamped, and the sender is told.
        ttl: Duration = defaults::TTL, in SECOND..=DAY * 365;
        /// From the start of a WebSocket to its hello.
        hello_within: Duration = defaults::HELLO_WITHIN, in SOON..=HOUR;
        /// From the first byte of a request to the end of its header.
        header_within: Duration = defaults::HEADER_WITHIN, in SOON..=HOUR;
        /// From there to the end of its body.
        body_within: Duration = defaults::BODY_WITHIN, in SOON..=HOUR;
        /// From a connection's start to the end of its TLS handshake.
        tls_handshake_within: Duration = defaults::TLS_HANDSHAKE_WITHIN, in SOON..=HOUR;
        /// An HTTP connection without a request is closed after so long.
        idle_for: Duration = defaults::IDLE_FOR, in SECOND..=HOUR;
        /// Streams of one HTTP/2 connection at a time.
        http2_streams: u32 = defaults::HTTP2_STREAMS, in 1..=65_536;
    }
}

section! {
    /// How messages go out to the user agents that are connected.
    "channels" Channels {
        /// Unacknowledged messages on the wire of one channel. The rest wait in storage.
        in_flight: usize = defaults::IN_FLIGHT, in 2..=1_024;
        /// A message that is not acknowledged for so long gives its place up. It stays stored, and is offered again
        /// when the user agent comes back.
        acknowledge_within: Duration = defaults::ACKNOWLEDGE_WITHIN, in SECOND..=HOUR;
        /// A channel that was silent for so long is asked for a sign of life.
        ping_every: Duration = defaults::PING_EVERY, in SECOND..=DAY;
        /// It is closed if none comes within this time.
        pong_within: Duration = defaults::PONG_WITHIN, in SECOND..=HOUR;
        /// A channel that takes no byte for so long is closed.
        write_within: Duration = defaults::WRITE_WITHIN, in SECOND..=HOUR;
        /// Bytes of messages that were read from storage and wait to be written, over all channels.
        delivery_bytes: usize = defaults::DELIVERY_BYTES, in 1_048_576..=2_147_483_647;
        /// Messages that are read from storage at once for one channel.
        page_messages: usize = defaults::PAGE_MESSAGES, in 1..=100;
        /// Bytes that are read from storage at once for one channel; always at least one message.
        page_bytes: usize = defaults::PAGE_BYTES, in 4_096..=16_777_216;
        /// The shortest time between pings of a user agent. One that keeps pinging faster is closed.
        min_ping_interval: Duration = defaults::MIN_PING_INTERVAL, in INSTANT..=HOUR;
        /// User agents that may be coming back at the same moment; further ones wait their turn.
        attaching: usize = defaults::ATTACHING, in 1..=65_536;
    }
}

section! {
    /// How the service leaves after SIGTERM. A second SIGTERM ends it at once.
    "drain" Drain {
        /// It goes on serving for so long after `/readyz` fails, so that load balancers notice.
        delay: Duration = defaults::DRAIN_DELAY, in INSTANT..=HOUR;
        /// Channels are then closed spread over so long, so that they do not all come back elsewhere at once.
        spread: Duration = defaults::DRAIN_SPREAD, in INSTANT..=HOUR;
        /// It ends at the latest so long after the signal. On Kubernetes, keep it below terminationGracePeriodSeconds.
        deadline: Duration = defaults::DRAIN_DEADLINE, in INSTANT..=HOUR * 3;
    }
}

/// A list of one address that is a constant.
fn address(constant: &str) -> Vec<SocketAddr> {
    constant.parse().into_iter().collect()
}
