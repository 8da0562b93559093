//! What is done with a message: a command, the desktop, a line; in this order, so that a line says that it is done.

use std::io;

use tokio::io::Stdout;
use user_agent_client::message::Data;

use super::exec::Exec;
use super::lines::Lines;
#[cfg(feature = "notify")]
use super::notify::Notifier;
use crate::cli::args::{Format, Listen};

/// A message, as handlers get it.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) subscription: String,
    pub(super) id: String,
    pub(super) attempt: u32,
    /// `None`: it was sent without data.
    pub(super) data: Option<Data>,
}

/// Why a message is not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// This attempt failed; and why.
    Failed(String),
    /// Nobody reads standard output any more: no message can be handled.
    Closed(io::Error),
}

/// All that is done with each message.
pub(super) struct Handler {
    exec: Option<Exec>,
    #[cfg(feature = "notify")]
    notifier: Option<Notifier>,
    lines: Option<Lines<Stdout>>,
}

impl Handler {
    /// As the command line says. Lines are printed if nothing else is done, or if a format is named.
    pub(super) fn new(arguments: &Listen) -> Self {
        let exec = arguments.exec.clone();
        #[cfg(feature = "notify")]
        let notifies = arguments.notify;
        #[cfg(not(feature = "notify"))]
        let notifies = false;
        let is_quiet = exec.is_some() || notifies;
        let format = arguments.format.or((!is_quiet).then_some(Format::Text));
        Self {
            exec: exec.map(|line| Exec::new(line, arguments.exec_timeout)),
            #[cfg(feature = "notify")]
            notifier: notifies.then(Notifier::default),
            lines: format.map(|format| Lines::new(format, tokio::io::stdout())),
        }
    }

    /// One attempt. Dropped, it leaves no command behind; a line that was begun may be printed nevertheless.
    pub(super) async fn handle(&self, delivery: &Delivery) -> Result<(), Trouble> {
        if let Some(exec) = &self.exec {
            let attempt = delivery.attempt.to_string();
            let environment = [
                ("PUSH_SUBSCRIPTION", delivery.subscription.as_str()),
                ("PUSH_MESSAGE_ID", delivery.id.as_str()),
                ("PUSH_ATTEMPT", attempt.as_str()),
            ];
            let input = delivery.data.as_ref().map_or(&[][..], Data::bytes);
            let ran = exec.run(input, &environment).await;
            ran.map_err(|error| Trouble::Failed(error.to_string()))?;
        }
        #[cfg(feature = "notify")]
        if let Some(notifier) = &self.notifier {
            notifier.show(delivery).await.map_err(Trouble::Failed)?;
        }
        match &self.lines {
            Some(lines) => lines.print(delivery).await.map_err(Trouble::Closed),
            None => Ok(()),
        }
    }
}
