//! Wall clocks that leap: those of Redis or of a node, while all others stay right.
//!
//! Linux has no namespaces for the time of day. So a small library (`clock.c`, built with `cc` when needed) overrides
//! the C library's clock in the processes whose clock has to leap.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// The library's source.
const SOURCE: &str = include_str!("clock.c");

/// A clock that can be set, for every process that is started with its environment.
#[derive(Debug)]
pub struct Clock {
    directory: TempDir,
}

impl Clock {
    /// A clock that is right.
    ///
    /// # Panics
    ///
    /// When the library does not build: [`can_be_made`] says whether there is a compiler.
    pub fn new() -> Self {
        let directory = TempDir::with_prefix("push-clock-").expect("a directory");
        let source = directory.path().join("clock.c");
        std::fs::write(&source, SOURCE).expect("the source is written");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wno-nonnull-compare", "-o"])
            .arg(directory.path().join("clock.so"))
            .arg(&source)
            .status();
        assert!(built.is_ok_and(|status| status.success()), "clock.c builds");
        let clock = Self { directory };
        clock.set(0);
        clock
    }

    /// The environment of a process that uses this clock.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        [
            (
                "LD_PRELOAD",
                self.directory.path().join("clock.so").display().to_string(),
            ),
            ("PUSH_TESTS_CLOCK", self.file().display().to_string()),
        ]
    }

    /// Sets it this many seconds ahead of the right time (behind, if negative), at once.
    pub fn set(&self, seconds: i64) {
        use std::io::Write as _;
        let options = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.file());
        options
            .expect("the clock is there")
            .write_all(&seconds.to_ne_bytes())
            .expect("the clock is set");
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("clock")
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether there is a compiler.
pub fn can_be_made() -> bool {
    let asked = Command::new("cc")
        .arg("--version")
        .stdout(std::process::Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}
