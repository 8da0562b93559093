//! The binaries under test: those that the environment names, else what cargo builds, once for all tests of a process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// The service: what `PUSH_SERVICE_BIN` names, else built.
pub fn push_service() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| named_or_built("PUSH_SERVICE_BIN", "push-service"))
}

/// The user agent's command: what `USER_AGENT_CLIENT_BIN` names, else built.
pub fn user_agent_client() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| named_or_built("USER_AGENT_CLIENT_BIN", "user-agent-client"))
}

/// The load tool: what `PUSH_BENCH_BIN` names, else built.
pub fn push_bench() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("PUSH_BENCH_BIN") {
        Some(path) => path.into(),
        None => built_by_cargo("push-benches", "push-bench"),
    })
}

/// Whether panics can be planted in the service. Only builds with debug assertions look for them, and a release has none.
pub fn plants_panics() -> bool {
    let is_release = std::env::var_os("PROFILE").is_some_and(|profile| profile == "release");
    if is_release {
        println!("PROFILE=release: no panic can be planted");
    }
    !is_release
}

/// A program of this machine, which ends with the test.
pub fn program(name: &str) -> Command {
    command(Path::new(name), None)
}

/// The command that becomes this binary: `setpriv` makes the kernel end it when the test ends in any way. A directory can
/// be put on a disk of so many bytes, which vanishes with the process.
pub(crate) fn command(binary: &Path, disk: Option<(&Path, u64)>) -> Command {
    limited(binary, disk, None)
}

/// The same with a soft and a hard limit of open files.
pub(crate) fn limited(binary: &Path, disk: Option<(&Path, u64)>, open_files: Option<(u32, u32)>) -> Command {
    let mut command = match disk {
        None => Command::new("setpriv"),
        Some((directory, size)) => {
            let mut command = Command::new("unshare");
            command
                .args(["--mount", "--map-root-user", "sh", "-c"])
                .arg(format!(
                    "mkdir -p \"$0\" && mount -t tmpfs -o size={size} tmpfs \"$0\" && exec setpriv \"$@\""
                ))
                .arg(directory);
            command
        }
    };
    command.args(["--pdeathsig", "KILL"]);
    if let Some((soft, hard)) = open_files {
        command.arg("prlimit").arg(format!("--nofile={soft}:{hard}"));
    }
    command.arg(binary);
    without_ours(&mut command);
    command
}

/// Takes the variables away that are for the tests. The service refuses variables that have its name and that it does not know.
pub fn without_ours(command: &mut Command) {
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("PUSH_SERVICE_")) {
        command.env_remove(name);
    }
}

fn named_or_built(variable: &str, package: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => path.into(),
        None => built_by_cargo(package, package),
    }
}

fn built_by_cargo(package: &str, binary: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--package", package, "--bin", binary])
        .args(["--message-format", "json"])
        .output()
        .expect("cargo starts");
    assert!(
        built.status.success(),
        "{package} does not build:\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
    String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| Some(message.get("executable")?.as_str()?.into()))
        .expect("cargo names the executable")
}
