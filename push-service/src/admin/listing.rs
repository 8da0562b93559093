//! Lists of user agents in an order that no storage keeps: by when they were last seen, or by the bytes that wait.
//!
//! Each answer looks at every user agent, step by step, and keeps only as many as it shows. So it takes time but no memory, and
//! each step leaves room for others. One list is made at a time.

use std::collections::{BTreeMap, HashSet};

use push_protocol::UserAgentId;
use serde::Serialize;

use super::inspection::time;
use crate::broker::Broker;
use crate::defaults::{ADMIN_LIST, ADMIN_LIST_MOST};
use crate::storage::{StorageError, UserAgentSummary};

/// What comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ListOrder {
    /// Who was not seen for longest.
    LastSeen,
    /// Who has most bytes waiting.
    Bytes,
}

/// Where a user agent stands in an order: the smallest comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct ListPosition(u64, UserAgentId);

impl ListOrder {
    fn position(self, one: &UserAgentSummary) -> ListPosition {
        let key = match self {
            Self::LastSeen => one.last_seen_ms,
            Self::Bytes => u64::MAX - one.bytes,
        };
        ListPosition(key, one.user_agent)
    }
}

/// Which user agents are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ListRequest {
    pub(super) order: ListOrder,
    pub(super) limit: usize,
    /// Only those behind this position.
    pub(super) after: Option<ListPosition>,
}

impl ListRequest {
    /// From the query of a URL, or a sentence that says what is wrong with it.
    pub(super) fn parse(query: &str) -> Result<Self, &'static str> {
        let mut asked = Self {
            order: ListOrder::LastSeen,
            limit: ADMIN_LIST,
            after: None,
        };
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("order", "last-seen")) => asked.order = ListOrder::LastSeen,
                Some(("order", "bytes")) => asked.order = ListOrder::Bytes,
                Some(("order", _)) => return Err("order must be `last-seen` or `bytes`"),
                Some(("limit", limit)) => {
                    let number = limit.parse().ok();
                    asked.limit = number
                        .filter(|limit| (1..=ADMIN_LIST_MOST).contains(limit))
                        .ok_or("limit must be a whole number from 1 to 1000")?;
                }
                Some(("after", after)) => {
                    asked.after =
                        Some(ListPosition::parse(after).ok_or("after must be `next` of an earlier answer")?);
                }
                _ => return Err("known parameters are `order`, `limit` and `after`"),
            }
        }
        Ok(asked)
    }
}

impl ListPosition {
    fn parse(text: &str) -> Option<Self> {
        let (key, user_agent) = text.split_once('-')?;
        Some(Self(key.parse().ok()?, UserAgentId::parse(user_agent)?))
    }

    fn show(self) -> String {
        format!("{}-{}", self.0, self.1)
    }
}

/// The answer.
#[derive(Serialize, Debug)]
pub(super) struct UserAgentList {
    user_agents: Vec<ListedUserAgent>,
    /// Where to go on; `null` at the end.
    next: Option<String>,
}

#[derive(Serialize, Debug)]
struct ListedUserAgent {
    id: String,
    kind: &'static str,
    messages: u32,
    bytes: u64,
    connected: bool,
    last_seen: String,
}

impl From<&UserAgentSummary> for ListedUserAgent {
    fn from(one: &UserAgentSummary) -> Self {
        Self {
            id: one.user_agent.to_string(),
            kind: if one.receipts { "receipts" } else { "user_agent" },
            messages: one.messages,
            bytes: one.bytes,
            connected: one.seated,
            last_seen: time(one.last_seen_ms),
        }
    }
}

/// The first of all user agents in this order.
#[derive(Debug)]
struct First {
    asked: ListRequest,
    kept: BTreeMap<ListPosition, UserAgentSummary>,
    /// Whether some were left out behind those that are kept.
    has_more: bool,
}

impl First {
    fn new(asked: ListRequest) -> Self {
        Self {
            asked,
            kept: BTreeMap::new(),
            has_more: false,
        }
    }

    fn add(&mut self, one: UserAgentSummary) {
        let position = self.asked.order.position(&one);
        if self.asked.after.is_some_and(|after| position <= after) {
            return;
        }
        self.kept.insert(position, one);
        if self.kept.len() > self.asked.limit {
            self.kept.pop_last();
            self.has_more = true;
        }
    }

    fn finish(self) -> UserAgentList {
        let last = self.kept.last_key_value().map(|(position, _)| position.show());
        // One that changed while the list was made may be there twice.
        let mut seen = HashSet::new();
        let once = self.kept.values().filter(|one| seen.insert(one.user_agent));
        UserAgentList {
            user_agents: once.map(ListedUserAgent::from).collect(),
            next: last.filter(|_| self.has_more),
        }
    }
}

/// Looks at all user agents.
pub(super) async fn list(broker: &Broker, asked: ListRequest) -> Result<UserAgentList, StorageError> {
    let mut first = First::new(asked);
    let mut after = None;
    loop {
        let page = broker.list(after.as_ref()).await?;
        page.user_agents.into_iter().for_each(|one| first.add(one));
        after = page.next;
        if after.is_none() {
            return Ok(first.finish());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user_agent(n: u8, bytes: u64, last_seen_ms: u64) -> UserAgentSummary {
        UserAgentSummary {
            user_agent: UserAgentId([n; 16]),
            messages: 1,
            bytes,
            last_seen_ms,
            seated: false,
            receipts: false,
        }
    }

    fn all() -> Vec<UserAgentSummary> {
        (1..=9)
            .map(|n| user_agent(n, u64::from(n % 4), u64::from(n % 3)))
            .collect()
    }

    /// All pages together, in one order.
    fn pages(order: &str, limit: usize) -> Vec<String> {
        let (mut ids, mut after) = (Vec::new(), String::new());
        loop {
            let asked = ListRequest::parse(&format!("order={order}&limit={limit}{after}")).unwrap();
            let mut first = First::new(asked);
            for one in all() {
                first.add(one);
                assert!(first.kept.len() <= limit, "no memory beyond what is shown");
            }
            let list = first.finish();
            ids.extend(list.user_agents.iter().map(|one| one.id[1..2].to_owned()));
            match list.next {
                Some(next) => after = format!("&after={next}"),
                None => return ids,
            }
        }
    }

    /// Page by page each user agent comes once, in the order that was asked for, whatever the length of a page.
    #[test]
    fn each_comes_once_in_its_order() {
        for limit in [1, 2, 4, 9, 100] {
            assert_eq!(
                pages("last-seen", limit),
                ["3", "6", "9", "1", "4", "7", "2", "5", "8"]
            );
            assert_eq!(
                pages("bytes", limit),
                ["3", "7", "2", "6", "1", "5", "9", "4", "8"]
            );
        }
    }

    /// One that changes while the list is made is shown once.
    #[test]
    fn one_that_changes_is_shown_once() {
        let mut first = First::new(ListRequest::parse("").unwrap());
        first.add(user_agent(1, 1, 1));
        first.add(user_agent(1, 2, 2));
        assert_eq!(first.finish().user_agents.len(), 1);
    }

    /// What cannot be meant is refused with what can.
    #[test]
    fn wrong_parameters_are_refused() {
        assert_eq!(ListRequest::parse("").unwrap().limit, ADMIN_LIST);
        for (query, expected) in [
            ("order=name", "`last-seen` or `bytes`"),
            ("limit=0", "1 to 1000"),
            ("limit=1001", "1 to 1000"),
            ("limit=x", "1 to 1000"),
            ("after=7", "earlier answer"),
            ("after=7-zz", "earlier answer"),
            ("sort=bytes", "known parameters"),
            ("order", "known parameters"),
        ] {
            let refused = ListRequest::parse(query).unwrap_err();
            assert!(refused.contains(expected), "{query}: {refused}");
        }
    }
}
