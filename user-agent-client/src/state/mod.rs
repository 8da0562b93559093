//! What a user agent keeps, so that a crash loses neither keys nor subscriptions: in a directory, or for a test in memory.
//!
//! The session says every [`Change`] before it does what rests on it (see [`push_protocol::session::user_agent`]), and
//! [`State::save`] keeps it. Where changes come together, [`State::apply`] takes each and [`State::write`] keeps all of them with
//! one write. What it guarantees in a directory, when that has returned:
//!
//! - A change of identity or subscriptions outlives a power loss. It is kept as a whole or not at all.
//! - The outcome of a message survives the death of the process. A power loss may take the last of it away; then a message
//!   may be handled again, and none is lost.
//!
//! The directory, of mode 0700 if it was made here:
//!
//! | file | mode | |
//! |---|---|---|
//! | `lock` | 0600 | the number of the process that uses the directory, which has locked it and the directory (`flock`) |
//! | `state.json` | 0600 | the service's URL, the identity, the subscriptions with labels and keys; a digest |
//! | `messages.log` | 0600 | the last messages that were tried or are done, by subscription and id; each record has a checksum |
//! | `*.new` | 0600 | a file that is not whole yet; a crash may leave it, and the next start removes it |
//!
//! `state.json` is replaced with each write: the new one is written beside it and synced, gets its name, and the
//! directory is synced. `messages.log` is appended to and not synced; its file says why that is right.
//!
//! **Invariant:** what is in memory is what is in `state.json` and what was applied since, or a write has failed. That is final:
//! every further change of identity or subscriptions is refused, as the session already rests on what was not kept.
//! The directory has the old state then, or the new one if it was the last sync that failed. It is never tried again.
//!
//! A damaged `state.json` is refused and not touched: that subscriptions are gone is never guessed. A damaged record of
//! `messages.log` is passed over. Files that others could read are closed to them and it is logged, rather than refused.
//!
//! What it deliberately does not know: what the changes mean to the service or the application.

// PR-1, PR-5.

mod directory;
mod document;
mod error;
mod messages_log;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use push_protocol::encryption::SubscriptionKeys;
use push_protocol::identifiers::SubscriptionName;
use push_protocol::session::user_agent::{Change, Durable, Registration};
use ring::rand::{SecureRandom as _, SystemRandom};

use directory::Directory;
#[cfg(test)]
pub(crate) use directory::WRITTEN;
use document::LogId;
pub use error::{FileError, StateError};
use messages_log::MessagesLog;
pub use snapshot::Snapshot;
use snapshot::{Entry, is_label};

use crate::defaults::SUBSCRIPTIONS;
use crate::server_url::ServerUrl;
use crate::subscription::Subscription;

/// What a user agent keeps. The only one to use its directory.
///
/// In memory it takes next to nothing until there is something to keep.
#[derive(Debug, Default)]
pub struct State {
    kept: Snapshot,
    /// Labels and keys of subscriptions that are about to be asked for.
    prepared: BTreeMap<SubscriptionName, Arc<Entry>>,
    /// In a box, because thousands in one process have none.
    disk: Option<Box<Disk>>,
}

#[derive(Debug)]
struct Disk {
    directory: Directory,
    log: MessagesLog,
    log_id: LogId,
    /// There are changes that were not written.
    is_behind: bool,
    has_failed: bool,
    /// Bytes of the last `state.json` that was written.
    bytes: usize,
}

/// Reads what is kept in a directory, also while a user agent uses it, and changes nothing there. The last messages are
/// not read: [`Durable::messages`] is empty.
///
/// # Errors
///
/// There is no such directory, or its state can't be read.
pub fn read(directory: &Path) -> Result<Snapshot, StateError> {
    directory::check(directory)?;
    let read = directory::read_state(directory)?;
    Ok(read.map(|(snapshot, _)| snapshot).unwrap_or_default())
}

impl State {
    /// Nothing is kept beyond the process.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Takes a directory for this process alone, and makes it if it is missing. Blocks for some syncs of the disk if
    /// it is new, and for 30 µs for each subscription.
    ///
    /// # Errors
    ///
    /// Another process has it, it can't be written to, or what is in it can't be used; then nothing in it was touched.
    pub fn open(directory: &Path) -> Result<Self, StateError> {
        let mut directory = Directory::open(directory)?;
        let (mut kept, log_id) = match directory.read()? {
            Some(read) => read,
            None => {
                let begun = (Snapshot::default(), random_bits()?);
                directory.write(&begun.0, begun.1)?;
                begun
            }
        };
        let log = MessagesLog::open(directory.place(directory::MESSAGES), log_id, &mut kept.durable);
        Ok(Self {
            kept,
            prepared: BTreeMap::new(),
            disk: Some(Box::new(Disk {
                directory,
                log,
                log_id,
                is_behind: false,
                has_failed: false,
                bytes: 0,
            })),
        })
    }

    /// The service that all is with; `None` until it was set.
    pub fn server(&self) -> Option<&ServerUrl> {
        self.kept.server()
    }

    /// Says which service all is with, or where on its host that is now. Any service is taken until one has confirmed
    /// something, an identity or a subscription. After that another port, scheme or secret is taken, another service never:
    /// identity and subscriptions are of no use to that one, and the identity is a secret. Another transport is
    /// taken while there are no subscriptions: what they are to the service depends on it. Over HTTP/2 the URL of the
    /// subscription set, once there is one, decides where that is monitored, whatever port is said here.
    ///
    /// # Errors
    ///
    /// [`StateError::OtherService`], [`StateError::OtherTransport`], or it can't be kept.
    // WS-CLS-3.
    pub fn set_server(&mut self, server: &ServerUrl) -> Result<(), StateError> {
        let mut forgets = false;
        match self.server() {
            Some(known) if known == server => return Ok(()),
            Some(_) if !self.is_bound() => {}
            Some(known) if !known.is_same_service(server) => {
                return Err(StateError::OtherService(known.clone()));
            }
            Some(known) if known.transport() != server.transport() => {
                if !self.durable().registrations.is_empty() {
                    return Err(StateError::OtherTransport(known.clone()));
                }
                forgets = true;
            }
            Some(_) | None => {}
        }
        self.may_change()?;
        if forgets {
            self.kept.durable.identity = None;
        }
        self.kept.server = Some(server.clone());
        self.mark_changed();
        self.write()
    }

    /// The file of certificates that are trusted beside the system's, if one is remembered.
    pub fn certificates(&self) -> Option<&Path> {
        self.kept.certificates.as_deref()
    }

    /// Remembers a file of certificates that are trusted beside the system's. The path is kept, made absolute, and not what is
    /// in the file: so a CA that is renewed there is followed.
    ///
    /// # Errors
    ///
    /// [`StateError::NotText`], or it can't be kept.
    pub fn set_certificates(&mut self, file: &Path) -> Result<(), StateError> {
        let file = std::path::absolute(file).map_err(|error| StateError::of_file(file, error))?;
        if self.certificates() == Some(&*file) {
            return Ok(());
        }
        if file.to_str().is_none() {
            return Err(StateError::NotText(file));
        }
        self.may_change()?;
        self.kept.certificates = Some(file.into());
        self.mark_changed();
        self.write()
    }

    /// Whether a service has confirmed anything.
    fn is_bound(&self) -> bool {
        let is_confirmed = |registration: &Registration| {
            let was_confirmed = registration.resource.is_some() || registration.replaced.is_some();
            was_confirmed || registration.push_resource().is_some()
        };
        let durable = self.durable();
        let mut registrations = durable.registrations.values();
        durable.identity.is_some() || registrations.any(|registration| is_confirmed(registration))
    }

    /// What the session has to know: what a [`UserAgent`](push_protocol::session::user_agent::UserAgent) begins with.
    pub fn durable(&self) -> &Durable {
        self.kept.durable()
    }

    /// The subscriptions that the application wants, by label.
    pub fn subscriptions(&self) -> impl Iterator<Item = Subscription> {
        self.kept.subscriptions()
    }

    /// The subscription with this label, unless it is ending.
    pub fn subscription(&self, label: &str) -> Option<Subscription> {
        self.kept.subscription(label)
    }

    /// The name of the subscription with this label, unless it is ending.
    pub fn name_of(&self, label: &str) -> Option<SubscriptionName> {
        self.kept.name_of(label)
    }

    /// The subscription of this name, unless it is ending.
    pub fn named(&self, name: SubscriptionName) -> Option<Subscription> {
        self.kept.named(name)
    }

    /// The label of a subscription, also of one that is ending.
    pub fn label_of(&self, name: SubscriptionName) -> Option<&str> {
        self.kept.label_of(name)
    }

    /// The keys of a subscription, also of one that is ending.
    pub fn keys(&self, name: SubscriptionName) -> Option<&SubscriptionKeys> {
        self.kept.keys(name)
    }

    /// Makes name and keys for a subscription of this label. They are kept with the [`Change::Asked`] of that name, and
    /// forgotten with this `State` if it never comes. Prepared again before that, a label gets the same name.
    ///
    /// # Errors
    ///
    /// The label can't be one or is in use, or there are too many subscriptions. The label of a subscription that is ending
    /// is free: the new one has another name.
    pub fn prepare(&mut self, label: &str) -> Result<SubscriptionName, StateError> {
        if !is_label(label) {
            return Err(StateError::BadLabel);
        }
        if self.name_of(label).is_some() {
            return Err(StateError::LabelInUse(label.into()));
        }
        if let Some((name, _)) = self.prepared.iter().find(|(_, entry)| &*entry.label == label) {
            return Ok(*name);
        }
        if self.kept.entries.len() + self.prepared.len() >= SUBSCRIPTIONS {
            return Err(StateError::TooManySubscriptions);
        }
        let name = random_name()?;
        self.prepared.insert(name, Arc::new(Entry::new(label)?));
        Ok(name)
    }

    /// Keeps a change, with all that follows for labels and keys: what has ended is forgotten, and new keys are drawn where the
    /// old ones must not go on.
    ///
    /// Blocks: for a message, for one write to the system's cache (measured: 3 µs; once in 50,000 it writes the log anew,
    /// 10 ms); else for two syncs of the disk, and 10 µs for each subscription.
    ///
    /// # Errors
    ///
    /// It could not be kept. If that [is about messages only](StateError::is_about_messages_only), the user agent may go on
    /// and the next record tries to make up for it; else it has to end, before it does what follows.
    // WP-RFR-1.
    pub fn save(&mut self, change: &Change) -> Result<(), StateError> {
        self.apply(change)?;
        if change.is_about_a_message() {
            return Ok(());
        }
        self.write()
    }

    /// Takes a change as [`save`](Self::save) does. One of identity or subscriptions is kept by the next
    /// [`write`](Self::write), before which nothing may be done that rests on it.
    ///
    /// # Errors
    ///
    /// As `save`.
    // PR-1.
    pub fn apply(&mut self, change: &Change) -> Result<(), StateError> {
        if change.is_about_a_message() {
            self.kept.durable.apply(change);
            return match &mut self.disk {
                Some(disk) => disk.log.append(change, &self.kept.durable.messages),
                None => Ok(()),
            };
        }
        self.may_change()?;
        self.kept.apply(change, &self.prepared)?;
        self.mark_changed();
        if let Change::Asked { name, .. } = change {
            self.prepared.remove(name);
        }
        if self.prepared.is_empty() {
            // An empty map keeps room for eleven.
            self.prepared = BTreeMap::new();
        }
        Ok(())
    }

    /// Whether every change is kept.
    pub fn is_written(&self) -> bool {
        self.disk.as_ref().is_none_or(|disk| !disk.is_behind)
    }

    /// Keeps all changes that were applied, with one write. Blocks as [`save`](Self::save) does, unless there is no change.
    ///
    /// # Errors
    ///
    /// They could not be kept, and never are.
    pub fn write(&mut self) -> Result<(), StateError> {
        let Some(disk) = self.disk.as_mut().filter(|disk| disk.is_behind) else {
            return Ok(());
        };
        if disk.has_failed {
            return Err(StateError::Failed);
        }
        let written = disk.directory.write(&self.kept, disk.log_id);
        disk.has_failed = written.is_err();
        disk.bytes = written?;
        disk.is_behind = false;
        Ok(())
    }

    /// How many bytes the last write had.
    pub fn written_bytes(&self) -> usize {
        self.disk.as_ref().map_or(0, |disk| disk.bytes)
    }

    fn may_change(&self) -> Result<(), StateError> {
        match &self.disk {
            Some(disk) if disk.has_failed => Err(StateError::Failed),
            Some(_) | None => Ok(()),
        }
    }

    fn mark_changed(&mut self) {
        if let Some(disk) = &mut self.disk {
            disk.is_behind = true;
        }
    }
}

/// A UUID of version 4 (RFC 9562 §5.4).
fn random_name() -> Result<SubscriptionName, StateError> {
    let mut bits = random_bits()?;
    bits[6] = bits[6] & 0x0f | 0x40;
    bits[8] = bits[8] & 0x3f | 0x80;
    Ok(SubscriptionName(bits))
}

fn random_bits() -> Result<[u8; 16], StateError> {
    let mut bits = [0; 16];
    SystemRandom::new()
        .fill(&mut bits)
        .map_err(|_| StateError::NoRandomness)?;
    Ok(bits)
}
