//! A primary with replicas, and three sentinels that watch it and promote a replica when it dies.
//!
//! Like a cluster, it is handed out when all sentinels know each other and every replica, and a failover is over when all
//! of them name the same new primary.
//!
//! Servers are numbered: the primary of the start is 0, its replicas follow. Sentinels have numbers of their own.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::configuration::Configuration;
use super::connection::Reply;
use super::server::Server;
use super::{FailOver, until};

/// What the sentinels call the primary.
pub const NAME: &str = "push";

/// Sentinels; two of them have to agree that the primary is dead, and on who promotes.
const SENTINELS: usize = 3;
const QUORUM: usize = 2;

/// How often sentinels say hello and look at the servers, in milliseconds. Theirs are two and ten seconds, which tests
/// would wait out.
const PERIODS: [&str; 4] = ["publish-period", "200", "info-period", "500"];

/// A primary, its replicas, and who watches them.
#[derive(Debug)]
pub struct Sentinels {
    servers: Vec<Server>,
    sentinels: Vec<Server>,
}

impl Sentinels {
    /// Starts a primary, so many replicas (one at least), and three sentinels; in memory only.
    pub async fn start(replicas: usize) -> Self {
        Self::start_with(replicas, &Configuration::new()).await
    }

    /// The same with servers that are configured like this. The sentinels want no password.
    ///
    /// # Panics
    ///
    /// When they don't find each other.
    pub async fn start_with(replicas: usize, configuration: &Configuration) -> Self {
        assert!(replicas > 0, "there has to be a replica to promote");
        let primary = Server::start(configuration.clone()).await;
        let mut servers = vec![primary];
        for _ in 0..replicas {
            let replica = configuration.clone().replica_of(&servers[0]);
            servers.push(Server::start(replica).await);
        }
        // Sentinels learn of the replicas from the primary, at once of those that it has by then.
        servers[0].wait_for_replicas(replicas).await;
        let watching = Configuration::sentinel(NAME, &servers[0], QUORUM);
        let mut sentinels = Vec::new();
        for _ in 0..SENTINELS {
            let sentinel = Server::start(watching.clone()).await;
            let hurry = [&["SENTINEL", "DEBUG"], &PERIODS[..]].concat();
            sentinel.command(&hurry).await.expect_ok();
            sentinels.push(sentinel);
        }
        let started = Self { servers, sentinels };
        started.wait_until_settled().await;
        started
    }

    /// `redis+sentinel://`, the addresses of the sentinels, and the name of the primary. User and password, if there are
    /// any, are those of the servers.
    pub fn url(&self) -> String {
        let sentinels = self.sentinels.iter();
        let addresses: Vec<_> = sentinels.map(|sentinel| sentinel.address().to_string()).collect();
        let user = self.servers[0].user_part();
        format!("redis+sentinel://{user}{}/{NAME}", addresses.join(","))
    }

    /// The primary of the start and its replicas.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// One of them to mistreat.
    pub fn server_mut(&mut self, number: usize) -> &mut Server {
        &mut self.servers[number]
    }

    /// Those who watch.
    pub fn sentinels(&self) -> &[Server] {
        &self.sentinels
    }

    /// One of them to mistreat.
    pub fn sentinel_mut(&mut self, number: usize) -> &mut Server {
        &mut self.sentinels[number]
    }

    /// The number of the server that the first sentinel that answers calls the primary.
    pub async fn primary_number(&self) -> usize {
        let mut sentinels = self.sentinels.iter();
        let sentinel = sentinels
            .find(|sentinel| sentinel.answers())
            .expect("a sentinel is running");
        let named = primary_named_by(sentinel).await.expect("a primary");
        self.number_of(named).expect("the primary is one of ours")
    }

    /// That server.
    pub async fn primary(&self) -> &Server {
        &self.servers[self.primary_number().await]
    }

    /// Kills the primary, and waits until a replica is promoted and all sentinels and replicas that answer know.
    ///
    /// Takes two to five seconds: the sentinels wait for one before they agree that it is dead, and then draw lots.
    pub async fn kill_primary_and_wait_for_promotion(&mut self) -> FailOver {
        let killed = self.primary_number().await;
        self.servers[killed].kill().await;
        self.wait_until_settled().await;
        let promoted = self.primary_number().await;
        FailOver { killed, promoted }
    }

    /// Waits until all sentinels that answer know each other, name one primary, which answers, and every other server
    /// that answers follows it.
    pub async fn wait_until_settled(&self) {
        until("the sentinels agree on a primary", || async {
            let mut primary = None;
            let watching = self.sentinels.iter().filter(|sentinel| sentinel.answers());
            for sentinel in watching {
                let named = primary_named_by(sentinel).await?;
                (*primary.get_or_insert(named) == named).then_some(())?;
                self.sees_all(sentinel).await?;
            }
            let primary = self.number_of(primary?)?;
            for (number, server) in self.servers.iter().enumerate() {
                match server.answers() {
                    true => self.follows(number, primary).await?,
                    false => (number != primary).then_some(())?,
                }
            }
            Some(())
        })
        .await;
    }

    /// Whether a sentinel knows the other sentinels and, as replicas, all servers but one, dead or alive.
    async fn sees_all(&self, sentinel: &Server) -> Option<()> {
        let about = sentinel.try_command(&["SENTINEL", "MASTER", NAME]).await.ok()?;
        let about = fields(&about);
        let count = |name: &str| about.get(name)?.parse::<usize>().ok();
        (about.get("flags")? == "master").then_some(())?;
        (count("num-other-sentinels")? == SENTINELS - 1).then_some(())?;
        (count("num-slaves")? == self.servers.len() - 1).then_some(())
    }

    /// Whether a server is the primary itself or in sync with it.
    async fn follows(&self, number: usize, primary: usize) -> Option<()> {
        let role = self.servers[number].try_command(&["ROLE"]).await.ok()?;
        let follows = match role.list() {
            [role, ..] if role.text() == "master" => number == primary,
            [_, ip, port, link, ..] => {
                let followed = format!("{}:{}", ip.text(), port.integer());
                link.text() == "connected" && followed == self.servers[primary].address().to_string()
            }
            _ => false,
        };
        follows.then_some(())
    }

    fn number_of(&self, address: SocketAddr) -> Option<usize> {
        let mut servers = self.servers.iter();
        servers.position(|server| server.address() == address)
    }
}

async fn primary_named_by(sentinel: &Server) -> Option<SocketAddr> {
    let ask = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME];
    match sentinel.try_command(&ask).await.ok()? {
        Reply::List(parts) => format!("{}:{}", parts[0].text(), parts[1].text()).parse().ok(),
        _ => None,
    }
}

/// An array of names and values in turn.
fn fields(reply: &Reply) -> BTreeMap<String, String> {
    let (pairs, _) = reply.list().as_chunks();
    pairs
        .iter()
        .map(|[name, value]| (name.text(), value.text()))
        .collect()
}
