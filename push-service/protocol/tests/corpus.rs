//! Every file of the fuzz corpus through the function of its target: what was ever found stays found, without a fuzzer.

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
pub mod properties;

/// The bounds of what is kept in the repository; chosen so that a replay takes a second and a clone no longer.
const MAX_FILES: usize = 300;
const MAX_BYTES: usize = 1_000_000;

/// R30-TTL-2, R30-TOP-1, R30-RES-5, V-AUTH-2, V-CLM-8, EPS-2, WS-TYP-2: no file of the corpus makes a parser panic or
/// breaks what must hold of it.
#[test]
fn the_corpus_holds() {
    for (target, property) in properties::TARGETS {
        let files = corpus(target);
        assert!(!files.is_empty(), "{target} has no corpus");
        for (name, data) in files {
            // A broken property panics inside; this line, shown only then, says where.
            println!("{target}/{name}");
            property(&data);
        }
    }
}

/// Each folder of the corpus is a target's, and all of it stays small.
#[test]
fn the_corpus_is_small_and_complete() {
    let mut known: Vec<_> = properties::TARGETS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let mut folders = names(&root().join("corpus"));
    known.sort();
    folders.sort();
    assert_eq!(folders, known);
    let mut programs = names(&root().join("fuzz_targets"));
    programs.sort();
    assert_eq!(
        programs,
        known.iter().map(|name| format!("{name}.rs")).collect::<Vec<_>>()
    );

    let files: Vec<_> = known.iter().flat_map(|target| corpus(target)).collect();
    assert!(files.len() <= MAX_FILES, "{} files", files.len());
    let bytes: usize = files.iter().map(|(_, data)| data.len()).sum();
    assert!(bytes <= MAX_BYTES, "{bytes} bytes");
}

/// A target's files by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = root().join("corpus").join(target);
    let read = |name: String| {
        let data = fs::read(folder.join(&name)).expect("a file of the corpus can be read");
        (name, data)
    };
    names(&folder).into_iter().map(read).collect()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a plain name")
        })
        .collect()
}
