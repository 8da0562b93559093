//! Receives push messages, and prints them until Ctrl-C:
//!
//! ```sh
//! cargo run --example receive -- wss://push.example.net/ ./state
//! ```

use std::error::Error;

use user_agent_client::{Event, Options, ServerUrl, State, Trust, UserAgent};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, directory] = &*arguments else {
        return Err("usage: receive SERVER_URL STATE_DIRECTORY".into());
    };
    let server: ServerUrl = server.parse()?;
    let state = State::open(directory.as_ref())?;
    let (agent, mut events) = UserAgent::start(server, Trust::system(), state, &Options::default())?;

    // It resolves when the push service has confirmed the subscription. The same name is the same subscription at every start.
    let subscribing = tokio::spawn({
        let agent = agent.clone();
        async move { agent.subscribe("example", None).await }
    });
    tokio::spawn(async move {
        match subscribing.await {
            Ok(Ok(subscription)) => {
                println!(
                    "for the application server: {}",
                    subscription.to_json().unwrap_or_default()
                );
            }
            Ok(Err(error)) => eprintln!("not subscribed: {error}"),
            Err(error) => eprintln!("not subscribed: {error}"),
        }
    });

    loop {
        let event = tokio::select! {
            event = events.next() => event,
            _ = tokio::signal::ctrl_c() => break,
        };
        match event {
            Some(Event::Message(message)) => {
                let text = message
                    .data()
                    .map_or_else(String::new, user_agent_client::message::Data::text);
                println!("{}: {text}", message.subscription());
                // Last, when the work is done: until then, the message comes again after a crash.
                message.acknowledge();
            }
            Some(Event::Disconnected { why, again_in }) => eprintln!("{why}; again in {again_in:?}"),
            Some(Event::Failed(error)) => return Err(error.into()),
            Some(_) => {}
            None => break,
        }
    }
    // Acknowledgements that are on their way are sent, and the state directory is free.
    agent.stop().await;
    Ok(())
}
