//! Every limit of the service, with its unit, its reason and its source.
//!
//! A source is a section of an RFC, a rule of `docs` (PR-…, WS-…), a measurement, or "chosen, because". What can be
//! configured takes its default from here; what cannot is a constant that the code uses directly. What only one part of
//! the service meets has a file of its own.

mod budgets;
mod descriptors;
mod embedded;
mod history;
mod receipts;
mod redis;
mod senders;
mod tls;

use std::time::Duration;

pub use self::budgets::*;
pub use self::descriptors::*;
pub use self::embedded::*;
pub use self::history::*;
pub use self::receipts::*;
pub use self::redis::*;
pub use self::senders::*;
pub use self::tls::*;

/// Units, so that a default reads as it is said.
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

// The configuration.

/// Largest file with the value of a key. Chosen: Kubernetes's limit of a whole Secret (1 MiB), and far above any key's value.
pub const KEY_FILE_BYTES: usize = 1024 * 1024;

// Storage and queues.

/// What a waiting message counts beside its body, so that empty bodies are not free: about what its index entry, its
/// key and its header fields take in memory and on disk. In bytes.
pub const MESSAGE_OVERHEAD_BYTES: u64 = 128;

/// Victims of the eviction rule in one step; a message that would need more is refused. Source: PR-23, which bounds
/// the time for which one step holds its queue.
pub const EVICTIONS_PER_STEP: usize = 16;

/// How far the wall clock may step forward and be followed at once. Chosen: above what a clock's correction usually takes,
/// also where it missed the change to summer time; an hour too much ends no subscription and few messages.
pub const CLOCK_STEP_BELIEVED: Duration = MINUTE.saturating_mul(60);

/// How long a larger step has to last before storage follows it. Chosen: a clock that was set by mistake, or is being set
/// in several moves, is right again by then; and a machine that slept wakes with TTLs that are late by no more than this.
pub const CLOCK_STEP_DOUBTED_FOR: Duration = MINUTE;

/// The number of messages from which a full queue is kept in eviction order, instead of being searched each time.
/// Chosen: to search fewer costs about as much as a push.
pub const ORDER_FROM: usize = if cfg!(test) { 4 } else { 32 };

/// The number of messages below which that order is given up. Chosen: half, so that it is not made and given up in
/// turn.
pub const ORDER_BELOW: usize = ORDER_FROM / 2;

/// A record's retention is renewed in steps of this part of it, a day by default, so that a user agent that comes back
/// every minute costs one write a day. Chosen: the record lasts for at most 0.25 % longer than promised.
pub const RETENTION_GRAINS: u64 = 400;

/// How often a record without subscriptions is looked at, which only its seat keeps. Chosen: rare enough to cost nothing,
/// often enough that what a crash left behind does not gather.
pub const EMPTY_RECORD_LOOK: Duration = Duration::from_secs(60 * 60);

/// How long a record without subscriptions is kept for the sake of its seat, from its last refresh. Chosen: many times
/// [`CLUSTER_RECONCILE`], which refreshes it.
pub const EMPTY_RECORD_KEPT: Duration = Duration::from_secs(2 * 60 * 60);

/// How often a user agent's seat is taken within a minute before the next attach has to wait. Source: PR-15. A
/// device that roams reconnects now and then; two that share one identity displace each other without end.
pub const ATTACHES_PER_MINUTE: u8 = 10;

/// The longest that such an attach waits. Chosen: within the 10 s in which a user agent expects the answer to its hello.
pub const ATTACH_DELAY_LONGEST: Duration = Duration::from_secs(5);

/// The longest that a rate-limited sender is told to wait. Chosen: a rate so low that a token takes longer is looked at
/// again after an hour.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// How long an abandoned user agent's record and subscriptions are kept. Source: PR-29. Longer than a year, because a
/// machine that is switched on once a year should find its subscriptions: Firefox drops all of them when its identity
/// is gone (WS-HEL-6).
pub const RETENTION: Duration = DAY.saturating_mul(400);

/// How long an unused record is kept: no push was accepted for it, and its user agent never came back (PR-29). Chosen: a
/// subscription is usually given to its application server, and pushed to or monitored, within seconds; a person who sets up a
/// device may take an evening. `POST /subscribe` needs no credentials, so a flood of it fills storage for this long.
pub const UNUSED_RETENTION: Duration = DAY;

/// How long a session must hold the seat of an unused record until that counts as use. Only for storage that is not shared; in
/// shared storage the first comparison of the session counts. Chosen: [`CLUSTER_RECONCILE`], in which all sessions are compared.
pub const SEAT_HELD_IS_USE: Duration = CLUSTER_RECONCILE;

/// Where the embedded store keeps its data, relative to the working directory. Chosen, because a first try should need
/// no rights and no thought, and leave everything in one visible place.
pub const STORAGE_PATH: &str = "push-service-data";

/// Redis replicas that must have a message before 201. Chosen: 0, because a single Redis is the common start, and with
/// it any other number would refuse every message.
pub const WAIT_REPLICAS: u32 = 0;

/// The most replicas that may be waited for. Chosen: more than one primary usually has.
pub const WAIT_REPLICAS_MOST: u32 = 16;

/// With `wait_replicas = "all"`, the least number of replicas. Chosen: 1, because with none a 201 would promise no
/// more than without replicas.
pub const WAIT_REPLICAS_MIN: u32 = 1;

/// Sealing keys at a time, the one that seals included. Chosen, because a rotation needs two, and a closed set of key
/// indexes keeps the metric of opens by key closed.
pub const SEALING_KEYS: usize = 16;

/// Messages that may wait for one user agent. Chosen, because a phone that was off for a week in a busy chat has
/// hundreds; the deployed peer gives a user agent up at 150 (WS-ACK-7), ours never does.
pub const QUEUE_MESSAGES: u32 = 1_000;

/// Bytes that may wait for one user agent: a thousand messages of the size that must not be refused (RFC 8030 §7.2),
/// with their overhead, rounded.
pub const QUEUE_BYTES: u64 = 4 * 1024 * 1024;

/// What is expired or abandoned is dropped in steps of so many, so that no step holds up others for long.
pub const EXPIRE_STEP: usize = 500;

/// How often storage is asked whether something is due.
pub const EXPIRE_EVERY: Duration = SECOND;

// Listeners.

/// The public listener. Loopback, because a service without configuration must not be reachable from outside.
pub const LISTEN_HTTP: &str = "127.0.0.1:8080";

/// The header field in which trusted proxies name their clients. Chosen: nearly every proxy appends to this one, and few to
/// `Forwarded` (RFC 7239).
pub const FORWARDED_HEADER: &str = "x-forwarded-for";

/// The admin listener: loopback, because it answers every peer that can reach it.
pub const LISTEN_ADMIN: &str = "127.0.0.1:9090";

// What one peer may take.

/// Body of a push message. RFC 8030 §7.2 forbids refusing 4,096; `aesgcm` bodies that carry as much text, base64 and
/// padding included, reach 5,624 in the deployed libraries.
pub const BODY_BYTES: usize = 5_632;

/// The body of a request to subscribe: a JSON object with one key of 87 characters. Chosen: room for what may be added.
pub const SUBSCRIBE_BODY_BYTES: usize = 1024;

/// Header fields of one request. Chosen, because a VAPID token, a `Crypto-Key` and a sealed URL stay under 3 KB, and
/// proxies in front add some of theirs.
pub const HEADER_BYTES: usize = 16 * 1024;

/// Connections at a time, on all public listeners. Chosen, because at 6 KB each over TLS they take 600 MB. Lowered to what
/// the limit of open files allows.
pub const CONNECTIONS: usize = 100_000;

/// Connections at a time from one address, or from one IPv6 network of 64 bits. Chosen, because a large office behind
/// one address stays below it, and one machine cannot take all of [`CONNECTIONS`].
pub const CONNECTIONS_PER_ADDRESS: u32 = 1_000;

/// Subscriptions of one user agent. Chosen, because a browser has one per site that may notify, a phone one per app:
/// dozens; and one record has to stay small enough to be read whole.
pub const SUBSCRIPTIONS_PER_USER_AGENT: usize = 1_000;

/// Push messages a second to one subscription, over time. Chosen, because no person reads ten notifications a second, and
/// RFC 8030 §8.4 wants such senders slowed down.
pub const PUSHES_PER_SECOND: f64 = 10.0;

/// Push messages to one subscription at once, before [`PUSHES_PER_SECOND`] counts. Chosen, because a server that was
/// down catches up in a burst.
pub const PUSHES_BURST: u32 = 100;

/// The longest time to live; longer ones are clamped and answered so (RFC 8030 §5.2). Source: the deployed peer, whose
/// 30 days senders know (WP-3), and PR-29.
pub const TTL: Duration = DAY.saturating_mul(30);

/// Streams of one HTTP/2 connection at a time. RFC 9113 §6.5.2 recommends at least 100. Chosen, because 256 bodies of
/// [`BODY_BYTES`] are 1.4 MB, which one connection may cost at worst.
pub const HTTP2_STREAMS: u32 = 256;

// How long a peer may take.

/// From upgrade to `hello`. Source: the deployed peer (WS-CON-5).
pub const HELLO_WITHIN: Duration = SECOND.saturating_mul(5);

/// From the first byte of a request, or the accepted connection, to the end of its header. Source: Firefox gives up a
/// request after 10 s (WS-CLS-2), so a slower answer is useless.
pub const HEADER_WITHIN: Duration = SECOND.saturating_mul(10);

/// From the end of the header to the end of the body. Chosen, because 5,632 bytes in 10 s are 4.5 kbit/s: slower than
/// any network that an application server stands in.
pub const BODY_WITHIN: Duration = SECOND.saturating_mul(10);

/// How much is read of a body whose HTTP/1.1 request was refused without it, so that the connection stays. Chosen: three
/// times [`BODY_BYTES`], so that no push of a usual size costs its sender the connection, and a new one for the next push.
pub const UNWANTED_BODY_BYTES: usize = 16 * 1024;

/// How long such a body is waited for: its refusal waits too. Chosen: a body follows its head at once, or is long.
pub const UNWANTED_BODY_WITHIN: Duration = Duration::from_millis(500);

/// From the accepted connection to the end of the TLS handshake. Chosen: as [`HEADER_WITHIN`], for the same reason.
pub const TLS_HANDSHAKE_WITHIN: Duration = SECOND.saturating_mul(10);

/// An HTTP connection without a request under way is closed after so long. Chosen, because the pools of common HTTP
/// libraries keep connections for 90 s at most: so they close first, and no request meets a connection that is going.
pub const IDLE_FOR: Duration = SECOND.saturating_mul(120);

// Channels.

/// Unacknowledged messages on the wire of one channel. Chosen, because at 100 ms of round trip it still delivers 320
/// messages a second; the deployed peer waits for batches of ten (WS-ACK-6).
pub const IN_FLIGHT: usize = 32;

/// After so long without an acknowledgement a message leaves the window; it stays stored. Source: PR-17.
pub const ACKNOWLEDGE_WITHIN: Duration = SECOND.saturating_mul(60);

/// A channel that was silent for so long is asked for a sign of life. Source: the deployed peer (WS-CON-8), whose
/// rhythm the networks of its clients are known to bear.
pub const PING_EVERY: Duration = MINUTE.saturating_mul(5);

/// Time to answer that. Chosen: what Firefox grants us for the same (WS-PNG-1). The deployed peer grants 4 s, which a
/// phone that has to wake its radio misses.
pub const PONG_WITHIN: Duration = SECOND.saturating_mul(10);

/// A channel that takes no byte for so long is closed as a slow reader. Chosen, because TCP retries a lost segment
/// about five times in it; its messages stay stored.
pub const WRITE_WITHIN: Duration = SECOND.saturating_mul(30);

/// Bodies that were read from storage and wait to be written, over all channels of the node (PR-16). Chosen, because
/// it is a thousand full pages of [`PAGE_BYTES`], and small beside what the connections themselves take.
pub const DELIVERY_BYTES: usize = 64 * 1024 * 1024;

/// How long a channel that takes nothing may keep its share of [`DELIVERY_BYTES`] while others wait for one; then it is
/// closed as a slow reader before [`WRITE_WITHIN`]. Chosen: TCP has retried a lost segment a few times by then, and those
/// who wait were promised their messages at once.
pub const SHARE_WITHIN: Duration = SECOND.saturating_mul(3);

/// Messages in one page of a queue. As many as [`IN_FLIGHT`], because more could not be offered; PR-31 allows 100.
pub const PAGE_MESSAGES: usize = 32;

/// Bytes of bodies in one page. Chosen, because 32 messages of 2,000 bytes fit, twice the usual size.
pub const PAGE_BYTES: usize = 64 * 1024;

/// The shortest time between a user agent's own pings, `{}` on the WebSocket. Chosen, because no known user agent pings
/// oftener than once a minute (SU-1), and the peer's 45 s close those that are merely nervous (WS-PNG-3).
pub const MIN_PING_INTERVAL: Duration = SECOND.saturating_mul(5);

/// Pings at once, before their pace counts. Chosen: a user agent whose network changes pings a few times.
pub const PING_BURST: u32 = 6;

/// Attaches under way at a time; further hellos wait their turn (PR-16). Chosen, because 128 keep storage busy, and
/// at a millisecond each no Firefox waits for its 10 s while less than a million come back at once.
pub const ATTACHING: usize = 128;

/// Wake-ups that wait for a channel to look at them. Chosen: a burst that a channel takes in one write; what doesn't fit
/// is read from storage instead (PR-11), so a larger inbox would only hold more memory for slow readers.
pub const INBOX_MESSAGES: usize = 16;

/// The longest message that a user agent may send (WS-CON-6). Source: a register of Firefox has under 300 bytes, an ack
/// of a full window about 5,000.
pub const FRAME_BYTES: u32 = 16 * 1024;

/// How often deadlines are looked at; a deadline is kept to this precision. Chosen: half a second matters to none of
/// them, and a look at 100,000 channels takes a millisecond.
pub const CHANNEL_TICK: Duration = Duration::from_millis(500);

/// How long a channel that is being closed may take to flush acknowledgements and to let the peer read why.
pub const CLOSE_WITHIN: Duration = SECOND.saturating_mul(2);

/// Acknowledgements that a channel keeps while storage has others of it; beyond them it reads no more from its user agent
/// (PR-4: none is dropped while the channel lives). Chosen: many windows of [`IN_FLIGHT`].
pub const PENDING_ACKNOWLEDGEMENTS: usize = 1_000;

/// How long storage may take over a hello, a register or an unregister before the user agent is told of trouble: Firefox
/// gives up after 10 s (WS-REG-9), and an answer is better than none.
pub const ANSWER_WITHIN: Duration = SECOND.saturating_mul(8);

/// Before a channel asks storage again after it failed. Chosen: a second, so that a store in trouble isn't asked by all
/// its channels at once all the time.
pub const STORAGE_RETRY_AFTER: Duration = SECOND;

/// What a thread reads into, lent to one channel at a time. Chosen: the largest TLS record.
pub const READ_BUFFER_BYTES: usize = 16 * 1024;

/// What a thread keeps of the buffer that it writes from. Chosen: a full page, base64 included.
pub const SCRATCH_KEEP_BYTES: usize = 128 * 1024;

// Monitors.

/// Pushed streams that one HTTP/2 connection has open at most, whatever its peer allows. Chosen: more than any window of
/// messages, and a bound of what a place costs.
pub const PROMISES: usize = 256;

/// Monitors of one user agent that wait to join the others of their connection. Chosen: one more monitor gets a session of its own.
pub const MONITORS_ENTERING: usize = 16;

/// Monitors that share a session; the oldest gives way. Chosen: a user agent monitors its set, or a few subscriptions.
pub const MONITORS_PER_SESSION: usize = 64;

/// Events that wait for a connection to take them. Chosen: a few, so that a window of messages isn't held twice.
pub const EVENTS_BUFFERED: usize = 4;

/// Silence after which a comment is sent to a monitor by Server-Sent Events. Chosen: nginx gives up after 60 s.
pub const EVENTS_ALIVE_EVERY: Duration = SECOND.saturating_mul(25);

// Nodes that share a storage.

/// Bodies up to so many bytes travel in the wake-up (PR-13). Chosen: twice the thousand bytes of a usual message, padding
/// and topic included, so that delivery across nodes takes no second question; larger ones would be copied by Redis twice.
pub const CLUSTER_INLINE_BYTES: usize = 2 * 1024;

/// How often each session is compared with storage (PR-14): the longest that a message waits for a connected user agent
/// after its wake-up was lost. Source: PR-14; at 100,000 sessions it asks storage 17 times a second.
pub const CLUSTER_RECONCILE: Duration = MINUTE;

/// Sessions that are compared in one step. Chosen: enough that the round trip costs little, few enough that a shared
/// storage isn't held for long; PR-31 allows 100 messages a step.
pub const RECONCILE_BATCH: usize = 100;

/// Sessions that are compared in a second after a gap, at most. Chosen: a full node is through in 20 s, and ten of them
/// that lost the same primary ask it for less than it can do beside its work.
pub const RECONCILE_PER_SECOND: u32 = 5_000;

/// A process that comes so much too late to its own heartbeat was paused. Chosen: no load delays a task so long, and a
/// shared storage closes a connection that is not read for longer.
pub const PAUSE_NOTICED: Duration = SECOND.saturating_mul(3);

/// How often a node says in Redis that it is there. Chosen: one small command.
pub const NODE_PRESENT_EVERY: Duration = SECOND.saturating_mul(10);

/// How long a node is believed to be alive after it has said so. Chosen: outlasts a failover of Redis.
pub const NODE_ALIVE_FOR: Duration = SECOND.saturating_mul(60);

// Leaving. The first three together end before the 30 s after which Kubernetes kills (terminationGracePeriodSeconds).

/// Serving on after `/readyz` fails (PR-36). Chosen, because load balancers need a probe or two to notice.
pub const DRAIN_DELAY: Duration = SECOND.saturating_mul(5);

/// Channels are closed spread over so long (PR-36). Chosen, because all of them come back elsewhere 5 s after their
/// close (WS-CLS-1), and a second spread is a second of rest for the nodes that stay.
pub const DRAIN_SPREAD: Duration = SECOND.saturating_mul(15);

/// From the signal to the end, whatever is still under way. Chosen: 5 s before Kubernetes would kill.
pub const DRAIN_DEADLINE: Duration = SECOND.saturating_mul(25);

/// How long a drained channel waits for acknowledgements. Source: PR-36.
pub const DRAIN_ACKNOWLEDGE_WITHIN: Duration = SECOND;

/// Steps in which a drain closes the channels. Chosen: with 15 s of spread, one each 0.15 s.
pub const DRAIN_STEPS: usize = 100;

/// How long a drain at least keeps an idle HTTP/1.1 connection, if `drain.spread` is not shorter: its next request is answered, and
/// tells it to go. Chosen: HAProxy keeps connections that it may use again for 5 s (`pool-purge-delay`).
pub const DRAIN_IDLE_FOR: Duration = SECOND.saturating_mul(5);

/// Of `drain.deadline`, what is kept for requests under way after channels were given up. Chosen: a stored message takes
/// milliseconds, a slow body its sender's seconds.
pub const DRAIN_REQUESTS_WITHIN: Duration = SECOND.saturating_mul(3);

/// How long storage may take to close, and channels to go when it failed. Chosen: stalls of the embedded store stay
/// under a second.
pub const STORAGE_CLOSE_WITHIN: Duration = SECOND.saturating_mul(5);

// The admin listener.

/// Connections of one admin listener at a time; for one more, the one that has been idle for longest is closed.
/// Chosen: a few scrapers and probes use it, and an operator must still be able to connect.
pub const ADMIN_CONNECTIONS: usize = 64;

/// How long a listener that cannot accept rests before it tries again. Chosen, because the usual cause, too many open
/// files, lasts longer, and ten lines of log a second are enough.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// From an admin connection's start to the end of its first request's header. Chosen: probes ask at once.
pub const ADMIN_FIRST_HEADER_WITHIN: Duration = SECOND.saturating_mul(5);

/// From the answer before to the end of a request's header. Chosen: long enough that a
/// scraper keeps its connection between two scrapes.
pub const ADMIN_HEADER_WITHIN: Duration = SECOND.saturating_mul(75);

/// How long the admin listener waits for storage. Chosen, because probes give up after a few seconds, and an answer
/// that says "no answer in time" is worth more than none.
pub const ADMIN_STORAGE_WITHIN: Duration = SECOND.saturating_mul(2);

/// How often counters are copied for the status page. Chosen: a person sees a change soon, and a copy takes microseconds.
pub const RECENT_EVERY: Duration = SECOND.saturating_mul(5);

/// Copies that are kept: those of ten minutes, which is what a person looks back at. A copy takes half a kilobyte.
pub const RECENT_SAMPLES: usize = 121;

/// Over how long the present rate is taken. Chosen: longer than [`RECENT_EVERY`], so that there is a copy of that time.
pub const RATE_OVER: Duration = SECOND.saturating_mul(10);

/// A certificate that ends within this time was not renewed: ACME renews after two thirds of the 90 days, which leaves 30. The
/// alert has the same limit.
pub const CERTIFICATE_ENDS_SOON: Duration = SECOND.saturating_mul(7 * 86_400);

/// The largest body of a request to an admin listener. Chosen: a URL of this service is shorter than half of it.
pub const ADMIN_BODY_BYTES: usize = 4_096;

/// How long the body of a request to an admin listener may take. Chosen: it comes with its header.
pub const ADMIN_BODY_WITHIN: Duration = SECOND.saturating_mul(5);

/// How long the process waits at its end for threads that read files. Chosen: all that has to be written was written before.
pub const RUNTIME_END_WITHIN: Duration = SECOND;

/// How often a line tells of refused admin actions, and how many there were since the last one. Chosen: a program that guesses
/// fills no disk.
pub const ADMIN_REFUSAL_LINE_EVERY: Duration = SECOND;

/// The shortest token of admin actions, in bytes. Chosen: 32 random bytes, or as many hexadecimal digits, are not guessed.
pub const ADMIN_TOKEN_LEAST_BYTES: usize = 32;

/// The longest token of admin actions, in bytes. Chosen: a longer one would not fit into a header field everywhere.
pub const ADMIN_TOKEN_MOST_BYTES: usize = 1_024;

/// How many wrong tokens an address may show within [`ADMIN_FAILURES_WITHIN`]; then it is told to wait until that is over.
/// Chosen: a person may mistype, and a program that guesses gets nowhere.
pub const ADMIN_FAILURES: u32 = 10;

/// See [`ADMIN_FAILURES`].
pub const ADMIN_FAILURES_WITHIN: Duration = SECOND.saturating_mul(60);

/// Addresses whose failures are remembered; beyond that all others share one count. Chosen: far more than operators have.
pub const ADMIN_FAILURES_ADDRESSES: usize = 256;

/// User agents in an answer that lists them, if the request does not say how many.
pub const ADMIN_LIST: usize = 100;

/// At most so many. Chosen: an answer of some hundred kilobytes.
pub const ADMIN_LIST_MOST: usize = 1_000;

/// How long a list of user agents may take. Chosen: a store of some million user agents is looked through by then.
pub const ADMIN_LIST_WITHIN: Duration = SECOND.saturating_mul(60);

/// The longest time for which an operator may refuse an application server key. Chosen: it is for emergencies;
/// `security.application_servers` is for good.
pub const SENDER_REFUSED_MOST: Duration = SECOND.saturating_mul(30 * 86_400);

/// Application server keys that an operator may refuse at a time. Chosen: more than a person types.
pub const SENDERS_REFUSED: usize = 1_000;

/// Application server keys whose pushes are counted. Chosen: 24 kB, and ten times as many as are shown.
pub const SENDERS_RANKED: usize = 1_024;

/// Application server keys that are shown. Chosen: as many series as a metric may have without harm.
pub const SENDERS_SHOWN: usize = 100;

/// As much of an answer as `push-service inspect` reads of each node. Chosen: several times what a node shows.
pub const INSPECT_ANSWER_BYTES: u64 = 4 * 1_048_576;

/// How long `push-service inspect` waits for each node. Chosen: longer than the node waits for storage.
pub const INSPECT_WITHIN: Duration = SECOND.saturating_mul(10);

/// Records that a store looks at in one step of a list of user agents. Chosen: a step takes milliseconds, so others hardly wait
/// for it, and a million records take some thousand steps.
pub const LIST_STEP: usize = 200;

/// Waiting messages that a store tells of in one step. Chosen: what a person reads, and one batch of a removal.
pub const WAITING_STEP: usize = 100;

/// How long admin answers under way may take once the service ends.
pub const ADMIN_END_WITHIN: Duration = SECOND.saturating_mul(2);

/// How long `healthcheck` waits for the connection and for each read. Chosen: under the 5 s at which container
/// runtimes' probes are usually set.
pub const HEALTHCHECK_WITHIN: Duration = SECOND.saturating_mul(4);

// Listeners: what a peer may cost before it has shown anything.

/// Connections that wait to be accepted. Source: the kernel's usual bound (net.core.somaxconn); with 1,024, two thousand
/// user agents that came back at once overflowed it, and waited a second for TCP's next try.
pub const LISTEN_BACKLOG: u32 = 4_096;

/// First pause of an accept loop after an error that would come again at once, such as "too many open files". Doubles
/// up to [`ACCEPT_PAUSE_LONGEST`]. Chosen: short enough that a single failure is not noticed.
pub const ACCEPT_PAUSE_FIRST: Duration = Duration::from_millis(10);

/// Longest pause of an accept loop: one line of log a second while descriptors are short.
pub const ACCEPT_PAUSE_LONGEST: Duration = Duration::from_secs(1);

/// Longest PROXY header: 16 bytes, an address block of at most 216, and what load balancers add about themselves. In
/// bytes. The text form ends at 107 by its specification.
pub const PROXY_HEADER_BYTES: usize = 1024;

/// For a peer that takes no byte of what is written to it. Chosen: answers are a few hundred bytes, so no peer that is
/// there needs it.
pub const WRITE_STALL_WITHIN: Duration = Duration::from_secs(30);

/// Bytes of one request's body that an HTTP/2 peer may send before they are read. Chosen: a message and its frames
/// come without waiting.
pub const HTTP2_STREAM_WINDOW_BYTES: u32 = 16 * 1024;

/// The same for all requests of a connection together. Chosen: twice the protocol's start value, so that two dozen
/// full-sized messages come without waiting; bounds what one connection can make the node hold.
pub const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 128 * 1024;

/// Streams that an HTTP/2 peer may open and reset before we saw them, and streams that it may break, before the
/// connection is closed: the bound of the "rapid reset" attack.
pub const HTTP2_RESET_STREAMS: usize = 64;

/// Frames that an HTTP/2 peer may send that cause neither an answer nor a message (PING, PRIORITY, WINDOW_UPDATE, RST_STREAM, small
/// DATA, unknown ones …), before it is told to calm down. Chosen: four for each of [`HTTP2_STREAMS`], which may all be
/// waiting for their answers at once.
pub const HTTP2_FRAME_CREDIT: u32 = 1_024;

/// What an answered request, or a delivered message, adds to that again. Chosen: its own HEADERS, a body in a few
/// pieces, two WINDOW_UPDATEs and a RST_STREAM; no library sends more.
pub const HTTP2_FRAMES_PER_ANSWER: u32 = 8;

/// What a second adds. Chosen: many times the PINGs of a nervous peer; and 50 of the cheapest frames cost a microsecond
/// each.
pub const HTTP2_FRAMES_PER_SECOND: u32 = 50;

/// What a SETTINGS or GOAWAY frame counts. Chosen: it is applied to every stream of the connection, but a peer sends only a
/// few: the credit is 32 of them.
pub const HTTP2_COSTLY_FRAME: u32 = 32;

/// DATA below so many bytes counts as such a frame, unless it ends its stream. In bytes. Source: what `h2`
/// keeps about a piece of a body takes as much.
pub const HTTP2_SMALL_DATA_BYTES: u32 = 256;

/// What one HTTP/2 connection may read before others have their turn. In bytes. Chosen: two full messages, or one read of the
/// socket. A field costs its reader a hundred times what its byte costs the sender, and without an end to a turn a megabyte
/// of them would keep a thread from all other connections.
pub const HTTP2_TURN_BYTES: u32 = 8 * 1024;

/// Header fields of all requests under way on one HTTP/2 connection, in bytes as RFC 9113 §6.5.2 counts them. A request that
/// would need more is refused. Chosen: twice what pushes on all [`HTTP2_STREAMS`] have; without it those could hold 256 times
/// [`HEADER_BYTES`], and that again in the buffers they came in.
pub const HTTP2_HEADS_BYTES: usize = 512 * 1024;

/// Header fields of a request. Chosen: what the HTTP/1.1 side allows; a push has a dozen. A field of one byte takes a
/// hundred in memory, so that [`HEADER_BYTES`] alone would let a request grow to four times that.
pub const HEADER_FIELDS: usize = 100;

/// After GOAWAY on an idle HTTP/2 connection, for the peer to close its side.
pub const HTTP2_GOODBYE_WITHIN: Duration = Duration::from_secs(5);

/// How long requests of a closed HTTP/2 connection may still run: a complete request is still done, although no peer
/// reads the answer (PR-18). Chosen: storage answers in milliseconds, and the connection counts against its limits
/// meanwhile.
pub const HTTP2_FINISH_WITHIN: Duration = SECOND.saturating_mul(5);

// Resources and broker.

/// Longest token that is looked at. In characters; every sealed token is shorter, and a longer path segment is
/// answered like an unknown one without being decoded.
pub const TOKEN_BYTES: usize = 256;

/// VAPID tokens that are remembered as verified (V-SEC-3). Chosen: a token lives a day at most and a verification
/// costs 57 µs, so the cache pays for senders that reuse tokens; an entry has 88 bytes, all of them together 1.4 MB.
pub const VERIFIED_TOKENS: usize = 16 * 1024;

/// What a sender is told to wait when the service cannot store its message (WP-10), and when the queue is full and
/// it is unknown when the backlog will be gone.
pub const RETRY_AFTER: Duration = Duration::from_secs(120);

// Export and import.

/// The longest line of an export, in bytes. Source: a body has at most 1 MiB (the largest `limits.body_bytes`), which
/// base64url makes a third longer, and the fields beside it stay under 3 KB.
pub const EXPORT_LINE_BYTES: usize = 2 << 20;

/// What an export reads, and an import stores, at a time, in bytes. Chosen: a few thousand user agents, so that a sync
/// for each costs little; bounds what either holds in memory.
pub const EXPORT_STEP_BYTES: usize = 1 << 20;

/// How far the numbers of an export may be ahead of this machine's clock. Chosen: storage's clock, which never goes back,
/// would follow the wall clock so far too; more would end messages early, or user agents.
pub const IMPORT_CLOCK_AHEAD: Duration = CLOCK_STEP_BELIEVED;

/// How often progress is shown on a terminal. Chosen: a person sees that it goes on, and it costs nothing that can be measured.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// The same elsewhere, in lines. Chosen: a log of an hour stays readable.
pub const PROGRESS_LINE_EVERY: Duration = SECOND.saturating_mul(10);
