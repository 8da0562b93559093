//! Application servers: the messages they send, through which node, and the answers they get.

use std::sync::{Arc, PoisonError};

use bytes::{BufMut as _, BytesMut};
use push_protocol::capability::PushKind;
use push_protocol::{Coding, Content, KeyDigest, Topic, Ttl, Urgency};
use push_service::broker::{Accepted, ReceiptWish, Refusal, Submission};
use push_service::budgets::Payer;
use tokio::time::sleep;

use crate::checker::Record;
use crate::device::Standing;
use crate::process::Process;
use crate::store::millis;
use crate::trace::trace;
use crate::world::World;

/// A time to live that no world outlives; in seconds.
pub(crate) const LONG: u32 = 86_400;

impl World {
    pub(crate) async fn send_on(self: Arc<Self>) {
        while !self.is_calm() {
            let wait = self.chance().within(0..=2 * self.parameters.send_every);
            sleep(millis(wait)).await;
            if !self.is_calm() {
                self.send_to_somebody();
            }
        }
    }

    pub(crate) fn send_to_somebody(self: &Arc<Self>) {
        let agent = self.chance().index(self.agents.len());
        let standing: Vec<Standing> = self.standing(agent);
        let place = self.chance().index(standing.len());
        if let Some(standing) = standing.get(place) {
            self.send(agent, standing);
        }
    }

    pub(crate) fn standing(&self, agent: usize) -> Vec<Standing> {
        let state = self.agents[agent].state();
        state
            .names
            .iter()
            .filter_map(|name| name.standing.clone())
            .collect()
    }

    /// Sends a message through some node, and returns its number in the checker.
    pub(crate) fn send(self: &Arc<Self>, agent: usize, to: &Standing) -> Option<usize> {
        let node = self.some_node()?;
        let (ttl_secs, topic, wish, size) = {
            let mut chance = self.chance();
            let ttl_secs = chance.pick(&[0, 5, 20, LONG, LONG, LONG, LONG, LONG]);
            let topic = chance.pick(&["news", "parameters", "", "", "", "", "", ""]);
            let wants = chance.one_in(self.parameters.receipts_one_in);
            let wish = match chance.one_in(4) {
                _ if !wants => None,
                true => Some(ReceiptWish::Chosen(None)),
                false => Some(ReceiptWish::Chosen(Some(KeyDigest([agent as u8; 32])))),
            };
            (ttl_secs, topic, wish, chance.within(0..=300) as usize)
        };
        let is_calm = self.is_calm();
        let topic = Some(topic).filter(|topic| !is_calm && !topic.is_empty());
        let ttl_secs = if is_calm { LONG } else { ttl_secs };
        let message = self.checker().sent(Record {
            agent,
            user_agent: to.user_agent,
            subscription: to.subscription,
            ttl_secs,
            topic,
            wants_receipt: wish.is_some(),
            promised: false,
            id: None,
            excused: None,
            left: None,
            acknowledged: false,
            committed_at: None,
            copies: 0,
            offered: 0,
        });
        let mut body = BytesMut::with_capacity(4 + size);
        body.put_u32(message as u32);
        body.resize(4 + size, 0);
        let submission = Submission {
            ttl: Ttl::from_secs(ttl_secs.into()),
            urgency: Urgency::Normal,
            topic: topic.and_then(Topic::parse),
            content: Content {
                coding: Coding::Aes128gcm,
                media_type: None,
                body: body.freeze(),
            },
            receipt: wish,
            payer: Payer::UNKNOWN,
            signed_by: None,
        };
        trace!(
            self,
            "message {message} for user agent {agent}, TTL {ttl_secs}, topic {topic:?}, receipt: {}, to node {}",
            submission.receipt.is_some(),
            node.health.place
        );
        self.submit(&node, message, to.clone(), submission);
        Some(message)
    }

    fn submit(self: &Arc<Self>, node: &Arc<Process>, message: usize, to: Standing, submission: Submission) {
        let (world, broker) = (Arc::clone(self), Arc::clone(&node.broker));
        let under_way = Arc::clone(&self.requests);
        node.spawn(async move {
            let _under_way = under_way;
            let accepted = match broker.open_push(PushKind::WpushV1, &to.token) {
                Ok(push) => broker.accept(&push, submission).await,
                Err(refusal) => Err(refusal),
            };
            world.answer(message, accepted);
        });
    }

    fn answer(&self, message: usize, accepted: Result<Accepted, Refusal>) {
        let mut checker = self.checker();
        match accepted {
            Ok(accepted) => {
                trace!(
                    self,
                    "message {message} {:?} is accepted", checker.records[message].id
                );
                checker.answered_201(message);
                self.tokens
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((message, accepted.token));
            }
            Err(refusal) => {
                trace!(self, "message {message} is refused: {refusal:?}");
                let record = &checker.records[message];
                if refusal == Refusal::SubscriptionGone && record.excused.is_none() {
                    let what =
                        format!("message {message} was told that a subscription is gone, which stands");
                    checker.violate("PR-3", what);
                } else if refusal == Refusal::StorageUnavailable {
                    checker.counts.unanswered += 1;
                }
            }
        }
    }

    /// An application server deletes a message, through some node.
    pub(crate) fn cancel(self: &Arc<Self>) {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let place = self.chance().index(tokens.len());
        let (Some((message, token)), Some(node)) = (tokens.get(place).cloned(), self.some_node()) else {
            return;
        };
        drop(tokens);
        trace!(
            self,
            "message {message} is taken back through node {}", node.health.place
        );
        let broker = Arc::clone(&node.broker);
        node.spawn(async move {
            if let Ok(message) = broker.open_message(&token) {
                let _ = broker.cancel(&message).await;
            }
        });
    }
}
