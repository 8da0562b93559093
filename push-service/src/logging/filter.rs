//! What is logged: a level for all of the program, and levels for parts of it, as in `info,h2=error`.
//!
//! An entry without an effect is refused: a word alone must be a level, and a name must be one under which this program logs.
//!
//! **Invariant:** no filter hides an error, or what an operator did by an admin action.

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::nearest::nearest;

/// The crates of this program that log. A part of one is named behind it: `push_service::storage`.
const CRATES: [&str; 2] = ["push_service", "h2"];

/// Where the lines about admin actions come from.
const ACTIONS: &str = "push_service::admin::actions";

/// How much of a wrong word is repeated, in characters. Chosen: longer than any level or crate.
const SHOWN_CHARACTERS: usize = 40;

/// The parts of `push_service`.
const ROOMS: [&str; 22] = [
    "admin",
    "broker",
    "budgets",
    "channels",
    "cli",
    "cluster",
    "config",
    "defaults",
    "history",
    "html",
    "listeners",
    "logging",
    "metrics",
    "nearest",
    "private",
    "random",
    "resources",
    "service",
    "storage",
    "tasks",
    "tls",
    "transfer",
];

/// Which names a filter may have levels for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AcceptedNames {
    /// For this program's.
    Ours,
    /// For those of other programs too, because these read the same filter.
    Any,
}

/// Reads a filter.
///
/// # Errors
///
/// A sentence that says what is wrong with the first wrong entry, and what is accepted.
pub(crate) fn parse(text: &str, names: AcceptedNames) -> Result<Targets, String> {
    let mut filter = Targets::new().with_default(LevelFilter::ERROR);
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    for entry in entries {
        filter = match entry.split_once('=') {
            None => filter.with_default(level(entry)?),
            Some((name, word)) => filter.with_target(known(name.trim(), names)?, level(word.trim())?),
        };
    }
    if !filter.would_enable(ACTIONS, &Level::WARN) {
        filter = filter.with_target(ACTIONS, LevelFilter::WARN);
    }
    Ok(filter)
}

fn level(word: &str) -> Result<LevelFilter, String> {
    let level = match word.to_ascii_lowercase().as_str() {
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        "off" => return Err(refused("`off` is not accepted, because errors are always logged")),
        _ => return Err(refused(&format!("`{}` is not a level", shown(word)))),
    };
    Ok(level)
}

/// The name of a part of the program that logs.
fn known(name: &str, names: AcceptedNames) -> Result<&str, String> {
    let mut segments = name.split("::");
    let of = segments.next().unwrap_or(name);
    let is_word =
        |segment: &str| !segment.is_empty() && segment.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if CRATES.contains(&of) && name.split("::").all(is_word) {
        let room = segments.next().filter(|_| of == CRATES[0]);
        return match room.filter(|room| !ROOMS.contains(room)) {
            None => Ok(name),
            Some(room) => {
                let meant = nearest(room, ROOMS);
                let meant =
                    meant.map_or_else(String::new, |meant| format!(", did you mean `{of}::{meant}`?"));
                Err(refused(&format!("nothing here logs as `{}`{meant}", shown(name))))
            }
        };
    }
    let is_path = |c: char| c.is_ascii_alphanumeric() || "_:".contains(c);
    if names == AcceptedNames::Any && !name.is_empty() && name.chars().all(is_path) {
        return Ok(name);
    }
    let meant = nearest(&of.replace('-', "_"), CRATES);
    let meant = meant.map_or_else(String::new, |meant| format!(", did you mean `{meant}`?"));
    Err(refused(&format!("nothing here logs as `{}`{meant}", shown(name))))
}

fn refused(why: &str) -> String {
    format!(
        "{why}; it takes a level (`error`, `warn`, `info`, `debug` or `trace`), or levels for parts of the program, such \
         as `info,push_service=debug`"
    )
}

/// A word that the operator wrote, cut to [`SHOWN_CHARACTERS`] and without control characters.
fn shown(word: &str) -> String {
    word.chars()
        .filter(|c| !c.is_control())
        .take(SHOWN_CHARACTERS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A filter gives each part of the program its level.
    #[test]
    fn parts_have_their_levels() {
        let rows = [
            ("info", "push_service", Level::INFO, true),
            ("info", "push_service", Level::DEBUG, false),
            ("INFO", "h2::codec", Level::INFO, true),
            ("info,h2=error", "h2::codec", Level::WARN, false),
            ("info, h2 = error", "push_service", Level::INFO, true),
            ("push_service=debug", "push_service::tls", Level::DEBUG, true),
            ("push_service=debug", "h2", Level::WARN, false),
            (
                "push_service::tls=trace,warn",
                "push_service::tls",
                Level::TRACE,
                true,
            ),
            ("push_service::tls=trace,warn", "push_service", Level::INFO, false),
            ("", "push_service", Level::WARN, false),
        ];
        for (text, target, level, expected) in rows {
            let filter = parse(text, AcceptedNames::Ours).unwrap();
            assert_eq!(
                filter.would_enable(target, &level),
                expected,
                "{text}: {target} {level}"
            );
        }
    }

    /// A filter for errors alone shows what an operator did, and one for more shows more of it.
    #[test]
    fn actions_are_never_filtered() {
        for text in [
            "error",
            "push_service=error",
            "push_service::admin=error,warn",
            "h2=debug",
        ] {
            let filter = parse(text, AcceptedNames::Ours).unwrap();
            assert!(filter.would_enable(ACTIONS, &Level::WARN), "{text}");
            assert!(!filter.would_enable(ACTIONS, &Level::INFO), "{text}");
        }
        let filter = parse("debug", AcceptedNames::Ours).unwrap();
        assert!(filter.would_enable(ACTIONS, &Level::DEBUG));
    }

    /// The parts are those that the program has.
    #[test]
    fn all_parts_are_known() {
        let lines = include_str!("../lib.rs").lines();
        let modules = lines.filter_map(|line| {
            line.trim_start_matches("pub ")
                .strip_prefix("mod ")?
                .strip_suffix(';')
        });
        assert_eq!(modules.collect::<Vec<_>>(), ROOMS);
    }

    /// A name of no part is refused with the nearest one, and so is what is no name.
    #[test]
    fn a_part_that_is_not_there_is_refused() {
        for (text, expected) in [
            ("push_service::tsl=debug", "did you mean `push_service::tls`?"),
            ("push_service::nosuchmodule=debug", "nothing here logs as"),
            ("push_service::=trace", "nothing here logs as"),
            ("push_service::tls::a b=debug", "nothing here logs as"),
            ("push_service::\u{1b}]0;X=debug", "nothing here logs as"),
        ] {
            let error = parse(text, AcceptedNames::Ours).unwrap_err();
            assert!(
                error.contains(expected) && !error.contains('\u{1b}'),
                "{text}: {error}"
            );
        }
        assert!(parse("push_service::tls::acme=debug", AcceptedNames::Ours).is_ok());
    }

    /// Whatever is accepted, errors of every part are logged.
    #[test]
    fn errors_are_never_filtered() {
        let filters = [
            "",
            "error",
            "warn",
            "trace",
            "push_service=debug",
            "h2=error",
            "push_service::tls=error,info",
        ];
        for text in filters {
            let filter = parse(text, AcceptedNames::Ours).unwrap();
            for target in ["push_service", "push_service::tls", "h2::codec", "another"] {
                assert!(filter.would_enable(target, &Level::ERROR), "{text}: {target}");
            }
        }
    }

    /// An entry that would log nothing, or hide errors, is refused with what is wrong with it.
    #[test]
    fn an_entry_without_effect_is_refused() {
        let rows = [
            ("verbose", "`verbose` is not a level"),
            ("push_service", "`push_service` is not a level"),
            (
                "push-service=debug",
                "nothing here logs as `push-service`, did you mean `push_service`?",
            ),
            ("pushservice=debug", "did you mean `push_service`?"),
            ("info,hyper=debug", "nothing here logs as `hyper`;"),
            ("push_service=loud", "`loud` is not a level"),
            ("push_service=", "`` is not a level"),
            ("off", "errors are always logged"),
            ("info,h2=off", "errors are always logged"),
            ("0", "`0` is not a level"),
            ("push_service[request]=debug", "nothing here logs as"),
            ("info;debug", "is not a level"),
            ("=debug", "nothing here logs as ``"),
        ];
        for (text, expected) in rows {
            let why = parse(text, AcceptedNames::Ours).unwrap_err();
            assert!(why.contains(expected), "{text}: {why}");
            assert!(why.contains("it takes a level"), "{text}: {why}");
        }
    }

    /// A variable that other programs read as well may name their parts, and nothing else is taken that is wrong.
    #[test]
    fn a_shared_variable_may_name_parts_of_others() {
        assert!(parse("info,other_program::part=debug", AcceptedNames::Any).is_ok());
        for text in [
            "verbose",
            "off",
            "other=off",
            "push-service=debug",
            "other[span]=debug",
        ] {
            assert!(parse(text, AcceptedNames::Any).is_err(), "{text}");
        }
    }
}
