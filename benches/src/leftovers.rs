//! What a measurement made at a service that goes on without it: it is ended with the measurement, however that ends.
//!
//! Otherwise a service would keep each user agent for 400 days. A service that was started for a measurement ends with it, so
//! nothing is noted there.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::timeout;

use crate::each::{CONNECTING, each};
use crate::failure::{BenchResult, Failure, PATIENCE};

/// Ends one thing. It does nothing before it is polled.
type End = Pin<Box<dyn Future<Output = BenchResult<()>> + Send>>;

/// The ends of all that was made.
#[derive(Clone, Default)]
pub(crate) struct Leftovers(Arc<Mutex<Vec<End>>>);

impl Leftovers {
    /// Notes how one thing is ended.
    pub(crate) fn add(&self, end: impl Future<Output = BenchResult<()>> + Send + 'static) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::pin(end));
    }

    /// Ends all of them.
    pub(crate) async fn end(&self) -> BenchResult<()> {
        let mut all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let count = all.len();
        let ended = each(count, CONNECTING, |_| {
            let end = all.pop();
            async move {
                let Some(end) = end else { return Ok(true) };
                // One that cannot be ended does not keep the others.
                Ok(matches!(timeout(PATIENCE / 2, end).await, Ok(Ok(()))))
            }
        });
        let left = ended.await?.into_iter().filter(|is_ended| !is_ended).count();
        match left {
            0 => Ok(()),
            left => Err(Failure::new(format!(
                "{left} of {count} subscriptions could not be ended, and are left at the service"
            ))),
        }
    }
}

impl fmt::Debug for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leftovers(…)")
    }
}
