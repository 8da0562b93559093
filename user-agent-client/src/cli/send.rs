//! `send`: an application server for the command line.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::Path;
use std::time::Duration;

use push_protocol::encryption::MAX_PLAINTEXT_BYTES;
use tokio::time::{Instant, sleep_until};
use user_agent_client::PushSubscription;
use user_agent_client::application_server::{Accepted, Push, Sender, VapidKey, key_file};
use user_agent_client::defaults::{PUSH_SUBSCRIPTION_BYTES, RECEIPT_GRACE, SEND_WITHIN};

use super::args::Send;
use super::console::{print_line, say};
use super::exit::{Exit, Failure};
use super::settings;
use super::signals::Signals;

pub(super) async fn send(arguments: Send) -> Result<Exit, Failure> {
    let is_piped = arguments.subscription == Path::new("-");
    if is_piped && arguments.text.is_none() && !arguments.no_data {
        return Err(Failure::usage(
            "standard input cannot be both the subscription and the message; pass the message as TEXT",
        ));
    }
    let subscription = subscription(&arguments.subscription, is_piped)?;
    let key = vapid_key(&arguments)?;
    let trust = settings::trust(&arguments.trust)?;
    let push = push(&arguments)?;
    let sender = Sender::new(trust).within(arguments.timeout.unwrap_or(SEND_WITHIN));
    let accepted = if arguments.receipt {
        sender
            .send_with_receipt(&subscription, &push, key.as_ref(), None)
            .await?
    } else {
        sender.send(&subscription, &push, key.as_ref()).await?
    };
    if let Some(ttl) = accepted.ttl.filter(|ttl| *ttl < push.ttl) {
        say(format_args!(
            "the push service keeps the message only for {} s",
            ttl.as_secs()
        ));
    }
    match &accepted.message {
        // With --receipt, the receipt is the result.
        Some(message) if arguments.receipt => say(message),
        Some(message) => print_line(message)?,
        None => say("the push service accepted the message, but gave it no URL"),
    }
    if !arguments.receipt {
        return Ok(Exit::Done);
    }
    let kept = accepted.ttl.unwrap_or(push.ttl).min(push.ttl).as_secs();
    let patience = Duration::from_secs(kept.into()).saturating_add(RECEIPT_GRACE);
    receipt(&sender, &accepted, arguments.timeout.unwrap_or(patience)).await
}

/// Waits for the receipt of the message, and prints it.
async fn receipt(sender: &Sender, accepted: &Accepted, patience: Duration) -> Result<Exit, Failure> {
    let (Some(message), Some(subscription)) = (&accepted.message, &accepted.receipts) else {
        let why = "the push service has the message, but sends no receipts";
        return Err(Failure::new(Exit::Unreachable, why));
    };
    let mut signals = Signals::listen().map_err(|error| Failure::new(Exit::Failed, error))?;
    let mut receipts = sender.receipts(subscription);
    let until = Instant::now() + patience;
    let receipt = loop {
        tokio::select! {
            biased;
            () = signals.next() => {
                let why = "interrupted; the push service still has the message";
                return Err(Failure::new(Exit::Interrupted, why));
            }
            receipt = receipts.next() => {
                let receipt = receipt?;
                if receipt.message == *message {
                    break receipt;
                }
            }
            () = sleep_until(until) => {
                let why = format!("no receipt came within {} s", patience.as_secs());
                return Err(Failure::new(Exit::Unreachable, why));
            }
        }
    };
    if receipt.is_acknowledged {
        print_line("acknowledged by the user agent")?;
        return Ok(Exit::Done);
    }
    print_line("given up by the push service")?;
    Ok(Exit::GivenUp)
}

fn subscription(file: &Path, is_piped: bool) -> Result<PushSubscription, Failure> {
    let name = if is_piped {
        "standard input"
    } else {
        &*file.to_string_lossy()
    };
    let wrong = |why: &dyn std::fmt::Display| Failure::usage(format_args!("{name}: {why}"));
    let limit = PUSH_SUBSCRIPTION_BYTES;
    let content = if is_piped {
        read_at_most(io::stdin(), limit)
    } else {
        File::open(file).and_then(|file| read_at_most(file, limit))
    };
    let content = content.map_err(|error| wrong(&error))?;
    PushSubscription::parse(&String::from_utf8_lossy(&content)).map_err(|error| wrong(&error))
}

fn vapid_key(arguments: &Send) -> Result<Option<VapidKey>, Failure> {
    let Some(file) = &arguments.vapid_key else {
        return Ok(None);
    };
    let key = key_file::read(file).map_err(|error| Failure::of_key(file, &error))?;
    let key = VapidKey::new(key, arguments.subject.clone());
    key.map(Some)
        .map_err(|error| Failure::usage(format_args!("--subject: {error}")))
}

fn push(arguments: &Send) -> Result<Push, Failure> {
    let push = match &arguments.text {
        _ if arguments.no_data => Push::without_data(),
        Some(text) => Push::new(text.clone()),
        None => Push::new(message()?),
    };
    Ok(Push {
        ttl: arguments.ttl,
        urgency: arguments.urgency,
        topic: arguments.topic,
        padding: arguments.padding,
        ..push
    })
}

/// The message from standard input, byte by byte: a line feed at its end belongs to it.
fn message() -> Result<Vec<u8>, Failure> {
    let input = io::stdin();
    if input.is_terminal() {
        say("type the message, then press Ctrl-D");
    }
    read_at_most(input, MAX_PLAINTEXT_BYTES)
        .map_err(|error| Failure::new(Exit::Failed, format_args!("standard input: {error}")))
}

/// Reads one byte more than the limit, so that the caller sees that there is too much.
fn read_at_most(input: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    input.take(limit as u64 + 1).read_to_end(&mut content)?;
    Ok(content)
}
