//! Finds the primaries: asks sentinels or the members of a cluster. A single server is the primary without a question.
//!
//! What it deliberately does not know: when to ask, and who connects to the servers that it finds.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use tokio::time::{Instant, timeout};

use super::link::{Connector, Link, said};
use super::primary::{Primary, Work};
use super::reply::{explained, field, text};
use super::table::{Owners, Table};
use crate::defaults::{REDIS_ANSWER_WITHIN, REDIS_CONNECT_WITHIN};
use crate::storage::redis::url::{Address, Kind, RedisUrl};

/// How the primaries of one store are found.
pub(super) struct Discovery {
    kind: Kind,
    /// Those that the URL names; of sentinels, the one that answered last stands first.
    servers: Vec<Address>,
    /// The connection to that sentinel.
    sentinel: Option<Link>,
    /// Which member of a cluster to ask first: another one each time, so that no view is the only one.
    turn: usize,
    /// The highest epoch that a cluster has told of.
    epoch: u64,
}

/// How long a server that we don't use yet may take to tell. Chosen as for a connection: another may know.
const TOLD_WITHIN: Duration = REDIS_CONNECT_WITHIN;

impl Discovery {
    /// For the store of that URL.
    pub(super) fn new(url: &RedisUrl) -> Self {
        Self {
            kind: url.kind.clone(),
            servers: url.servers.clone(),
            sentinel: None,
            turn: 0,
            epoch: 0,
        }
    }

    /// Looks who is primary now.
    ///
    /// # Errors
    ///
    /// A sentence if no server tells.
    pub(super) async fn look(&mut self, known: &Table, connector: &Arc<Connector>) -> Result<Owners, String> {
        match self.kind.clone() {
            // Its name may lead to another server now: a new connection goes there.
            Kind::Single => self
                .servers
                .first()
                .cloned()
                .map(Owners::One)
                .ok_or_else(|| "no server".to_owned()),
            Kind::Sentinel { name } => self.ask_sentinels(&name, known, connector).await,
            Kind::Cluster => self.ask_cluster(known, connector).await,
        }
    }

    /// Asks one sentinel after the other, and the server that it names whether that is so: a sentinel may be behind.
    async fn ask_sentinels(
        &mut self,
        name: &str,
        known: &Table,
        connector: &Arc<Connector>,
    ) -> Result<Owners, String> {
        let mut troubles = Vec::new();
        for turn in 0..self.servers.len() {
            let answer = match self.ask_sentinel(turn, name, connector).await {
                Ok(address) => is_primary(&address, known, connector).await.map(|()| address),
                Err(why) => Err(why),
            };
            match answer {
                Ok(address) => {
                    self.servers.swap(0, turn);
                    return Ok(Owners::One(address));
                }
                Err(why) => {
                    self.sentinel = None;
                    troubles.push(why);
                }
            }
        }
        Err(format!("no sentinel names a primary: {}", troubles.join("; ")))
    }

    async fn ask_sentinel(
        &mut self,
        turn: usize,
        name: &str,
        connector: &Arc<Connector>,
    ) -> Result<Address, String> {
        let server = &self.servers[turn];
        let mut link = match self.sentinel.take().filter(|link| turn == 0 && !link.is_lost()) {
            Some(link) => link,
            None => enter_sentinel(server, connector).await?,
        };
        let mut cmd = Cmd::new();
        cmd.arg("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        let asked = timeout(TOLD_WITHIN, link.connection().send_packed_command(&cmd)).await;
        let answer = match asked {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(format!("{server}: {}", said(&error))),
            Err(_) => return Err(format!("{server} does not answer")),
        };
        let address = match &answer {
            Value::Array(parts) => match parts.as_slice() {
                [host, port] => text(host).zip(text(port).and_then(|port| port.parse().ok())),
                _ => None,
            },
            Value::ServerError(error) => return Err(format!("{server}: {}", explained(error))),
            _ => None,
        };
        let (host, port) =
            address.ok_or_else(|| format!("{server} watches no primary of the name in storage.url"))?;
        self.sentinel = Some(link);
        Ok(Address {
            host: host.to_owned(),
            port,
        })
    }

    /// Asks members in turn for their view. A member that was cut off from the others still tells its own: it is believed
    /// only if no member has a newer one.
    async fn ask_cluster(&mut self, known: &Table, connector: &Arc<Connector>) -> Result<Owners, String> {
        self.turn = self.turn.wrapping_add(1);
        let mut best: Option<View> = None;
        let mut troubles = Vec::new();
        for member in self.members(known) {
            match ask_member(&member, connector).await {
                Ok(view) if view.healthy && view.epoch >= self.epoch => {
                    self.epoch = view.epoch;
                    return Ok(Owners::Ranges(view.ranges));
                }
                Ok(view) => {
                    let newer = |best: &View| (view.healthy, view.epoch) > (best.healthy, best.epoch);
                    if best.as_ref().is_none_or(newer) {
                        best = Some(view);
                    }
                }
                Err(why) => troubles.push(why),
            }
        }
        match best {
            Some(view) => {
                self.epoch = view.epoch;
                Ok(Owners::Ranges(view.ranges))
            }
            None => Err(format!(
                "no member of the cluster answers: {}",
                troubles.join("; ")
            )),
        }
    }

    /// Whom to ask, in order: primaries that are connected already, from another one each time, then those of the URL.
    fn members(&self, known: &Table) -> Vec<Member> {
        let mut members: Vec<_> = known
            .primaries
            .iter()
            .map(|one| Member::Known(Arc::clone(one)))
            .collect();
        if !members.is_empty() {
            let first = self.turn % members.len();
            members.rotate_left(first);
            members.sort_by_key(|member| matches!(member, Member::Known(one) if !one.circuit.is_answering()));
        }
        let is_known = |address: &&Address| known.primaries.iter().any(|one| one.address == **address);
        let others = self.servers.iter().filter(|address| !is_known(address));
        members.extend(others.map(|address| Member::Named(address.clone())));
        members
    }
}

enum Member {
    Known(Arc<Primary>),
    Named(Address),
}

/// What one member of a cluster says of it.
pub(super) struct View {
    pub(super) healthy: bool,
    pub(super) epoch: u64,
    /// First and last slot, and their owner.
    pub(super) ranges: Vec<(u16, u16, Address)>,
}

impl View {
    /// The owner of a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<&Address> {
        let has = |range: &&(u16, u16, Address)| (range.0..=range.1).contains(&slot);
        self.ranges.iter().find(has).map(|(_, _, address)| address)
    }
}

/// What a primary of a cluster reports about it.
pub(super) async fn view_of(primary: &Arc<Primary>) -> Result<View, String> {
    let connector = Arc::clone(&primary.connector);
    ask_member(&Member::Known(Arc::clone(primary)), &connector).await
}

async fn ask_member(member: &Member, connector: &Arc<Connector>) -> Result<View, String> {
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("SLOTS");
    let (address, answers) = match member {
        Member::Known(primary) => {
            let answers = primary
                .send_all(Work::Step, &pipeline, Instant::now() + REDIS_ANSWER_WITHIN)
                .await;
            (&primary.address, answers.map_err(|failure| failure.explained())?)
        }
        Member::Named(address) => {
            let mut link = Link::open(connector, address).await?;
            let asked = link.connection().send_packed_commands(&pipeline, 0, 2);
            let answers = match timeout(TOLD_WITHIN, asked).await {
                Ok(Ok(answers)) => answers,
                Ok(Err(error)) => return Err(format!("{address}: {}", said(&error))),
                Err(_) => return Err(format!("{address} does not answer")),
            };
            (address, answers)
        }
    };
    let mut answers = answers.into_iter();
    let (Some(info), Some(slots)) = (answers.next(), answers.next()) else {
        return Err(format!("{address}: an answer is missing"));
    };
    if let Value::ServerError(error) = &info {
        return Err(format!("{address}: {}", explained(error)));
    }
    let info = text(&info).ok_or_else(|| format!("{address}: the answer to CLUSTER INFO cannot be read"))?;
    Ok(View {
        healthy: field(info, "cluster_state") == Some("ok"),
        epoch: field(info, "cluster_current_epoch")
            .and_then(|epoch| epoch.parse().ok())
            .unwrap_or(0),
        ranges: ranges_of(&slots, address)
            .ok_or_else(|| format!("{address}: the answer to CLUSTER SLOTS cannot be read"))?,
    })
}

/// The table of `CLUSTER SLOTS`. A host that is left out is the one that was asked.
fn ranges_of(slots: &Value, asked: &Address) -> Option<Vec<(u16, u16, Address)>> {
    let Value::Array(rows) = slots else { return None };
    let number = |value: &Value| match value {
        Value::Int(number) => u16::try_from(*number).ok(),
        _ => None,
    };
    let row = |row: &Value| {
        let Value::Array(cells) = row else { return None };
        let [first, last, primary, ..] = cells.as_slice() else {
            return None;
        };
        let Value::Array(primary) = primary else {
            return None;
        };
        let host = match text(primary.first()?) {
            None | Some("" | "?") => &asked.host,
            Some(host) => host,
        };
        let address = Address {
            host: host.to_owned(),
            port: number(primary.get(1)?)?,
        };
        Some((number(first)?, number(last)?, address))
    };
    rows.iter().map(row).collect()
}

/// Connects to a sentinel: with our password if it takes it, else without, because sentinels often have none.
pub(super) async fn enter_sentinel(server: &Address, connector: &Connector) -> Result<Link, String> {
    let with = Link::open(&connector.of_sentinel(true), server).await;
    match with {
        Err(_) if connector.has_password() => Link::open(&connector.of_sentinel(false), server).await,
        with => with,
    }
}

/// Asks a server whether it is a primary.
async fn is_primary(address: &Address, known: &Table, connector: &Arc<Connector>) -> Result<(), String> {
    let primary = known
        .primaries
        .iter()
        .find(|one| one.address == *address && !one.is_deposed());
    let primary = primary.map_or_else(
        || Primary::new(address.clone(), Arc::clone(connector), None),
        Arc::clone,
    );
    let mut cmd = Cmd::new();
    cmd.arg("ROLE");
    match primary
        .send(Work::Step, cmd, false, Instant::now() + REDIS_ANSWER_WITHIN)
        .await
    {
        Ok(Value::Array(role)) if role.first().and_then(text) == Some("master") => Ok(()),
        Ok(_) => {
            primary.depose();
            Err(format!("{address} is not a primary"))
        }
        Err(failure) => Err(failure.explained()),
    }
}
