//! `serve`, and what every command that touches storage runs in: logging, and a runtime that fits the machine.

use std::future::Future;
use std::num::NonZeroUsize;
use std::path::Path;

use tokio::runtime::{Builder, Runtime};

use super::{FAILED, MISCONFIGURED, OK, complain, secret_files};
use crate::config::Config;
use crate::defaults::RUNTIME_END_WITHIN;
use crate::logging::LogFormat;
use crate::{logging, service, tasks};

/// Runs the service to its end, and returns the exit code. `file` is where the configuration was read from.
pub(super) fn serve(config: Config, file: Option<&Path>) -> u8 {
    let format = config.log.format;
    run_logging(format, async move {
        secret_files::warn_of_exposed(&config, file);
        match service::run(config).await {
            Ok(()) => OK,
            Err(error) => {
                tracing::error!(%error, "the service ended with an error");
                FAILED
            }
        }
    })
}

/// Runs a command's work, which returns the exit code, where it can log and wait.
pub(super) fn run(work: impl Future<Output = u8>) -> u8 {
    run_logging(LogFormat::Auto, work)
}

fn run_logging(format: LogFormat, work: impl Future<Output = u8>) -> u8 {
    if let Err(error) = logging::init(format) {
        return complain("the log filter is not accepted", &error, MISCONFIGURED);
    }
    tasks::log_panics();
    match runtime() {
        Ok(runtime) => {
            let code = runtime.block_on(work);
            // A read of a file that never answers, of a pipe or a lost disk, does not keep the process.
            runtime.shutdown_timeout(RUNTIME_END_WITHIN);
            code
        }
        Err(error) => complain("the async runtime cannot start", &error, FAILED),
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
