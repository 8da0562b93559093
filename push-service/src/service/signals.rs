//! The signals that mean something to the service, and those that must not end it.
//!
//! By default SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 end a process at once. So each has a handler, also those that mean
//! nothing here: a script that sends the wrong one must not cut off all channels.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ServiceError;

/// A signal that came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Caught {
    /// From a service manager: drain as configured.
    Terminate,
    /// The same, from those who know it as the name of an orderly end.
    Quit,
    /// From a person at a terminal: drain without delay.
    Interrupt,
    /// Read again what may have changed.
    HangUp,
}

impl Caught {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Quit => "SIGQUIT",
            Self::Interrupt => "SIGINT",
            Self::HangUp => "SIGHUP",
        }
    }
}

/// From its making on, these signals do not kill.
pub(super) struct Signals {
    terminate: Signal,
    quit: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, ServiceError> {
        let listen =
            |kind| signal(kind).map_err(|error| ServiceError(format!("cannot listen for signals: {error}")));
        // The handlers stay, although nothing listens.
        for unused in [SignalKind::user_defined1(), SignalKind::user_defined2()] {
            let _ = listen(unused)?;
        }
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            quit: listen(SignalKind::quit())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one. Cancel safe.
    pub(super) async fn next(&mut self) -> Caught {
        tokio::select! {
            _ = self.terminate.recv() => Caught::Terminate,
            _ = self.quit.recv() => Caught::Quit,
            _ = self.interrupt.recv() => Caught::Interrupt,
            _ = self.hang_up.recv() => Caught::HangUp,
        }
    }

    /// Waits for the next one that asks for the end. Cancel safe.
    pub(super) async fn next_end(&mut self) -> Caught {
        loop {
            match self.next().await {
                Caught::HangUp => {}
                end => return end,
            }
        }
    }
}
