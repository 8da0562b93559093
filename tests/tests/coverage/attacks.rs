//! Checks `docs/attacks.md`: each row names tests that exist, or says why there is none.

use std::collections::BTreeSet;
use std::path::Path;

use super::sources;

/// The shortest reason in characters. Chosen: a shorter one is no sentence.
const SHORTEST_REASON: usize = 40;

#[test]
fn each_attack_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("docs/attacks.md")).unwrap();
    let faults = faults(&text, &sources::test_functions(&root));
    assert!(faults.is_empty(), "docs/attacks.md:\n{}\n", faults.join("\n"));
}

/// What is wrong with the page, one sentence each.
fn faults(page: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let rows: Vec<_> = page.lines().filter_map(row).collect();
    let mut faults = Vec::new();
    if rows.is_empty() {
        faults.push("has no rows".to_owned());
    }
    for (attack, proof) in rows {
        let named: Vec<_> = proof.split('`').skip(1).step_by(2).collect();
        let missing = named.iter().filter(|name| !tests.contains(**name));
        faults.extend(missing.map(|name| format!("{attack}: there is no test `{name}`")));
        if named.is_empty() && proof.len() < SHORTEST_REASON {
            faults.push(format!("{attack}: has neither a test nor a reason"));
        }
    }
    faults
}

/// The attack and its last cell.
fn row(line: &str) -> Option<(&str, &str)> {
    let cells = line.strip_prefix("| ")?.strip_suffix(" |")?;
    let cells: Vec<_> = cells.split(" | ").map(str::trim).collect();
    match cells[..] {
        [attack, _, _, proof] if attack != "attack" => Some((attack, proof)),
        _ => None,
    }
}

/// Missing tests and rows without a test or a reason are found.
#[test]
fn faults_of_attacks_are_found() {
    let tests = BTreeSet::from(["there".to_owned()]);
    for (proof, is_good) in [
        ("`there`", true),
        ("`there`, `gone`", false),
        ("", false),
        ("no reason", false),
        (
            "nothing can come of it, because what was sent is never read",
            true,
        ),
    ] {
        let page = format!("| attack | does | bound | tests |\n|---|---|---|---|\n| a | b | c | {proof} |\n");
        assert_eq!(faults(&page, &tests).is_empty(), is_good, "{proof}");
    }
    assert!(!faults("", &tests).is_empty());
}
