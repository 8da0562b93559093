//! What nobody came for: expired messages and abandoned user agents leave storage.

use std::time::Instant;

use super::Broker;
use crate::defaults::{EXPIRE_EVERY, EXPIRE_STEP};
use crate::metrics::Step;

impl Broker {
    /// Drops what is due, in bounded steps, for as long as it's polled. Dropping it between steps loses nothing.
    pub async fn keep_expiring(&self) {
        loop {
            let started = Instant::now();
            let gone = self.storage.expire(EXPIRE_STEP).await;
            self.metrics.storage_step(Step::Expire, started.elapsed());
            match gone {
                Ok(gone) if gone >= EXPIRE_STEP => tokio::task::yield_now().await,
                Ok(_) => tokio::time::sleep(EXPIRE_EVERY).await,
                Err(error) => {
                    self.metrics.storage_error(&error);
                    tokio::time::sleep(EXPIRE_EVERY).await;
                }
            }
        }
    }
}
