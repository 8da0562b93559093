//! Which nodes are alive on a store, and which format each of them reads (PR-35, PR-37).
//!
//! Each node says every few seconds that it's there, so that an export can refuse a store in use, and a node that can't read
//! what others write is told of in their logs. It deliberately does not know what nodes do, or where they are: nothing is
//! ever routed by it.

use redis::cmd;

use super::answers;
use super::keys::{Store, own, own_bucket};
use super::layout::FORMAT;
use super::links::Work;
use super::runner::Runner;
use super::scripts::{self, Step};
use crate::defaults::{NODE_ALIVE_FOR, NODE_PRESENT_EVERY};
use crate::storage::StorageError;
use crate::storage::clock::millis;

/// A node, as the others see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Node {
    incarnation: u64,
    /// The newest format that it reads.
    reads: u8,
}

impl Node {
    /// This node.
    pub(super) fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            reads: FORMAT,
        }
    }

    fn spelled(self) -> String {
        format!("{:016x} {}", self.incarnation, self.reads)
    }

    fn read(text: &[u8]) -> Option<Self> {
        let (incarnation, reads) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        Some(Self {
            incarnation: u64::from_str_radix(incarnation, 16).ok()?,
            reads: reads.parse().ok()?,
        })
    }
}

/// The nodes of a store.
pub(super) struct Presence {
    script: Step<Store>,
    node: Node,
}

impl Presence {
    pub(super) fn new(incarnation: u64) -> Self {
        Self {
            script: scripts::present(),
            node: Node::new(incarnation),
        }
    }

    /// Says that this node is there, for as long as it's polled.
    pub(super) async fn keep(&self, runner: &Runner) {
        let mut every = tokio::time::interval(NODE_PRESENT_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_told = false;
        loop {
            every.tick().await;
            let alive = self.alive(runner, &self.node.spelled()).await;
            match &alive {
                Ok(nodes) => {
                    if let Some(too_old) = nodes.iter().find(|node| node.reads < FORMAT) {
                        tracing::error!(
                            reads = too_old.reads,
                            writes = FORMAT,
                            "another node runs an older version that cannot read what this node writes: \
                             update it"
                        );
                    }
                }
                Err(error) if !is_told => {
                    tracing::warn!(%error, "cannot register this node in Redis: an export would not notice that it runs");
                }
                Err(_) => {}
            }
            is_told = alive.is_err();
        }
    }

    /// The other nodes that are alive.
    pub(super) async fn others(&self, runner: &Runner) -> Result<usize, StorageError> {
        let nodes = self.alive(runner, "").await?;
        Ok(nodes
            .iter()
            .filter(|node| node.incarnation != self.node.incarnation)
            .count())
    }

    /// Takes this node off the list. A node that is killed is forgotten a little later.
    pub(super) async fn leave(&self, runner: &Runner) {
        let mut remove = cmd("ZREM");
        remove.arg(own(&runner.prefix, "nodes")).arg(self.node.spelled());
        let _ = runner.primaries.pipeline(vec![(own_bucket(), remove)]).await;
    }

    async fn alive(&self, runner: &Runner, node: &str) -> Result<Vec<Node>, StorageError> {
        let alive_ms = millis(NODE_ALIVE_FOR).to_string();
        let args = [node.as_bytes(), alive_ms.as_bytes()];
        let answer = runner.run(Work::Step, &self.script, Store, &args).await?;
        let mut nodes = Vec::new();
        for value in answers::list(answer)?.unwrap_or_default() {
            nodes.extend(Node::read(&answers::text(value)?));
        }
        Ok(nodes)
    }
}

// A node that is believed to be alive has had several chances to say so.
const _: () = assert!(NODE_ALIVE_FOR.as_millis() >= 3 * NODE_PRESENT_EVERY.as_millis());

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-35: what a node says of itself is read back, and what is no node is passed over.
    #[test]
    fn a_node_is_read_back() {
        let node = Node::new(0xab);
        assert_eq!(Node::read(node.spelled().as_bytes()), Some(node));
        for text in [&b""[..], b"ab", b"xy 1", b"ab 300", b"\xff 1"] {
            assert_eq!(Node::read(text), None);
        }
    }
}
