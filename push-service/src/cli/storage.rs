//! `push-service storage`: what an operator decides about a storage that lost its data.

use super::{FAILED, MISCONFIGURED, complain, print, serve};
use crate::config::Config;
use crate::service;

/// Gives up what was lost, and says how much of the store that was.
pub(super) fn begin_anew(config: &Config) -> u8 {
    let trouble = "the storage was not changed";
    serve::run(async {
        match service::begin_anew(config).await {
            Ok(Some(0)) => {
                print("no data is lost: all 1,024 parts of the store have their mark; nothing was changed\n")
            }
            Ok(Some(lost)) => print(format_args!(
                "{lost} of 1,024 parts of the store had lost their data and now start empty; their \
                 subscriptions are unknown from now on\n"
            )),
            Ok(None) => {
                let why = "storage.url is not a Redis, and this command is only for Redis";
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
