//! The public items of our libraries, against the lists in docs/public-api: a change of what others build on is a line in
//! a diff. `UPDATE_PUBLIC_API=1` writes the lists anew.
//!
//! Read from the sources, so types stand as they are written there.

mod listing;
mod source;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use listing::Listing;
use source::Source;

/// The library, and where its sources are.
const LIBRARIES: [(&str, &str); 2] = [
    ("push_protocol", "push-service/protocol/src"),
    ("user_agent_client", "user-agent-client/src"),
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn listing_of(name: &str, sources: &str) -> Listing {
    let source = Source::read(&repository().join(sources).join("lib.rs"));
    Listing::of(name, &source)
}

/// The public items of both libraries are those that were written down. Set UPDATE_PUBLIC_API=1 to write them down anew.
#[test]
fn public_items_are_written_down() {
    let update = std::env::var_os("UPDATE_PUBLIC_API").is_some();
    let mut differences = Vec::new();
    for (name, sources) in LIBRARIES {
        let lines = listing_of(name, sources).lines;
        let file = repository().join(format!("docs/public-api/{}.txt", name.replace('_', "-")));
        if update {
            std::fs::write(&file, format!("{}\n", lines.join("\n"))).unwrap();
            continue;
        }
        let known = std::fs::read_to_string(&file).unwrap_or_default();
        let known: BTreeSet<_> = known.lines().collect();
        let found: BTreeSet<_> = lines.iter().map(String::as_str).collect();
        differences.extend(known.difference(&found).map(|line| format!("- {line}")));
        differences.extend(found.difference(&known).map(|line| format!("+ {line}")));
    }
    assert!(
        differences.is_empty(),
        "the public items changed; if that is meant, run this test with UPDATE_PUBLIC_API=1:\n{}",
        differences.join("\n")
    );
}

/// What a public signature names can be named by those who use the library.
#[test]
fn what_a_public_signature_names_is_public() {
    let hidden: Vec<_> = LIBRARIES
        .into_iter()
        .flat_map(|(name, sources)| listing_of(name, sources).hidden)
        .collect();
    assert!(hidden.is_empty(), "{}", hidden.join("\n"));
}

/// The reader of sources finds what is public, where it can be named, and what is hidden.
#[test]
fn a_small_library_is_read() {
    let directory = tempfile::tempdir().unwrap();
    for (file, text) in [
        (
            "lib.rs",
            "mod inner; pub mod outer; #[cfg(test)] mod tests; pub use inner::Shown; pub use bytes::Bytes;",
        ),
        (
            "inner.rs",
            "#[derive(Clone)] #[non_exhaustive] pub enum Shown { A(u8), B { c: Vec<Shown> } }
             pub struct Hidden; struct Private;
             impl Shown { pub fn hidden(&self) -> Option<Hidden> { None } fn private(&self) {} }",
        ),
        (
            "outer.rs",
            "use super::inner::Shown; pub use self::deep::Deep; mod deep;
             pub fn take<'a>(shown: &'a Shown, many: [u8; 4]) -> &'a Shown { shown }
             impl From<Shown> for Deep { fn from(_: Shown) -> Self { todo!() } }",
        ),
        (
            "outer/deep.rs",
            "pub struct Deep { pub open: u8, closed: u8 } pub(crate) struct Not;",
        ),
    ] {
        let path = directory.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let listing = Listing::of("small", &Source::read(&directory.path().join("lib.rs")));
    let expected = [
        "enum small::Shown #[non_exhaustive]",
        "field small::outer::Deep::open: u8",
        "fn small::Shown::hidden(&self) -> Option<Hidden>",
        "fn small::outer::take<'a>(shown: &'a Shown, many: [u8; 4]) -> &'a Shown",
        "impl Clone for small::Shown",
        "impl From<Shown> for small::outer::Deep",
        "mod small",
        "mod small::outer",
        "struct small::outer::Deep { .. }",
        "use bytes::Bytes as small::Bytes",
        "variant small::Shown::A(u8)",
        "variant small::Shown::B { c: Vec<Shown> }",
    ];
    assert_eq!(listing.lines, expected);
    assert_eq!(
        listing.hidden,
        ["fn small::Shown::hidden(&self) -> Option<Hidden>: Hidden is not public"]
    );
}
