//! Variables that name a file with the value of a key, for secrets: `PUSH_SERVICE__STORAGE__URL_FILE` names a file with
//! `storage.url`.
//!
//! Such a value counts as one of the environment. A key that itself ends in `_file` stays what it is: its variable has the value, and
//! only a second `_FILE` names a file with it.
//!
//! **Invariant:** nothing of a file's content stands in a fault, whichever key it is for: somebody may have named the wrong file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::given::{ENDING, variable};
use crate::defaults::KEY_FILE_BYTES;

/// A variable that names a file with the value of a key.
pub(super) struct KeyFile {
    /// The key, dotted.
    pub(super) key: String,
    /// The path, as the variable has it.
    pub(super) path: String,
    /// Whether the environment also has the key itself.
    pub(super) is_second: bool,
}

/// Takes those variables out that name files. `known` are the dotted keys of the configuration.
pub(super) fn take(variables: &mut HashMap<String, String>, known: &[String]) -> Vec<KeyFile> {
    let mut taken = Vec::new();
    for key in known {
        let with_ending = format!("{key}{ENDING}");
        if known.contains(&with_ending) {
            continue;
        }
        if let Some(path) = take_one(variables, &variable(&with_ending)) {
            taken.push(KeyFile {
                key: key.clone(),
                path,
                is_second: is_there(variables, &variable(key)),
            });
        }
    }
    taken
}

/// The names of variables are read in upper and in lower case, like those of the keys.
fn take_one(variables: &mut HashMap<String, String>, name: &str) -> Option<String> {
    let given = variables.keys().find(|given| given.eq_ignore_ascii_case(name))?;
    let given = given.clone();
    variables.remove(&given)
}

fn is_there(variables: &HashMap<String, String>, name: &str) -> bool {
    variables.keys().any(|given| given.eq_ignore_ascii_case(name))
}

impl KeyFile {
    /// The variable.
    pub(super) fn variable(&self) -> String {
        variable(&format!("{}{ENDING}", self.key))
    }

    /// Reads the value: without a byte order mark, and without the line ends at the end.
    ///
    /// # Errors
    ///
    /// A sentence that names the variable and the file.
    pub(super) fn read(&self) -> Result<String, String> {
        if self.is_second {
            return Err(format!(
                "{} and {} are both set: remove one of them",
                variable(&self.key),
                self.variable()
            ));
        }
        if self.path.is_empty() {
            return Err(format!(
                "{} is empty: set it to the path of a file with the value of {}, or remove it",
                self.variable(),
                self.key
            ));
        }
        content(Path::new(&self.path)).map_err(|why| self.fault(&why))
    }

    fn fault(&self, why: &Refused) -> String {
        let (variable, path) = (self.variable(), Path::new(&self.path));
        let directory = std::env::current_dir().unwrap_or_default();
        let directory = directory.display();
        match why {
            // Perhaps it is no path, but the secret itself.
            Refused::Io(_) if !looks_like_a_path(&self.path) && path.symlink_metadata().is_err() => {
                format!(
                    "{variable}: its value names no file in the working directory {directory}, and is not shown, because it may \
                     be a secret: this variable takes the path of a file, {} takes the value",
                    super::given::variable(&self.key)
                )
            }
            _ if path.is_relative() => {
                format!(
                    "{variable}: {} in the working directory {directory}: {why}",
                    self.path
                )
            }
            _ => format!("{variable}: {}: {why}", self.path),
        }
    }
}

fn looks_like_a_path(text: &str) -> bool {
    ["/", "./", "../"].iter().any(|start| text.starts_with(start))
}

/// Why a file has no value.
#[derive(Debug)]
enum Refused {
    Io(io::Error),
    Directory,
    TooLarge,
    NotText,
    Empty,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Directory => f.write_str("it is a directory, not a file"),
            Self::TooLarge => write!(f, "it is larger than {KEY_FILE_BYTES} bytes"),
            Self::NotText => f.write_str("it is not UTF-8"),
            Self::Empty => f.write_str("it is empty"),
        }
    }
}

/// The text of a file, which may be a pipe. Blocks.
fn content(path: &Path) -> Result<String, Refused> {
    let file = File::open(path).map_err(Refused::Io)?;
    let mut bytes = Vec::new();
    match file.take(KEY_FILE_BYTES as u64 + 1).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() > KEY_FILE_BYTES => return Err(Refused::TooLarge),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => return Err(Refused::Directory),
        Err(error) => return Err(Refused::Io(error)),
    }
    let text = String::from_utf8(bytes).map_err(|_| Refused::NotText)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.trim_end_matches(['\r', '\n']);
    match text.trim().is_empty() {
        true => Err(Refused::Empty),
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sections::{Item, Section as _, dotted};
    use super::super::{Config, ConfigError, StorageUrl};
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    const OTHER_KEY: &str = "HwECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    /// A configuration whose variables name files with these contents.
    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> String {
            self.0.path().join(name).display().to_string()
        }

        /// The path of a new file.
        fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
            std::fs::write(self.path(name), content).unwrap();
            self.path(name)
        }
    }

    fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables = variables
            .iter()
            .map(|(name, value)| (format!("PUSH_SERVICE__{name}"), (*value).to_owned()));
        Config::from_sources(None, variables.collect())
    }

    fn keys() -> Vec<String> {
        let (mut items, mut section, mut keys) = (Vec::new(), "", Vec::new());
        Config::describe(&mut items);
        for item in items {
            match item {
                Item::Section { path, .. } => section = path,
                Item::Key { name, .. } => keys.push(dotted(section, name)),
            }
        }
        keys
    }

    /// Every kind of value is read from a file: text, numbers, times, lists by lines and commas; line ends of any kind and a byte
    /// order mark do not belong to it.
    #[test]
    fn every_kind_of_value_is_read() {
        let files = Files::new();
        let keys = format!("{KEY}\r\n{OTHER_KEY}\r\n");
        let config = read(&[
            (
                "PUBLIC_URL_FILE",
                &files.file("url", "\u{feff}https://push.example\r\n"),
            ),
            ("STORAGE__URL_FILE", &files.file("storage", "memory:\n\n")),
            ("LIMITS__BODY_BYTES_FILE", &files.file("bytes", "8_192\n")),
            ("LIMITS__TTL_FILE", &files.file("ttl", "1h")),
            ("SECURITY__REQUIRE_VAPID_FILE", &files.file("vapid", "true\n")),
            ("SECURITY__SEALING_KEYS_FILE", &files.file("keys", &keys)),
            (
                "listen__http_file",
                &files.file("http", "127.0.0.1:1, [::1]:2\n127.0.0.1:3\n"),
            ),
        ]);
        let config = config.unwrap();
        assert_eq!(config.public_url.unwrap().as_str(), "https://push.example");
        assert_eq!(config.storage.url, StorageUrl::Memory);
        assert_eq!(config.limits.body_bytes, 8_192);
        assert_eq!(config.limits.ttl.as_secs(), 3_600);
        assert!(config.security.require_vapid);
        let given = config.security.sealing_keys;
        assert_eq!(
            given
                .iter()
                .map(push_protocol::capability::SealingKey::to_base64url)
                .collect::<Vec<_>>(),
            [KEY, OTHER_KEY]
        );
        assert_eq!(config.listen.http.len(), 3);
    }

    /// A password is what stands in the file, character by character, but for the line end.
    #[test]
    fn a_password_is_read_as_it_is() {
        let files = Files::new();
        for (content, password) in [
            ("p@s:s/w%20#,\"'\\ \n", "p@s:s/w%20#,\"'\\ "),
            ("é\r\n", "é"),
            (" x", " x"),
        ] {
            let config = read(&[
                ("SECURITY__SEALING_KEYS", KEY),
                ("STORAGE__URL", "redis://localhost"),
                ("STORAGE__REDIS__PASSWORD_FILE", &files.file("password", content)),
            ]);
            let given = config.unwrap().storage.redis.password.unwrap();
            assert_eq!(given.expose(), password);
        }
    }

    /// Each file that has no value is refused, with a sentence that names the variable and the file.
    #[test]
    fn a_file_without_a_value_is_refused() {
        let files = Files::new();
        let rows = [
            (files.file("empty", ""), "it is empty"),
            (files.file("lines", " \r\n\n"), "it is empty"),
            (files.path("missing"), "No such file or directory (os error 2)"),
            (files.path("."), "it is a directory, not a file"),
            (files.file("latin", b"p\xe4ss"), "it is not UTF-8"),
            (files.file("wide", b"\xff\xfep\0"), "it is not UTF-8"),
            (
                files.file("large", vec![b'a'; KEY_FILE_BYTES + 1]),
                "it is larger than 1048576 bytes",
            ),
            ("/dev/zero".to_owned(), "it is larger than 1048576 bytes"),
        ];
        for (path, why) in rows {
            let refused = read(&[("SECURITY__USER_AGENT_SECRET_FILE", &path)]).unwrap_err();
            let expected = format!("PUSH_SERVICE__SECURITY__USER_AGENT_SECRET_FILE: {path}: {why}");
            assert_eq!(refused.to_string(), expected);
        }
        let refused = read(&[("STORAGE__URL_FILE", "")]).unwrap_err().to_string();
        let expected = "PUSH_SERVICE__STORAGE__URL_FILE is empty: set it to the path of a file with the value of storage.url, or \
                        remove it";
        assert_eq!(refused, expected);
    }

    /// What a user may not read is told. (Root may read everything.)
    #[test]
    fn an_unreadable_file_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        if rustix::process::getuid().is_root() {
            println!("root may read everything");
            return;
        }
        let files = Files::new();
        let path = files.file("closed", "secret");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
        let refused = read(&[("SECURITY__USER_AGENT_SECRET_FILE", &path)]).unwrap_err();
        assert!(refused.to_string().contains("Permission denied"), "{refused}");
    }

    /// A key that has both its value and a file in the environment is refused; a configuration file is overridden.
    #[test]
    fn value_and_file_together_are_refused() {
        let files = Files::new();
        let file = files.file("url", "memory:");
        for name in ["STORAGE__URL", "storage__url"] {
            let refused = read(&[(name, "memory:"), ("STORAGE__URL_FILE", &file)]).unwrap_err();
            let expected = "PUSH_SERVICE__STORAGE__URL and PUSH_SERVICE__STORAGE__URL_FILE are both set: remove one of them";
            assert_eq!(refused.to_string(), expected);
        }
        let variables = [("PUSH_SERVICE__STORAGE__URL_FILE".to_owned(), file)];
        let config = Config::from_sources(
            Some(("push.toml", "storage.url = 'embedded:x'")),
            variables.into(),
        );
        assert_eq!(config.unwrap().storage.url, StorageUrl::Memory);
    }

    /// No fault shows what is in a file, and none a secret that was set in place of a path.
    #[test]
    fn no_content_is_shown() {
        let files = Files::new();
        let secret = files.file("secret", "hunter2!");
        let lines = files.file("lines", "hunter2\nhunter2!\n");
        let url = files.file("url", "redis://:hunter2@h:x");
        for key in keys() {
            let name = format!("{}_FILE", key.replace('.', "__").to_ascii_uppercase());
            for path in [
                &*secret,
                &lines,
                &url,
                "hunter2",
                "redis://:hunter2@h",
                &format!("{secret}/x"),
            ] {
                let refused = read(&[(&name, path)]);
                let said = match &refused {
                    Ok(config) => format!("{config}"),
                    Err(refused) => refused.to_string(),
                };
                // A key whose value is a path may name any: that is what it is for.
                let is_path = key.ends_with("_file") || key.starts_with("tls.") || key == "storage.redis.ca";
                assert!(is_path || !said.contains("hunter2"), "{key}: {said}");
            }
        }
        let refused = read(&[("LIMITS__BODY_BYTES_FILE", &lines)]).unwrap_err();
        let expected = format!(
            "PUSH_SERVICE__LIMITS__BODY_BYTES_FILE: {lines}: its value is not accepted: it has more than one line; it takes a \
             whole number, from 4096 to 1048576"
        );
        assert_eq!(refused.to_string(), expected);
    }

    /// Each key can be read from a file, and no variable has two meanings: a key that ends in `_file` keeps its name.
    #[test]
    fn every_variable_has_one_meaning() {
        let files = Files::new();
        let keys = keys();
        for key in &keys {
            let without = key.strip_suffix(ENDING);
            assert!(
                without.is_none_or(|without| !keys.contains(&without.to_owned())),
                "{key}"
            );
            let mut variables: HashMap<_, _> =
                [(variable(&format!("{key}_file")), "/path".to_owned())].into();
            let taken = take(&mut variables, &keys);
            assert_eq!(taken.iter().map(|file| &file.key).collect::<Vec<_>>(), [key]);
            assert!(variables.is_empty());
        }
        let token = read(&[("ADMIN__TOKEN_FILE", "/run/token")]).unwrap();
        assert_eq!(token.admin.token_file.unwrap().to_str(), Some("/run/token"));
        let path = files.file("path", "/run/other\n");
        let token = read(&[("ADMIN__TOKEN_FILE_FILE", &path)]).unwrap();
        assert_eq!(token.admin.token_file.unwrap().to_str(), Some("/run/other"));
    }

    /// A misspelt variable is refused with the nearest, whose ending it keeps.
    #[test]
    fn an_unknown_variable_is_refused_with_the_nearest() {
        let rows = [
            (
                "PUSH_SERVICE__SECURITY__SEALING_KEY_FILE",
                "there is no such key; did you mean PUSH_SERVICE__SECURITY__SEALING_KEYS_FILE?",
            ),
            (
                "PUSH_SERVICE_STORAGE_REDIS_PASSWORD_FILE",
                "there is no such variable; did you mean PUSH_SERVICE__STORAGE__REDIS__PASSWORD_FILE?",
            ),
        ];
        for (name, why) in rows {
            let variables = [(name.to_owned(), "/path".to_owned())];
            let refused = Config::from_sources(None, variables.into()).unwrap_err();
            assert_eq!(refused.to_string(), format!("{name}: {why}"));
        }
        let refused = Config::from_sources(Some(("push.toml", "storage.url_file = '/path'")), HashMap::new());
        assert_eq!(
            refused.unwrap_err().to_string(),
            "push.toml: storage.url_file: there is no such key; only the environment names files with values: set \
             PUSH_SERVICE__STORAGE__URL_FILE"
        );
    }
}
