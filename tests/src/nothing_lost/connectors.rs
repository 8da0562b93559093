//! Where the nodes of the service may be connected to, while they come and go.

use tokio::sync::watch;

use super::checker::NodeNumber;
use crate::chance::Chance;
use crate::connector::Connector;

/// The connectors of nodes by number; a node that is being killed has none.
pub(super) type DoorsNow = Vec<Option<Connector>>;

/// The connectors as all peers see them.
pub(super) struct Connectors {
    now: watch::Receiver<DoorsNow>,
    /// All peers may use the nodes below this number.
    open_to_all: usize,
}

impl Connectors {
    pub(super) fn new(now: watch::Receiver<DoorsNow>, open_to_all: usize) -> Self {
        Self { now, open_to_all }
    }

    /// Waits until this node may be connected to; `None` when the test is over.
    pub(super) async fn of(&self, node: NodeNumber) -> Option<Connector> {
        let mut now = self.now.clone();
        let connectors = now.wait_for(|connectors| connectors[node].is_some()).await.ok()?;
        connectors[node].clone()
    }

    /// One of the nodes that all peers may use, and if there is a choice, another than the last. Waits until there is one;
    /// `None` when the test is over.
    pub(super) async fn any_but(
        &self,
        last: Option<NodeNumber>,
        chance: &mut Chance,
    ) -> Option<(NodeNumber, Connector)> {
        let mut now = self.now.clone();
        let ours = |connectors: &DoorsNow| connectors[..self.open_to_all].to_vec();
        let connectors = now
            .wait_for(|connectors| ours(connectors).iter().any(Option::is_some))
            .await;
        let mut up: Vec<(NodeNumber, Connector)> = ours(&*connectors.ok()?)
            .into_iter()
            .enumerate()
            .filter_map(|(node, connector)| Some((node, connector?)))
            .collect();
        if up.len() > 1 {
            up.retain(|(node, _)| Some(*node) != last);
        }
        Some(up.swap_remove(chance.below(up.len())))
    }
}
