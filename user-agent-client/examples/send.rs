//! Sends a push message to a subscription, as an application server. It needs no user agent:
//!
//! ```sh
//! cargo run --no-default-features --features application-server --example send -- subscription.json "Hello"
//! ```

use std::error::Error;

use user_agent_client::application_server::{Push, SendError, Sender};
use user_agent_client::{PushSubscription, Trust, Ttl, Urgency};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, text] = &*arguments else {
        return Err("usage: send SUBSCRIPTION_FILE TEXT".into());
    };
    // What the user agent gave: {"endpoint":…,"keys":{"auth":…,"p256dh":…}}.
    let subscription: PushSubscription = std::fs::read_to_string(file)?.parse()?;
    let push = Push {
        ttl: Ttl::from_secs(3_600),
        urgency: Urgency::High,
        ..Push::new(text.clone())
    };

    let sender = Sender::new(Trust::system());
    match sender.send(&subscription, &push, None).await {
        Ok(accepted) => println!("accepted; a DELETE takes it back: {:?}", accepted.message),
        Err(SendError::Gone { .. }) => println!("the subscription has ended: forget it"),
        Err(SendError::Later { after, .. }) => println!("not now; try again after {after:?}"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
