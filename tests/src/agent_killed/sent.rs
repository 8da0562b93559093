//! What application servers sent and what they were answered, and which of it has arrived.

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestResult {
    /// Not at all yet, or without an answer, or with 5xx: stored or not.
    Unknown,
    /// 201.
    Accepted,
}

/// A subscription and the number of its message.
pub type Key = (usize, usize);

/// All messages of all subscriptions.
#[derive(Debug)]
pub struct Sent {
    subscriptions: Vec<Subscription>,
    /// Messages that were accepted and have not arrived.
    missing: usize,
}

#[derive(Debug)]
struct Subscription {
    name: &'static str,
    messages: Vec<Message>,
}

#[derive(Debug)]
struct Message {
    filler: usize,
    result: RequestResult,
    has_arrived: bool,
}

impl Sent {
    /// Nothing was sent to subscriptions of these names yet.
    pub fn new(names: &[&'static str]) -> Self {
        let subscription = |name: &&'static str| Subscription {
            name,
            messages: Vec::new(),
        };
        Self {
            subscriptions: names.iter().map(subscription).collect(),
            missing: 0,
        }
    }

    /// A message is about to be sent: its number, and its text.
    pub fn begin(&mut self, subscription: usize, filler: usize) -> (usize, String) {
        let messages = &mut self.subscriptions[subscription].messages;
        let number = messages.len();
        messages.push(Message {
            filler,
            result: RequestResult::Unknown,
            has_arrived: false,
        });
        (number, text(subscription, number, filler))
    }

    /// A request ended so.
    pub fn answered(&mut self, subscription: usize, message: usize, result: RequestResult) {
        let message = &mut self.subscriptions[subscription].messages[message];
        message.result = result;
        self.missing += usize::from(message.is_missing());
    }

    /// A message has arrived, for the first time or again.
    pub fn arrived(&mut self, (subscription, message): Key) {
        let message = &mut self.subscriptions[subscription].messages[message];
        self.missing -= usize::from(message.is_missing());
        message.has_arrived = true;
    }

    /// Messages that were accepted and have not arrived.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// The same, each in words.
    pub fn lost(&self) -> Vec<String> {
        let mut lost = Vec::new();
        for subscription in &self.subscriptions {
            for (number, message) in subscription.messages.iter().enumerate() {
                if message.is_missing() {
                    lost.push(format!("lost: {} {number} was accepted", subscription.name));
                }
            }
        }
        lost
    }

    /// How many messages were accepted, and how many have arrived.
    pub fn figures(&self) -> (usize, usize) {
        let all = || self.subscriptions.iter().flat_map(|one| &one.messages);
        let accepted = all().filter(|message| message.result == RequestResult::Accepted);
        let arrived = all().filter(|message| message.has_arrived);
        (accepted.count(), arrived.count())
    }

    /// Which message of the subscription with this name has this text, compared character by character.
    ///
    /// # Errors
    ///
    /// When no application server sent that, in words.
    pub fn find(&self, name: &str, arrived: &str) -> Result<Key, String> {
        let number = arrived
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.parse().ok());
        let found = self.subscriptions.iter().enumerate().find_map(|(at, one)| {
            let number: usize = number?;
            let message = one.messages.get(number).filter(|_| one.name == name)?;
            (text(at, number, message.filler) == arrived).then_some((at, number))
        });
        found.ok_or_else(|| format!("this was never sent to {name}: {arrived:?}"))
    }

    /// The text of a message.
    #[cfg(test)]
    pub(super) fn text(&self, (subscription, message): Key) -> String {
        let filler = self.subscriptions[subscription].messages[message].filler;
        text(subscription, message, filler)
    }

    /// A message in words.
    pub fn name(&self, (subscription, message): Key) -> String {
        format!("{} {message}", self.subscriptions[subscription].name)
    }
}

impl Message {
    fn is_missing(&self) -> bool {
        self.result == RequestResult::Accepted && !self.has_arrived
    }
}

/// Texts that a careless line would be broken by.
fn text(subscription: usize, number: usize, filler: usize) -> String {
    format!("{subscription} {number} \"größe\"\n🙂\t{}", "~".repeat(filler))
}
