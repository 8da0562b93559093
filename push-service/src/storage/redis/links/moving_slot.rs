//! A step whose keys are on both sides of a slot that moves.
//!
//! Redis answers TRYAGAIN as long as not all keys of a step are on one side. A key that does not exist is on neither
//! side, and most user agents lack one, because no message waits for them. So they could not be served while a slot
//! stays half moved. Instead, this node moves the keys of that one user agent itself, in the same way as the operator
//! who moves the slot (`MIGRATE`), and runs the step at the slot's new server.
//!
//! Guarantees that the step runs there only when none of its keys is left at the old owner, which can't create a
//! missing key then. A key that is on both sides (after an interrupted move) is left to the operator: the step is
//! refused.

use std::sync::Arc;

use redis::{Cmd, Value};
use tokio::time::Instant;

use super::Primaries;
use super::failure::Failure;
use super::primary::{Primary, Work};
use super::reply::redirected;
use super::script::Script;
use crate::defaults::REDIS_MIGRATE_WITHIN;
use crate::storage::clock::millis;
use crate::storage::redis::bucket::Bucket;
use crate::storage::redis::keys::moving_along;
use crate::storage::redis::url::Address;

impl Primaries {
    /// Moves the remaining keys of a step, and runs it at their new server. `None` if the slot doesn't move, or they
    /// can't be moved.
    ///
    /// # Cancel safety
    ///
    /// Dropped, keys may have moved and the step may have run.
    pub(super) async fn run_behind(
        &self,
        work: Work,
        bucket: Bucket,
        (script, keys, args): (&Script, &[&[u8]], &[&[u8]]),
        deadline: Instant,
    ) -> Option<(Result<Value, Failure>, Arc<Primary>)> {
        let from = self.map.primary(bucket)?;
        let to = self.map.at(&self.destination(&from, keys, deadline).await?);
        let mut migrate = Cmd::new();
        migrate.arg("MIGRATE").arg(&to.address.host).arg(to.address.port);
        migrate.arg("").arg(0).arg(millis(REDIS_MIGRATE_WITHIN));
        migrate
            .arg(from.connector.credentials())
            .arg("KEYS")
            .arg(moving_along(keys));
        let moved = from
            .send(Work::Page, migrate, false, Primary::answer_by(deadline))
            .await;
        if let Err(failure) = moved {
            let why = failure.explained();
            tracing::debug!(server = %from.address, why, "the keys of a user agent could not be moved to the new server of their slot");
            return None;
        }
        let by = Primary::answer_by(deadline);
        let ran = to.send(work, script.by_name_alone(keys, args), true, by).await;
        let ran = match ran {
            Err(Failure::Reply(error)) if error.code() == "NOSCRIPT" => {
                to.send(work, script.by_source_alone(keys, args), true, by).await
            }
            ran => ran,
        };
        Some((ran, to))
    }

    /// Where a slot moves to: the server to which its owner redirects a request for a key that does not exist.
    async fn destination(&self, from: &Primary, keys: &[&[u8]], deadline: Instant) -> Option<Address> {
        let absent = [keys.first()?, &b":absent"[..]].concat();
        let mut exists = Cmd::new();
        exists.arg("EXISTS").arg(absent);
        match from
            .send(Work::Page, exists, false, Primary::answer_by(deadline))
            .await
        {
            Err(Failure::Reply(error)) if error.code() == "ASK" => redirected(&error, &from.address),
            _ => None,
        }
    }
}
