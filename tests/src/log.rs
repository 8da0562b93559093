//! What a process says on standard error, read as it comes: a node one JSON record a line, a command sentences.
//!
//! Read by a thread and not by a task, so that the log goes on being read, and is whole when a test fails, whatever the
//! test's runtime is doing.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

/// Lines of the log that a failed test shows.
const TAIL_LINES: usize = 60;

/// The log of one process.
#[derive(Clone, Debug)]
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    /// Whether the process has closed its log; changes with every line.
    ended: watch::Receiver<bool>,
}

impl Log {
    pub(crate) fn read(errors: File) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (news, ended) = watch::channel(false);
        let writer = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                writer.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                news.send_replace(false);
            }
            news.send_replace(true);
        });
        Self { lines, ended }
    }

    /// Waits for a record with this message and returns its fields; `None` when the process ended before.
    pub async fn wait_for(&self, message: &str) -> Option<Value> {
        self.wait_until(|lines| {
            let mut records = lines.iter().filter_map(|line| record(line));
            records.find(|record| record["message"] == message)
        })
        .await
    }

    /// Waits for a line with all these words in it; `None` when the process ended before.
    pub async fn wait_for_line(&self, words: &[&str]) -> Option<String> {
        self.wait_until(|lines| {
            let mut lines = lines.iter();
            lines
                .find(|line| words.iter().all(|word| line.contains(word)))
                .cloned()
        })
        .await
    }

    /// Waits until the process has closed its log.
    pub async fn wait_for_end(&self) {
        let mut ended = self.ended.clone();
        // An error means that the reading thread is gone, and with it the log's other end.
        let _ = ended.wait_for(|over| *over).await;
    }

    /// Everything said so far.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// The last of it.
    pub fn tail(&self) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Waits until something is found in the lines so far; `None` when the process ended before.
    pub async fn wait_until<T>(&self, found: impl Fn(&[String]) -> Option<T>) -> Option<T> {
        let mut ended = self.ended.clone();
        loop {
            let over = *ended.borrow_and_update();
            if let Some(found) = found(&self.lines()) {
                return Some(found);
            }
            if over || ended.changed().await.is_err() {
                return None;
            }
        }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The record in a line of a node's log, with its fields beside its message.
fn record(line: &str) -> Option<Value> {
    let mut record: Value = serde_json::from_str(line).ok()?;
    match record.get_mut("fields").map(Value::take) {
        Some(fields) if fields.is_object() => Some(fields),
        _ => Some(record),
    }
}
