//! `config check`: all that is wrong with a configuration, and with `--live` all that would keep the service from starting.

use std::path::Path;

use super::{FAILED, MISCONFIGURED, complain, print, serve};
use crate::config::Examined;
use crate::service::{self, LiveCheck};

/// Checks, and says what was found: a summary on standard output, faults on standard error.
pub(super) fn check(file: Option<&Path>, live: bool) -> u8 {
    let examined = Examined::read(file).with_files();
    let mut found = LiveCheck::default();
    if live {
        match serve::runtime() {
            Ok(runtime) => found = runtime.block_on(service::check_live(&examined)),
            Err(error) => return complain("the async runtime cannot start", &error, FAILED),
        }
    }
    let faults = [examined.faults(), &found.faults].concat();
    let warnings = found.warnings.iter().map(|warning| format!("warning: {warning}"));
    if faults.is_empty() {
        let warnings: String = warnings.map(|warning| format!("\n{warning}\n")).collect();
        return print(format_args!("ok\n\n{}\n{warnings}", examined.config()));
    }
    let lines: Vec<_> = faults.into_iter().chain(warnings).collect();
    complain("the configuration is refused", &lines.join("\n"), MISCONFIGURED)
}
