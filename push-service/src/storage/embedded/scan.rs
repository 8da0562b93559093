//! Export (PR-37): reads the store from one end to the other, page by page.

use std::ops::Bound;

use push_protocol::{MessageNumber, ReceiptOutcome, UserAgentId};

use super::layout::{self, Value};
use super::store::{Store, read_error, unreadable};
use crate::defaults::LIST_STEP;
use crate::storage::clock::Now;
use crate::storage::portable::{ExportPage, ExportPosition, Exported};
use crate::storage::queue::{UserAgent, UserAgentExport};
use crate::storage::{RECEIPTS, StorageError};

/// An export page, and the user agent whose values are read.
struct Scan {
    page: ExportPage,
    now: Now,
    whose: Option<Whose>,
}

struct Whose {
    user_agent: UserAgentId,
    state: UserAgent,
    export: UserAgentExport,
}

/// Some user agents of a list.
pub(super) struct ListStep {
    /// With what waits for them, and without their seats.
    pub(super) found: Vec<(UserAgentId, UserAgent)>,
    /// Where to go on.
    pub(super) next: Option<ExportPosition>,
}

impl Store {
    /// Whether there is no record.
    pub(super) fn is_empty(&self) -> Result<bool, StorageError> {
        let first = self.keys.range(queue_from(None)).next();
        Ok(first
            .map(|entry| entry.key().map_err(read_error))
            .transpose()?
            .is_none())
    }

    /// The next user agents after a position.
    pub(super) fn list(&self, after: Option<ExportPosition>) -> Result<ListStep, StorageError> {
        let (mut found, mut position) = (Vec::new(), after);
        while found.len() < LIST_STEP {
            let Some(entry) = self.keys.range(queue_from(position)).next() else {
                return Ok(ListStep { found, next: None });
            };
            let key = entry.key().map_err(read_error)?;
            let (user_agent, _) = layout::queue_of(&key).map_err(unreadable)?;
            found.push((user_agent, self.load(user_agent)?.state));
            position = Some(ExportPosition::end_of(user_agent));
        }
        Ok(ListStep {
            found,
            next: position,
        })
    }

    /// Exports what comes after a position, up to about so many bytes.
    pub(super) fn export(
        &self,
        after: Option<ExportPosition>,
        bytes: usize,
        now: Now,
    ) -> Result<Exported, StorageError> {
        let mut scan = Scan {
            page: ExportPage::new(bytes),
            now,
            whose: None,
        };
        let mut position = after;
        if let Some(position) = after {
            scan.resume(self, position.user_agent)?;
        }
        for entry in self.keys.range(queue_from(after)) {
            if scan.page.is_full() {
                return Ok(scan.page.finish(position));
            }
            let (key, value) = entry.into_inner().map_err(read_error)?;
            let (user_agent, number) = layout::queue_of(&key).map_err(unreadable)?;
            if number == MessageNumber::START {
                scan.enter(user_agent, layout::decode_record(&value).map_err(unreadable)?);
            } else {
                let value = Value::decode(number, &value).map_err(unreadable)?;
                scan.pass(self, number, value)?;
            }
            position = Some(ExportPosition {
                user_agent,
                upto: number,
            });
        }
        Ok(scan.page.finish(None))
    }
}

impl Scan {
    /// Goes on within a user agent, whose record an earlier page had.
    fn resume(&mut self, store: &Store, user_agent: UserAgentId) -> Result<(), StorageError> {
        let record_key = layout::queue_key(user_agent, MessageNumber::START);
        let record = store.keys.get(record_key).map_err(read_error)?;
        if let Some(record) = record {
            let state = layout::decode_record(&record).map_err(unreadable)?;
            self.whose = Some(Whose::new(user_agent, state, self.now));
        }
        Ok(())
    }

    fn enter(&mut self, user_agent: UserAgentId, state: UserAgent) {
        let mut whose = Whose::new(user_agent, state, self.now);
        whose.export.record(&mut self.page);
        self.whose = Some(whose);
    }

    fn pass(&mut self, store: &Store, number: MessageNumber, value: Value) -> Result<(), StorageError> {
        let Some(Whose {
            user_agent,
            state,
            export,
        }) = &mut self.whose
        else {
            // A value without a record: it has outlived its user agent.
            return Ok(());
        };
        let page = &mut self.page;
        match value {
            Value::Message(read) => {
                let Some(read) = store.with_body(*user_agent, number, read)? else {
                    // It was removed after its header was read.
                    return Ok(());
                };
                let message = read.portable();
                // Or it has outlived its subscription.
                let is_waiting = state.subscription(message.subscription).is_some();
                export.message(Some(message).filter(|_| is_waiting), page, self.now);
            }
            Value::OutboxEntry(ended) => export.message_end(ended.of(*user_agent), page),
            Value::Passing(passing) => {
                export.message_end(passing.ended(ReceiptOutcome::GivenUp).of(*user_agent), page);
            }
            Value::Expectation(expected) if state.subscription(RECEIPTS).is_some() => {
                export.expectation(&expected, page);
            }
            Value::Expectation(_) => {}
        }
        Ok(())
    }
}

impl Whose {
    fn new(user_agent: UserAgentId, state: UserAgent, now: Now) -> Self {
        let export = UserAgentExport::new(state.portable(user_agent), state.is_known(now));
        Self {
            user_agent,
            state,
            export,
        }
    }
}

/// The records and messages after a position.
fn queue_from(after: Option<ExportPosition>) -> (Bound<[u8; 25]>, Bound<[u8; 25]>) {
    let first = layout::queue_key(UserAgentId([0; 16]), MessageNumber::START);
    let last = layout::queue_key(UserAgentId([u8::MAX; 16]), MessageNumber(u64::MAX));
    let from = after.map_or(Bound::Included(first), |position| {
        Bound::Excluded(layout::queue_key(position.user_agent, position.upto))
    });
    (from, Bound::Included(last))
}
