//! The names of tasks: a closed set, so that a peer can't choose what is counted.

macro_rules! tasks {
    ($( $(#[doc = $doc:literal])+ $task:ident = $name:literal, )+) => {
        /// A task of the service, by what it does.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Task { $( $(#[doc = $doc])+ $task, )+ }

        impl Task {
            /// All of them.
            pub const ALL: &'static [Self] = &[$( Self::$task, )+];

            /// Its name in the log and in `panics_total`.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$task => $name, )+ }
            }
        }
    };
}

// The first are the service's own: it ends with them. The others serve one peer, and end alone.
tasks! {
    /// Accepts connections of a public listener.
    Accept = "accept",
    /// Accepts connections of an admin listener.
    AdminAccept = "admin_accept",
    /// Keeps the deadlines of channels.
    Time = "time",
    /// Removes what has expired.
    Expire = "expire",
    /// Looks whether storage works, for the log.
    StorageWatch = "storage_watch",
    /// Relays receipts.
    Receipts = "receipts",
    /// Compares sessions with a shared storage.
    Reconcile = "reconcile",
    /// Orders and renews the certificate (`tls.acme`).
    CertificateRenewal = "certificate_renewal",
    /// Reloads certificates whose files changed.
    CertificateReload = "certificate_reload",
    /// Receives wake-ups from Redis.
    RedisWakeUps = "redis_wake_ups",
    /// Tells other nodes by Redis that this one is there.
    RedisPresence = "redis_presence",
    /// Tells Redis the sums of senders.
    RedisSenders = "redis_senders",
    /// Looks whether Redis came back without its data.
    RedisReturn = "redis_return",
    /// Looks which servers of Redis are the primaries.
    RedisTopology = "redis_topology",
    /// Sends the steps to one primary that replicas have to confirm.
    RedisConfirm = "redis_confirm",
    /// Asks sentinels, or the cluster, whether a server still is the primary.
    RedisProof = "redis_proof",
    /// Serves one connection of a public listener.
    Connection = "connection",
    /// Answers one request over HTTP/2.
    Request = "request",
    /// Runs the channel of one WebSocket.
    WebSocket = "websocket",
    /// Runs the channel of the monitors of one user agent.
    Monitor = "monitor",
    /// Serves one connection of an admin listener.
    AdminConnection = "admin_connection",
    /// Anything else: a thread of the embedded store, work that blocks.
    Other = "other",
}
