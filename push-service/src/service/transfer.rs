//! `export`, `import` and `keys show`: a storage is opened as for serving, without serving (PR-37).
//!
//! Guarantees: an export that did not come to its end leaves no file of its name, and an import that is refused has
//! changed nothing that anybody subscribed or stored.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use push_protocol::capability::SealingKey;

use super::signals::Signals;
use super::{ServiceError, stores};
use crate::config::{Config, StorageUrl};
use crate::storage::{Imported, NoSessions, Storage};
use crate::transfer::{self, Counts, Facts, FileError, LeftBehind, Progress, TransferError};
use crate::{private, random};

/// Where an export goes, or an import comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FileArgument {
    /// A file of this name.
    File(PathBuf),
    /// Standard output or input.
    StandardStream,
}

/// Why nothing was exported or imported, or not all of it.
#[derive(Debug)]
pub enum TransferCommandError {
    /// The configuration or the command has to be changed. Nothing was exported or imported.
    Refused(String),
    /// It could not be done, or not to its end.
    Failed(String),
}

impl fmt::Display for TransferCommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) | Self::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for TransferCommandError {}

/// Writes all that the configured storage holds to a file.
///
/// The file stands under its name when it is whole and on disk, readable by its owner only. Dropped, it leaves none.
///
/// # Errors
///
/// Why there is no such file now.
pub async fn export(
    config: &Config,
    to: &FileArgument,
) -> Result<(Counts, LeftBehind), TransferCommandError> {
    check_source(config)?;
    if let FileArgument::File(path) = to
        && path.exists()
    {
        let path = path.display();
        return Err(TransferCommandError::Refused(format!(
            "the file {path} exists already: move it away, or choose another name"
        )));
    }
    let (storage, capabilities) = stores::open(config, Arc::new(NoSessions)).await?;
    let nodes = storage.others().await.map_err(TransferError::Storage)?;
    if nodes > 0 {
        close(&*storage).await?;
        return Err(refused(&format!(
            "other nodes use this storage ({nodes}), and the export would miss their changes: stop them \
             first; a node that was killed counts for one more minute"
        )));
    }
    let facts = Facts {
        exported_at_ms: u64::try_from(now().as_millis()).unwrap_or(u64::MAX),
        storage: kind(&config.storage.url).to_owned(),
        sealing_keys: capabilities.fingerprints().collect(),
    };
    let total = storage.usage().map(|usage| usage.user_agents);
    let mut progress = Progress::new("exported", total);
    let exported = tokio::select! {
        exported = export_to(to, &*storage, &facts, &mut progress) => exported,
        error = interrupted() => Err(error),
    };
    progress.clear();
    close(&*storage).await?;
    exported
}

async fn export_to(
    to: &FileArgument,
    storage: &dyn Storage,
    facts: &Facts,
    progress: &mut Progress,
) -> Result<(Counts, LeftBehind), TransferCommandError> {
    match to {
        FileArgument::StandardStream => {
            let sink = BufWriter::new(io::stdout());
            Ok(transfer::export(storage, facts, sink, progress).await?)
        }
        FileArgument::File(path) => {
            let mut file = Unfinished::create(path).map_err(TransferError::Write)?;
            let sink = BufWriter::new(&mut file.file);
            let done = transfer::export(storage, facts, sink, progress).await?;
            file.finish(path).map_err(TransferError::Write)?;
            Ok(done)
        }
    }
}

/// Reads a file into the configured storage, after it was verified to its end.
///
/// Dropped, it leaves what came so far, and storage as a crash would; with `merge`, it takes in the rest.
///
/// # Errors
///
/// Why nothing was taken in; or, if it failed on the way, how much was.
pub async fn import(
    config: &Config,
    from: &FileArgument,
    merge: bool,
) -> Result<Imported, TransferCommandError> {
    if matches!(config.storage.url, StorageUrl::Memory) {
        return Err(refused(
            "storage.url is memory:, which keeps nothing after this command: set another storage",
        ));
    }
    let mut file = open_source(from).map_err(|error| TransferError::File(FileError::Io(error)))?;
    let verified = transfer::verify(BufReader::new(&file), now());
    let (facts, counts) = verified.map_err(TransferError::File)?;
    file.rewind()
        .map_err(|error| TransferError::File(FileError::Io(error)))?;

    let (storage, capabilities) = stores::open(config, Arc::new(NoSessions)).await?;
    let known: Vec<_> = capabilities.fingerprints().collect();
    let admitted = admit(&facts, &known, &*storage, merge).await;
    let outcome = match admitted {
        Ok(()) => import_from(&file, &*storage, counts).await,
        Err(error) => Err(error),
    };
    close(&*storage).await?;
    outcome
}

/// Whether what the file holds can be taken in at all.
async fn admit(
    facts: &Facts,
    known: &[[u8; 8]],
    storage: &dyn Storage,
    merge: bool,
) -> Result<(), TransferCommandError> {
    let missing = facts.sealing_keys.iter().filter(|key| !known.contains(key));
    let missing: Vec<_> = missing
        .map(|key| format!("{:016x}", u64::from_be_bytes(*key)))
        .collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(refused(&format!(
            "security.sealing_keys lacks keys that sealed the endpoints in the file ({missing}), and \
             without them these endpoints would not work: print the keys with `push-service keys show` and \
             the configuration of the old service, and add all of them to security.sealing_keys"
        )));
    }
    let is_empty = storage.is_empty().await.map_err(TransferError::Storage)?;
    if !is_empty && !merge {
        return Err(refused(
            "the storage is not empty: choose an empty one, or pass --merge to add what is missing. --merge \
             ends and replaces nothing; use it also to repeat an interrupted import",
        ));
    }
    Ok(())
}

async fn import_from(
    file: &File,
    storage: &dyn Storage,
    counts: Counts,
) -> Result<Imported, TransferCommandError> {
    let mut progress = Progress::new("imported", Some(counts.user_agents));
    let mut imported = Imported::default();
    let outcome = tokio::select! {
        outcome = transfer::import(storage, BufReader::new(file), now(), &mut progress, &mut imported) => {
            outcome.map_err(TransferCommandError::from)
        }
        error = interrupted() => Err(error),
    };
    progress.clear();
    outcome.map(|()| imported).map_err(|error| {
        let messages = imported.messages;
        TransferCommandError::Failed(format!(
            "{error}\n\
             At least {messages} of {} messages are imported and stay: repeat the import with --merge",
            counts.messages
        ))
    })
}

/// All keys that seal and open URLs with this configuration, the one that seals first; those that a store made for
/// itself as well.
///
/// # Errors
///
/// Why the store can't be asked.
pub async fn sealing_keys(config: &Config) -> Result<Vec<SealingKey>, TransferCommandError> {
    match &config.storage.url {
        StorageUrl::Embedded { .. } => {
            check_source(config)?;
            let (storage, keys) = stores::open_with_keys(config, Arc::new(NoSessions), None).await?;
            close(&*storage).await?;
            Ok(keys)
        }
        StorageUrl::Memory | StorageUrl::Redis(_) => Ok(config.security.sealing_keys.clone()),
    }
}

/// Refuses to look into what is not there: opening would make it.
fn check_source(config: &Config) -> Result<(), TransferCommandError> {
    match &config.storage.url {
        StorageUrl::Memory => Err(refused(
            "storage.url is memory:, which another process cannot read: set the storage of the service",
        )),
        StorageUrl::Embedded { path } if !holds_something(path) => {
            let path = path.display();
            Err(refused(&format!(
                "storage.url: there is no store in the directory {path}"
            )))
        }
        StorageUrl::Embedded { .. } | StorageUrl::Redis(_) => Ok(()),
    }
}

fn holds_something(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

fn kind(url: &StorageUrl) -> &'static str {
    match url {
        StorageUrl::Memory => "memory",
        StorageUrl::Embedded { .. } => "embedded",
        StorageUrl::Redis(_) => "redis",
    }
}

/// The file that is read. Standard input is put aside first, because it is read twice.
fn open_source(from: &FileArgument) -> io::Result<File> {
    match from {
        FileArgument::File(path) => File::open(path),
        FileArgument::StandardStream => {
            let aside = Unfinished::create(&std::env::temp_dir().join("push-service-import"))?;
            let mut file = aside.file.try_clone()?;
            // Its name goes now, and its content with this process, however that ends.
            drop(aside);
            io::copy(&mut io::stdin().lock(), &mut file)?;
            file.rewind()?;
            Ok(file)
        }
    }
}

/// A file under a name of its own, for its owner only. Gone when it is dropped, unless it is finished.
struct Unfinished {
    file: File,
    name: Option<PathBuf>,
}

impl Unfinished {
    fn create(path: &Path) -> io::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{:016x}.unfinished", random::u64()));
        let name = PathBuf::from(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let file = private::create(&mut options, &name, private::FILE_MODE)?;
        Ok(Self {
            file,
            name: Some(name),
        })
    }

    /// Gives it its name, when its content is on disk.
    fn finish(mut self, path: &Path) -> io::Result<()> {
        self.file.flush()?;
        self.file.sync_all()?;
        if let Some(name) = self.name.take() {
            fs::rename(name, path)?;
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            // If it stays, its name says what it is.
            let _ = fs::remove_file(name);
        }
    }
}

async fn close(storage: &dyn Storage) -> Result<(), TransferCommandError> {
    storage
        .close()
        .await
        .map_err(|error| TransferError::Storage(error).into())
}

/// Resolves when a signal asks to end: also SIGHUP, since nothing can be read again here.
async fn interrupted() -> TransferCommandError {
    match Signals::listen() {
        Ok(mut signals) => {
            let caught = signals.next().await;
            TransferCommandError::Failed(format!("interrupted by {}", caught.name()))
        }
        Err(error) => error.into(),
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn refused(why: &str) -> TransferCommandError {
    TransferCommandError::Refused(why.to_owned())
}

impl From<ServiceError> for TransferCommandError {
    fn from(error: ServiceError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<TransferError> for TransferCommandError {
    fn from(error: TransferError) -> Self {
        Self::Failed(error.to_string())
    }
}
