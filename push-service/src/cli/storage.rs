//! `push-service storage`: what an operator decides about a storage that lost its data.

use super::{FAILED, MISCONFIGURED, OK, complain, serve};
use crate::config::Config;
use crate::service;

/// Gives up what was lost, and says how much of the store that was.
pub(super) fn begin_anew(config: &Config) -> u8 {
    let trouble = "the storage can't be mended";
    serve::run(async {
        match service::begin_anew(config).await {
            Ok(Some(0)) => {
                println!("nothing was lost: every part of the store has its mark");
                OK
            }
            Ok(Some(lost)) => {
                println!("{lost} of 1,024 parts of the store begin anew; what they held is given up");
                OK
            }
            Ok(None) => {
                let why = "storage.url is no Redis, and nothing else loses its data and goes on";
                complain(trouble, &why, MISCONFIGURED)
            }
            Err(error) => complain(trouble, &error, FAILED),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-3: only a Redis has something to give up; with any other storage the configuration is the wrong one, not Redis.
    #[tokio::test]
    async fn only_a_redis_begins_anew() {
        let mut config = Config::default();
        config.storage.url = crate::config::StorageUrl::Memory;
        assert!(matches!(service::begin_anew(&config).await, Ok(None)));
    }
}
