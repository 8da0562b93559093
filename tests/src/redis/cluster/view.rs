//! What one server of a cluster thinks of it.

use std::collections::BTreeMap;

use crate::redis::connection::Reply;
use crate::redis::server::{Server, info};

/// Who holds which slots, as one server sees it: the ranges with the owner first, then its replicas in any one order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct View(BTreeMap<(u16, u16), Vec<String>>);

impl View {
    /// Reads an answer to `CLUSTER SLOTS`.
    pub(super) fn read(reply: &Reply) -> Self {
        let bound = |reply: &Reply| u16::try_from(reply.integer()).expect("a slot");
        let ranges = reply.list().iter().map(|range| {
            let [first, last, holders @ ..] = range.list() else {
                panic!("a range of slots was expected, not {range:?}");
            };
            let mut ids: Vec<_> = holders.iter().map(|holder| holder.list()[2].text()).collect();
            ids[1..].sort();
            ((bound(first), bound(last)), ids)
        });
        Self(ranges.collect())
    }

    pub(super) fn owner(&self, slot: u16) -> Option<&String> {
        let mut ranges = self.0.iter();
        let (_, ids) = ranges.find(|((first, last), _)| (first..=last).contains(&&slot))?;
        ids.first()
    }

    pub(super) fn owners(&self) -> impl Iterator<Item = &String> {
        self.0.values().filter_map(|ids| ids.first())
    }

    fn has_replica(&self, id: &String) -> bool {
        self.0.values().any(|ids| ids[1..].contains(id))
    }

    pub(super) fn slots(&self) -> usize {
        let lengths = self.0.keys().map(|(first, last)| usize::from(last - first) + 1);
        lengths.sum()
    }
}

/// What a server sees, if it finds the cluster well and, as a replica, follows its primary and is known to.
pub(super) async fn view_when_settled(server: &Server, id: &String) -> Option<View> {
    let state = server.try_command(&["CLUSTER", "INFO"]).await.ok()?;
    (info(&state.text())["cluster_state"] == "ok").then_some(())?;
    let role = server.try_command(&["ROLE"]).await.ok()?;
    let view = View::read(&server.try_command(&["CLUSTER", "SLOTS"]).await.ok()?);
    match role.list() {
        [role, ..] if role.text() == "master" => Some(view),
        [_, _, _, link, ..] => (link.text() == "connected" && view.has_replica(id)).then_some(view),
        _ => None,
    }
}
