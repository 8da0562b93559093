//! Which server programs are run: those that the environment names, else those that are installed.

use std::path::{Path, PathBuf};

/// Whose server it is. Both speak the same protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Program {
    /// `redis-server`.
    Redis,
    /// `valkey-server`.
    Valkey,
}

impl Program {
    /// Where the program is: what `REDIS_SERVER` or `VALKEY_SERVER` names, else what `PATH` finds, else, for Valkey, what
    /// `tests/run.sh` unpacked. `None` when it can't be had.
    pub fn find(self) -> Option<PathBuf> {
        let named = std::env::var_os(self.variable()).filter(|name| !name.is_empty());
        named
            .map(PathBuf::from)
            .or_else(|| in_path(self.name()))
            .or_else(|| unpacked(self.name()))
    }

    /// Whether it can be started here. A test that needs Valkey is left out where it can't.
    pub fn is_here(self) -> bool {
        self.find().is_some()
    }

    pub(super) fn path(self) -> PathBuf {
        self.find().unwrap_or_else(|| {
            panic!(
                "there is no {} to test with: install it (Debian: apt-get install redis-server; `tests/run.sh \
                 --only unit` installs both kinds), or name one in {}",
                self.name(),
                self.variable()
            )
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Valkey => "valkey-server",
        }
    }

    fn variable(self) -> &'static str {
        match self {
            Self::Redis => "REDIS_SERVER",
            Self::Valkey => "VALKEY_SERVER",
        }
    }
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Below the directory where everything is built; see `install_valkey` in `tests/run.sh`.
fn unpacked(name: &str) -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
        PathBuf::from,
    );
    Some(target.join("valkey/usr/bin").join(name)).filter(|file| file.is_file())
}
