//! One piece of work of `listen`: an attempt at a message, or the command of `--on-renew` for a subscription.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::timeout;
use user_agent_client::{Message, Subscription, defaults};

use super::delivery::{Delivery, NotHandled};
use super::exec::{Exec, ExecError};
use super::handler::Handler;
use super::supervisor::Environment;
use crate::cli::console::output_closed;
use crate::cli::exit::Failure;

/// How a piece of work ended.
pub(super) enum Worked {
    /// The message is acknowledged.
    Handled,
    /// The attempt failed; and why, in a sentence.
    Failed(String),
    /// No attempt, because the command or the desktop can't work now; and why, in a sentence.
    Unable(String),
    /// No attempt, because `listen` is about to stop.
    Released,
    /// Standard output is closed.
    Closed(Failure),
    /// The command of `--on-renew` ended; and why it failed, if it did.
    Renewed {
        subscription: Box<Subscription>,
        failed: Option<ExecError>,
    },
}

/// One attempt at a message.
pub(super) async fn handle(
    handler: Arc<Handler>,
    message: Message,
    stopping: watch::Receiver<bool>,
) -> Worked {
    let delivery = Delivery::of(&message);
    let label = &delivery.subscription;
    let trouble = match handler.handle(&delivery).await {
        Ok(()) => {
            message.acknowledge();
            return Worked::Handled;
        }
        Err(NotHandled::Stopped(_)) if is_stopping_soon(stopping).await => {
            message.release();
            return Worked::Released;
        }
        Err(trouble) => trouble,
    };
    match trouble {
        NotHandled::Failed(why) | NotHandled::Stopped(why) => {
            message.fail();
            Worked::Failed(format!("{label}: attempt {} failed: {why}", delivery.attempt))
        }
        NotHandled::Unable(why) => {
            message.unable();
            Worked::Unable(format!("{label}: {why}; this does not count as an attempt"))
        }
        NotHandled::Closed(error) => {
            message.release();
            Worked::Closed(output_closed(&error))
        }
    }
}

/// Whether a signal came, or comes soon.
async fn is_stopping_soon(mut stopping: watch::Receiver<bool>) -> bool {
    let stops = stopping.wait_for(|stops| *stops);
    matches!(timeout(defaults::SIGNAL_WITHIN, stops).await, Ok(Ok(_)))
}

/// Gives a new subscription to the command that tells the application server.
pub(super) async fn pass_on(command: Arc<Exec>, subscription: Subscription) -> Worked {
    let json = subscription.to_json().unwrap_or_default();
    let mut environment = Environment::default();
    environment.set("PUSH_SUBSCRIPTION", Some(&*subscription.label));
    let ran = command.run(json.as_bytes(), &environment).await;
    Worked::Renewed {
        subscription: Box::new(subscription),
        failed: ran.err(),
    }
}
