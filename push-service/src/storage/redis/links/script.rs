//! A step's script, as the links have to know it: how it is called, and whether it may be called twice.

use redis::Cmd;

/// One atomic step, run by name (PR-31).
pub(in crate::storage::redis) struct Script {
    /// For logs and errors.
    pub(in crate::storage::redis) name: &'static str,
    /// What the server runs.
    pub(in crate::storage::redis) source: String,
    /// How the server calls it: SHA-1 of the source, in hexadecimal.
    pub(in crate::storage::redis) sha1: String,
    /// What may be done when it is unknown whether it ran.
    pub(in crate::storage::redis) repeat: Repeat,
}

/// Whether a step may be sent again after a lost connection or an answer that did not come (PR-32).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::storage::redis) enum Repeat {
    /// Doing it twice is doing it once.
    Always,
    /// Doing it twice would be wrong: only an answer that proves that it did not run allows another try.
    IfNotRun,
}

impl Script {
    /// A script of that source.
    pub(in crate::storage::redis) fn new(
        name: &'static str,
        source: impl Into<String>,
        repeat: Repeat,
    ) -> Self {
        let source = source.into();
        let sha1 = sha1_smol::Sha1::from(&source).digest().to_string();
        Self {
            name,
            source,
            sha1,
            repeat,
        }
    }

    /// The command that runs it by its name, on servers that have it.
    pub(super) fn by_name(&self, keys: &[&[u8]], args: &[&[u8]]) -> Cmd {
        command(b"EVALSHA", self.sha1.as_bytes(), keys, args)
    }

    /// The same, for the server to which the slot of `keys` moves: Redis sees one key, the script all of them.
    pub(super) fn by_name_alone(&self, keys: &[&[u8]], args: &[&[u8]]) -> Cmd {
        alone(keys, args, |keys, args| self.by_name(keys, args))
    }

    /// The same with its source.
    pub(super) fn by_source_alone(&self, keys: &[&[u8]], args: &[&[u8]]) -> Cmd {
        alone(keys, args, |keys, args| self.by_source(keys, args))
    }

    /// The command that brings its source, after which the server has it.
    pub(super) fn by_source(&self, keys: &[&[u8]], args: &[&[u8]]) -> Cmd {
        command(b"EVAL", self.source.as_bytes(), keys, args)
    }
}

/// With the first key as the only one, and the others after the arguments.
fn alone(keys: &[&[u8]], args: &[&[u8]], command: impl FnOnce(&[&[u8]], &[&[u8]]) -> Cmd) -> Cmd {
    let (first, others) = keys.split_at(keys.len().min(1));
    let count = others.len().to_string();
    let args = [args, others, &[count.as_bytes()]].concat();
    command(first, &args)
}

fn command(verb: &[u8], script: &[u8], keys: &[&[u8]], args: &[&[u8]]) -> Cmd {
    let reports = || keys.iter().chain(args);
    let bytes: usize = reports().map(|report| report.len()).sum();
    let mut cmd = Cmd::with_capacity(3 + keys.len() + args.len(), verb.len() + script.len() + 4 + bytes);
    cmd.arg(verb).arg(script).arg(keys.len());
    for report in reports() {
        cmd.arg(*report);
    }
    cmd
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-31: a script is called by the SHA-1 of its source, with its keys before its arguments.
    #[test]
    fn a_script_is_called_by_its_digest() {
        let script = Script::new("one", "return 1", Repeat::Always);
        assert_eq!(script.sha1, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        let packed = script.by_name(&[b"k"], &[b"a\r\n"]).get_packed_command();
        let expected = format!(
            "*5\r\n$7\r\nEVALSHA\r\n$40\r\n{}\r\n$1\r\n1\r\n$1\r\nk\r\n$3\r\na\r\n\r\n",
            script.sha1
        );
        assert_eq!(String::from_utf8_lossy(&packed), expected);
    }
}
