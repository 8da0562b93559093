//! What works in a server but is less safe than it may look, and the rights that this service's user lacks there (PR-41).
//!
//! A server is asked at the start, when it becomes primary, and again every [`REDIS_INSPECT_EVERY`], because an operator
//! may change it while it runs. Rights are asked for with `ACL DRYRUN`, which runs nothing and leaves no entry in `ACL LOG`.

use redis::{Pipeline, Value};
use tokio::time::Instant;

use super::Options;
use super::failure::Failure;
use super::primary::{Primary, Work};
use super::reply::{field, text};
use crate::defaults::{REDIS_ANSWER_WITHIN, REDIS_INSPECT_EVERY};
use crate::storage::redis::bucket::Bucket;
use crate::storage::redis::replicas::WaitReplicas;
use crate::storage::redis::url::{Kind, RedisUrl};

/// Redis's user for connections that name no user.
pub(super) const DEFAULT_USER: &str = "default";

/// Asks servers, for this service's user and keys.
pub(super) struct Inspector {
    user: String,
    prefix: String,
    rights: Vec<&'static Right>,
}

/// What was found at a primary.
pub(super) struct Inspected {
    /// Which primary it was.
    pub(super) id: u64,
    pub(super) at: Instant,
    /// A sentence for each finding.
    pub(super) warnings: Vec<String>,
}

impl Inspected {
    /// Whether this says nothing any more about a primary.
    pub(super) fn is_stale_for(&self, primary: &Primary) -> bool {
        self.id != primary.id || self.at.elapsed() >= REDIS_INSPECT_EVERY
    }
}

impl Inspector {
    pub(super) fn new(url: &RedisUrl, options: &Options) -> Self {
        let waits_for_replicas = options.wait_replicas.is_any() && !options.wait_aof;
        let looks_for_replicas = matches!(options.wait_replicas, WaitReplicas::All { .. });
        let is_needed = |right: &&Right| match right.when {
            When::Always => true,
            When::InDatabase => url.database != 0,
            When::InCluster => url.kind == Kind::Cluster,
            When::Role => looks_for_replicas || matches!(url.kind, Kind::Sentinel { .. }),
            When::Wait => waits_for_replicas,
            When::WaitAof => options.wait_aof,
        };
        Self {
            user: url.user.clone().unwrap_or_else(|| DEFAULT_USER.to_owned()),
            prefix: options.prefix.clone(),
            rights: RIGHTS.iter().filter(is_needed).collect(),
        }
    }

    /// Asks a primary, by a key of a bucket that it has.
    pub(super) async fn inspect(&self, primary: &Primary, bucket: Bucket) -> Result<Inspected, Failure> {
        let mut questions = Pipeline::with_capacity(3);
        questions.cmd("INFO").arg("memory");
        questions.cmd("INFO").arg("persistence");
        self.dry_run(&mut questions, READ_SETTINGS, bucket);
        let answers = ask(primary, &questions).await?;
        let info: String = answers.iter().filter_map(text).collect();
        let may_read_settings = answers.last().map_or(Granted::Unknown, granted);

        let mut questions = Pipeline::with_capacity(self.rights.len() + 1);
        for right in &self.rights {
            self.dry_run(&mut questions, right.command, bucket);
        }
        let has_file = field(&info, "aof_enabled") == Some("1");
        let asks_for_snapshots = !has_file && !matches!(may_read_settings, Granted::No(_));
        if asks_for_snapshots {
            questions.cmd("CONFIG").arg("GET").arg("save");
        }
        let answers = ask(primary, &questions).await?;
        let (rights, settings) = answers.split_at(self.rights.len().min(answers.len()));

        let disk = match has_file {
            true => Disk::File,
            false => settings
                .first()
                .and_then(snapshots)
                .map_or(Disk::Unknown, |saves| match saves {
                    true => Disk::Snapshots,
                    false => Disk::Nothing,
                }),
        };
        let mut warnings: Vec<_> = of_settings(&info, &disk).collect();
        warnings.extend(match may_read_settings {
            Granted::Unknown => Some(format!(
                "cannot check the rights of this service's user: run `ACL SETUSER {} +acl|dryrun` there",
                self.user
            )),
            _ => self.of_rights(rights),
        });
        let address = &primary.address;
        Ok(Inspected {
            id: primary.id,
            at: Instant::now(),
            warnings: warnings
                .into_iter()
                .map(|warning| format!("Redis {address}: {warning}"))
                .collect(),
        })
    }

    fn dry_run(&self, questions: &mut Pipeline, command: &[&str], bucket: Bucket) {
        let dry_run = questions.cmd("ACL").arg("DRYRUN").arg(&self.user);
        for word in command {
            match *word {
                KEY => dry_run.arg([self.prefix.as_bytes(), b":{", bucket.tag().as_slice(), b"}"].concat()),
                CHANNEL => dry_run.arg(
                    [
                        self.prefix.as_bytes(),
                        b":{",
                        bucket.tag().as_slice(),
                        b"}:wake:0",
                    ]
                    .concat(),
                ),
                word => dry_run.arg(word),
            };
        }
    }

    /// What the user lacks, by the answers to the dry runs.
    fn of_rights(&self, answers: &[Value]) -> Option<String> {
        let mut lacking: Vec<String> = Vec::new();
        for (right, answer) in self.rights.iter().zip(answers) {
            let rule = match granted(answer) {
                Granted::Yes | Granted::Unknown => continue,
                Granted::No(Missing::Command) => right.rule.to_owned(),
                Granted::No(Missing::Keys) => format!("~{}:*", self.prefix),
                Granted::No(Missing::Channels) => format!("&{}:*", self.prefix),
            };
            if !lacking.contains(&rule) {
                lacking.push(rule);
            }
        }
        (!lacking.is_empty()).then(|| {
            format!(
                "the user `{user}` lacks rights, and what needs them fails: run `ACL SETUSER {user} {}` there",
                lacking.join(" "),
                user = self.user,
            )
        })
    }
}

async fn ask(primary: &Primary, questions: &Pipeline) -> Result<Vec<Value>, Failure> {
    primary
        .send_all(Work::Step, questions, Instant::now() + REDIS_ANSWER_WITHIN)
        .await
}

/// What an answer to `ACL DRYRUN` says.
enum Granted {
    Yes,
    No(Missing),
    /// The server does not tell, or does not know the command.
    Unknown,
}

/// Why a dry run was denied.
enum Missing {
    Command,
    Keys,
    Channels,
}

fn granted(answer: &Value) -> Granted {
    match answer {
        Value::Okay => Granted::Yes,
        answer => match text(answer).map(str::trim_end) {
            Some("OK") => Granted::Yes,
            // "… has no permissions to access the 'push:{000}' key".
            Some(why) if why.ends_with("key") => Granted::No(Missing::Keys),
            Some(why) if why.ends_with("channel") => Granted::No(Missing::Channels),
            Some(_) => Granted::No(Missing::Command),
            None => Granted::Unknown,
        },
    }
}

/// What a server keeps on its disk.
enum Disk {
    File,
    Snapshots,
    Nothing,
    /// No file; whether snapshots may not be asked.
    Unknown,
}

/// Whether an answer to `CONFIG GET save` names times for snapshots.
fn snapshots(answer: &Value) -> Option<bool> {
    let value = match answer {
        Value::Map(pairs) => pairs.first().map(|(_, value)| value),
        Value::Array(values) => values.get(1),
        _ => None,
    };
    value.and_then(text).map(|save| !save.trim().is_empty())
}

/// What the settings and the state of a server's disk are worth.
fn of_settings<'a>(info: &'a str, disk: &'a Disk) -> impl Iterator<Item = String> + 'a {
    let persistence = match disk {
        Disk::File => None,
        Disk::Nothing => Some(
            "it keeps nothing on disk (`appendonly no` and no `save`): when it restarts, all subscriptions and \
             messages are lost. Set `appendonly yes`",
        ),
        Disk::Snapshots => Some(
            "it keeps only snapshots on disk (`appendonly no`): when it crashes, all that was stored since the last \
             one is lost. Set `appendonly yes`",
        ),
        Disk::Unknown => Some(
            "it has no append-only file (`appendonly no`), so what is stored is lost when it crashes, all of it if it \
             saves no snapshots either. Set `appendonly yes`",
        ),
    };
    let failed = |name| field(info, name) == Some("err");
    let written = match disk {
        Disk::File => failed("aof_last_write_status").then_some("it cannot write its append-only file"),
        Disk::Snapshots | Disk::Unknown => {
            failed("rdb_last_bgsave_status").then_some("it could not save its last snapshot")
        }
        Disk::Nothing => None,
    };
    let written = written.map(|what| format!("{what}: look at its log and its disk"));
    let policy = field(info, "maxmemory_policy").filter(|policy| *policy != "noeviction");
    let policy = policy.map(|policy| {
        format!(
            "it has `maxmemory-policy {policy}`, which drops messages when memory is full: set `maxmemory-policy \
             noeviction`"
        )
    });
    persistence
        .map(str::to_owned)
        .into_iter()
        .chain(written)
        .chain(policy)
}

/// A command that the service sends, or that its scripts call.
struct Right {
    /// The rule that grants it.
    rule: &'static str,
    /// With arguments as they may be.
    command: &'static [&'static str],
    when: When,
}

/// When the service needs a right.
#[derive(Clone, Copy)]
enum When {
    Always,
    InDatabase,
    InCluster,
    /// Under sentinels, or waiting for all replicas.
    Role,
    Wait,
    WaitAof,
}

/// In a command: a key, and a channel, of this service.
const KEY: &str = "KEY";
const CHANNEL: &str = "CHANNEL";

/// Says whether snapshots are saved; for a warning only.
const READ_SETTINGS: &[&str] = &["CONFIG", "GET", "save"];

const fn right(rule: &'static str, command: &'static [&'static str], when: When) -> Right {
    Right { rule, command, when }
}

/// The rights that `docs/redis.md` lists. Not those that a connection needs to be made at all, and not those for a slot that
/// stays half moved.
const RIGHTS: &[Right] = &[
    right("+ping", &["PING"], When::Always),
    right("+info", &["INFO"], When::Always),
    right("+time", &["TIME"], When::Always),
    right("+exists", &["EXISTS", KEY], When::Always),
    right("+get", &["GET", KEY], When::Always),
    right("+set", &["SET", KEY, "1"], When::Always),
    right("+append", &["APPEND", KEY, ""], When::Always),
    right("+scan", &["SCAN", "0"], When::Always),
    right("+hget", &["HGET", KEY, "field"], When::Always),
    right("+hmget", &["HMGET", KEY, "field"], When::Always),
    right("+hset", &["HSET", KEY, "field", "value"], When::Always),
    right("+hincrby", &["HINCRBY", KEY, "field", "1"], When::Always),
    right("+hdel", &["HDEL", KEY, "field"], When::Always),
    right("+hlen", &["HLEN", KEY], When::Always),
    right("+hexists", &["HEXISTS", KEY, "field"], When::Always),
    right("+hgetall", &["HGETALL", KEY], When::Always),
    right("+zadd", &["ZADD", KEY, "1", "member"], When::Always),
    right("+zrem", &["ZREM", KEY, "member"], When::Always),
    right("+zrange", &["ZRANGE", KEY, "0", "-1"], When::Always),
    right(
        "+zrangebyscore",
        &["ZRANGEBYSCORE", KEY, "-inf", "+inf"],
        When::Always,
    ),
    right(
        "+zremrangebyscore",
        &["ZREMRANGEBYSCORE", KEY, "-inf", "0"],
        When::Always,
    ),
    right("+pexpire", &["PEXPIRE", KEY, "1"], When::Always),
    right("+pttl", &["PTTL", KEY], When::Always),
    right("+unlink", &["UNLINK", KEY], When::Always),
    right("+eval", &["EVAL", "return 1", "1", KEY], When::Always),
    right("+evalsha", &["EVALSHA", "0", "1", KEY], When::Always),
    right("+spublish", &["SPUBLISH", CHANNEL, ""], When::Always),
    right("+ssubscribe", &["SSUBSCRIBE", CHANNEL], When::Always),
    right("+select", &["SELECT", "1"], When::InDatabase),
    right("+cluster|slots", &["CLUSTER", "SLOTS"], When::InCluster),
    right("+cluster|info", &["CLUSTER", "INFO"], When::InCluster),
    right("+asking", &["ASKING"], When::InCluster),
    right("+role", &["ROLE"], When::Role),
    right("+wait", &["WAIT", "0", "1"], When::Wait),
    right("+waitaof", &["WAITAOF", "0", "0", "1"], When::WaitAof),
];

/// The rules of all rights in the list.
#[cfg(test)]
pub(super) fn rules() -> impl Iterator<Item = &'static str> {
    RIGHTS.iter().map(|right| right.rule)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What a server says of its disk and its memory decides, a sentence for each finding.
    #[test]
    fn settings_that_lose_messages_are_warned_of() {
        let info = |policy: &str, file: &str, snapshot: &str| {
            format!(
                "maxmemory_policy:{policy}\r\naof_last_write_status:{file}\r\nrdb_last_bgsave_status:{snapshot}\r\n"
            )
        };
        let good = info("noeviction", "ok", "ok");
        let rows: [(&str, Disk, &[&str]); 8] = [
            (&good, Disk::File, &[]),
            (&good, Disk::Nothing, &["keeps nothing on disk"]),
            (&good, Disk::Snapshots, &["keeps only snapshots"]),
            (&good, Disk::Unknown, &["has no append-only file"]),
            (
                &info("noeviction", "err", "err"),
                Disk::File,
                &["cannot write its append-only file"],
            ),
            (
                &info("noeviction", "err", "err"),
                Disk::Snapshots,
                &["keeps only", "could not save its last"],
            ),
            (
                &info("noeviction", "err", "err"),
                Disk::Nothing,
                &["keeps nothing"],
            ),
            (
                &info("allkeys-lru", "ok", "ok"),
                Disk::File,
                &["`maxmemory-policy allkeys-lru`, which drops"],
            ),
        ];
        for (info, disk, expected) in rows {
            let warnings: Vec<_> = of_settings(info, &disk).collect();
            assert_eq!(warnings.len(), expected.len(), "{info}: {warnings:?}");
            for (warning, expected) in warnings.iter().zip(expected) {
                assert!(warning.contains(expected), "{info}: {warning}");
            }
        }
    }

    /// The documentation lists the rights that are asked for, and no others but those of a connection and of this question.
    #[test]
    fn the_documented_rights_are_asked_for() {
        const PAGE: &str = include_str!("../../../../../docs/redis.md");
        let (_, section) = PAGE.split_once("## Rights").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let documented: BTreeSet<_> = section
            .split(|c: char| c.is_whitespace() || "`;,".contains(c))
            .filter(|word| word.starts_with('+') && *word != "+@all")
            .collect();
        let of_a_connection = ["+hello", "+auth", "+acl|dryrun", "+config|get"];
        let of_a_half_moved_slot = ["+migrate", "+restore-asking"];
        let expected: BTreeSet<_> = rules()
            .chain(of_a_connection)
            .chain(of_a_half_moved_slot)
            .collect();
        assert_eq!(documented, expected);
    }
}
