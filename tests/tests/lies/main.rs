//! The user agent's command keeps its promise whatever the push service says, and whatever happens to the command's handler.
//!
//! The services that lie are those of [`push_tests::liar`]. Where the service is not the one at fault, it is a real node.

mod attempts;
mod floods;
mod forgetting;
mod honest;
mod leaving;
mod sharing;
mod state;
mod words;

use std::time::Duration;

use push_tests::application_server::{Http, Push};
use push_tests::node::Node;
use push_tests::recipient::Recipient;

/// How long a lie, or an outage, lasts that the user agent must not fall for. Chosen: longer than three attempts of a message
/// and the waits between them.
const OUTAGE: Duration = Duration::from_secs(9);

/// Sends these texts, encrypted, to a subscription of this node.
async fn deliver(node: &Node, subscription: &str, texts: impl IntoIterator<Item = String>) {
    let recipient = Recipient::read(subscription);
    let mut http = Http::connect(&node.connector()).await.expect("the node listens");
    for text in texts {
        let push = Push::new(&recipient.push_resource, "").body(recipient.encrypt(&text));
        assert_eq!(http.push(&push).await.status, 201);
    }
}
