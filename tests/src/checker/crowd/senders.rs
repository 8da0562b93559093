//! Application servers of the crowd.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;

use super::{ANSWERED_WITHIN, Phase, SENDERS, Shared, TICK};
use crate::application_server::{Http, Push};
use crate::chance::Chance;
use crate::checker::history::{NodeNumber, SubscriptionNumber, What};
use crate::checker::nemesis::LEAP_SECONDS;
use crate::nothing_lost::line::{Brought, Manner, RECEIPT, Watch, link_to};

/// Topics in use per subscription: few, so that messages are replaced.
const TOPICS: usize = 2;

/// The time to live of most messages, in seconds: as far as clocks leap. By docs/redis.md a message is lost only if the
/// clock of Redis leaps two minutes further.
const TTL: u64 = LEAP_SECONDS;

/// The newest subscriptions of a sender get half of its messages.
const NEWEST: usize = 4;

/// An application server.
pub(super) struct Sender {
    pub(super) shared: Arc<Shared>,
    pub(super) number: usize,
    pub(super) chance: Chance,
    pub(super) connections: BTreeMap<NodeNumber, Http>,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>, number: usize, chance: Chance) -> Self {
        Self {
            shared,
            number,
            chance,
            connections: BTreeMap::new(),
        }
    }

    /// Sends while the storm lasts, each message over a node chosen by chance.
    pub(super) async fn send(mut self) {
        while self.shared.phase() == Phase::Storm {
            let Some(subscription) = self.subscription() else {
                tokio::time::sleep(TICK).await;
                continue;
            };
            let Some((node, connector)) = self.shared.any_connector(&mut self.chance).await else {
                return;
            };
            let connection = match self.connections.remove(&node) {
                Some(http) => Some(http),
                None => {
                    let connect = async {
                        match self.number % 4 {
                            3 => Http::connect_http2(&connector).await,
                            _ => Http::connect(&connector).await,
                        }
                    };
                    tokio::time::timeout(ANSWERED_WITHIN, connect)
                        .await
                        .ok()
                        .and_then(Result::ok)
                }
            };
            let Some(mut http) = connection else {
                tokio::time::sleep(TICK).await;
                continue;
            };
            if self.push(&mut http, node, subscription).await.is_some() {
                self.connections.insert(node, http);
            }
            let pause = self.chance.between((Duration::ZERO, self.shared.busy.pause));
            tokio::time::sleep(pause).await;
        }
    }

    /// One of its subscriptions: half of the time one of the newest, and now and then one that has ended.
    pub(super) fn subscription(&mut self) -> Option<SubscriptionNumber> {
        let kept = self.shared.recorder.kept();
        let mine: Vec<SubscriptionNumber> =
            (self.number..kept.subscriptions.len()).step_by(SENDERS).collect();
        let among = match self.chance.one_in(2) {
            true => &mine[mine.len().saturating_sub(NEWEST)..],
            false => &mine[..],
        };
        let chosen = *among.get(self.chance.below(among.len()))?;
        (!kept.subscriptions[chosen].is_ending || self.chance.one_in(10)).then_some(chosen)
    }

    /// Sends a message, and sometimes deletes it; `None` if the connection can't be used any more.
    pub(super) async fn push(
        &mut self,
        http: &mut Http,
        node: NodeNumber,
        subscription: SubscriptionNumber,
    ) -> Option<()> {
        let recorder = self.shared.recorder.clone();
        let topic = self.chance.one_in(8).then(|| self.chance.below(TOPICS));
        let ttl = if self.chance.one_in(30) {
            1 + self.chance.below(3) as u64
        } else {
            TTL
        };
        let receipt = self.chance.one_in(4);
        let (message, text, endpoint) = recorder.begin_message(subscription);
        let mut push = Push::new(&endpoint, &text).ttl(ttl);
        if let Some(topic) = topic {
            push = push.header("topic", &format!("topic-{topic}"));
        }
        if receipt {
            push = push.header("prefer", "respond-async");
            if let Some(receipts) = &*self.shared.receipts[self.number].borrow() {
                push = push.header("link", &link_to(receipts, RECEIPT));
            }
        }
        let invoked = recorder.now();
        let answer = tokio::time::timeout(ANSWERED_WITHIN, http.try_push(&push)).await;
        let answer = answer.ok().and_then(Result::ok);
        let status = answer.as_ref().map_or(0, |answer| answer.status.as_u16());
        let is_accepted = matches!(status, 201 | 202);
        let location = answer
            .as_ref()
            .filter(|_| is_accepted)
            .map(|answer| answer.header("location").to_owned());
        if let Some(answer) = answer.as_ref().filter(|_| status == 202) {
            let receipts = answer.link(RECEIPT).to_owned();
            self.shared.receipts[self.number].send_if_modified(|known| {
                let is_first = known.is_none();
                known.get_or_insert(receipts);
                is_first
            });
        }
        let what = What::Push {
            message,
            subscription,
            node,
            topic,
            ttl,
            receipt,
            status,
            has_retry_after: answer
                .as_ref()
                .is_some_and(|answer| answer.header("retry-after").parse::<u64>().is_ok()),
            location: location.clone(),
        };
        recorder.enter(invoked, what);
        if is_accepted {
            self.shared
                .accepted
                .send_modify(|accepted| accepted[node] = Some((invoked, Instant::now())));
        }
        answer?;
        if let Some(location) = location.filter(|_| self.chance.one_in(20)) {
            let invoked = recorder.now();
            let answer = tokio::time::timeout(ANSWERED_WITHIN, http.delete(&location)).await;
            let answer = answer.ok().and_then(Result::ok);
            let status = answer.as_ref().map_or(0, |answer| answer.status.as_u16());
            recorder.enter(invoked, What::Cancel { message, status });
            answer?;
        }
        Some(())
    }
}

/// An application server that receives receipts.
pub(super) async fn hear_receipts(shared: Arc<Shared>, sender: usize, mut chance: Chance) {
    let mut known = shared.receipts[sender].subscribe();
    let Ok(receipts) = known.wait_for(Option::is_some).await.map(|known| known.clone()) else {
        return;
    };
    let receipts = receipts.unwrap_or_default();
    while let Some((_, connector)) = shared.any_connector(&mut chance).await {
        let connection = shared.recorder.connection();
        let open = Watch::open(&connector, &receipts, Manner::Push(100));
        if let Ok(Ok(mut watch)) = tokio::time::timeout(ANSWERED_WITHIN, open).await {
            loop {
                let now = shared.recorder.now();
                match watch.next().await {
                    Brought::Receipt { message, status, .. } => {
                        let what = What::Receipt {
                            connection,
                            location: message,
                            status,
                        };
                        shared.recorder.enter(now, what);
                    }
                    Brought::Over(status) => {
                        if status == Some(StatusCode::NOT_FOUND) {
                            shared.recorder.enter(now, What::ReceiptsGone);
                        }
                        break;
                    }
                    Brought::Message { .. } => {}
                }
            }
        }
        tokio::time::sleep(TICK).await;
    }
}
