//! Handles a message: a command, then the desktop, then a line; in this order, so that a line says that the rest is done.

use tokio::io::Stdout;
use user_agent_client::message::Data;

use super::commands::Commands;
use super::delivery::{Delivery, NotHandled};
use super::lines::Lines;
#[cfg(feature = "notify")]
use super::notify::Notifier;
use crate::cli::args::{Format, Listen};

/// All that is done with each message.
pub(super) struct Handler {
    commands: Commands,
    #[cfg(feature = "notify")]
    notifier: Option<Notifier>,
    lines: Lines<Stdout>,
    /// Lines are printed for every message, because that was asked for; else only if nothing else is done with one.
    prints_all: bool,
}

impl Handler {
    /// As the command line says. Lines are printed if nothing else is done, or if a format is named.
    pub(super) fn new(arguments: &Listen, commands: Commands) -> Self {
        Self {
            commands,
            #[cfg(feature = "notify")]
            notifier: arguments.notify.then(Notifier::default),
            lines: Lines::new(arguments.format.unwrap_or(Format::Text), tokio::io::stdout()),
            prints_all: arguments.format.is_some(),
        }
    }

    /// One attempt. Dropped, it leaves no command behind; a line that was begun may be printed nevertheless.
    pub(super) async fn handle(&self, delivery: &Delivery) -> Result<(), NotHandled> {
        let mut is_handled = false;
        if let Some(exec) = self.commands.of(&delivery.subscription)? {
            let input = delivery.data.as_ref().map_or(&[][..], Data::bytes);
            let ran = exec.run(input, &delivery.environment()).await;
            ran.map_err(super::exec::ExecError::not_handled)?;
            is_handled = true;
        }
        #[cfg(feature = "notify")]
        if let Some(notifier) = &self.notifier {
            notifier.show(delivery).await?;
            is_handled = true;
        }
        if self.prints_all || !is_handled {
            self.lines.print(delivery).await.map_err(NotHandled::Closed)?;
        }
        Ok(())
    }
}
