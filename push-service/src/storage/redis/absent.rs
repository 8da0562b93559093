//! Saying that something is not there: "unknown", "gone", "ended" (PR-3, PR-40).
//!
//! After "unknown" senders and user agents forget a subscription for ever, so that answer is confirmed like a 201. A
//! step that finds nothing looks once more. If steps wait for replicas, it looks over the connection on which `WAIT`
//! counts, and writes something for them to confirm. Otherwise its primary has to prove that it still is one. Only
//! steps that find nothing cost this.
//!
//! What it deliberately does not know: how the primary is determined (`links`), and which answer goes to which peer.

use push_protocol::{SubscriptionId, UserAgentId};

use super::Redis;
use super::answers;
use super::keys::bucket_of;
use super::links::{AskedPrimary, Work};
use crate::storage::StorageError;

impl Redis {
    /// The server that is asked about a user agent. Call this before the step that may find nothing.
    pub(super) fn asked_primary(&self, user_agent: UserAgentId) -> AskedPrimary {
        self.runner.primaries.asked_primary(bucket_of(user_agent))
    }

    /// Confirms that there is no such subscription, or, without `subscription`, no record. `false` if there is one:
    /// it was made, or became visible, after the step that found nothing.
    ///
    /// # Errors
    ///
    /// It was not confirmed: then "unknown" must not be answered.
    pub(super) async fn is_absent(
        &self,
        user_agent: UserAgentId,
        subscription: Option<SubscriptionId>,
        asked: AskedPrimary,
    ) -> Result<bool, StorageError> {
        if self.runner.primaries.is_assured_by_replicas() {
            let looked = self.has(Work::Confirmed, user_agent, subscription).await?;
            return Ok(!looked);
        }
        self.runner.primaries.prove(asked).await?;
        Ok(true)
    }

    /// Confirms that a step found nothing, if that step wrote over [`Redis::confirmed`]: the server that answered has to prove
    /// that it still is the primary.
    pub(super) async fn prove_primary(&self, asked: AskedPrimary) -> Result<(), StorageError> {
        self.runner.primaries.prove(asked).await
    }

    /// Whether a subscription exists, or, without `subscription`, a record. If not, it writes over
    /// [`Work::Confirmed`], so that replicas confirm that.
    pub(super) async fn has(
        &self,
        work: Work,
        user_agent: UserAgentId,
        subscription: Option<SubscriptionId>,
    ) -> Result<bool, StorageError> {
        let id = subscription.map(|subscription| subscription.0);
        let confirms = [u8::from(work == Work::Confirmed)];
        let args: [&[u8]; 2] = [id.as_ref().map_or(&[], |id| &id[..]), &confirms];
        let answer = self
            .runner
            .run(work, &self.scripts.has, user_agent, &args)
            .await?;
        answers::number(&answer).map(|there| there != 0)
    }

    /// The error for a record that one look finds and the next does not, repeatedly.
    pub(super) fn contradictory() -> StorageError {
        StorageError::Unavailable(
            "Redis gave contradictory answers: a record exists for one command and not for the next"
                .to_owned(),
        )
    }
}
