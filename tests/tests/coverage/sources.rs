//! The words in which tests name rules.
//!
//! In Rust: the doc comment of a function in a test's code, and a string that is nothing but rules, such as the first
//! column of a table of cases. In other languages: a comment that begins with a rule.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::rule::{Rule, is_only_rules};

/// Directories with nothing of ours in them.
const FOREIGN: [&str; 2] = ["node_modules", "target"];

/// Every source file of tests, relative to the repository, with its words.
pub(crate) fn test_words(root: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    visit(root, "", &mut |name, extension, source| {
        let words = match extension {
            "rs" => rust_words(name, source),
            _ => comments(source),
        };
        found.push((name.to_owned(), words));
    });
    found
}

/// The names of all functions in Rust tests.
pub(crate) fn test_functions(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    visit(root, "", &mut |name, extension, source| {
        if extension == "rs" {
            found.extend(tests_of(name, source).lines().filter_map(function));
        }
    });
    found
}

fn visit(directory: &Path, name: &str, found: &mut impl FnMut(&str, &str, &str)) {
    let entries = fs::read_dir(directory).expect("the repository can be read");
    let mut entries: Vec<_> = entries.map(|entry| entry.expect("a directory's entry")).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        // What has no name in UTF-8 is not ours.
        let Ok(own) = entry.file_name().into_string() else {
            continue;
        };
        let path = entry.path();
        let name = match name {
            "" => own.clone(),
            parent => format!("{parent}/{own}"),
        };
        if path.is_dir() {
            if !own.starts_with('.') && !FOREIGN.contains(&own.as_str()) {
                visit(&path, &name, found);
            }
            continue;
        }
        if let Some((_, extension @ ("rs" | "js" | "mjs" | "py"))) = own.rsplit_once('.') {
            let source = fs::read_to_string(&path).expect("a source file is text");
            found(&name, extension, &source);
        }
    }
}

fn rust_words(name: &str, source: &str) -> String {
    let mut words = String::new();
    let mut doc = String::new();
    for line in tests_of(name, source).lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            doc += comment;
            continue;
        }
        if is_function(line) {
            words += &std::mem::take(&mut doc);
        }
        if !line.starts_with('#') {
            doc.clear();
        }
        // Every second piece is inside of quotes.
        for text in line
            .split('"')
            .skip(1)
            .step_by(2)
            .filter(|text| is_only_rules(text))
        {
            words += "\n";
            words += text;
        }
        words += "\n";
    }
    words
}

/// The part of a file that is a test's: all of it, or its module of tests, which stands last.
fn tests_of<'a>(name: &str, source: &'a str) -> &'a str {
    let inner = name.strip_prefix("tests/src/").unwrap_or(name);
    let is_test = |part: &str| matches!(part, "tests" | "contract" | "tests.rs" | "robustness.rs");
    if inner.split('/').any(is_test) {
        return source;
    }
    let module = source.match_indices("#[cfg(test)]\nmod ").find(|(at, _)| {
        let line = source[at + "#[cfg(test)]\n".len()..].lines().next();
        line.is_some_and(|line| line.ends_with('{'))
    });
    module.map_or("", |(at, _)| &source[at..])
}

/// The name of the function that begins in this line.
fn function(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("fn ").filter(|_| is_function(line.trim()))?;
    let name = rest.split(['(', '<']).next()?;
    Some(name.to_owned())
}

fn is_function(line: &str) -> bool {
    let name = line.strip_prefix("pub(crate) ").unwrap_or(line);
    let name = name.strip_prefix("async ").unwrap_or(name);
    name.starts_with("fn ")
}

fn comments(source: &str) -> String {
    let comment = |line: &str| {
        let text = line.trim_start().trim_start_matches(['/', '*', '#']);
        let is_comment = text.len() < line.trim_start().len();
        let begins = text
            .split([' ', ':', ','])
            .find(|word| !word.is_empty())
            .and_then(Rule::parse);
        (is_comment && begins.is_some()).then(|| text.to_owned() + "\n")
    };
    source.lines().filter_map(comment).collect()
}

/// Only a test's words count: not those of the code that it tests, and not those of its helpers' fields.
#[test]
fn words_of_tests() {
    let source = r#"
        /// AB-1: code.
        fn code() {}
        #[cfg(test)]
        mod elsewhere;
#[cfg(test)]
mod tests {
    /// AB-2, and more:
    /// AB-3.
    #[tokio::test]
    async fn proves() {
        // AB-4
        let rows = [("AB-5, AB-6", "AB-7 in a sentence")];
    }
    struct Rig {
        /// AB-8
        field: u8,
    }
}
"#;
    let words = rust_words("push-service/src/code.rs", source);
    let rules: Vec<_> = super::rule::all_in(&words).iter().map(Rule::to_string).collect();
    assert_eq!(rules.join(" "), "AB-2 AB-3 AB-5 AB-6");
    let all = rust_words("push-service/src/tests/code.rs", source);
    assert!(all.contains("AB-1"));
    assert!(!rust_words("tests/src/code.rs", source).contains("AB-1"));
    let script = "// AB-1: this.\nlet x; // AB-2\n/** On AB-3. */\n  * AB-4, AB-5.\n# AB-6\nAB-7";
    assert_eq!(comments(script), " AB-1: this.\n AB-4, AB-5.\n AB-6\n");
}
