//! The order of the service's rooms, as ARCHITECTURE.md says it: the storage trait and the broker, the adapters, the wiring.

use std::collections::BTreeSet;

use super::parse::ModulePath;
use super::resolve::Crate;

/// A room imports only rooms of lines above its own. A module belongs to the room with the longest path.
const ORDER: &[&[&str]] = &[
    &["html", "nearest"],
    &["defaults", "private", "random", "logging", "tasks"],
    &["storage"],
    &["storage::embedded", "storage::memory", "storage::redis", "tls"],
    &["config", "metrics"],
    &["budgets", "history"],
    &["broker"],
    &["resources"],
    &["channels"],
    &["listeners", "cluster", "transfer", "admin"],
    &["service"],
    &["cli"],
];

/// Rooms that stand above these know the trait of a storage and no storage.
const STORAGES: &[&str] = &["storage::embedded", "storage::memory", "storage::redis"];

/// Who may name a storage: `config` has its settings, `service` builds it.
const KNOW_STORAGES: &[&str] = &["config", "service"];

/// Crates that rooms must not name: these rooms know no HTTP, no connections and no Redis.
const FOREIGN: &[(&str, &[&str])] = &[
    ("broker", &["http", "hyper", "h2", "redis", "tokio_tungstenite"]),
    ("budgets", &["http", "hyper", "h2", "redis", "tokio_tungstenite"]),
    ("cluster", &["http", "hyper", "h2", "redis", "tokio_tungstenite"]),
    ("storage", &["http", "hyper", "h2", "redis", "tokio_tungstenite"]),
    (
        "storage::embedded",
        &["http", "hyper", "h2", "redis", "tokio_tungstenite"],
    ),
    (
        "storage::memory",
        &["http", "hyper", "h2", "redis", "tokio_tungstenite"],
    ),
    ("storage::redis", &["http", "hyper", "h2", "tokio_tungstenite"]),
    ("transfer", &["http", "hyper", "h2", "redis", "tokio_tungstenite"]),
];

/// Imports that break the order, one sentence each.
///
/// `known` lists the breaks that are still there, importing room first. One that is gone is a fault, too.
pub(crate) fn faults(service: &Crate, known: &[(&str, &str)]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for edge in service.edges() {
        let (Some((from, from_line)), Some((to, to_line))) = (room(&edge.from), room(&edge.to)) else {
            // The root of the crate only lists its rooms.
            if !edge.from.is_empty() && !edge.to.is_empty() {
                faults.push(format!(
                    "{}: {} is in no room of tests/imports/rooms.rs",
                    edge.at, edge.path
                ));
            }
            continue;
        };
        let too_low = from != to && to_line >= from_line;
        let knows_storage = from != to && STORAGES.contains(&to) && !KNOW_STORAGES.contains(&from);
        if known.contains(&(from, to)) {
            seen.insert((from, to));
        } else if too_low || knows_storage {
            faults.push(format!(
                "{}: {from} must not import {to}, but names {}",
                edge.at, edge.path
            ));
        }
    }
    for (from, to) in known.iter().filter(|known| !seen.contains(*known)) {
        faults.push(format!(
            "{from} no longer imports {to}: take the line out of tests/tests/imports/known.rs"
        ));
    }
    for (name, crates) in FOREIGN {
        let modules = service
            .modules
            .iter()
            .filter(|(path, _)| room(path).is_some_and(|(room, _)| room == *name));
        for (path, module) in modules {
            for mention in &module.mentions {
                let foreign = mention
                    .path
                    .first()
                    .filter(|first| crates.contains(&first.as_str()));
                if let Some(foreign) = foreign.filter(|foreign| !service.has_child(path, foreign)) {
                    faults.push(format!(
                        "{}: {name} must not know the crate {foreign}",
                        mention.at
                    ));
                }
            }
        }
    }
    faults
}

/// The room of a module, with the number of its line.
fn room(path: &ModulePath) -> Option<(&'static str, usize)> {
    let lines = ORDER.iter().enumerate();
    let rooms = lines.flat_map(|(line, rooms)| rooms.iter().map(move |room| (*room, line)));
    let holds = |room: &str| {
        room.split("::")
            .enumerate()
            .all(|(at, part)| path.get(at).is_some_and(|own| own == part))
    };
    rooms
        .filter(|(room, _)| holds(room))
        .max_by_key(|(room, _)| room.len())
}
