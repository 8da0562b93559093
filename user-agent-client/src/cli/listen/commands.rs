//! Which command handles a message: one for its subscription, or the one for all others.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::delivery::NotHandled;
use super::exec::Exec;
use super::supervisor::Supervisor;
use crate::cli::args::Listen;
use crate::cli::exit::Failure;

/// The commands of `--exec`, `--exec-for` and `--exec-dir`.
pub(super) struct Commands {
    by_name: BTreeMap<String, String>,
    directory: Option<PathBuf>,
    for_others: Option<String>,
    within: Duration,
    supervisor: Arc<Supervisor>,
}

impl Commands {
    /// Reads the command line. `names` are the subscriptions. A command for an unknown subscription is refused: its name is probably
    /// misspelled, and the messages would go to another command.
    pub(super) fn new(
        arguments: &Listen,
        names: &[&str],
        supervisor: Arc<Supervisor>,
    ) -> Result<Self, Failure> {
        let mut by_name = BTreeMap::new();
        for rule in &arguments.exec_for {
            let (name, line) = for_one(rule, names).map_err(Failure::usage)?;
            if by_name.insert(name.to_owned(), line.to_owned()).is_some() {
                return Err(Failure::usage(format_args!(
                    "--exec-for names {name} twice; give each subscription one command"
                )));
            }
        }
        if let Some(directory) = arguments.exec_dir.as_ref().filter(|path| !path.is_dir()) {
            return Err(Failure::usage(format_args!(
                "--exec-dir: {} is not a directory",
                directory.display()
            )));
        }
        Ok(Self {
            by_name,
            directory: arguments.exec_dir.clone(),
            for_others: arguments.exec.clone(),
            within: arguments.exec_timeout,
            supervisor,
        })
    }

    /// Whether there is any command.
    pub(super) fn are_any(&self) -> bool {
        !self.by_name.is_empty() || self.directory.is_some() || self.for_others.is_some()
    }

    /// The command for messages of this subscription, if there is one.
    pub(super) fn of(&self, subscription: &str) -> Result<Option<Exec>, NotHandled> {
        let line = match self.by_name.get(subscription) {
            Some(line) => Some(line.clone()),
            None => self
                .in_directory(subscription)?
                .or_else(|| self.for_others.clone()),
        };
        Ok(line.map(|line| Exec::new(line, self.within, Arc::clone(&self.supervisor))))
    }

    /// The file is looked for with each message, so that a command can be added and taken away. If the directory is missing, no
    /// message can be handled: perhaps a volume is not mounted.
    fn in_directory(&self, subscription: &str) -> Result<Option<String>, NotHandled> {
        let Some(directory) = &self.directory else {
            return Ok(None);
        };
        let unable =
            |path: &PathBuf, error| NotHandled::Unable(format!("{} cannot be read: {error}", path.display()));
        let path = directory.join(subscription);
        match path.try_exists() {
            Ok(true) => Ok(Some(format!("exec {}", quoted(&path.to_string_lossy())))),
            Ok(false) => match directory.metadata() {
                Ok(_) => Ok(None),
                Err(error) => Err(unable(directory, error)),
            },
            Err(error) => Err(unable(&path, error)),
        }
    }
}

/// Splits `NAME=CMD`. A name may have a `=` in it, so the longest known one counts.
fn for_one<'a>(rule: &'a str, names: &[&'a str]) -> Result<(&'a str, &'a str), String> {
    let command = |name: &&'a str| Some((*name, rule.strip_prefix(name)?.strip_prefix('=')?));
    let known = names.iter().filter_map(command);
    known.max_by_key(|(name, _)| name.len()).ok_or_else(|| {
        let wanted = rule.split_once('=').map_or(rule, |(name, _)| name);
        format!(
            "--exec-for: there is no subscription {wanted}; the subscriptions are: {}",
            names.join(", ")
        )
    })
}

/// Quotes a word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command is for the subscription that it names, also if that has `=` in it; an unknown name is refused with the known
    /// ones.
    #[test]
    fn names_are_found() {
        let names = ["door", "a", "a=b"];
        let rows = [
            ("door=cat > \"$F\"; x=1", ("door", "cat > \"$F\"; x=1")),
            ("a=true", ("a", "true")),
            ("a=b=true", ("a=b", "true")),
            ("door=", ("door", "")),
        ];
        for (rule, expected) in rows {
            assert_eq!(for_one(rule, &names), Ok(expected));
        }
        for rule in ["window=true", "doo=true", "door", "=true"] {
            let why = for_one(rule, &names).unwrap_err();
            assert!(why.ends_with("the subscriptions are: door, a, a=b"), "{why}");
        }
    }

    fn commands(directory: Option<PathBuf>, others: Option<&str>) -> Commands {
        Commands {
            by_name: [("door".to_owned(), "exit 7".to_owned())].into(),
            directory,
            for_others: others.map(str::to_owned),
            within: Duration::from_secs(10),
            supervisor: Arc::new(Supervisor::of_this_process()),
        }
    }

    async fn code(commands: &Commands, subscription: &str) -> Option<String> {
        let exec = commands.of(subscription).unwrap()?;
        let ran = exec
            .run(b"", &super::super::supervisor::Environment::default())
            .await;
        Some(ran.map_or_else(|error| error.to_string(), |()| "done".to_owned()))
    }

    /// A subscription's own command comes first, then a file of its name, then the one for all others, then none.
    #[tokio::test]
    async fn the_nearest_command_counts() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["door", "it's $(odd)"] {
            let path = directory.path().join(name);
            std::fs::write(&path, "#!/bin/sh\nexit 8\n").unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let path = directory.path().to_owned();
        let all = commands(Some(path.clone()), Some("exit 9"));
        let ended = |code: u8| Some(format!("the command ended with exit status: {code}"));
        assert_eq!(code(&all, "door").await, ended(7));
        assert_eq!(code(&all, "it's $(odd)").await, ended(8));
        assert_eq!(code(&all, "window").await, ended(9));
        assert_eq!(code(&commands(Some(path.clone()), None), "window").await, None);
        assert_eq!(code(&commands(None, None), "window").await, None);
        drop(directory);
        let gone = commands(Some(path), Some("true")).of("window").err().unwrap();
        assert!(matches!(gone, NotHandled::Unable(_)), "{gone:?}");
    }
}
