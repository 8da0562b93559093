//! `push-service storage`: what an operator decides about a storage that lost its data.

use super::{FAILED, OK, complain};
use crate::config::Config;
use crate::service;

/// Gives up what was lost, and says how much of the store that was.
pub(super) fn begin_anew(config: &Config) -> u8 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return complain("the runtime does not start", &error, FAILED),
    };
    match runtime.block_on(service::begin_anew(config)) {
        Ok(0) => {
            println!("nothing was lost: every part of the store has its mark");
            OK
        }
        Ok(lost) => {
            println!("{lost} of 1,024 parts of the store begin anew; what they held is given up");
            OK
        }
        Err(error) => complain("the storage can't be mended", &error, FAILED),
    }
}
