//! `serve`: logging, a runtime that fits the machine, and the service in it.

use std::num::NonZeroUsize;

use tokio::runtime::{Builder, Runtime};

use super::{FAILED, MISCONFIGURED, OK, complain};
use crate::config::Config;
use crate::{logging, service};

/// Runs the service to its end, and returns the exit code.
pub(super) fn serve(config: Config) -> u8 {
    if let Err(error) = logging::init() {
        return complain("the log's filter is refused", &error, MISCONFIGURED);
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return complain("the runtime does not start", &error, FAILED),
    };
    match runtime.block_on(service::run(config)) {
        Ok(()) => OK,
        Err(error) => {
            tracing::error!(%error, "the service ended");
            FAILED
        }
    }
}

/// With one core, one thread: handing work to another would only cost. A container's share of cores counts.
pub(super) fn runtime() -> std::io::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut builder = if cores == 1 {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    builder.enable_all().build()
}
