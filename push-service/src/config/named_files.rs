//! The files that a configuration names: whether each is there and may be read.
//!
//! No file is opened, because one may be a pipe. Their contents are checked where they are used.

use std::io;
use std::path::Path;

use rustix::fs::{Access, access};

use super::Config;
use super::unsure::Unsure;

/// A file or directory that a key names.
struct NamedFile<'a> {
    key: &'static str,
    path: &'a Path,
    is_directory: bool,
}

/// What is wrong with the named files, a sentence each. The keys of these files become unsure.
pub(super) fn faults(config: &Config, unsure: &mut Unsure) -> Vec<String> {
    let mut faults = Vec::new();
    for file in named(config) {
        if !unsure.is_sure_of(&[file.key]) {
            continue;
        }
        if let Err(why) = look_at(&file) {
            unsure.note(file.key);
            let place = match std::env::current_dir() {
                Ok(directory) if file.path.is_relative() => {
                    format!(" in the working directory {}", directory.display())
                }
                _ => String::new(),
            };
            faults.push(format!("{}: {}{place}: {why}", file.key, file.path.display()));
        }
    }
    faults
}

fn named(config: &Config) -> Vec<NamedFile<'_>> {
    let tls = &config.tls;
    let files = [
        ("tls.certificate", &tls.certificate, false),
        ("tls.key", &tls.key, false),
        ("tls.directory", &tls.directory, true),
        ("tls.acme.ca", &tls.acme.ca, false),
        ("storage.redis.ca", &config.storage.redis.ca, false),
        ("admin.token_file", &config.admin.token_file, false),
    ];
    let named = files.into_iter().filter_map(|(key, path, is_directory)| {
        Some(NamedFile {
            key,
            path: path.as_deref()?,
            is_directory,
        })
    });
    named.collect()
}

fn look_at(file: &NamedFile<'_>) -> io::Result<()> {
    let is_directory = std::fs::metadata(file.path)?.is_dir();
    match (file.is_directory, is_directory) {
        (true, false) => return Err(io::Error::other("it is not a directory")),
        (false, true) => return Err(io::Error::other("it is a directory, not a file")),
        _ => {}
    }
    let wanted = match is_directory {
        true => Access::READ_OK | Access::EXEC_OK,
        false => Access::READ_OK,
    };
    Ok(access(file.path, wanted)?)
}

#[cfg(test)]
mod tests {
    use super::super::sections::{Item, Section as _, dotted};
    use super::*;

    /// Each key that names something that has to be there is looked at, and all that is missing is told at once.
    #[test]
    fn every_named_file_is_looked_at() {
        let made_by_the_service = ["tls.acme.cache"];
        let mut config = Config::default();
        let nowhere = || Some("/there/is/no/such/file".into());
        config.tls.certificate = nowhere();
        config.tls.key = nowhere();
        config.tls.directory = nowhere();
        config.tls.acme.ca = nowhere();
        config.storage.redis.ca = nowhere();
        config.admin.token_file = nowhere();
        let faults = faults(&config, &mut Unsure::default());

        let mut items = Vec::new();
        Config::describe(&mut items);
        let mut section = "";
        for item in items {
            match item {
                Item::Section { path, .. } => section = path,
                Item::Key { name, takes, .. } if takes.starts_with("the path of") => {
                    let key = dotted(section, name);
                    let is_told = faults
                        .iter()
                        .any(|fault| fault.starts_with(&format!("{key}: /there/is/no")));
                    assert_ne!(
                        is_told,
                        made_by_the_service.contains(&key.as_str()),
                        "{key}: {faults:?}"
                    );
                }
                Item::Key { .. } => {}
            }
        }
    }

    /// A file where a directory belongs, and the other way round, is told too; a key that was refused is not.
    #[test]
    fn a_file_is_no_directory() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file.pem");
        std::fs::write(&file, "").unwrap();
        let mut config = Config::default();
        config.tls.certificate = Some(directory.path().into());
        config.tls.directory = Some(file.clone());
        config.tls.key = Some(file);
        let mut unsure = Unsure::default();
        let told = faults(&config, &mut unsure);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].ends_with("it is a directory, not a file"), "{told:?}");
        assert!(told[1].ends_with("it is not a directory"), "{told:?}");
        assert!(!unsure.is_sure_of(&["tls.certificate"]) && unsure.is_sure_of(&["tls.key"]));
        assert_eq!(faults(&config, &mut unsure), [""; 0]);
    }

    /// What this user may not read is told. (Root may read everything.)
    #[test]
    fn an_unreadable_file_is_told() {
        use std::os::unix::fs::PermissionsExt as _;
        if rustix::process::getuid().is_root() {
            println!("root may read everything");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key.pem");
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
        let mut config = Config::default();
        config.tls.key = Some(file);
        let faults = faults(&config, &mut Unsure::default());
        assert!(faults[0].contains("Permission denied"), "{faults:?}");
    }
}
