//! A configuration as it was read, with all that is wrong with it.

use std::ffi::OsString;
use std::path::Path;

use super::sections::{Reader, Section as _};
use super::unsure::Unsure;
use super::{Config, ConfigError, check, named_files, sources};

/// A configuration as it was read, with all that is wrong with it. A value that was refused is its default here.
pub struct Examined {
    config: Config,
    faults: Vec<String>,
    unsure: Unsure,
}

impl Examined {
    /// Reads the defaults, then `file`, then the environment, and checks the whole.
    pub fn read(file: Option<&Path>) -> Self {
        let file = file.map(|path| {
            let text = std::fs::read_to_string(path);
            (
                path.display().to_string(),
                text.map_err(|error| error.to_string()),
            )
        });
        Self::from_sources(file, std::env::vars_os())
    }

    /// The same from a file's name and its text (or why it cannot be read), and from environment variables.
    pub(super) fn from_sources(
        file: Option<(String, Result<String, String>)>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let collected = sources::collect(file, variables);
        let mut reader = Reader::new(collected.given, collected.unsure);
        let config = Config::read(&mut reader);
        let Reader {
            faults: of_values,
            unsure,
            ..
        } = reader;
        let mut faults = collected.faults;
        faults.extend(of_values);
        faults.extend(check::faults(&config, &unsure));
        Self {
            config,
            faults,
            unsure,
        }
    }

    /// Also looks whether the files that it names are there and may be read by this user.
    #[must_use]
    pub fn with_files(mut self) -> Self {
        let faults = named_files::faults(&self.config, &mut self.unsure);
        self.faults.extend(faults);
        self
    }

    /// The configuration, refused values as their defaults: see [`Examined::is_sure_of`].
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What is wrong, one sentence each.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Whether what stands in these keys is what the operator wants: nothing that was given for them was refused.
    pub fn is_sure_of(&self, keys: &[&str]) -> bool {
        self.unsure.is_sure_of(keys)
    }

    /// The configuration, if nothing is wrong with it.
    ///
    /// # Errors
    ///
    /// Every fault.
    pub fn finish(self) -> Result<Config, ConfigError> {
        if self.faults.is_empty() {
            Ok(self.config)
        } else {
            Err(ConfigError { faults: self.faults })
        }
    }
}
