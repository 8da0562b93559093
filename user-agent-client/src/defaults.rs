//! Every limit that a service, a message or an application can meet, with its unit, its reason and its source.
//!
//! A source is a section of an RFC, a rule of `docs/coverage.md` (PR-…, WS-…), a measurement, or "chosen, because".

use std::time::Duration;

use push_protocol::session::user_agent::Limits;

const SECOND: Duration = Duration::from_secs(1);

/// From the first packet to an open channel. Chosen: a satellite link with lost packets gets through in half of it.
pub const CONNECT_WITHIN: Duration = SECOND.saturating_mul(30);

/// For an answer to hello, a request or a ping. Source: Firefox, which services are tuned to.
// WS-CLS-2.
pub const ANSWER_WITHIN: Duration = SECOND.saturating_mul(10);

/// The shortest silence before a ping, as far as the network allows. Source: the deployed peer closes a channel that asks more often,
/// in its own protocol.
// WS-PNG-3.
pub const KEEPALIVE_LEAST: Duration = SECOND.saturating_mul(45);

/// The longest. Source: the deployed peer and ours ask after as long by themselves.
// WS-CON-8.
pub const KEEPALIVE_MOST: Duration = SECOND.saturating_mul(300);

/// What that may fall to, where the network forgets channels even sooner: two channels that end after the same shorter silence
/// say so. Chosen: proxies close after 30 s, none known sooner; the deployed peer counts messages, not the ping frames that we
/// send. A network that allows less loses each channel after that time, and the next one brings what was sent meanwhile.
pub const KEEPALIVE_FLOOR: Duration = SECOND.saturating_mul(20);

/// The shortest wait before the next connection. Chosen: ten connections a second are no burden.
pub const BACKOFF_LEAST: Duration = Duration::from_millis(100);

/// The longest wait after the first failure. Chosen: a restarted service is back within a second or two.
pub const BACKOFF_BASE: Duration = SECOND;

/// The longest wait of all. Chosen: a person who mends something looks for as long.
pub const BACKOFF_MOST: Duration = SECOND.saturating_mul(300);

/// A channel that lived for so long was a good one. Chosen: longer than it takes to say hello and be closed.
pub const STEADY_AFTER: Duration = SECOND.saturating_mul(10);

/// A service that says that it does not know us is believed when it says so again after this time. Chosen: a proxy that loads
/// its configuration, or a service that starts, says so wrongly for a second or two. A service that has really forgotten us brings
/// messages again within ten seconds.
// PR-47.
pub const FORGOTTEN_APART: Duration = SECOND.saturating_mul(5);

/// The time between the first two changes of the network that are heeded; it doubles with each, up to [`NETWORK_CALM`]. Chosen:
/// four connections in 20 s for an interface that comes and goes each second.
pub const NETWORK_APART: Duration = SECOND.saturating_mul(2);

/// A network that was quiet for so long is at rest, and its next change is heeded at once. Chosen: people who change networks
/// look for a connection within a minute.
pub const NETWORK_CALM: Duration = SECOND.saturating_mul(60);

/// Messages with the application or waiting to be tried again. Chosen: several windows of any known service (32, 150).
pub const HELD_MESSAGES: usize = 256;

/// Bytes of their bodies and ids. Chosen: all of them at the size that services must take (RFC 8030 §7.2), twice over.
pub const HELD_BYTES: usize = 2 * HELD_MESSAGES * 4_096;

/// How often an application that fails on a message is tried, in one run of the process. Source: the W3C Push API
/// recommends at least three.
// WP-RCV-6.
pub const ATTEMPTS: u32 = 3;

/// How often the process may end while an application has the same message, until that is given up. Failures of earlier
/// runs count, too. Chosen: far above [`ATTEMPTS`], because nearly all ends of a process have nothing to do with the message (a kill, an update, a power loss); and
/// small enough that one which kills its application does so for a quarter of an hour at most, with the waits in between.
pub const CRASHES: u32 = 16;

/// The wait before the second attempt; it doubles with each. Chosen: what a busy disk or a restarting neighbour needs.
pub const RETRY_BASE: Duration = SECOND.saturating_mul(2);

/// Its most. Chosen: as for the next channel to a service in trouble, so that a message does not wait for longer than a
/// person who has just mended its application.
pub const RETRY_MOST: Duration = SECOND.saturating_mul(60);

/// The wait before an application that can't work is given a message again; it doubles with each that fails. Chosen: a database
/// or a session bus that restarts is back within seconds.
pub const PAUSE_BASE: Duration = SECOND;

/// Its most. Chosen: a try a minute costs nothing, and the wait is no longer than that when all works again.
pub const PAUSE_MOST: Duration = SECOND.saturating_mul(60);

/// Requests under way. Chosen: enough to set up hundreds of subscriptions in a second.
pub const REQUESTS: usize = 16;

/// The wait before a request is repeated that the service could not serve. Chosen: as for the service's own storage.
pub const ASK_AGAIN_AFTER: Duration = SECOND.saturating_mul(5);

/// Texts on one channel that mean nothing. Chosen: a service that is newer than we are says a few.
pub const NONSENSE: u32 = 100;

/// The shortest time between two changes of the lowest urgency. Source: our service grants one request in so long that needs
/// no storage, after a few at once.
pub const WISH_EVERY: Duration = SECOND.saturating_mul(5);

/// How long a monitoring request that was replaced may go on, for the service to bring what it had begun with there, and end
/// it. Chosen: as long as any answer may take.
pub const REPLACED_WITHIN: Duration = ANSWER_WITHIN;

/// How often the channel is read before a deadline is judged: a process that was stopped for a while, or a machine that is busy,
/// finds the answer in its sockets together with the deadline. Chosen: many times what a service says in a round trip; one that
/// never stops talking holds up no deadline for longer.
pub const READS_BEFORE_TICK: usize = 64;

/// How long the application may take over what is in its hands when the user agent stops. Chosen: below the 30 s that
/// service managers grant before they kill.
pub const STOP_WITHIN: Duration = SECOND.saturating_mul(20);

/// How much longer than allowed the end of a command is looked for. Chosen: what is known already is read within it, also on a
/// busy machine, and no command counts on it.
pub const END_READ_WITHIN: Duration = Duration::from_millis(100);

/// How long killed commands may take to be gone. Chosen: a process that takes longer hangs in the kernel, and waits for a
/// device that is broken.
pub const KILLED_WITHIN: Duration = SECOND.saturating_mul(5);

/// How long `listen` waits for the commands of an earlier one to be gone. Chosen: twice as long as they may take.
pub const SUPERVISOR_WITHIN: Duration = SECOND.saturating_mul(10);

/// How long `listen` waits for a signal of its own when a signal has ended a command. Chosen: a service manager sends both
/// at once.
pub const SIGNAL_WITHIN: Duration = SECOND;

/// The wait before the command of `--on-renew` is run again that failed; it doubles with each failure, up to
/// [`RENEW_AGAIN_MOST`]. Chosen: as for a request that the service could not serve.
pub const RENEW_AGAIN_AFTER: Duration = SECOND.saturating_mul(5);

/// Its most. Chosen: as for connections. Until it succeeds, messages of that subscription are lost to their sender.
pub const RENEW_AGAIN_MOST: Duration = SECOND.saturating_mul(300);

/// Lines of one kind that are said within [`LINES_WITHIN`]; those beyond are counted, and the count is said. Chosen: as many
/// as a person reads.
pub const LINES: u32 = 5;

/// See [`LINES`]. Chosen: a flood of messages writes less than 1 MB of log in an hour.
pub const LINES_WITHIN: Duration = SECOND.saturating_mul(10);

/// A channel that the service ends within this time may have been taken over by another user agent with a copy of the state. Chosen:
/// two that take the channel from each other come back within the backoff's first waits, and some seconds of a good channel.
pub const TAKEOVER_WITHIN: Duration = SECOND.saturating_mul(60);

/// How many of them in a row are told as the likely cause. Chosen: a service that restarts in disorder ends one or two.
pub const TAKEOVERS: u32 = 3;

/// Calls from the application that wait for the user agent's task.
pub const CALLS: usize = 32;

/// News that the application has not read; further ones are dropped. Chosen: one that never reads any loses nothing that it
/// can't ask for.
pub const NEWS: usize = 64;

// What a user agent keeps.

/// Subscriptions of one user agent, those that are ending included. Chosen: far above what one machine's applications
/// need; every write of one rewrites all of them, which takes 0.1 s at this number (measured).
pub const SUBSCRIPTIONS: usize = 10_000;

/// Characters of a subscription's label. Chosen: room for any name that people give, and short enough for a file's name.
pub const LABEL_CHARACTERS: usize = 64;

/// Bytes of `state.json` that are read. Chosen: [`SUBSCRIPTIONS`] of the largest kind take 6,900 bytes each, three URLs
/// and a label in which every byte is escaped; so a larger file was not written by us.
pub const STATE_BYTES: u64 = 72 << 20;

/// Bytes of `state.json` that are written in a second, while more answers are on their way: what comes between two writes is one
/// write. Chosen: [`SUBSCRIPTIONS`] of the usual kind (7 MB) are written every 2.3 s, so that renewing all of them in 20 s
/// writes less than 100 MB; a state of a hundred is written at once all the same.
pub const STATE_WRITE_RATE: u64 = 3_000_000;

/// The longest that an answer waits for such a write. Chosen: half of what a service may take for an answer.
pub const STATE_WRITE_APART_MOST: Duration = Duration::from_secs(5);

/// A line on the socket by which other commands talk to `listen`. In bytes. Chosen: room for the longest URL of a service and
/// for four times the longest subscription.
pub const CONTROL_LINE_BYTES: u64 = 64 << 10;

/// How long the other end may take over a line. Chosen: both are on this machine.
pub const CONTROL_LINE_WITHIN: Duration = Duration::from_secs(10);

/// How long a connection to that socket may say nothing before it asks. Chosen: a command asks at once, and a connection that
/// does not would take the place of another.
pub const CONTROL_REQUEST_WITHIN: Duration = SECOND;

/// Commands that talk to `listen` at once; further ones wait. Chosen: a person has one, a script a few.
pub const CONTROL_CONNECTIONS: usize = 16;

/// How often a command looks for that socket, every 50 ms. Chosen: a `listen` that has just begun has it in a moment.
pub const CONTROL_CONNECT_TIMES: usize = 10;

/// Records in `messages.log`, of 32 bytes each, before it is written anew with those that still count. Chosen: 2 MiB; eight
/// times what can still count (4,096 messages done and 4,096 tried), so that writing it anew costs a message next to nothing.
pub const MESSAGE_RECORDS: usize = 1 << 16;

/// Bytes of a `PushSubscription` in JSON. Chosen: four times the longest push resource and its keys, as applications add
/// members of their own.
pub const PUSH_SUBSCRIPTION_BYTES: usize = 16 << 10;

// The channel.

/// The longest message that a service may send. In bytes. Chosen: the largest body that a service takes is some 6 KiB,
/// 8 KiB as base64; ten times that leaves room for unknown members.
pub const MESSAGE_BYTES: u32 = 64 * 1024;

/// Read from a socket at once, into a buffer that belongs to the thread. In bytes. Chosen: a dozen messages of the usual
/// size, and the longest record of TLS.
pub const READ_BYTES: usize = 16 * 1024;

/// What may wait to be written before the service counts as dead. In bytes. Chosen: more than a thousand acknowledgements,
/// which no service leaves unread that is alive.
pub const UNWRITTEN_BYTES: usize = 256 * 1024;

/// The answer to an upgrade, interim answers included. In bytes. Chosen: twice what common servers take of a request, so
/// that no proxy's cookies are in the way.
pub const UPGRADE_HEAD_BYTES: usize = 16 * 1024;

/// Header fields of that answer. Chosen: several times what a service and two proxies in front of it add.
pub const UPGRADE_HEADERS: usize = 64;

/// What is read of an answer that refuses, for its explanation. In bytes. Chosen: more than any sentence has, also in JSON or
/// on a page.
pub const EXPLANATION_BYTES: usize = 4 * 1024;

/// How long an explanation may take behind the head of its answer: the status counts without it. Chosen: both are sent
/// together.
pub const EXPLANATION_WITHIN: Duration = SECOND;

/// Pushed streams that a service may have open at once over HTTP/2: messages that are on their way. Chosen: a window of our
/// service, so that neither holds up the other.
pub const PUSHED_STREAMS: u32 = 32;

/// The longest body of a message over HTTP/2, and what a service may send of it before we have read any. In bytes. Chosen:
/// three times what a service takes; [`PUSHED_STREAMS`] of them are what a service can make us hold.
pub const PUSHED_BYTES: usize = 16 * 1024;

/// Header fields of an answer over HTTP/2. In bytes, as RFC 9113 §6.5.2 counts them. Chosen: the longest URLs three times,
/// and what proxies add.
pub const HTTP2_HEAD_BYTES: u32 = 8 * 1024;

/// How long a pushed stream may take before the channel counts as broken. Chosen: after as long a service takes the message
/// out of its window, and half a megabyte comes over any network that is worth its name.
// PR-17.
pub const PUSHED_WITHIN: Duration = Duration::from_secs(60);

/// Acknowledgements over HTTP/2 that are under way. Chosen: an acknowledgement each of half a window, with one answer
/// awaited for as many others.
pub const ACKNOWLEDGEMENTS: usize = 16;

/// Acknowledgements that wait for those; then nothing more is taken until some are answered. Chosen: several times what may
/// be held, so that it is met only by a service that doesn't answer.
pub const ACKNOWLEDGEMENTS_WAITING: usize = 1_024;

/// How often an acknowledgement is sent that the service can't take. What it still doesn't take comes again, and is known.
pub const ACKNOWLEDGED_TIMES: u32 = 3;

/// The wait before the next time, unless the service says when. Chosen: what a restarted storage needs.
pub const ACKNOWLEDGE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long the service may take over the hello before it is said that this is what is waited for. Chosen: a hello around the world
/// takes less, and a person who waits for longer wonders.
pub const DELAYED_AFTER: Duration = Duration::from_secs(2);

/// A Server-Sent Event that tells of a message. In bytes. Chosen: the longest body as base64url, and as much again for its URLs
/// and fields.
pub const EVENT_BYTES: usize = 3 * PUSHED_BYTES;

/// What is passed over of an event that is longer, before the stream counts as nonsense. In bytes. Chosen: some hundred times what
/// any service takes of a message.
pub const EVENT_SKIPPED_BYTES: usize = 1 << 20;

/// How long it is remembered, for the running process, that no server push gets through; then the next connection tries it
/// again. Chosen: a refused request an hour is no burden, and proxies are seldom mended sooner.
pub const PUSH_AGAIN_AFTER: Duration = SECOND.saturating_mul(3_600);

/// Acknowledgements over HTTP/1.1 that are under way, each on a connection of its own. Chosen: as browsers, which open six
/// connections to a host, with room for the stream of events and a request.
pub const HTTP1_ACKNOWLEDGEMENTS: usize = 3;

/// Idle connections over HTTP/1.1 that are kept for the next request. Chosen: a burst of acknowledgements needs no new one, and
/// a server has one to keep at most.
pub const HTTP1_IDLE: usize = 1;

/// How long a service that said goodbye (GOAWAY) may still bring the rest of messages, and answers. What it doesn't bring then comes
/// on the next connection. Chosen: as for a farewell of ours.
pub const LEAVE_WITHIN: Duration = CLOSE_WITHIN;

/// Redirections of a request for a subscription that are followed. Chosen: a load balancer needs one.
// R30-LB-1.
pub const REDIRECTIONS: usize = 4;

/// The longest `Retry-After` that is waited for; a longer one is cut to it. Chosen: a service that asks for more than a
/// day made a mistake.
pub const RETRY_AFTER_MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the next address of a service waits for the one before it. RFC 8305 §5 recommends 250 ms.
pub const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Addresses of a service that are tried. Chosen: a name with more has as many that work among the first.
pub const ADDRESSES: usize = 8;

/// How long a farewell may take, the service's answer included. Chosen: a round trip around the world, with one loss.
pub const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// The longest URL of a service. In bytes. Chosen: what browsers and proxies take of any URL.
pub const SERVER_URL_BYTES: usize = 2_048;

/// Services whose TLS sessions are remembered, so that coming back costs less. Chosen: a user agent has one service, and
/// maybe a few names for it.
pub const TLS_SESSIONS: usize = 8;

/// Bytes of a file of certificates. Chosen: ten times the bundle of a system (some 220 KiB), and more; a longer file is another
/// one, or a device without an end.
pub const CERTIFICATES_BYTES: u64 = 4 << 20;

// The network.

/// How long the network has to be quiet before its change is reported, because changes come in bursts. Chosen: what
/// happens between an interface that comes up and its addresses and routes takes less.
pub const NETWORK_QUIET: Duration = Duration::from_millis(500);

/// The longest that a network which never becomes quiet holds a report back. Chosen: a user agent should be back within
/// seconds.
pub const NETWORK_QUIET_MOST: Duration = Duration::from_secs(3);

/// How often it is looked whether the machine slept. Chosen: a wake-up a minute is little beside a kernel's own, and a
/// network that comes back after a sleep mostly reports that itself.
pub const SLEEP_LOOK: Duration = Duration::from_secs(60);

/// The shortest sleep that counts as one. Chosen: above what two clocks differ by when they are read one after the other,
/// below what makes a NAT forget a connection.
pub const SLEEP_LEAST: Duration = Duration::from_secs(2);

// The application server.

/// How long a request may take unless it is said otherwise: chosen, because push services answer in well under a second,
/// and a mobile network may take ten for the handshakes.
pub const SEND_WITHIN: Duration = Duration::from_secs(30);

/// How long a message is kept if it isn't said: a day. RFC 8030 §5.2 has no default. Chosen: a machine that is off over
/// night, or a person without network on a journey, still gets it, and what is older is seldom news; four weeks, the
/// default of some libraries, would bring a returning machine all of them at once.
pub const DEFAULT_TTL_SECS: u64 = 24 * 3600;

/// Bytes of an answer's head. Chosen: twice hyper's least, with room for what proxies add.
pub const ANSWER_HEAD_BYTES: usize = 16 * 1024;

/// Bytes of an answer's body. Chosen: far more than an explanation has, of which a sentence is shown.
pub const ANSWER_BODY_BYTES: usize = 16 * 1024;

/// Characters of a service's explanation that are shown. Chosen: two lines of a terminal.
pub const REASON_CHARACTERS: usize = 200;

/// A line that tells of a receipt. In bytes. Chosen: four times the longest URL of ours.
pub const RECEIPT_BYTES: usize = 4 * 1024;

/// The wait before receipts are listened to again, after the stream of them broke or the service was in trouble; it doubles
/// with each failure, up to [`RECEIPTS_AGAIN_MOST`]. Chosen: as for a user agent that lost its channel.
pub const RECEIPTS_AGAIN_AFTER: Duration = SECOND;

/// Its most. Chosen: a person may be waiting for the receipt.
pub const RECEIPTS_AGAIN_MOST: Duration = SECOND.saturating_mul(60);

/// The silence after which receipts are listened to anew: the connection may be gone without notice. Chosen: what address
/// translators forget idle connections after; no receipt gets lost by it, because the service keeps them.
pub const RECEIPTS_SILENCE: Duration = SECOND.saturating_mul(300);

/// How long a receipt may come after the end of the message's time. Chosen: what a service may take to look what has
/// expired.
pub const RECEIPT_GRACE: Duration = SECOND.saturating_mul(60);

/// How long a token is good. RFC 8292 §2 allows 24 hours; half of them leave room for a clock that is wrong.
pub const TOKEN_LASTS_SECS: u64 = 12 * 3600;

/// A token is replaced when it ends within this: it has to be good when it arrives.
pub const TOKEN_MARGIN_SECS: u64 = 600;

/// Tokens that are kept, one for each push service: there are a handful of services in the world.
pub const TOKENS: usize = 64;

/// All limits of the session.
pub fn limits() -> Limits {
    Limits {
        connect_within: CONNECT_WITHIN,
        answer_within: ANSWER_WITHIN,
        keepalive_least: KEEPALIVE_LEAST,
        keepalive_most: KEEPALIVE_MOST,
        keepalive_floor: KEEPALIVE_FLOOR,
        backoff_least: BACKOFF_LEAST,
        backoff_base: BACKOFF_BASE,
        backoff_most: BACKOFF_MOST,
        retry_after_most: RETRY_AFTER_MOST,
        steady_after: STEADY_AFTER,
        forgotten_apart: FORGOTTEN_APART,
        network_apart: NETWORK_APART,
        network_calm: NETWORK_CALM,
        held_messages: HELD_MESSAGES,
        held_bytes: HELD_BYTES,
        attempts: ATTEMPTS,
        crashes: CRASHES,
        retry_base: RETRY_BASE,
        retry_most: RETRY_MOST,
        pause_base: PAUSE_BASE,
        pause_most: PAUSE_MOST,
        requests: REQUESTS,
        ask_again_after: ASK_AGAIN_AFTER,
        nonsense: NONSENSE,
        wish_every: WISH_EVERY,
        stop_within: STOP_WITHIN,
    }
}

/// How long `probe` waits for the end of its subscription, and for the end of its channel, after a step failed. Chosen: the service has
/// answered everything else in milliseconds, and who waits for the probe wants its answer.
pub const PROBE_LEAVE_WITHIN: Duration = SECOND.saturating_mul(5);
