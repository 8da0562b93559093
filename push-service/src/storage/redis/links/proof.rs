//! Proving that a primary still was one after it had said that something is not there (PR-40).
//!
//! A primary that was deposed and does not know it answers "unknown" about a user agent that was created at the new
//! one. If steps wait for replicas, a write that replicas confirm shows that they still follow it. Otherwise others
//! are asked, after the answer came:
//!
//! - Under Sentinel, most of the sentinels (or all that the URL names, if these are fewer) have to name this primary,
//!   see it as up, and reach a majority themselves. None may name another, or be replacing it.
//! - In a cluster, most of the primaries have to say that the cluster is up and that this server owns the bucket.
//!   None with a newer view may name another owner.
//! - One server alone is always the primary: there is no other server to ask.
//!
//! One task asks for all waiting steps, so that many unknown user agents cost no more than one.
//!
//! **Invariant:** others are asked after [`Primaries::prove`] was called.
//!
//! What it deliberately does not know: what was said not to be there, and by which step.

use std::sync::Arc;

use futures_util::future::join_all;
use redis::{Pipeline, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::Primaries;
use super::discovery::{View, enter_sentinel, view_of};
use super::failure::unavailable;
use super::link::{Connector, Link, said};
use super::map::Map;
use super::primary::Primary;
use super::reply::{explained, text};
use crate::defaults::{
    REDIS_ANSWER_WITHIN, REDIS_PAUSE_LONGEST, REDIS_PROOF_WITHIN, REDIS_PROOFS_APART, REDIS_PROOFS_WAITING,
    REDIS_SENTINEL_SILENT_FOR,
};
use crate::storage::StorageError;
use crate::storage::redis::bucket::Bucket;
use crate::storage::redis::url::{Address, Kind, RedisUrl};
use crate::tasks::{PanicAlarm, Task};

/// How a server proves that it may answer "unknown".
pub(super) enum Assurance {
    /// One server alone, and nothing waits for replicas.
    Nothing,
    /// By a write that replicas confirm.
    Replicas,
    /// By the sentinels or cluster members that decide which server is primary.
    Others(Prover),
}

impl Assurance {
    pub(super) fn of(
        url: &RedisUrl,
        wait_replicas: bool,
        map: &Arc<Map>,
        connector: &Arc<Connector>,
    ) -> Self {
        if wait_replicas {
            return Self::Replicas;
        }
        let electors = match &url.kind {
            Kind::Single => return Self::Nothing,
            Kind::Cluster => Electors::Members(Arc::clone(map)),
            Kind::Sentinel { name } => Electors::Sentinels {
                name: name.clone(),
                sentinels: url.servers.iter().cloned().map(Sentinel::new).collect(),
                connector: Arc::clone(connector),
            },
        };
        Self::Others(Prover::start(electors, &connector.alarm))
    }
}

/// The primary that a step is about to ask, if it has to prove its role when it finds nothing.
pub(in crate::storage::redis) struct AskedPrimary(Option<(Bucket, Arc<Primary>)>);

impl Primaries {
    /// Whether "unknown" is confirmed by a write over [`Work::Confirmed`](super::Work::Confirmed).
    pub(in crate::storage::redis) fn is_assured_by_replicas(&self) -> bool {
        matches!(self.assurance, Assurance::Replicas)
    }

    /// Call this before a step, for [`Self::prove`].
    pub(in crate::storage::redis) fn asked_primary(&self, bucket: Bucket) -> AskedPrimary {
        AskedPrimary(match &self.assurance {
            Assurance::Others(_) => self.map.primary(bucket).map(|primary| (bucket, primary)),
            Assurance::Nothing | Assurance::Replicas => None,
        })
    }

    /// Proves that the asked was primary when this was called, so that its earlier answer was true. Resolves at
    /// once if replicas confirm it, or if there is no other server to ask.
    ///
    /// # Errors
    ///
    /// [`StorageError::Unavailable`]: it is not the primary, or this was not confirmed within
    /// [`REDIS_ANSWER_WITHIN`].
    pub(in crate::storage::redis) async fn prove(&self, asked: AskedPrimary) -> Result<(), StorageError> {
        let (Assurance::Others(prover), Some((bucket, primary))) = (&self.assurance, asked.0) else {
            return Ok(());
        };
        // The servers may just be learning of a failover that has ended.
        let deadline = Instant::now() + REDIS_ANSWER_WITHIN;
        loop {
            let pause = Instant::now() + REDIS_PAUSE_LONGEST;
            let why = match timeout_at(deadline, prover.prove(bucket, &primary)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(why)) => why,
                Err(_) => "it was not confirmed in time that this server is still the primary".to_owned(),
            };
            self.map.refresh();
            if pause >= deadline {
                return Err(unavailable(format!(
                    "{} does not have this record, but it is not proven that it is still the primary: {why}",
                    primary.address
                )));
            }
            sleep_until(pause).await;
        }
    }
}

/// Asks for all waiting steps.
pub(super) struct Prover {
    jobs: mpsc::Sender<Job>,
    _task: AbortOnDropHandle<()>,
}

struct Job {
    bucket: Bucket,
    address: Address,
    answer: oneshot::Sender<Result<(), String>>,
}

impl Prover {
    fn start(electors: Electors, alarm: &PanicAlarm) -> Self {
        let (jobs, waiting) = mpsc::channel(REDIS_PROOFS_WAITING);
        Self {
            jobs,
            _task: AbortOnDropHandle::new(tokio::spawn(alarm.watch(Task::RedisProof, electors.run(waiting)))),
        }
    }

    async fn prove(&self, bucket: Bucket, primary: &Primary) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let address = primary.address.clone();
        let ended = || "the store is being closed".to_owned();
        let job = Job {
            bucket,
            address,
            answer,
        };
        self.jobs.send(job).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

/// The servers that decide which one is primary.
enum Electors {
    Sentinels {
        name: String,
        sentinels: Vec<Sentinel>,
        connector: Arc<Connector>,
    },
    Members(Arc<Map>),
}

impl Electors {
    async fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut jobs = Vec::new();
        while waiting.recv_many(&mut jobs, REDIS_PROOFS_WAITING).await > 0 {
            let began = Instant::now();
            jobs.retain(|job: &Job| !job.answer.is_closed());
            match &mut self {
                Self::Sentinels {
                    name,
                    sentinels,
                    connector,
                } => {
                    let reports = ask_sentinels(name, sentinels, connector).await;
                    for job in jobs.drain(..) {
                        let _ = job.answer.send(named_by(&reports, &job.address));
                    }
                }
                Self::Members(map) => {
                    let (members, views) = ask_members(map).await;
                    for job in jobs.drain(..) {
                        let _ = job
                            .answer
                            .send(owned_by(members, &views, job.bucket, &job.address));
                    }
                }
            }
            sleep_until(began + REDIS_PROOFS_APART).await;
        }
    }
}

/// One sentinel of the URL.
struct Sentinel {
    address: Address,
    link: Option<Link>,
    /// It did not answer: it is not asked again before then.
    silent_until: Option<Instant>,
}

impl Sentinel {
    fn new(address: Address) -> Self {
        Self {
            address,
            link: None,
            silent_until: None,
        }
    }

    async fn ask(&mut self, name: &str, connector: &Connector) -> Result<SentinelReport, String> {
        let now = Instant::now();
        if self.silent_until.is_some_and(|until| now < until) {
            return Err(format!("{} does not answer", self.address));
        }
        let asked = timeout(REDIS_PROOF_WITHIN, self.ask_it(name, connector)).await;
        let asked = asked.unwrap_or_else(|_| Err(format!("{} does not answer", self.address)));
        self.silent_until = match &asked {
            Ok(_) => None,
            Err(_) => {
                self.link = None;
                Some(now + REDIS_SENTINEL_SILENT_FOR)
            }
        };
        asked
    }

    async fn ask_it(&mut self, name: &str, connector: &Connector) -> Result<SentinelReport, String> {
        let link = match self.link.take().filter(|link| !link.is_lost()) {
            Some(link) => link,
            None => enter_sentinel(&self.address, connector).await?,
        };
        let link = self.link.insert(link);
        let mut questions = Pipeline::with_capacity(3);
        for question in ["MASTER", "CKQUORUM", "GET-MASTER-ADDR-BY-NAME"] {
            questions.cmd("SENTINEL").arg(question).arg(name);
        }
        let answers = link.connection().send_packed_commands(&questions, 0, 3).await;
        let answers = answers.map_err(|error| format!("{}: {}", self.address, said(&error)))?;
        let [about, quorum, named] = answers.as_slice() else {
            return Err(format!("{}: an answer is missing", self.address));
        };
        if let Value::ServerError(error) = about {
            return Err(format!("{}: {}", self.address, explained(error)));
        }
        let report = SentinelReport::read(about, quorum, named);
        report.ok_or_else(|| format!("{}: the answer to SENTINEL MASTER cannot be read", self.address))
    }
}

/// The flags of a primary that a sentinel sees as up.
const GOOD: &str = "master";

/// What a sentinel reports about the primary.
#[derive(Clone, PartialEq, Eq, Debug)]
struct SentinelReport {
    names: Address,
    /// The primary's flags: `master`, followed by what is wrong.
    flags: String,
    /// How many sentinels there are, this one included.
    sentinels: usize,
    /// Whether it reaches enough of them to promote another.
    has_quorum: bool,
}

impl SentinelReport {
    fn read(about: &Value, quorum: &Value, named: &Value) -> Option<Self> {
        let get = |name: &str| match about {
            Value::Map(pairs) => {
                let found = pairs.iter().find(|(key, _)| text(key) == Some(name));
                found.and_then(|(_, value)| text(value))
            }
            Value::Array(parts) => {
                let (pairs, _) = parts.as_chunks();
                let found = pairs.iter().find(|[key, _]| text(key) == Some(name));
                found.and_then(|[_, value]| text(value))
            }
            _ => None,
        };
        let address = |host: &str, port: &str| {
            Some(Address {
                host: host.to_owned(),
                port: port.parse().ok()?,
            })
        };
        let watched = address(get("ip")?, get("port")?)?;
        let Value::Array(named) = named else { return None };
        let [host, port] = named.as_slice() else {
            return None;
        };
        let names = address(text(host)?, text(port)?)?;
        // It has promoted another server, and tells the replicas: it still shows the old primary.
        let has_promoted = names != watched;
        Some(Self {
            names,
            flags: if has_promoted { GOOD } else { get("flags")? }.to_owned(),
            sentinels: get("num-other-sentinels")?.parse::<usize>().ok()? + 1,
            has_quorum: !matches!(quorum, Value::ServerError(_)),
        })
    }

    /// It sees the primary as up, and would know if it had been replaced.
    fn is_good(&self) -> bool {
        self.flags == GOOD && self.has_quorum
    }

    /// The primary is being replaced, or will be.
    fn is_replacing(&self) -> bool {
        let flags = self.flags.split(',');
        flags
            .into_iter()
            .any(|flag| matches!(flag, "o_down" | "failover_in_progress"))
    }
}

async fn ask_sentinels(
    name: &str,
    sentinels: &mut [Sentinel],
    connector: &Connector,
) -> Vec<Result<SentinelReport, String>> {
    join_all(sentinels.iter_mut().map(|sentinel| sentinel.ask(name, connector))).await
}

/// Whether these answers of sentinels prove that the server is the primary; `Err`: the rest of a sentence.
fn named_by(reports: &[Result<SentinelReport, String>], address: &Address) -> Result<(), String> {
    let said = || reports.iter().flatten();
    if let Some(report) = said().find(|report| report.names != *address) {
        return Err(format!("a sentinel says that {} is the primary", report.names));
    }
    if said().any(SentinelReport::is_replacing) {
        return Err("a sentinel says that the primary is being replaced".to_owned());
    }
    let all = said().map(|report| report.sentinels).max().unwrap_or(0);
    let needed = (all / 2 + 1).min(reports.len());
    let good = said().filter(|report| report.is_good()).count();
    if good >= needed {
        return Ok(());
    }
    let silent: Vec<_> = reports
        .iter()
        .filter_map(|report| report.as_ref().err())
        .map(|why| &**why)
        .collect();
    Err(format!(
        "only {good} of {needed} needed sentinels confirm that it is the primary {}",
        silent.join("; ")
    ))
}

/// How many primaries there are, and the views of those that answer.
async fn ask_members(map: &Map) -> (usize, Vec<View>) {
    let primaries = map.now().primaries;
    let views = primaries.iter().map(|primary| async move {
        let asked = timeout(REDIS_PROOF_WITHIN, view_of(primary)).await;
        asked.ok().and_then(Result::ok)
    });
    let views = join_all(views).await;
    (primaries.len(), views.into_iter().flatten().collect())
}

/// Whether these views of cluster members prove that the server owns the bucket; `Err`: the rest of a sentence.
fn owned_by(members: usize, views: &[View], bucket: Bucket, address: &Address) -> Result<(), String> {
    let owns = |view: &&View| view.owner(bucket.slot()) == Some(address);
    let well = || views.iter().filter(|view| view.healthy);
    let newest = well().filter(owns).map(|view| view.epoch).max().unwrap_or(0);
    if well().any(|view| view.epoch > newest && !owns(&view)) {
        return Err("a member of the cluster says that another server has this slot".to_owned());
    }
    let (good, needed) = (well().filter(owns).count(), members / 2 + 1);
    if good >= needed {
        return Ok(());
    }
    Err(format!(
        "only {good} of {needed} needed members of the cluster confirm that this server has the slot"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(port: u16) -> Address {
        Address {
            host: "10.0.0.1".to_owned(),
            port,
        }
    }

    fn report(port: u16, flags: &str, has_quorum: bool) -> Result<SentinelReport, String> {
        Ok(SentinelReport {
            names: server(port),
            flags: flags.to_owned(),
            sentinels: 3,
            has_quorum,
        })
    }

    /// PR-40: most of the sentinels have to name the primary, see it as up and reach each other, and none may
    /// contradict.
    #[test]
    fn sentinels_prove_a_primary_together() {
        let silent = || Err("silent".to_owned());
        let good = || report(1, "master", true);
        let rows = [
            (vec![good(), good(), good()], true),
            (vec![good(), good(), silent()], true),
            (vec![good(), silent(), silent()], false),
            (vec![good()], true),
            (vec![silent()], false),
            (vec![report(1, "master", false)], false),
            (vec![good(), good(), report(2, "master", true)], false),
            (vec![good(), good(), report(1, "master,s_down", true)], true),
            (vec![good(), report(1, "master,s_down", true), silent()], false),
            (
                vec![good(), good(), report(1, "master,s_down,o_down", true)],
                false,
            ),
            (
                vec![good(), good(), report(1, "master,failover_in_progress", true)],
                false,
            ),
        ];
        for (reports, proved) in rows {
            assert_eq!(named_by(&reports, &server(1)).is_ok(), proved, "{reports:?}");
        }
    }

    /// PR-40: most of a cluster's primaries have to name the bucket's owner, and none with a newer view may name
    /// another.
    #[test]
    fn members_prove_a_primary_together() {
        let view = |healthy, epoch, port| View {
            healthy,
            epoch,
            ranges: vec![(0, 16_383, server(port))],
        };
        let rows = [
            (vec![view(true, 1, 1), view(true, 1, 1), view(true, 1, 1)], true),
            (vec![view(true, 1, 1), view(true, 1, 1)], true),
            (vec![view(true, 1, 1)], false),
            (vec![view(true, 1, 1), view(false, 1, 1)], false),
            (vec![view(true, 1, 1), view(true, 1, 1), view(true, 2, 2)], false),
            (vec![view(true, 2, 1), view(true, 2, 1), view(true, 1, 2)], true),
        ];
        for (views, proved) in rows {
            let owned = owned_by(3, &views, Bucket::new(7), &server(1));
            assert_eq!(owned.is_ok(), proved, "{owned:?}");
        }
    }
}
