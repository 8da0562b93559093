//! Expiry: expired messages and abandoned user agents leave storage.

use super::Broker;
use crate::defaults::{EXPIRE_EVERY, EXPIRE_STEP};
use crate::metrics::{Removed, Step};

impl Broker {
    /// Removes what is due, in bounded steps, for as long as it is polled. Dropping it between steps loses nothing.
    pub async fn keep_expiring(&self) {
        loop {
            let gone = self.step(Step::Expire, self.storage.expire(EXPIRE_STEP)).await;
            match gone {
                Ok(gone) => {
                    self.metrics.removed(Removed::Expired, gone.expired as u64);
                    if gone.total() < EXPIRE_STEP {
                        tokio::time::sleep(EXPIRE_EVERY).await;
                    }
                }
                Err(_) => tokio::time::sleep(EXPIRE_EVERY).await,
            }
        }
    }
}
