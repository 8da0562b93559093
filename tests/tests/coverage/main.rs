//! Holds `docs/coverage.md` to its word: every rule that it calls tested is named by a test, and every rule that a test
//! names is on it.
//!
//! `UPDATE_COVERAGE=1 cargo test --package push-tests --test coverage` writes the files of tested rules into the page.

mod attacks;
mod page;
mod rule;
mod sender_text;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use self::page::Row;
use self::rule::Rule;

/// In which files, relative to the repository, tests name each rule.
type Named = BTreeMap<Rule, BTreeSet<String>>;

#[test]
fn the_page_says_what_is_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join("docs/coverage.md");
    let mut text = std::fs::read_to_string(&path).unwrap();
    let named = named_by_tests(&root, &text);
    if std::env::var_os("UPDATE_COVERAGE").is_some() {
        text = updated(&text, &named);
        std::fs::write(&path, &text).unwrap();
    }
    let faults = faults(&text, &named);
    assert!(faults.is_empty(), "docs/coverage.md:\n{}\n", faults.join("\n"));
}

/// What tests name. A name is a rule's if it begins like one of the page, so that a rule without a row is found, and
/// `SHA-256` is none.
fn named_by_tests(root: &Path, page: &str) -> Named {
    let realms: BTreeSet<_> = rows(page).map(|row| row.rule.realm().to_owned()).collect();
    let mut named = Named::new();
    for (file, words) in sources::test_words(root) {
        for rule in rule::all_in(&words) {
            if realms.contains(rule.realm()) {
                named.entry(rule).or_default().insert(file.clone());
            }
        }
    }
    named
}

/// What is wrong with the page, one sentence each.
fn faults(page: &str, named: &Named) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for row in rows(page) {
        let fault = row.fault(named.get(&row.rule));
        faults.extend(fault.map(|fault| format!("{}: {fault}", row.rule)));
        if !seen.insert(row.rule.clone()) {
            faults.push(format!("{}: has two rows", row.rule));
        }
    }
    for (rule, files) in named.iter().filter(|(rule, _)| !seen.contains(rule)) {
        faults.push(format!(
            "{rule}: has no row, but is named in {}",
            page::list(files)
        ));
    }
    faults
}

/// The page with the files of every rule that tests name.
fn updated(page: &str, named: &Named) -> String {
    let update = |line: &str| {
        let row = Row::parse(line).and_then(|row| Some(row.tested_in(named.get(&row.rule)?)));
        row.unwrap_or_else(|| line.to_owned()) + "\n"
    };
    page.lines().map(update).collect()
}

fn rows(page: &str) -> impl Iterator<Item = Row> {
    page.lines().filter_map(Row::parse)
}

/// A page that says too much, too little or nothing is told so, and updating mends what can be mended.
#[test]
fn faults_are_found() {
    let rule = |text| Rule::parse(text).unwrap();
    let files = BTreeSet::from(["a.rs".to_owned()]);
    let named = Named::from([(rule("AB-1"), files.clone()), (rule("AB-9"), files)]);
    let rows = [
        ("| AB-1 | x | tested | `a.rs` |", ""),
        ("| AB-1 | x | tested | `b.rs` |", "`b.rs` does not name it"),
        ("| AB-1 | x | not done | comes later, with b |", "named in `a.rs`"),
        ("| AB-2 | x | tested | `a.rs` |", "no test names it"),
        ("| AB-2 | x | not done | later |", "lacks a reason"),
        ("| AB-2 | x | perhaps | comes later, with b |", "neither"),
    ];
    for (row, part) in rows {
        let page = format!("| AB-9 | y | tested | `a.rs` |\n{row}\n");
        let found = faults(&page, &named).join(";");
        let rest = found.replace("AB-1: has no row, but is named in `a.rs`", "");
        assert!(
            rest.contains(part) && (part.is_empty() == rest.is_empty()),
            "{row}: {found}"
        );
    }
    let stale = "# Title\n| AB-1 | x | not done | comes later, with b |\n| AB-9 | y | tested | `b.rs` |\n";
    assert!(faults(&updated(stale, &named), &named).is_empty());
    assert_eq!(faults("", &named).len(), 2);
}
