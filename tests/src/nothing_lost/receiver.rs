//! An application server of the test that gets receipts: it monitors the receipt subscription that its
//! sender was given, by server push or by events, over a connection to some node, and the next when that breaks.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use tokio::sync::watch;

use super::World;
use super::checker::{Connection, NodeNumber};
use super::line::{Brought, Line, Manner, Watch};
use crate::chance::Chance;
use crate::connector::Connector;
use crate::within;

/// One in so many is told by events.
const EVENTS_EVERY: usize = 4;
/// Of those that came as events, so many are left to `Last-Event-ID` of the next request, which is due then.
const CONFIRMED_BY_THE_NEXT: usize = 100;

struct Receiver {
    world: Arc<World>,
    /// The node that it keeps to, if it does.
    stays_at: Option<NodeNumber>,
    receipts: String,
    manner: Manner,
    chance: Chance,
    node: Option<NodeNumber>,
}

/// Listens for this sender until it's dropped.
pub(super) async fn listen(world: Arc<World>, sender: usize, chance: Chance) {
    let mut known: watch::Receiver<Option<String>> = world.receipts[sender].subscribe();
    let Ok(receipts) = known.wait_for(Option::is_some).await.map(|known| known.clone()) else {
        return;
    };
    let mut receiver = Receiver {
        stays_at: (world.listens_at)(sender),
        world,
        receipts: receipts.unwrap_or_default(),
        manner: match sender % EVENTS_EVERY {
            0 => Manner::Events(None),
            _ => Manner::Push(100),
        },
        chance,
        node: None,
    };
    while let Some((node, connector)) = receiver.next_connector().await {
        receiver.node = Some(node);
        let connection = receiver.world.checker().listens(node, Instant::now());
        receiver.hear(connection, &connector).await;
        receiver.world.checker().heard_out(connection, Instant::now());
        tokio::task::yield_now().await;
    }
}

impl Receiver {
    async fn next_connector(&mut self) -> Option<(NodeNumber, Connector)> {
        let connectors = &self.world.connectors;
        match self.stays_at {
            Some(node) => Some((node, connectors.of(node).await?)),
            None => connectors.any_but(self.node, &mut self.chance).await,
        }
    }

    /// One monitoring request, to its end.
    async fn hear(&mut self, connection: Connection, connector: &Connector) {
        let Ok(mut watch) = Watch::open(connector, &self.receipts, self.manner.clone()).await else {
            return;
        };
        let mut line = None;
        let mut unconfirmed = 0;
        while unconfirmed < CONFIRMED_BY_THE_NEXT {
            match watch.next().await {
                Brought::Receipt {
                    message,
                    status,
                    event,
                } => {
                    let (now, is_event) = (Instant::now(), event.is_some());
                    self.world
                        .checker()
                        .told(&message, status, connection, is_event, now);
                    let Some((id, acknowledge)) = event else { continue };
                    self.manner = Manner::Events(Some(id));
                    unconfirmed += 1;
                    if self.chance.one_in(2) && self.acknowledge(&mut line, connector, &acknowledge).await {
                        unconfirmed -= 1;
                    }
                }
                Brought::Over(Some(StatusCode::NOT_FOUND)) => {
                    let breach = "an application server was told that its receipt subscription is not there";
                    return self.world.checker().breach(breach.to_owned());
                }
                Brought::Over(_) => return,
                Brought::Message { .. } => {
                    let breach = "an application server was brought a message";
                    self.world.checker().breach(breach.to_owned());
                }
            }
        }
    }

    /// Says that a receipt has arrived; whether that was answered.
    async fn acknowledge(&self, line: &mut Option<Line>, connector: &Connector, url: &str) -> bool {
        if line.is_none() {
            *line = Line::open(connector).await.ok();
        }
        let Some(open) = line else { return false };
        let Ok(answer) = within("a DELETE is answered or fails", open.delete(url)).await else {
            *line = None;
            return false;
        };
        let status = answer.status;
        if status != StatusCode::NO_CONTENT && !status.is_server_error() {
            let breach = format!("DELETE of a receipt was answered {status}");
            self.world.checker().breach(breach);
        }
        status == StatusCode::NO_CONTENT
    }
}
