//! Saying that something is not there: "unknown", "gone", "ended" (PR-3, PR-40).
//!
//! Senders and user agents forget for ever what is called unknown, so that is confirmed like a 201. A step that finds nothing
//! looks once more: where steps wait for replicas, over the connection on which `WAIT` counts, with a write of its own;
//! elsewhere its primary has to prove that it still is one. Only what is not there costs this; a step that finds its record
//! is answered as ever.
//!
//! What it deliberately does not know: who decides who is primary (`links`), and what is answered to whom.

use push_protocol::{SubscriptionId, UserAgentId};

use super::Redis;
use super::answers;
use super::layout::bucket_of;
use super::links::{Witness, Work};
use crate::storage::StorageError;

impl Redis {
    /// Who is asked about a user agent. To be taken before the step that may find nothing.
    pub(super) fn witness(&self, user_agent: UserAgentId) -> Witness {
        self.primaries.witness(bucket_of(user_agent))
    }

    /// Confirms that there is no such subscription, or without one that there is no record. `false` if there is: it was
    /// made, or became visible, since the step that found nothing.
    ///
    /// # Errors
    ///
    /// Nobody confirms it: then it must not be said.
    pub(super) async fn is_absent(
        &self,
        user_agent: UserAgentId,
        subscription: Option<SubscriptionId>,
        witness: Witness,
    ) -> Result<bool, StorageError> {
        if self.primaries.is_assured_by_replicas() {
            let looked = self.has(Work::Confirmed, user_agent, subscription).await?;
            return Ok(!looked);
        }
        self.primaries.prove(witness).await?;
        Ok(true)
    }

    /// Confirms what a step said that wrote over [`Redis::confirmed`] also where it found nothing.
    pub(super) async fn is_proved(&self, witness: Witness) -> Result<(), StorageError> {
        self.primaries.prove(witness).await
    }

    /// Whether a subscription is there, or without one a record. What is not there is written about over
    /// [`Work::Confirmed`], so that replicas confirm it.
    pub(super) async fn has(
        &self,
        work: Work,
        user_agent: UserAgentId,
        subscription: Option<SubscriptionId>,
    ) -> Result<bool, StorageError> {
        let id = subscription.map(|subscription| subscription.0);
        let confirms = [u8::from(work == Work::Confirmed)];
        let args: [&[u8]; 2] = [id.as_ref().map_or(&[], |id| &id[..]), &confirms];
        let answer = self.run(work, user_agent, &self.scripts.has, &args).await?;
        answers::number(&answer).map(|there| there != 0)
    }

    /// The trouble of a record that is there and not there, again and again.
    pub(super) fn contradictory() -> StorageError {
        StorageError::Unavailable("Redis says that something is there and that it is not".to_owned())
    }
}
