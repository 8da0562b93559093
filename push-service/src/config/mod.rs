//! The configuration: read once, parsed into types, refused before a port opens.
//!
//! Three sources, the later over the earlier: the defaults, a TOML file, the environment
//! (`PUSH_SERVICE__SECTION__KEY`). An unknown key is refused with the nearest known one, and a bad value with a sentence
//! that names key, value and what is accepted. All faults are told at once. Secrets are never printed: neither by
//! `Debug`, nor in a fault.
//!
//! Every key stands once, in `schema.rs`: its documentation, default and range make the struct, the reader and
//! [`template()`].
//!
//! What it deliberately does not know: files that it names are opened where they are used.

mod acme;
mod check;
mod given;
mod schema;
mod sections;
mod setting;
mod sources;
mod summary;
mod template;
#[cfg(test)]
mod tests;
mod values;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

pub use acme::{AcmeDirectory, Domain, MailAddress};
pub use schema::{Acme, Channels, Cluster, Config, Drain, Limits, Listen, Redis, Security, Storage, Tls};
pub use template::template;
pub use values::{AlternativeServices, IpNetwork, Prefix, Secret, StorageUrl};

use crate::storage::{Caps, QueueLimits, Rate};
use sections::{Reader, Section as _};

impl Config {
    /// Reads the defaults, then `file`, then the environment, and checks the whole.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is no TOML, an unknown key, a bad value, or keys that contradict each other.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let variables = environment()?;
        let Some(path) = file else {
            return Self::from_sources(None, variables);
        };
        let name = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|error| ConfigError::one(format!("{name}: {error}")))?;
        Self::from_sources(Some((&name, &text)), variables)
    }

    /// The same from a file's name and text, and from the environment variables that begin with `PUSH_SERVICE__`.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn from_sources(
        file: Option<(&str, &str)>,
        variables: HashMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(sources::collect(file, variables)?);
        let config = Self::read(&mut reader);
        if !reader.faults.is_empty() {
            return Err(ConfigError {
                faults: reader.faults,
            });
        }
        config.check()?;
        Ok(config)
    }

    /// Checks what no single value can show. For a configuration that was put together in code.
    ///
    /// # Errors
    ///
    /// Every contradiction.
    pub fn check(&self) -> Result<(), ConfigError> {
        let faults = check::faults(self);
        if faults.is_empty() {
            Ok(())
        } else {
            Err(ConfigError { faults })
        }
    }
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
    fn one(fault: String) -> Self {
        Self { faults: vec![fault] }
    }

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

/// Our variables. What is no text is refused without its value, which may be a secret.
fn environment() -> Result<HashMap<String, String>, ConfigError> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.to_ascii_uppercase().starts_with(given::PREFIX))
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(ConfigError::one(format!("{name}: its value is not UTF-8"))),
        })
        .collect()
}
