//! Where the nodes of the service may be connected to, while they come and go.

use tokio::sync::watch;

use super::books::NodeNumber;
use crate::chance::Chance;
use crate::door::Door;

/// The doors of nodes by number; a node that is being killed has none.
pub(super) type DoorsNow = Vec<Option<Door>>;

/// What everybody knows of the doors.
pub(super) struct Doors {
    now: watch::Receiver<DoorsNow>,
    /// The nodes below this number are for everybody.
    open_to_all: usize,
}

impl Doors {
    pub(super) fn new(now: watch::Receiver<DoorsNow>, open_to_all: usize) -> Self {
        Self { now, open_to_all }
    }

    /// Waits until this node may be connected to; `None` when the test is over.
    pub(super) async fn of(&self, node: NodeNumber) -> Option<Door> {
        let mut now = self.now.clone();
        let doors = now.wait_for(|doors| doors[node].is_some()).await.ok()?;
        doors[node].clone()
    }

    /// One of the nodes that are for everybody, and if there is a choice, another than the last. Waits until there is one;
    /// `None` when the test is over.
    pub(super) async fn any_but(
        &self,
        last: Option<NodeNumber>,
        chance: &mut Chance,
    ) -> Option<(NodeNumber, Door)> {
        let mut now = self.now.clone();
        let ours = |doors: &DoorsNow| doors[..self.open_to_all].to_vec();
        let doors = now
            .wait_for(|doors| ours(doors).iter().any(Option::is_some))
            .await;
        let mut up: Vec<(NodeNumber, Door)> = ours(&*doors.ok()?)
            .into_iter()
            .enumerate()
            .filter_map(|(node, door)| Some((node, door?)))
            .collect();
        if up.len() > 1 {
            up.retain(|(node, _)| Some(*node) != last);
        }
        Some(up.swap_remove(chance.below(up.len())))
    }
}
