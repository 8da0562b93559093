//! Files with secrets that the operator made: `serve` says at its start if every user of the machine can read them.
//!
//! Their modes are the operator's matter, so they are not changed. Files that the service makes itself are closed where they
//! are made ([`crate::private`]).

use std::fs;
use std::path::{Path, PathBuf};

use push_protocol::capability::SealingKey;

use crate::config::{Config, Credential, Secret, StorageUrl};
use crate::private;

/// Logs each such file.
pub(super) fn warn_of_exposed(config: &Config, file: Option<&Path>) {
    for file in exposed(config, file) {
        private::warn_of(&file);
    }
}

/// The files with secrets that every user can read. Blocks on the file system.
fn exposed(config: &Config, file: Option<&Path>) -> Vec<PathBuf> {
    let file = file.filter(|file| holds_secret(config, file));
    let own = file.into_iter().chain(config.tls.key.as_deref());
    let further = config
        .tls
        .directory
        .iter()
        .flat_map(|directory| keys_in(directory));
    own.map(Path::to_owned)
        .chain(further)
        .filter(|file| private::is_exposed(file))
        .collect()
}

/// Whether this file, and not only the environment, has a secret of the configuration.
fn holds_secret(config: &Config, file: &Path) -> bool {
    // A pipe was read once, and has no secret left.
    let text = fs::metadata(file).ok().filter(fs::Metadata::is_file);
    let Some(text) = text.and_then(|_| fs::read_to_string(file).ok()) else {
        return false;
    };
    let security = &config.security;
    let word = security.user_agent_secret.as_ref().map(Secret::expose);
    let url = match &config.storage.url {
        StorageUrl::Redis(url) => Some(url.expose()).filter(|url| url.contains('@')),
        StorageUrl::Embedded { .. } | StorageUrl::Memory => None,
    };
    let password = config.storage.redis.password.as_ref().map(Credential::expose);
    let keys = security.sealing_keys.iter();
    word.into_iter()
        .chain(url)
        .chain(password)
        .any(|secret| text.contains(secret))
        || keys.map(SealingKey::to_base64url).any(|key| text.contains(&key))
}

/// The keys of `tls.directory`.
fn keys_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    files
        .filter(|file| file.extension().is_some_and(|extension| extension == "key"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    /// The operator hears of each file with a secret that every user can read, and of no other.
    #[test]
    fn files_that_all_can_read_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let (key, named) = (directory.path().join("tls.key"), directory.path().join("a.key"));
        let text = format!(
            "[listen]\ntls = ['127.0.0.1:0']\n[tls]\ncertificate = 'c.pem'\nkey = '{}'\ndirectory = '{}'\n\
             [security]\nsealing_keys = ['{KEY}']\n",
            key.display(),
            directory.path().display()
        );
        let file = directory.path().join("push.toml");
        let all = [&file, &named, &key];
        fs::write(&file, &text).unwrap();
        fs::write(&named, "key").unwrap();
        fs::write(&key, "key").unwrap();
        let config = Config::from_sources(Some(("push.toml", &text)), HashMap::new()).unwrap();
        let found = |mode| {
            for file in all {
                fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
            }
            let mut found = exposed(&config, Some(&file));
            found.sort();
            found.dedup();
            found
        };
        let mut expected: Vec<_> = all.into_iter().cloned().collect();
        expected.sort();
        assert_eq!(found(0o644), expected);
        assert_eq!(
            found(0o640),
            [] as [PathBuf; 0],
            "a group that the operator chose"
        );
        found(0o644);
        fs::write(&file, "public_url = 'https://push.example'").unwrap();
        assert!(!exposed(&config, Some(&file)).contains(&file), "it has no secret");
    }
}
