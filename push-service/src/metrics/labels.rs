//! The closed sets from which every label comes.
//!
//! A label that a peer could choose would let it fill the memory of the system that scrapes.

/// A closed set of label values.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// Every value, in the order of their numbers.
    const ALL: &'static [Self];

    /// The value as it is exported.
    fn as_str(self) -> &'static str;

    /// Its place in [`Label::ALL`].
    fn index(self) -> usize;
}

macro_rules! labels {
    ($(
        $(#[doc = $about:literal])+
        $name:ident $label:literal { $( $(#[doc = $doc:literal])+ $value:ident = $text:literal, )+ }
    )+) => { $(
        $(#[doc = $about])+
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name { $( $(#[doc = $doc])+ $value, )+ }

        impl Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$( Self::$value, )+];

            fn as_str(self) -> &'static str {
                match self { $( Self::$value => $text, )+ }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    )+ };
}

labels! {
    /// How a push message was accepted.
    Accepted "outcome" {
        /// Stored, durably.
        Stored = "stored",
        /// TTL 0: passed to a connected user agent, or dropped because none was connected.
        Passed = "passed",
    }

    /// What a user agent says of a message that it ended without delivering it.
    Undelivered "reason" {
        /// It could not be decrypted (acknowledgement code 101).
        Undecryptable = "undecryptable",
        /// The application did not want it (acknowledgement code 102).
        Unwanted = "unwanted",
    }

    /// Why the application's handler failed, as the user agent reports it (WS-ACK-4).
    Nack "code" {
        /// It threw an exception.
        Exception = "301",
        /// It left a rejection unhandled.
        Rejection = "302",
        /// The user agent failed.
        Internal = "303",
        /// Any other code: none is defined.
        Other = "other",
    }

    /// How a message left without an acknowledgement.
    Removed "reason" {
        /// Its time to live was over.
        Expired = "expired",
        /// The queue's budget gave it up (PR-23).
        Evicted = "evicted",
        /// A newer message of its topic came.
        Replaced = "replaced",
        /// The application server took it back.
        Cancelled = "cancelled",
        /// The operator emptied the queue.
        Emptied = "emptied",
        /// TTL 0, and no user agent was there, or its channel was not writable (PR-21).
        Unheard = "unheard",
    }

    /// Why a request was refused.
    Refused "reason" {
        /// There is no such subscription.
        NoSubscription = "no_subscription",
        /// The URL's token does not open.
        BadToken = "bad_token",
        /// VAPID is missing, wrong, expired, or of the wrong application server.
        Vapid = "vapid",
        /// `TTL` is missing or malformed.
        Ttl = "ttl",
        /// `Topic` is malformed.
        Topic = "topic",
        /// `Urgency` is malformed.
        Urgency = "urgency",
        /// The content coding or its header fields are wrong.
        Encryption = "encryption",
        /// The body is larger than `limits.body_bytes`.
        TooLarge = "too_large",
        /// The body or the rest of the request did not come in time.
        TooSlow = "too_slow",
        /// The subscription gets more messages than its rate allows.
        RateLimited = "rate_limited",
        /// The queue is full, and this message would be the one to go.
        QueueFull = "queue_full",
        /// More of the sender would wait than may (`limits.sender_bytes`).
        SenderFull = "sender_full",
        /// The operator refuses the application server key for a while.
        SenderRefused = "sender_refused",
        /// More would wait in the store than a message of its urgency may fill (`limits.store_bytes`).
        StoreFull = "store_full",
        /// The user agent has as many subscriptions as it may.
        TooManySubscriptions = "too_many_subscriptions",
        /// There are as many connections as there may be, of all or of one address.
        TooManyConnections = "too_many_connections",
        /// The address has caused more work than it may.
        AddressBudget = "address_budget",
        /// The application server key has caused more work than it may.
        SenderBudget = "sender_budget",
        /// The address has made more records than it may: subscriptions, and queues for receipts.
        RecordsBudget = "records_budget",
        /// The user agent's secret is missing or wrong.
        Forbidden = "forbidden",
        /// Storage is in trouble.
        StorageUnavailable = "storage_unavailable",
        /// Storage has only its reserve left.
        StorageFull = "storage_full",
        /// No resource of that name, a method that it does not have, or no HTTP.
        Malformed = "malformed",
    }

    /// Which budget pays for a request.
    Budget "budget" {
        /// Those of an address.
        Address = "address",
        /// Those of an application server key.
        Sender = "sender",
        /// Those of a user agent.
        UserAgent = "user_agent",
        /// Records that an address may make.
        Records = "records",
    }

    /// The public listener of a connection.
    Listener "listener" {
        /// In clear.
        Http = "http",
        /// TLS.
        Tls = "tls",
        /// QUIC.
        Quic = "quic",
    }

    /// Why a connection of a public listener was cut off.
    Cut "reason" {
        /// It sent more frames than its requests and messages account for.
        Excess = "excess",
        /// It went over a limit of HTTP/2 itself: streams that it reset, broke or opened beyond the limit, field blocks in
        /// endless pieces, far too large ones, empty DATA.
        Limit = "limit",
        /// It broke HTTP/2.
        Protocol = "protocol",
        /// It began a head or a frame and did not end it in time.
        Slow = "slow",
        /// It took no byte of what was written to it for too long.
        Stalled = "stalled",
    }

    /// How a user agent is connected.
    ChannelKind "kind" {
        /// WebSocket.
        WebSocket = "websocket",
        /// HTTP/2 server push.
        Http2 = "http2",
        /// Server-Sent Events.
        Events = "events",
        /// QUIC.
        Quic = "quic",
    }

    /// Why a channel ended.
    Closed "reason" {
        /// The user agent closed it.
        Left = "left",
        /// The connection broke.
        Lost = "lost",
        /// No hello in time.
        HelloTimeout = "hello_timeout",
        /// No sign of life in time.
        PongTimeout = "pong_timeout",
        /// It took no byte for too long.
        SlowReader = "slow_reader",
        /// A newer channel of the same user agent took the seat.
        Displaced = "displaced",
        /// What was monitored has ended, or never was.
        Ended = "ended",
        /// It broke the protocol.
        Protocol = "protocol",
        /// It sent a frame or message larger than allowed.
        TooLarge = "too_large",
        /// It pinged too often.
        PingFlood = "ping_flood",
        /// The budget of its user agent or its address was spent for too long.
        OverBudget = "over_budget",
        /// Storage is in trouble.
        Storage = "storage",
        /// The node leaves.
        Drain = "drain",
    }

    /// What a request was about.
    Resource "resource" {
        /// A push.
        Push = "push",
        /// Making a subscription.
        Subscribe = "subscribe",
        /// A subscription or a set of them.
        Subscription = "subscription",
        /// A push message.
        Message = "message",
        /// Receipts.
        Receipt = "receipt",
        /// Anything else.
        Other = "other",
    }

    /// A step of storage.
    Step "step" {
        /// Makes a subscription.
        Subscribe = "subscribe",
        /// Ends one.
        Unsubscribe = "unsubscribe",
        /// Accepts a message.
        Enqueue = "enqueue",
        /// Takes the seat.
        Attach = "attach",
        /// Reads on.
        Page = "page",
        /// Compares sessions with storage.
        Refresh = "refresh",
        /// Gives the seat up.
        Release = "release",
        /// Looks whether something is known.
        Inspect = "inspect",
        /// Expects, settles or looks for receipts.
        Receipt = "receipt",
        /// Removes messages.
        Acknowledge = "acknowledge",
        /// Drops what is due.
        Expire = "expire",
    }

    /// What a session's comparison with storage showed (PR-14).
    Compared "outcome" {
        /// It has come as far as the queue.
        Level = "level",
        /// It had missed something, or is still reading.
        Behind = "behind",
        /// Another session has its seat.
        Displaced = "displaced",
        /// Storage has no record of its user agent.
        Unknown = "unknown",
        /// It ended meanwhile.
        Gone = "gone",
        /// Storage has trouble; it is asked again soon.
        Trouble = "trouble",
    }

    /// How storage failed.
    Trouble "kind" {
        /// May heal.
        Unavailable = "unavailable",
        /// Only the reserve is left.
        Full = "full",
        /// For good.
        Failed = "failed",
    }

    /// Which certificate.
    Certificate "certificate" {
        /// The one of the service, for peers that ask for no other.
        Service = "service",
        /// Of those in the directory the one that ends first.
        Directory = "directory",
    }

    /// Whether a VAPID token had been seen before.
    Cache "outcome" {
        /// It had.
        Hit = "hit",
        /// It had to be verified.
        Miss = "miss",
    }
}
