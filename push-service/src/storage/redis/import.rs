//! Imports whole user agents into Redis (PR-37): one script adds a bounded portion, and what is there already stays.

use redis::Value;

use super::Redis;
use super::answers::{self, unreadable};
use super::counted::Counted;
use super::layout::{ImportNumbers, letter};
use super::packed::{Packed as _, U48};
use super::portable::{pack_expectation, pack_message, pack_outcome, pack_subscription};
use crate::defaults::REDIS_STEP_MESSAGES;
use crate::storage::portable::{PortableExpectation, PortableMessage, PortableSubscription};
use crate::storage::spelling::Unreadable;
use crate::storage::{Imported, MessageEnd, Portable, StorageError};

/// What one step takes in.
#[derive(Default)]
struct Portion<'a> {
    subscriptions: &'a [PortableSubscription],
    messages: &'a [PortableMessage],
    outcomes: &'a [MessageEnd],
    expected: &'a [PortableExpectation],
}

impl Redis {
    pub(super) async fn import_all(&self, user_agents: Vec<Portable>) -> Result<Imported, StorageError> {
        let mut imported = Imported::default();
        for part in user_agents {
            if part.retained_until_ms <= self.runner.now_ms() {
                imported.abandoned += (part.subscriptions.len() + part.messages.len()) as u64;
            } else {
                imported += self.import_queue(&part).await?;
            }
            // Receipts are owed for ended messages even if their user agent is abandoned.
            for outcomes in part.outbox.chunks(REDIS_STEP_MESSAGES) {
                let portion = Portion {
                    outcomes,
                    ..Portion::default()
                };
                imported += self.import_some(&part, portion).await?;
            }
            for expected in part.expected.chunks(REDIS_STEP_MESSAGES) {
                let portion = Portion {
                    expected,
                    ..Portion::default()
                };
                imported += self.import_some(&part, portion).await?;
            }
        }
        Ok(imported)
    }

    /// Subscriptions first, then messages in bounded steps.
    async fn import_queue(&self, part: &Portable) -> Result<Imported, StorageError> {
        // What ended here is freed first: a subscription that comes back must not find it.
        self.sweep(part.user_agent, usize::MAX).await?;
        let subscriptions = Portion {
            subscriptions: &part.subscriptions,
            ..Portion::default()
        };
        let mut imported = self.import_some(part, subscriptions).await?;
        for messages in part.messages.chunks(REDIS_STEP_MESSAGES) {
            let portion = Portion {
                messages,
                ..Portion::default()
            };
            imported += self.import_some(part, portion).await?;
        }
        Ok(imported)
    }

    async fn import_some(&self, part: &Portable, portion: Portion<'_>) -> Result<Imported, StorageError> {
        let Portion {
            subscriptions,
            messages,
            outcomes,
            expected,
        } = portion;
        let numbers = ImportNumbers {
            last: part.last,
            retained_until_ms: U48(part.retained_until_ms),
            subscriptions: subscriptions.len() as u32,
            messages: messages.len() as u32,
            outcomes: outcomes.len() as u32,
            unused: part.unused,
        };
        let packed: Vec<Vec<u8>> = [numbers.packed()]
            .into_iter()
            .chain(subscriptions.iter().map(pack_subscription))
            .chain(messages.iter().map(pack_message))
            .chain(outcomes.iter().map(pack_outcome))
            .chain(expected.iter().map(pack_expectation))
            .collect();
        let args: Vec<&[u8]> = packed.iter().map(|packed| &packed[..]).collect();
        let script = &self.scripts.import;
        let answer = self
            .runner
            .run(self.confirmed, script, part.user_agent, &args)
            .await?;
        let mut counts = answers::list(answer)?.unwrap_or_default();
        let taken = answers::text(counts.pop().unwrap_or(Value::Nil))?;
        for (message, _) in messages
            .iter()
            .zip(taken)
            .filter(|(_, taken)| answers::says(*taken, letter::DONE))
        {
            let body_bytes = message.content.body.len() as u64;
            let counted = Counted::new(
                message.sender,
                message.id.number,
                body_bytes,
                message.expires_at_ms,
            );
            self.senders.joined(&counted);
        }
        let counts = counts
            .iter()
            .map(answers::number)
            .collect::<Result<Vec<_>, _>>()?;
        let [subscriptions, messages, receipts, present, in_the_way, expired] =
            counts.try_into().map_err(|_| unreadable(Unreadable))?;
        Ok(Imported {
            subscriptions,
            messages,
            receipts,
            present,
            in_the_way,
            expired,
            abandoned: 0,
        })
    }
}
