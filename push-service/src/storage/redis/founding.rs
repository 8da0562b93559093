//! What makes a store of an empty Redis, and shows that a Redis holds one.
//!
//! Each bucket has a mark. Where it is missing no user agent is called unknown and nothing is written: the primary came back
//! empty, or the configuration names another Redis (PR-3). Only a node that starts and finds no trace of a store at all
//! makes one; what was lost for good is given up by an operator's word, never by a node's own judgement.
//!
//! ```text
//!   no state, no marks ─► state "founding" ─► all marks ─► state "founded"
//!   "founded", marks missing ─► trouble until they are back, or `push-service storage begin-anew`
//! ```

use redis::{Cmd, Value, cmd};

use super::bucket::Bucket;
use super::keys::{mark, own, own_bucket};
use super::layout::FORMAT;
use super::links::Primaries;
use crate::defaults::REDIS_START_WITHIN;
use crate::storage::{StorageError, refuse_missing_key};

const FOUNDING: &str = "founding";
const FOUNDED: &str = "founded";

/// What a Redis holds of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// Nothing, or a store that is still being made.
    Nothing,
    /// A store.
    Store,
    /// A store of which so many buckets have lost their mark.
    PartLost(usize),
}

/// Makes a store where there is none.
///
/// # Errors
///
/// If the store is in a newer format, or Redis does not answer.
pub(super) async fn found(primaries: &Primaries, prefix: &str) -> Result<Found, StorageError> {
    let found = look(primaries, prefix).await?;
    if found == Found::Nothing {
        write_marks(primaries, prefix).await?;
    }
    Ok(found)
}

/// Looks at what is there, and changes nothing.
///
/// Other nodes may be making a store meanwhile. So before data loss is told, everything is read again: **a node writes "founding"
/// before the first mark and "founded" after the last**, and marks are read before the state. If a mark was there, the state was
/// too; and if the state was "founded", all marks are there that are read after it.
///
/// # Errors
///
/// As [`found`].
pub(super) async fn look(primaries: &Primaries, prefix: &str) -> Result<Found, StorageError> {
    match look_once(primaries, prefix).await? {
        Found::PartLost(_) => look_once(primaries, prefix).await,
        found => Ok(found),
    }
}

async fn look_once(primaries: &Primaries, prefix: &str) -> Result<Found, StorageError> {
    let marks = marks(primaries, prefix).await?;
    let state = one(primaries, cmd("GET").arg(own(prefix, "state")).clone()).await?;
    let missing = marks.iter().filter(|mark| mark.is_none()).count();
    if let Some(newest) = marks
        .iter()
        .flatten()
        .max()
        .filter(|format| **format > u64::from(FORMAT))
    {
        return Err(StorageError::Unavailable(format!(
            "the store in Redis has format {newest}, but this version reads only up to {FORMAT}: update \
             this node"
        )));
    }
    let state = match state {
        Value::BulkString(state) => Some(state),
        _ => None,
    };
    Ok(match state.as_deref() {
        Some(state) if state == FOUNDING.as_bytes() => Found::Nothing,
        None if missing == marks.len() => Found::Nothing,
        Some(_) if missing == 0 => Found::Store,
        _ => Found::PartLost(missing),
    })
}

/// Sets every mark that is missing: whatever is not there any more was lost, and is from now on unknown.
pub(super) async fn begin_anew(primaries: &Primaries, prefix: &str) -> Result<usize, StorageError> {
    let missing = missing(primaries, prefix).await?;
    write_marks(primaries, prefix).await?;
    Ok(missing)
}

/// How many buckets have lost their mark.
pub(super) async fn missing(primaries: &Primaries, prefix: &str) -> Result<usize, StorageError> {
    let marks = marks(primaries, prefix).await?;
    Ok(marks.iter().filter(|mark| mark.is_none()).count())
}

/// Idempotent, and harmless beside another node that does the same.
async fn write_marks(primaries: &Primaries, prefix: &str) -> Result<(), StorageError> {
    let state = own(prefix, "state");
    one(primaries, cmd("SET").arg(&state).arg(FOUNDING).arg("NX").clone()).await?;
    let set = |bucket| {
        let mut set = cmd("SET");
        set.arg(mark(prefix, bucket)).arg(FORMAT).arg("NX");
        (bucket, set)
    };
    ask(primaries, Bucket::all().map(set).collect()).await?;
    one(primaries, cmd("SET").arg(&state).arg(FOUNDED).clone()).await?;
    Ok(())
}

/// The format that each bucket's mark names.
async fn marks(primaries: &Primaries, prefix: &str) -> Result<Vec<Option<u64>>, StorageError> {
    let get = |bucket| {
        let mut get = cmd("GET");
        get.arg(mark(prefix, bucket));
        (bucket, get)
    };
    let answers = ask(primaries, Bucket::all().map(get).collect()).await?;
    let format = |answer| match answer {
        Value::BulkString(text) => std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()),
        _ => None,
    };
    Ok(answers.into_iter().map(format).collect())
}

/// PR-28, over all nodes.
pub(super) async fn admit_sealing_keys(
    primaries: &Primaries,
    prefix: &str,
    fingerprints: &[[u8; 8]],
) -> Result<(), StorageError> {
    let key = own(prefix, "sealing-key");
    let in_use = check_sealing_keys(primaries, prefix, fingerprints).await?;
    match fingerprints.first() {
        Some(first) if in_use != Some(*first) => {
            let set = cmd("SET").arg(&key).arg(&first[..]).clone();
            one(primaries, set).await.map(drop)
        }
        _ => Ok(()),
    }
}

/// Refuses a list of sealing keys that lacks the one in use, and answers which one that is. Changes nothing.
pub(super) async fn check_sealing_keys(
    primaries: &Primaries,
    prefix: &str,
    fingerprints: &[[u8; 8]],
) -> Result<Option<[u8; 8]>, StorageError> {
    let key = own(prefix, "sealing-key");
    let in_use = match one(primaries, cmd("GET").arg(&key).clone()).await? {
        Value::BulkString(fingerprint) => fingerprint.try_into().ok(),
        _ => None,
    };
    refuse_missing_key(in_use, fingerprints)?;
    Ok(in_use)
}

/// A command on what the store knows of itself.
async fn one(primaries: &Primaries, command: Cmd) -> Result<Value, StorageError> {
    let answer = ask(primaries, vec![(own_bucket(), command)]).await?.pop();
    answer.ok_or_else(|| StorageError::Unavailable("Redis gave no answer".to_owned()))
}

/// Answers to all of them. A node that starts must not fail because a connection broke just then.
async fn ask(primaries: &Primaries, commands: Vec<(Bucket, Cmd)>) -> Result<Vec<Value>, StorageError> {
    let answers = primaries.pipeline_patiently(commands, REDIS_START_WITHIN).await;
    answers.into_iter().collect()
}
