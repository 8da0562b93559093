//! The check itself, on small crates with planted circles.

use super::circles::circles;
use super::resolve::Crate;
use super::{faults, load_crate, rooms};

/// A crate of these files, the root first.
fn small(files: &[(&str, &str)]) -> Crate {
    let load = |name: &str| {
        files
            .iter()
            .find(|(file, _)| *file == name)
            .map(|(_, text)| (*text).to_owned())
    };
    load_crate("small", files[0].0, &load)
}

/// The names of all circles of a crate of these files.
fn found(files: &[(&str, &str)]) -> Vec<String> {
    circles(&small(files)).iter().map(super::Circle::name).collect()
}

/// Each way in which siblings may name each other is an edge; what is no edge makes no circle.
#[test]
fn planted_circles_are_found() {
    const A: &str = "use super::b::Bee; pub struct Ay(Bee);";
    let rows: &[(&str, &str, &str, bool)] = &[
        ("use", A, "use crate::a::Ay; pub struct Bee;", true),
        (
            "a path in the code",
            A,
            "pub struct Bee; fn b() { crate::a::Ay::new() }",
            true,
        ),
        (
            "a path in a macro's arguments",
            A,
            "pub struct Bee; fn b() { warn!(x = super::a::Ay) }",
            true,
        ),
        (
            "a re-export of the folder",
            A,
            "use super::Ay; pub struct Bee;",
            true,
        ),
        (
            "a re-export of the folder, in the code",
            A,
            "pub struct Bee; fn b() { super::Ay::new() }",
            true,
        ),
        (
            "a group, renamed",
            A,
            "use super::{a::{Ay as Other}}; pub struct Bee;",
            true,
        ),
        (
            "the module itself",
            A,
            "use super::a; pub struct Bee; fn b() { a::make() }",
            true,
        ),
        (
            "from a module within",
            A,
            "pub struct Bee; mod inner { use super::super::a::Ay; }",
            true,
        ),
        ("everything", A, "use super::a::*; pub struct Bee;", true),
        (
            "an item of the folder's own file",
            A,
            "use super::Own; pub struct Bee;",
            false,
        ),
        (
            "tests",
            A,
            "pub struct Bee; #[cfg(test)] mod tests { use super::super::a::Ay; }",
            false,
        ),
        (
            "a test's import",
            A,
            "#[cfg(test)] use super::a::Ay; pub struct Bee;",
            false,
        ),
        (
            "a comment",
            A,
            "/// See [`crate::a::Ay`].\npub struct Bee;",
            false,
        ),
        (
            "another crate",
            A,
            "use ::a::Ay; use other::a; pub struct Bee;",
            false,
        ),
        (
            "one way",
            "pub struct Ay;",
            "use super::a::Ay; pub struct Bee;",
            false,
        ),
    ];
    for (what, a, b, is_circle) in rows {
        let root = "mod a; mod b; pub use self::a::Ay; pub struct Own; use self::b::Bee;";
        let found = found(&[("src/lib.rs", root), ("src/a.rs", a), ("src/b.rs", b)]);
        let expected: &[&str] = if *is_circle { &["small: a b"] } else { &[] };
        assert_eq!(found, expected, "{what}");
    }
}

/// A circle of three, deep inside, between a file and the folders beside it; each edge is shown with its line.
#[test]
fn circles_of_folders_are_found() {
    let files = [
        ("src/lib.rs", "mod house;"),
        (
            "src/house/mod.rs",
            "mod cellar; mod roof; mod stairs; pub use self::roof::Tile;",
        ),
        ("src/house/cellar/mod.rs", "pub mod coal;"),
        (
            "src/house/cellar/coal.rs",
            "use crate::house::Tile;\npub struct Coal;",
        ),
        ("src/house/roof.rs", "pub struct Tile;\nuse super::stairs::Step;"),
        (
            "src/house/stairs.rs",
            "pub struct Step;\n\nfn down() { super::cellar::coal::Coal }",
        ),
    ];
    let circles = circles(&small(&files));
    let [circle] = circles.as_slice() else {
        panic!("{circles:?}");
    };
    assert_eq!(circle.name(), "small::house: cellar roof stairs");
    let text = circle.to_string();
    for line in [
        "cellar → roof: src/house/cellar/coal.rs:1 names crate::house::Tile",
        "roof → stairs: src/house/roof.rs:2 names super::stairs::Step",
        "stairs → cellar: src/house/stairs.rs:3 names super::cellar::coal::Coal",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

/// A circle fails unless it is listed, and a listed circle that is gone fails as well.
#[test]
fn the_list_of_known_circles_shrinks() {
    let files = [
        ("src/lib.rs", "mod a; mod b;"),
        ("src/a.rs", "use super::b::Bee; pub struct Ay;"),
        ("src/b.rs", "use super::a::Ay; pub struct Bee;"),
    ];
    let circles = circles(&small(&files));
    assert_eq!(faults(&circles, &[]).len(), 1);
    assert!(faults(&circles, &["small: a b"]).is_empty());
    let gone = faults(&circles, &["small: a b", "small: a c"]);
    assert!(gone.len() == 1 && gone[0].contains("small: a c"), "{gone:?}");
}

/// An import against the order of rooms is found; so are a storage that the broker names, and a crate that it must not know.
#[test]
fn planted_breaks_of_the_order_are_found() {
    let rows = [
        ("use crate::storage::Storage;", ""),
        (
            "use crate::channels::Channels;",
            "broker must not import channels",
        ),
        (
            "use crate::storage::redis::Redis;",
            "broker must not import storage::redis",
        ),
        (
            "fn status() -> http::StatusCode {}",
            "broker must not know the crate http",
        ),
        ("use redis::Client;", "broker must not know the crate redis"),
        ("use crate::attic::Box;", "in no room"),
    ];
    for (broker, fault) in rows {
        let service = small(&[
            (
                "src/lib.rs",
                "pub mod attic; pub mod broker; pub mod channels; pub mod storage;",
            ),
            ("src/attic.rs", "pub struct Box;"),
            ("src/broker.rs", broker),
            ("src/channels.rs", "pub struct Channels;"),
            ("src/storage.rs", "pub mod redis; pub trait Storage {}"),
            ("src/storage/redis.rs", "use redis::Client; pub struct Redis;"),
        ]);
        let found = rooms::faults(&service, &[]);
        match fault {
            "" => assert!(found.is_empty(), "{found:?}"),
            fault => assert!(
                found.len() == 1 && found[0].contains(fault),
                "{broker}: {found:?}"
            ),
        }
    }
}
