//! A row of the page.

use std::collections::BTreeSet;

use super::rule::Rule;

const TESTED: &str = "tested";
const NOT_DONE: &str = "not done";

/// What is shorter than this gives no reason.
const SHORTEST_REASON: usize = 10;

/// What the page says of a rule.
pub(crate) struct Row {
    pub(crate) rule: Rule,
    says: String,
    status: String,
    /// The files in which it is tested, or why it is not.
    where_or_why: String,
}

impl Row {
    /// A line of the page, if it is a row.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let cells = line.strip_prefix("| ")?.strip_suffix(" |")?;
        let cells: Vec<_> = cells.split(" | ").map(str::trim).collect();
        let [rule, says, status, where_or_why] = cells[..] else {
            return None;
        };
        Some(Self {
            rule: Rule::parse(rule)?,
            says: says.to_owned(),
            status: status.to_owned(),
            where_or_why: where_or_why.to_owned(),
        })
    }

    /// What is wrong with it, if tests name its rule in these files.
    pub(crate) fn fault(&self, files: Option<&BTreeSet<String>>) -> Option<String> {
        match (self.status.as_str(), files) {
            (TESTED, None) => Some("is called tested, but no test names it".to_owned()),
            (TESTED, Some(files)) => self.wrong_file(files),
            (NOT_DONE, Some(files)) => Some(format!("is called not done, but is named in {}", list(files))),
            (NOT_DONE, None) if self.where_or_why.len() < SHORTEST_REASON => {
                Some("lacks a reason".to_owned())
            }
            (NOT_DONE, None) => None,
            (status, _) => Some(format!("`{status}` is neither `{TESTED}` nor `{NOT_DONE}`")),
        }
    }

    /// A file that does not name the rule. One that is not listed is no fault: a new test need not touch the page.
    fn wrong_file(&self, files: &BTreeSet<String>) -> Option<String> {
        let mut listed = self.where_or_why.split(", ");
        let wrong = listed.find(|file| !files.contains(file.trim_matches('`')))?;
        Some(format!(
            "{wrong} does not name it; UPDATE_COVERAGE=1 lists the right files"
        ))
    }

    /// The same rule, tested in these files.
    pub(crate) fn tested_in(&self, files: &BTreeSet<String>) -> String {
        format!("| {} | {} | {TESTED} | {} |", self.rule, self.says, list(files))
    }
}

/// Files as the page spells them.
pub(crate) fn list(files: &BTreeSet<String>) -> String {
    let files: Vec<_> = files.iter().map(|file| format!("`{file}`")).collect();
    files.join(", ")
}
