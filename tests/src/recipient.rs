//! What an application server was told of a subscription: where to send, and the keys to encrypt for.
//!
//! It uses the encryption of the protocol crate, because messages are encrypted by the thousand. Other senders read what it
//! encrypts in the tests with browsers.

use std::fmt;

use push_protocol::encryption;
use ring::rand::SystemRandom;
use serde_json::Value;

/// A subscription, as its application server knows it.
pub struct Recipient {
    /// Where messages are sent to.
    pub push_resource: String,
    keys: encryption::Recipient,
}

impl Recipient {
    /// Reads what `subscribe` printed.
    ///
    /// # Panics
    ///
    /// When it is no `PushSubscription` in JSON.
    pub fn read(subscription: &str) -> Self {
        let subscription: Value = serde_json::from_str(subscription).expect("a PushSubscription in JSON");
        let text = |pointer| {
            let member = subscription.pointer(pointer).and_then(Value::as_str);
            member.expect("a member of a PushSubscription")
        };
        Self {
            push_resource: text("/endpoint").to_owned(),
            keys: encryption::Recipient::parse(text("/keys/p256dh"), text("/keys/auth"))
                .expect("keys of a PushSubscription"),
        }
    }

    /// The body that carries this text.
    ///
    /// # Panics
    ///
    /// When the text is too long for a message.
    pub fn encrypt(&self, text: &str) -> Vec<u8> {
        let body = self.keys.encrypt(text.as_bytes(), 0, &SystemRandom::new());
        body.expect("the text has room")
    }

    /// The last part of its push resource.
    pub fn name(&self) -> &str {
        self.push_resource
            .rsplit('/')
            .next()
            .expect("the last part of a path")
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recipient(…)")
    }
}
