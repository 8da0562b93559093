//! The configuration: read once, parsed into types, refused before a port opens.
//!
//! Three sources, the later over the earlier: the defaults, a TOML file, the environment
//! (`PUSH_SERVICE__SECTION__KEY`, or `PUSH_SERVICE__SECTION__KEY_FILE` with the path of a file that has the value). An unknown key is refused with the nearest known one, and a bad value with a sentence
//! that names key, value and what is accepted. Secrets are never printed: neither by `Debug`, nor in a fault.
//!
//! All faults are told at once ([`Examined`]): of the sources, of values, of keys that contradict each other or have no
//! effect, and of files that are not there. A fault that only follows from another one is left out.
//!
//! Every key stands once, in `schema.rs`: its documentation, default and range make the struct, the reader and
//! [`template()`].
//!
//! What it deliberately does not know: what is in the files that its keys name. They are opened where they are used.

mod acme;
mod check;
mod environment;
mod examined;
mod fault;
mod given;
mod key_files;
mod named_files;
mod schema;
mod sections;
mod setting;
mod sources;
mod summary;
mod template;
#[cfg(test)]
mod tests;
mod unsure;
mod values;
mod without_effect;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

pub use acme::{AcmeDirectory, Domain, MailAddress};
pub use examined::Examined;
pub use schema::{
    Acme, Admin, Channels, Cluster, Config, Drain, Limits, Listen, Log, Redis, Security, Storage, Tls,
};
pub use template::template;
pub use values::{
    AlternativeServices, Credential, ForwardedHeader, HostName, IpNetwork, Prefix, Secret, StorageUrl,
};

use crate::storage::{Caps, QueueLimits, Rate};
use unsure::Unsure;

impl Config {
    /// Reads the defaults, then `file`, then the environment, and checks the whole.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is no TOML, an unknown key or variable, a bad value, or keys that contradict each other or
    /// have no effect.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Examined::read(file).finish()
    }

    /// The same from a file's name and text, and from environment variables. Those of other programs are ignored.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn from_sources(
        file: Option<(&str, &str)>,
        variables: HashMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        let file = file.map(|(name, text)| (name.to_owned(), Ok(text.to_owned())));
        Examined::from_sources(file, variables).finish()
    }

    /// Checks what no single value can show. For a configuration that was put together in code.
    ///
    /// # Errors
    ///
    /// Every contradiction.
    pub fn check(&self) -> Result<(), ConfigError> {
        let faults = check::faults(self, &Unsure::default());
        if faults.is_empty() {
            Ok(())
        } else {
            Err(ConfigError { faults })
        }
    }
}

/// Reads a time as the configuration has it, such as `1h`.
pub fn duration(text: &str) -> Option<std::time::Duration> {
    setting::Setting::parse(&setting::Raw::Text(text.to_owned()))
}

impl Limits {
    /// What may wait for one user agent, as storage takes it.
    pub fn queue_limits(&self) -> QueueLimits {
        QueueLimits {
            messages: self.queue_messages,
            bytes: self.queue_bytes,
        }
    }

    /// How many bytes may wait of one sender and of all, as storage takes it.
    pub fn caps(&self) -> Caps {
        Caps {
            sender_bytes: self.sender_bytes,
            store_bytes: self.store_bytes,
        }
    }

    /// How fast one subscription may be pushed to, as storage takes it; `None` if without limit.
    pub fn rate(&self) -> Option<Rate> {
        (self.pushes_per_second > 0.0).then(|| Rate {
            per_second: self.pushes_per_second,
            burst: f64::from(self.pushes_burst),
        })
    }
}

/// Why the service does not start: what the operator has to mend, one sentence each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    faults: Vec<String>,
}

impl ConfigError {
    /// The sentences. At least one; none holds a secret.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.faults.join("\n"))
    }
}

impl std::error::Error for ConfigError {}
