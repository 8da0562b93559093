//! Sorts our environment variables: keys of the configuration, the variables of the log, and faults.
//!
//! Every variable that begins with `PUSH_SERVICE_` is ours, so a misspelt one is refused. One family is not: Kubernetes sets
//! variables with the address of each Service in every pod of its namespace (service links), and a Service named
//! `push-service` gives them our name.

use std::collections::HashMap;
use std::ffi::OsString;
use std::net::IpAddr;

use super::given::{ENDING, PREFIX, variable};
use super::unsure::Unsure;
use crate::logging;
use crate::nearest::nearest;

/// How all of ours begin.
const OURS: &str = "PUSH_SERVICE_";

/// Read by tests' builds alone: see `tasks/planted.rs`.
const PLANTED_PANIC: &str = "PUSH_SERVICE_PANIC";

/// What the environment says.
#[derive(Default)]
pub(super) struct Variables {
    /// Those that are keys, by their names.
    pub(super) keys: HashMap<String, String>,
    pub(super) faults: Vec<String>,
}

/// Sorts the variables. `known` are the dotted keys of the configuration.
pub(super) fn sort(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    known: &[String],
    unsure: &mut Unsure,
) -> Variables {
    let mut sorted = Variables::default();
    let mut others = HashMap::new();
    for (name, value) in variables {
        let Ok(name) = name.into_string() else { continue };
        let upper = name.to_ascii_uppercase();
        if !upper.starts_with(OURS) && !logging::reads(&name) {
            continue;
        }
        // A value that is not text is not repeated: it may be a secret.
        let Ok(value) = value.into_string() else {
            sorted.faults.push(format!("{name}: its value is not UTF-8"));
            continue;
        };
        if upper.starts_with(PREFIX) {
            sorted.keys.insert(name, value);
        } else if logging::reads(&name) {
            others.insert(name, value);
        } else if !is_planted_panic(&name) && !is_service_link(&name, &value) {
            sorted.faults.push(unknown(&name, known, unsure));
        }
    }
    if let Err(error) = logging::filter(|name| others.get(name).cloned()) {
        sorted.faults.push(error.to_string());
    }
    sorted
}

/// Whether it is a test's variable, in a build for tests.
fn is_planted_panic(name: &str) -> bool {
    cfg!(debug_assertions) && name == PLANTED_PANIC
}

fn unknown(name: &str, known: &[String], unsure: &mut Unsure) -> String {
    let plain = |name: &str| name.replace("__", "_").to_ascii_uppercase();
    let mut meanings: HashMap<String, String> = known
        .iter()
        .flat_map(|key| [variable(key), variable(&format!("{key}{ENDING}"))])
        .map(|name| (plain(&name), name))
        .collect();
    meanings.insert(logging::VARIABLE.to_owned(), logging::VARIABLE.to_owned());
    // Without the prefix, which all of them share.
    let rest = |name: &str| name.strip_prefix(OURS).unwrap_or(name).to_owned();
    let given = rest(&plain(name));
    let by_rest: HashMap<String, &String> =
        meanings.iter().map(|(name, meant)| (rest(name), meant)).collect();
    let meant = nearest(&given, by_rest.keys().map(String::as_str)).map(|near| by_rest[near]);
    let is_of = |key: &String| {
        meant.is_some_and(|meant| *meant == variable(key) || *meant == variable(&format!("{key}{ENDING}")))
    };
    if let Some(key) = known.iter().find(|key| is_of(key)) {
        unsure.note(key);
    }
    let meant = meant.map_or_else(
        || "remove it; `push-service config print-default` names all variables".to_owned(),
        |meant| format!("did you mean {meant}?"),
    );
    format!("{name}: there is no such variable; {meant}")
}

/// Whether Kubernetes made this variable, for a Service whose name is `push-service` or begins with `push-service-`. Source:
/// "Discovering services", "Environment variables", in Kubernetes's documentation of Services.
///
/// The value has to fit as well: `PUSH_SERVICE_LISTEN_PORT=8080` is somebody's misspelt setting.
fn is_service_link(name: &str, value: &str) -> bool {
    let Some(rest) = name.strip_prefix(OURS) else {
        return false;
    };
    let is_port = || value.parse::<u16>().is_ok();
    let is_address = || value.parse::<IpAddr>().is_ok();
    let is_url = || {
        value
            .split_once("://")
            .is_some_and(|(scheme, _)| is_protocol(scheme))
    };
    // Before it may stand the rest of a Service's name.
    let ends = |end: &str| rest == end || rest.ends_with(&format!("_{end}"));
    let named_port = || rest.starts_with("SERVICE_PORT_") || rest.contains("_SERVICE_PORT_");
    if ends("SERVICE_HOST") {
        is_address()
    } else if ends("SERVICE_PORT") || named_port() {
        is_port()
    } else if ends("PORT") && !is_port_variable(rest) {
        is_url()
    } else {
        is_port_variable(rest) && (is_url() || is_protocol(value) || is_port() || is_address())
    }
}

/// `…PORT_9090_TCP`, or that and `_PROTO`, `_PORT` or `_ADDR`.
fn is_port_variable(rest: &str) -> bool {
    let of_port = ["_PROTO", "_PORT", "_ADDR"]
        .iter()
        .find_map(|end| rest.strip_suffix(end));
    let Some((before, protocol)) = of_port.unwrap_or(rest).rsplit_once('_') else {
        return false;
    };
    let Some((name, number)) = before.rsplit_once('_') else {
        return false;
    };
    is_protocol(protocol) && number.parse::<u16>().is_ok() && (name == "PORT" || name.ends_with("_PORT"))
}

fn is_protocol(word: &str) -> bool {
    ["tcp", "udp", "sctp"].contains(&word.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(variables: &[(&str, &str)]) -> Vec<String> {
        let variables = variables
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let known = [
            "public_url",
            "storage.url",
            "storage.redis.wait_replicas",
            "limits.body_bytes",
        ];
        let known = known.map(str::to_owned);
        sort(variables, &known, &mut Unsure::default()).faults
    }

    /// A variable that looks like ours and is not is refused, with the one that was probably meant.
    #[test]
    fn an_unknown_variable_is_refused_with_the_nearest() {
        let rows = [
            (
                "PUSH_SERVICE_STORAGE_URL",
                "did you mean PUSH_SERVICE__STORAGE__URL?",
            ),
            (
                "PUSH_SERVICE_PUBLIC_URL",
                "did you mean PUSH_SERVICE__PUBLIC_URL?",
            ),
            (
                "PUSH_SERVICE_STORAGE_REDIS_WAIT_REPLICAS",
                "did you mean PUSH_SERVICE__STORAGE__REDIS__WAIT_REPLICAS?",
            ),
            (
                "PUSH_SERVICE_LIMITS__BODY_BYTE",
                "did you mean PUSH_SERVICE__LIMITS__BODY_BYTES?",
            ),
            (
                "push_service_storage_url",
                "did you mean PUSH_SERVICE__STORAGE__URL?",
            ),
            ("PUSH_SERVICE_LOGS", "did you mean PUSH_SERVICE_LOG?"),
            (
                "PUSH_SERVICE_LISTEN_PORT",
                "remove it; `push-service config print-default` names all variables",
            ),
        ];
        for (name, expected) in rows {
            let expected = format!("{name}: there is no such variable; {expected}");
            assert_eq!(faults(&[(name, "8080")]), [expected], "{name}");
        }
    }

    /// The variables that Kubernetes sets beside a Service named `push-service`, or `push-service-admin`, stop no start.
    #[test]
    fn service_links_are_not_ours() {
        let links = [
            ("PUSH_SERVICE_SERVICE_HOST", "10.0.0.11"),
            ("PUSH_SERVICE_SERVICE_PORT", "80"),
            ("PUSH_SERVICE_SERVICE_PORT_HTTP", "80"),
            ("PUSH_SERVICE_SERVICE_PORT_HTTP_ALT", "8080"),
            ("PUSH_SERVICE_PORT", "tcp://10.0.0.11:80"),
            ("PUSH_SERVICE_PORT_80_TCP", "tcp://10.0.0.11:80"),
            ("PUSH_SERVICE_PORT_80_TCP_PROTO", "tcp"),
            ("PUSH_SERVICE_PORT_80_TCP_PORT", "80"),
            ("PUSH_SERVICE_PORT_80_TCP_ADDR", "10.0.0.11"),
            ("PUSH_SERVICE_PORT_443_UDP", "udp://[fd00::11]:443"),
            ("PUSH_SERVICE_PORT_443_UDP_ADDR", "fd00::11"),
            ("PUSH_SERVICE_ADMIN_SERVICE_HOST", "10.0.0.12"),
            ("PUSH_SERVICE_ADMIN_SERVICE_PORT_METRICS", "9090"),
            ("PUSH_SERVICE_ADMIN_PORT", "tcp://10.0.0.12:9090"),
            ("PUSH_SERVICE_ADMIN_PORT_9090_TCP_ADDR", "10.0.0.12"),
        ];
        assert_eq!(faults(&links), [""; 0]);
    }

    /// What only resembles them is refused: another form, or a value that Kubernetes would not set.
    #[test]
    fn what_resembles_a_service_link_is_refused() {
        let rows = [
            ("PUSH_SERVICE_PORT", "8080"),
            ("PUSH_SERVICE_LISTEN_PORT", "8080"),
            ("PUSH_SERVICE_HOST", "10.0.0.11"),
            ("PUSH_SERVICE_SERVICE_HOST", "push.example"),
            ("PUSH_SERVICE_SERVICE_PORT", "tcp"),
            ("PUSH_SERVICE_PORT_HTTP_TCP", "tcp://10.0.0.11:80"),
            ("PUSH_SERVICE_PORT_80_TCP_NAME", "tcp"),
            ("PUSH_SERVICE_80_TCP", "tcp://10.0.0.11:80"),
        ];
        for row in rows {
            assert_eq!(faults(&[row]).len(), 1, "{row:?}");
        }
    }

    /// The variable of the log is read with the others, so its faults are told with theirs; other programs' are not read.
    #[test]
    fn the_log_is_checked_with_the_rest() {
        assert_eq!(
            faults(&[
                ("PUSH_SERVICE_LOG", "debug"),
                ("PATH", "/bin"),
                ("RUST_LOG", "verbose")
            ]),
            [""; 0]
        );
        for (name, value) in [("PUSH_SERVICE_LOG", "verbose"), ("RUST_LOG", "off")] {
            let faults = faults(&[(name, value)]);
            assert!(
                faults.len() == 1 && faults[0].starts_with(&format!("{name}: ")),
                "{faults:?}"
            );
        }
    }
}
