//! The signals that end the command: the first asks for an orderly end, the second for an immediate one.
//!
//! Those that mean nothing here have handlers too, because by default they would end the process at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGHUP: the terminal is gone.
const HANG_UP: SignalKind = SignalKind::hangup();

/// The signals that end the command.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    /// `None` below `nohup`, where the command outlives its terminal.
    hang_up: Option<Signal>,
}

impl Signals {
    /// From now on the signals don't kill. Nor does a file that may not grow any more (`ulimit -f`): its write fails then, as
    /// it does on a full disk, which can be told.
    pub(super) fn listen() -> io::Result<Self> {
        let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
        let _ = signal(SignalKind::user_defined1())?;
        let _ = signal(SignalKind::user_defined2())?;
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            hang_up: hang_up()?,
        })
    }

    /// Waits for the next one. Cancel safe.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.quit.recv() => {}
            () = hung_up(&mut self.hang_up) => {}
        }
    }
}

/// For a process that must outlive the signals, which all processes of a service or a terminal get at once: handlers that do
/// nothing.
pub(super) fn outlive() -> io::Result<()> {
    // Handlers are not inherited by the commands that it starts; that a signal is ignored would be.
    let _ = Signals::listen()?;
    Ok(())
}

fn hang_up() -> io::Result<Option<Signal>> {
    match is_ignored(HANG_UP) {
        true => Ok(None),
        false => signal(HANG_UP).map(Some),
    }
}

async fn hung_up(hang_up: &mut Option<Signal>) {
    match hang_up {
        Some(hang_up) => {
            hang_up.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether the process was started with this signal ignored (proc(5), `SigIgn`).
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored_in(&status, kind.as_raw_value())
}

fn ignored_in(status: &str, number: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (number - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// proc(5): the first signal is the lowest bit.
    #[test]
    fn an_ignored_signal_is_known() {
        let status =
            "SigQ:\t0/1\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n";
        for (number, expected) in [(1, true), (2, false), (13, true), (15, false)] {
            assert_eq!(ignored_in(status, number), expected, "{number}");
        }
        assert!(!ignored_in("", 1));
    }
}
