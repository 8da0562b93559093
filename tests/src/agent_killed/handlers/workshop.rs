//! The handler's side: its command, what that needs, and the lines in which it says what it does.
//!
//! ```text
//! LIFE begin PID ID SUBSCRIPTION TEXT      a run has begun; the text in base64
//! LIFE refused PID                         what it needs is away: it ends with 1
//! LIFE end PID                             the work is done: it ends with 0
//! ```
//!
//! A line is written at once to a pipe that the trial holds open, so that it is known whatever dies next. LIFE is the run
//! of the user agent whose handler this is.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::listener::whole_lines;

/// `$1` is the life, `$2` how long the work takes, in seconds. Short lines of a pipe are written whole.
const HANDLER: &str = r#"#!/bin/sh
cd "${0%/*}" || exit 1
say() { printf '%s\t%s\t%s%s\n' "$life" "$1" "$$" "$2" >> lines; }
life=$1
tab=$(printf '\t')
say begin "$tab$PUSH_MESSAGE_ID$tab$PUSH_SUBSCRIPTION$tab$(base64 -w0)"
[ -e needed ] || { say refused; exit 1; }
sleep "$2"
say end
"#;

/// What is away when handlers can't work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Away {
    /// A file that the handler needs, as it might need its database: it ends with 1.
    Needed,
    /// The command: its shell ends with 127.
    Command,
    /// The right to run it: its shell ends with 126.
    Right,
}

/// How a handler dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Death {
    /// SIGKILL for the command alone.
    Command,
    /// SIGKILL for its shell and all that it started.
    Group,
    /// SIGTERM for the command alone.
    Terminated,
}

/// What a handler said.
#[derive(PartialEq, Eq, Debug)]
pub struct Said {
    /// The run of the user agent whose handler this is.
    pub life: usize,
    /// Its process.
    pub pid: i32,
    /// What it does.
    pub what: What,
}

/// See the module.
#[derive(PartialEq, Eq, Debug)]
pub enum What {
    /// A run has begun.
    Begin {
        /// The message's id.
        id: String,
        /// The subscription's name.
        subscription: String,
        /// The message's text.
        text: String,
    },
    /// What the handler needs is away.
    Refused,
    /// The work is done.
    End,
}

/// The directory with all that.
pub(super) struct Workshop {
    directory: TempDir,
    /// The pipe's other end, which keeps it open.
    pipe: File,
    lines: mpsc::UnboundedReceiver<String>,
    marks: usize,
}

impl Workshop {
    pub(super) fn open() -> Self {
        let directory = TempDir::with_prefix("workshop-").expect("a directory for the handlers");
        let pipe = directory.path().join("lines");
        let made = Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo starts").success());
        // Open for both, opening it never waits, and reading it never ends.
        let pipe = OpenOptions::new().read(true).write(true).open(pipe);
        let pipe = pipe.expect("the pipe opens");
        let workshop = Self {
            lines: whole_lines(pipe.try_clone().expect("a second handle")),
            directory,
            pipe,
            marks: 0,
        };
        fs::write(workshop.file("handler"), HANDLER).expect("the handler is written");
        workshop.set(None);
        workshop
    }

    /// What `--exec` runs. A shell stays between the user agent and the handler, as it does for many a line.
    pub(super) fn line(&self, life: usize, seconds: f64) -> String {
        format!(
            "'{}' {life} {seconds:.3}; exit $?",
            self.file("handler").display()
        )
    }

    /// Takes this away, or gives all back.
    pub(super) fn set(&self, away: Option<Away>) {
        let (handler, hidden) = (self.file("handler"), self.file("handler.away"));
        if away == Some(Away::Command) {
            move_if_there(&handler, &hidden);
        } else {
            move_if_there(&hidden, &handler);
            let mode = if away == Some(Away::Right) { 0o644 } else { 0o755 };
            fs::set_permissions(&handler, Permissions::from_mode(mode)).expect("the mode is set");
        }
        let needed = self.file("needed");
        if away == Some(Away::Needed) {
            // It may be away already.
            let _ = fs::remove_file(needed);
        } else {
            fs::write(needed, "").expect("the file is written");
        }
    }

    /// What a handler said next. Cancel safe.
    pub(super) async fn said(&mut self) -> Said {
        let line = self.lines.recv().await.expect("the pipe stays open");
        Said::parse(&line).unwrap_or_else(|| panic!("no handler says this: {line:?}"))
    }

    /// All that was said before now.
    pub(super) async fn said_so_far(&mut self) -> Vec<Said> {
        self.marks += 1;
        let mark = format!("mark {}", self.marks);
        writeln!(self.pipe, "{mark}").expect("the pipe takes a line");
        let mut said = Vec::new();
        loop {
            let line = self.lines.recv().await.expect("the pipe stays open");
            if line == mark {
                return said;
            }
            said.push(Said::parse(&line).unwrap_or_else(|| panic!("no handler says this: {line:?}")));
        }
    }

    /// Whether this process is a handler of ours.
    pub(super) fn is_running(&self, pid: i32) -> bool {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let ours = self.file("handler").display().to_string();
        String::from_utf8_lossy(&command).contains(&ours)
    }

    /// Ends a handler, if it is still there.
    pub(super) fn kill(&self, pid: i32, death: Death) {
        let Some(process) = Pid::from_raw(pid).filter(|_| self.is_running(pid)) else {
            return;
        };
        // It may end by itself at any time: that it is gone is no failure.
        let _ = match death {
            Death::Command => kill_process(process, Signal::KILL),
            Death::Terminated => kill_process(process, Signal::TERM),
            Death::Group => getpgid(Some(process)).and_then(|group| kill_process_group(group, Signal::KILL)),
        };
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Said {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        let life = fields.next()?.parse().ok()?;
        let word = fields.next()?;
        let pid = fields.next()?.parse().ok()?;
        let what = match word {
            "begin" => What::Begin {
                id: fields.next()?.to_owned(),
                subscription: fields.next()?.to_owned(),
                text: String::from_utf8(STANDARD.decode(fields.next()?).ok()?).ok()?,
            },
            "refused" => What::Refused,
            "end" => What::End,
            _ => return None,
        };
        fields.next().is_none().then_some(Self { life, pid, what })
    }
}

fn move_if_there(from: &Path, to: &Path) {
    if from.exists() {
        fs::rename(from, to).expect("the handler is moved");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line says what the handler did; anything else is refused.
    #[test]
    fn lines_are_read() {
        let begin = What::Begin {
            id: "i 1".into(),
            subscription: "tea time".into(),
            text: "a\nb".into(),
        };
        let rows = [
            ("3\tbegin\t77\ti 1\ttea time\tYQpi", Some(begin)),
            ("3\trefused\t77", Some(What::Refused)),
            ("3\tend\t77", Some(What::End)),
            ("3\tend\t77\t", None),
            ("3\tbegin\t77\ti", None),
            ("mark 1", None),
        ];
        for (line, what) in rows {
            let expected = what.map(|what| Said {
                life: 3,
                pid: 77,
                what,
            });
            assert_eq!(Said::parse(line), expected, "{line}");
        }
    }

    /// The handler says what it does, and can be kept from its work in each way.
    #[tokio::test]
    async fn the_handler_works() {
        let mut workshop = Workshop::open();
        let rows = [
            (None, 0),
            (Some(Away::Needed), 1),
            (Some(Away::Command), 127),
            (Some(Away::Right), 126),
            (None, 0),
        ];
        let mut said = Vec::new();
        for (away, code) in rows {
            workshop.set(away);
            let ran = Command::new("sh")
                .args(["-c", &workshop.line(1, 0.0)])
                .stdin(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .env("PUSH_MESSAGE_ID", "i")
                .env("PUSH_SUBSCRIPTION", "größe")
                .status();
            assert_eq!(ran.unwrap().code(), Some(code), "{away:?}");
            said.push(workshop.said_so_far().await.len());
        }
        assert_eq!(said, [2, 2, 0, 0, 2]);
    }
}
