//! An application server: encrypts a message for one subscription, signs who sends it, and prints the HTTP request.
//!
//! ```sh
//! cargo run -p push-protocol --example message
//! ```

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use push_protocol::encryption::{Recipient, SubscriptionKeys};
use push_protocol::origin::Origin;
use push_protocol::vapid::SigningKey;
use push_protocol::{Topic, Ttl, Urgency};
use ring::rand::SystemRandom;

fn main() -> Result<(), Box<dyn Error>> {
    let random = SystemRandom::new();

    // The user agent shows these three: in a browser, they are in the JSON of its `PushSubscription`.
    let keys = SubscriptionKeys::generate(&random)?;
    let (endpoint, p256dh, auth) = ("https://push.example.net/push/abc", keys.p256dh(), keys.auth());

    // Only this subscription's user agent can read the body (RFC 8291). No zeros hide the length.
    let recipient = Recipient::parse(&p256dh, &auth)?;
    let body = recipient.encrypt(b"Hello", 0, &random)?;

    // Make the key once and keep it: subscriptions may be restricted to it (RFC 8292).
    let pkcs8 = SigningKey::generate_pkcs8(&random)?;
    let key = SigningKey::from_pkcs8(&pkcs8, &random)?;

    // One token is good for many messages to this service, for 24 hours at most.
    let service: Origin = "https://push.example.net".parse()?;
    let expires = SystemTime::now().duration_since(UNIX_EPOCH)? + Duration::from_secs(12 * 3600);
    let contact = Some("mailto:operator@example.com");
    let token = key.sign(service.as_str(), expires.as_secs(), contact, &random)?;

    // A newer message with this topic replaces this one if it still waits.
    let topic: Topic = "news".parse()?;
    println!("POST {endpoint}");
    println!("TTL: {}", Ttl::from_secs(3600));
    println!("Urgency: {}", Urgency::Normal);
    println!("Topic: {}", topic.as_str());
    println!("Content-Encoding: aes128gcm");
    println!("Authorization: {}", key.authorization_header(&token));
    println!("\n({} bytes)", body.len());
    Ok(())
}
