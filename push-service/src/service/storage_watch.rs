//! Says in the log when trouble with storage begins, and when it ends: one line each, on every node.
//!
//! Elsewhere trouble is only counted: a request is answered 503 and a channel tries again, and neither knows how long it lasts.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::defaults::{ADMIN_STORAGE_WITHIN, STORAGE_HEALTH_EVERY, STORAGE_TROUBLE_AGAIN};
use crate::storage::{Storage, StorageError};

/// Asks the storage for its health, for as long as it is polled.
pub(super) async fn watch(storage: &dyn Storage) {
    // Not at once: a node that has just started is not subscribed to wake-ups yet.
    let mut every = interval_at(Instant::now() + STORAGE_HEALTH_EVERY, STORAGE_HEALTH_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut state = WatchState::Good;
    loop {
        every.tick().await;
        let health = timeout(ADMIN_STORAGE_WITHIN, storage.health()).await;
        let silent = |_| Err(StorageError::Unavailable("no answer in time".to_owned()));
        match state.note(health.unwrap_or_else(silent), Instant::now()) {
            None => {}
            Some(News::Begins(why)) => tracing::error!(
                why,
                "trouble with storage begins: pushes are answered 503 until it ends, which another line says"
            ),
            Some(News::Changes(why)) => {
                tracing::error!(why, "trouble with storage goes on for another reason");
            }
            Some(News::Ends(lasted)) => {
                tracing::info!(lasted_secs = lasted.as_secs(), "storage works again");
            }
        }
    }
}

/// What was logged last.
#[derive(PartialEq, Eq, Debug)]
enum WatchState {
    Good,
    Troubled {
        since: Instant,
        why: String,
        logged: Instant,
    },
}

/// What is to be logged.
#[derive(PartialEq, Eq, Debug)]
enum News {
    Begins(String),
    Changes(String),
    Ends(Duration),
}

impl WatchState {
    fn note(&mut self, health: Result<(), StorageError>, now: Instant) -> Option<News> {
        let why = match health {
            Ok(()) => {
                let Self::Troubled { since, .. } = std::mem::replace(self, Self::Good) else {
                    return None;
                };
                return Some(News::Ends(now - since));
            }
            // The process ends, and logs why.
            Err(StorageError::Failed(_)) => return None,
            Err(error) => error.to_string(),
        };
        match self {
            Self::Good => {
                *self = Self::Troubled {
                    since: now,
                    why: why.clone(),
                    logged: now,
                };
                Some(News::Begins(why))
            }
            Self::Troubled {
                why: before, logged, ..
            } if *before != why && now - *logged >= STORAGE_TROUBLE_AGAIN => {
                (*before, *logged) = (why.clone(), now);
                Some(News::Changes(why))
            }
            Self::Troubled { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trouble is told when it begins, when its reason changes for longer than a failover takes, and when it ends. Each once.
    #[test]
    fn trouble_is_told_once() {
        let (start, mut state) = (Instant::now(), WatchState::Good);
        let mut note = |secs: u64, health: Result<(), StorageError>| {
            state.note(health, start + Duration::from_secs(secs))
        };
        let trouble = |why: &str| Err(StorageError::Unavailable(why.to_owned()));
        let sentence = |why: &str| format!("storage is unavailable: {why}");
        assert_eq!(note(0, Ok(())), None);
        assert_eq!(note(1, trouble("a")), Some(News::Begins(sentence("a"))));
        assert_eq!(note(2, trouble("a")), None);
        assert_eq!(note(3, trouble("b")), None, "a failover");
        assert_eq!(note(11, trouble("b")), Some(News::Changes(sentence("b"))));
        assert_eq!(note(12, trouble("b")), None);
        assert_eq!(note(30, Ok(())), Some(News::Ends(Duration::from_secs(29))));
        assert_eq!(note(31, Ok(())), None);
        assert_eq!(note(32, Err(StorageError::Failed("gone".to_owned()))), None);
        assert!(matches!(note(33, Err(StorageError::Full)), Some(News::Begins(_))));
    }
}
