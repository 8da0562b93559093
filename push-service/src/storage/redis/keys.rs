//! The names of the keys and channels in Redis, and which of them a script takes.
//!
//! All keys of a user agent carry the hash tag of one of 1,024 buckets, so that a step's keys and the channel on which it
//! announces are in one hash slot (PR-13). `P` is `storage.redis.prefix`, `B` the bucket in hexadecimal:
//!
//! | key | type | content |
//! |---|---|---|
//! | `P:{B}` | string | the mark: this bucket belongs to a store of that format |
//! | `P:{B}:r:ID` | hash | the record: `m` itself, `n`+name and `s`+id of each subscription |
//! | `P:{B}:i:ID` | sorted set | the index of the waiting messages, by urgency and number |
//! | `P:{B}:q:ID` | hash | number → key, content header and body; `t`+subscription+topic → number; `e`: the index entry of a sole message |
//! | `P:{B}:v:ID`, `P:{B}:x:ID` | sorted sets | the eviction order of a long queue that was full; shares and expiries |
//! | `P:{B}:o:ID` | hash | the outbox: nonce → how a message ended that a receipt was asked for |
//! | `P:{B}:d:ID` | sorted set | the same nonces, by when there is something to relay |
//! | `P:{B}:e:ID` | hash | of a receipt subscription: user agent+nonce → what the URL of a receipt is made of |
//! | `P:{B}:owing` | sorted set | user agents with an outbox, by when there is something to relay |
//! | `P:{B}:expected` | sorted set | receipt subscription+user agent+nonce, by when to ask after it |
//! | `P:{B}:sent:SENDER`, `P:{000}:sent:all` | hash | how many bytes wait of a sender and of all, in parts by when they expire |
//! | `P:{000}:nodes` | sorted set | the nodes that are alive |
//! | `P:{B}:wake:N` | channel | wake-ups for the node of incarnation `N` |
//!
//! It deliberately does not know what stands in a key: [`layout`](super::layout) does.

use std::fmt::Write as _;
use std::ops::Deref;

use push_protocol::UserAgentId;

use super::bucket::Bucket;
use crate::storage::{SenderTag, bucket};

/// The most keys that a script takes.
const MOST: usize = 9;

/// The kinds of a user agent's keys.
pub(super) const RECORD: &str = "r";
pub(super) const INDEX: &str = "i";
pub(super) const BODIES: &str = "q";
pub(super) const OUTBOX: &str = "o";
pub(super) const DUES: &str = "d";
pub(super) const EXPECTED: &str = "e";

/// Of a bucket: user agents whose outbox has something to relay, and when.
pub(super) const OWING: &str = "owing";

/// Of a bucket: receipts that are expected, and when to ask after them.
pub(super) const DEADLINES: &str = "expected";

/// Which keys a script takes about a subject (a user agent, a bucket, …). All of them are in one hash slot.
pub(super) struct KeySet<Of> {
    /// What the script calls them, in their order.
    pub(super) lua: &'static [&'static str],
    /// What Redis calls them.
    pub(super) of: fn(&str, Of) -> Keys,
}

/// The record and the queue: all that a message without a receipt needs.
pub(super) const QUEUE: KeySet<UserAgentId> = KeySet {
    lua: &["MARK", "RECORD", "INDEX", "BODIES"],
    of: Keys::queue,
};

/// The same, and the outbox.
pub(super) const QUEUE_AND_OUTBOX: KeySet<UserAgentId> = KeySet {
    lua: &["MARK", "RECORD", "INDEX", "BODIES", "OUTBOX", "DUES", "OWING"],
    of: Keys::queue_and_outbox,
};

/// All keys of a user agent: also those of the receipts that it expects.
pub(super) const ALL: KeySet<UserAgentId> = KeySet {
    lua: &[
        "MARK",
        "RECORD",
        "INDEX",
        "BODIES",
        "OUTBOX",
        "DUES",
        "OWING",
        "EXPECTED",
        "DEADLINES",
    ],
    of: Keys::all_of_user_agent,
};

/// The receipts that are expected in a bucket.
pub(super) const BUCKET_DEADLINES: KeySet<Bucket> = KeySet {
    lua: &["MARK", "DEADLINES"],
    of: Keys::deadlines,
};

/// The nodes that are alive.
pub(super) const NODES: KeySet<Store> = KeySet {
    lua: &["NODES"],
    of: |prefix, Store| Keys::of_bucket(prefix, own_bucket(), "nodes"),
};

/// The sum of a sender, or of all.
pub(super) const SUM: KeySet<SumOf> = KeySet {
    lua: &["SUM"],
    of: Keys::sum,
};

/// The subject of scripts that are about the store itself.
#[derive(Clone, Copy)]
pub(super) struct Store;

/// Whose waiting bytes a sum counts.
#[derive(Clone, Copy)]
pub(super) enum SumOf {
    All,
    Sender(SenderTag),
}

/// The names of a script's keys, and the bucket that all of them belong to.
pub(super) struct Keys {
    pub(super) bucket: Bucket,
    text: String,
    ends: [usize; MOST],
    count: usize,
}

/// [`Keys`], as a script takes them.
pub(super) struct Names<'a>([&'a [u8]; MOST], usize);

impl<'a> Deref for Names<'a> {
    type Target = [&'a [u8]];

    fn deref(&self) -> &Self::Target {
        &self.0[..self.1]
    }
}

impl Keys {
    pub(super) fn names(&self) -> Names<'_> {
        let (mut names, mut start) = ([&[][..]; MOST], 0);
        for (name, end) in names.iter_mut().zip(&self.ends[..self.count]) {
            *name = &self.text.as_bytes()[start..*end];
            start = *end;
        }
        Names(names, self.count)
    }

    fn queue(prefix: &str, user_agent: UserAgentId) -> Self {
        let mut keys = Self::with_mark(prefix, bucket_of(user_agent), 4 * (prefix.len() + 8 + 34));
        keys.put_own(prefix, user_agent, &[RECORD, INDEX, BODIES]);
        keys
    }

    fn queue_and_outbox(prefix: &str, user_agent: UserAgentId) -> Self {
        let mut keys = Self::with_mark(prefix, bucket_of(user_agent), 7 * (prefix.len() + 8 + 34));
        keys.put_own(prefix, user_agent, &[RECORD, INDEX, BODIES, OUTBOX, DUES]);
        keys.put_of_bucket(prefix, OWING);
        keys
    }

    fn all_of_user_agent(prefix: &str, user_agent: UserAgentId) -> Self {
        let mut keys = Self::queue_and_outbox(prefix, user_agent);
        keys.put_own(prefix, user_agent, &[EXPECTED]);
        keys.put_of_bucket(prefix, DEADLINES);
        keys
    }

    fn deadlines(prefix: &str, bucket: Bucket) -> Self {
        let mut keys = Self::with_mark(prefix, bucket, 2 * (prefix.len() + 16));
        keys.put_of_bucket(prefix, DEADLINES);
        keys
    }

    fn sum(prefix: &str, of: SumOf) -> Self {
        match of {
            SumOf::All => Self::of_bucket(prefix, own_bucket(), "sent:all"),
            SumOf::Sender(sender) => {
                let bits = u64::from_be_bytes(sender.to_bytes());
                let bucket = Bucket::new((bits >> 48) as u16);
                Self::of_bucket(prefix, bucket, &format!("sent:{bits:016x}"))
            }
        }
    }

    fn of_bucket(prefix: &str, bucket: Bucket, name: &str) -> Self {
        let mut keys = Self::empty(bucket, prefix.len() + name.len() + 8);
        keys.put_of_bucket(prefix, name);
        keys
    }

    fn with_mark(prefix: &str, bucket: Bucket, bytes: usize) -> Self {
        let mut keys = Self::empty(bucket, bytes);
        put_mark(&mut keys.text, prefix, bucket);
        keys.end();
        keys
    }

    fn empty(bucket: Bucket, bytes: usize) -> Self {
        Self {
            bucket,
            text: String::with_capacity(bytes),
            ends: [0; MOST],
            count: 0,
        }
    }

    fn put_own(&mut self, prefix: &str, user_agent: UserAgentId, kinds: &[&str]) {
        for kind in kinds {
            put_mark(&mut self.text, prefix, self.bucket);
            let _ = write!(self.text, ":{kind}:{user_agent}");
            self.end();
        }
    }

    fn put_of_bucket(&mut self, prefix: &str, name: &str) {
        put_mark(&mut self.text, prefix, self.bucket);
        self.text.push(':');
        self.text.push_str(name);
        self.end();
    }

    fn end(&mut self) {
        self.ends[self.count] = self.text.len();
        self.count += 1;
    }
}

/// The bucket of a user agent.
pub(super) fn bucket_of(user_agent: UserAgentId) -> Bucket {
    Bucket::new(bucket(user_agent))
}

/// The mark of a bucket.
pub(super) fn mark(prefix: &str, bucket: Bucket) -> String {
    let mut text = String::with_capacity(prefix.len() + 6);
    put_mark(&mut text, prefix, bucket);
    text
}

fn put_mark(text: &mut String, prefix: &str, bucket: Bucket) {
    text.push_str(prefix);
    text.push_str(":{");
    text.extend(bucket.tag().map(char::from));
    text.push('}');
}

/// A key of a user agent.
pub(super) fn of_user_agent(prefix: &str, user_agent: UserAgentId, kind: &str) -> String {
    format!("{}:{kind}:{user_agent}", mark(prefix, bucket_of(user_agent)))
}

/// A key of a bucket.
pub(super) fn of_bucket(prefix: &str, bucket: Bucket, name: &str) -> String {
    format!("{}:{name}", mark(prefix, bucket))
}

/// The keys that have to move to another server together: these, and the orders of a long queue, whose names scripts
/// derive from the record's name.
pub(super) fn moving_along(keys: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
    let text = keys.get(1).and_then(|record| std::str::from_utf8(record).ok());
    if let Some((mark, user_agent)) = text.and_then(|record| record.rsplit_once(":r:")) {
        all.extend(["v", "x"].map(|kind| format!("{mark}:{kind}:{user_agent}").into_bytes()));
    }
    all
}

/// The channel on which a node of this incarnation is told what concerns a bucket's user agents.
pub(super) fn channel(prefix: &str, bucket: Bucket, incarnation: u64) -> String {
    format!("{}:wake:{incarnation:016x}", mark(prefix, bucket))
}

/// The bucket of the keys that are about the store itself.
pub(super) fn own_bucket() -> Bucket {
    Bucket::new(0)
}

/// A key that is about the store itself.
pub(super) fn own(prefix: &str, name: &str) -> String {
    of_bucket(prefix, own_bucket(), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-13: the keys of a user agent and the channel of its wake-ups carry one hash tag. Each key set has a name for each
    /// key.
    #[test]
    fn all_keys_carry_the_tag_of_the_bucket() {
        let user_agent = UserAgentId([0xab; 16]);
        let id = "ab".repeat(16);
        let whole = [
            "push:{2ae}".to_owned(),
            format!("push:{{2ae}}:r:{id}"),
            format!("push:{{2ae}}:i:{id}"),
            format!("push:{{2ae}}:q:{id}"),
            format!("push:{{2ae}}:o:{id}"),
            format!("push:{{2ae}}:d:{id}"),
            "push:{2ae}:owing".to_owned(),
            format!("push:{{2ae}}:e:{id}"),
            "push:{2ae}:expected".to_owned(),
        ];
        for set in [QUEUE, QUEUE_AND_OUTBOX, ALL] {
            let keys = (set.of)("push", user_agent);
            let names = keys.names();
            let names: Vec<_> = names.iter().map(|name| String::from_utf8_lossy(name)).collect();
            assert_eq!(names, whole[..set.lua.len()]);
            assert_eq!(keys.bucket, bucket_of(user_agent));
        }
        assert_eq!(mark("push", bucket_of(user_agent)), whole[0]);
        assert_eq!(of_user_agent("push", user_agent, RECORD), whole[1]);
        assert_eq!(
            channel("push", bucket_of(user_agent), 0x1f),
            "push:{2ae}:wake:000000000000001f"
        );
        let keys = (BUCKET_DEADLINES.of)("push", bucket_of(user_agent));
        assert_eq!(*keys.names(), [whole[0].as_bytes(), whole[8].as_bytes()]);
        let sender = SenderTag::from_bytes([0xff, 0xff, 0, 0, 0, 0, 0, 1]);
        for (of, name) in [
            (SumOf::All, "push:{000}:sent:all"),
            (SumOf::Sender(sender.unwrap()), "push:{3ff}:sent:ffff000000000001"),
        ] {
            assert_eq!(*(SUM.of)("push", of).names(), [name.as_bytes()]);
        }
        assert_eq!(*(NODES.of)("push", Store).names(), [b"push:{000}:nodes"]);
    }
}
