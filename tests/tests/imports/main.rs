//! Modules of one folder do not import each other in a circle, and the rooms of the service import only those before them.
//!
//! An edge from A to B means that code under A names an item that is defined under B: by `use`, or by a path in the code.
//! A re-export is followed to the module that defines the item. An item that is defined in the folder's own `mod.rs` is no
//! edge between its children. Test code does not count.
//!
//! Circles that are still there stand in `known.rs`. That list must shrink: a line whose circle is gone fails the test.

mod circles;
mod fixture;
mod known;
mod parse;
mod resolve;
mod rooms;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use self::circles::{Circle, circles};
use self::known::{CIRCLES, ROOMS};
use self::parse::{Source, source};
use self::resolve::Crate;

/// Crates of the workspace, with the file where each begins.
const CRATES: [(&str, &str); 6] = [
    ("push-protocol", "push-service/protocol/src/lib.rs"),
    ("push-service", "push-service/src/lib.rs"),
    ("user-agent-client", "user-agent-client/src/lib.rs"),
    ("user-agent-client command", "user-agent-client/src/main.rs"),
    ("push-benches", "benches/src/main.rs"),
    ("push-tests", "tests/src/lib.rs"),
];

#[test]
fn no_circle_of_imports() {
    let found: Vec<_> = CRATES
        .iter()
        .flat_map(|(name, root)| circles(&read(name, root)))
        .collect();
    let faults = faults(&found, CIRCLES);
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn rooms_import_only_those_before_them() {
    let (name, root) = CRATES[1];
    let service = read(name, root);
    let faults = rooms::faults(&service, ROOMS);
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// What is wrong: circles that are not known, and known circles that are gone.
fn faults(found: &[Circle], known: &[&str]) -> Vec<String> {
    let is_known = |circle: &&Circle| !known.contains(&circle.name().as_str());
    let new = found
        .iter()
        .filter(is_known)
        .map(|circle| format!("an import circle: {circle}"));
    let is_found = |name: &str| found.iter().any(|circle| circle.name() == name);
    let gone = known.iter().filter(|name| !is_found(name)).map(|name| {
        format!("this circle is gone or smaller: take its line out of tests/tests/imports/known.rs: {name}")
    });
    new.chain(gone).collect()
}

/// Reads a crate from its root file on.
fn read(name: &str, root: &str) -> Crate {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let load = |file: &str| fs::read_to_string(repository.join(file)).ok();
    load_crate(name, root, &load)
}

/// Reads the root file, then the files of the modules that each file declares. `load` gives a file's text, if there is one.
fn load_crate(name: &str, root: &str, load: &dyn Fn(&str) -> Option<String>) -> Crate {
    let (directory, _) = root.rsplit_once('/').expect("a root file stands in a directory");
    let mut modules = BTreeMap::new();
    let mut open = vec![(Vec::new(), root.to_owned(), directory.to_owned())];
    while let Some((path, file, children)) = open.pop() {
        let text = load(&file).unwrap_or_else(|| panic!("{file} can be read"));
        for Source {
            inner,
            module,
            declares,
        } in source(&file, &text)
        {
            let path = [path.clone(), inner.clone()].concat();
            let directory = [vec![children.clone()], inner].concat().join("/");
            for child in declares {
                let candidates = [
                    (format!("{directory}/{child}.rs"), format!("{directory}/{child}")),
                    (
                        format!("{directory}/{child}/mod.rs"),
                        format!("{directory}/{child}"),
                    ),
                ];
                let (file, children) = candidates
                    .into_iter()
                    .find(|(file, _)| load(file).is_some())
                    .unwrap_or_else(|| panic!("{file} declares `mod {child}`, which has no file"));
                open.push(([path.clone(), vec![child]].concat(), file, children));
            }
            modules.insert(path, module);
        }
    }
    Crate {
        name: name.to_owned(),
        modules,
    }
}
