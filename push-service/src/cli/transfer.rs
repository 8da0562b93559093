//! `export`, `import` and `keys show`: what they say to the operator, and what their exit codes mean.

use std::future::Future;
use std::path::{Path, PathBuf};

use super::{FAILED, MISCONFIGURED, OK, complain, print, say, serve};
use crate::config::Config;
use crate::service::transfer::{self, FileArgument, TransferCommandError};
use crate::storage::Imported;

/// Writes everything to a file.
pub(super) fn export(config: &Config, file: &Path) -> u8 {
    run("nothing was exported", "nothing was exported", async {
        let (counts, left_behind) = transfer::export(config, &file_argument(file)).await?;
        say(format_args!(
            "Exported {} user agents, {} subscriptions and {} messages.",
            counts.user_agents, counts.subscriptions, counts.messages
        ));
        if left_behind.expired + left_behind.abandoned > 0 {
            say(format_args!(
                "Not exported: {} expired messages, and {} user agents whose retention is over.",
                left_behind.expired, left_behind.abandoned
            ));
        }
        say(
            "The file has no sealing keys, and endpoints work only with them: print them with `push-service \
             keys show`.",
        );
        Ok(OK)
    })
}

/// Takes everything in from a file.
pub(super) fn import(config: &Config, file: &Path, merge: bool) -> u8 {
    run(
        "nothing was imported",
        "the import stopped before its end",
        async {
            let imported = transfer::import(config, &file_argument(file), merge).await?;
            say(report(imported).trim_end());
            Ok(OK)
        },
    )
}

/// The keys alone on standard output, one a line, so that a script can take them; how to use them on standard error.
pub(super) fn show_keys(config: &Config) -> u8 {
    run("the keys cannot be shown", "the keys cannot be shown", async {
        let keys = transfer::sealing_keys(config).await?;
        if keys.is_empty() {
            return Err(TransferCommandError::Refused(
                "security.sealing_keys is empty".to_owned(),
            ));
        }
        let lines: String = keys.iter().map(|key| key.to_base64url() + "\n").collect();
        let printed = print(lines);
        if printed != OK {
            return Ok(printed);
        }
        say(
            "\nKeep these keys secret: with them anyone can read and forge the URLs of all subscriptions. In the\n\
             configuration of the new service, put all of them into security.sealing_keys, in this order: the first\n\
             key seals, every key opens.",
        );
        Ok(OK)
    })
}

fn report(imported: Imported) -> String {
    let Imported {
        subscriptions,
        messages,
        receipts,
        present,
        in_the_way,
        expired,
        abandoned,
    } = imported;
    let mut text = format!("Imported {subscriptions} subscriptions and {messages} messages.\n");
    let rows = [
        (
            receipts,
            "receipts are owed to application servers, or wait to be relayed to them",
        ),
        (present, "of these were in the storage already"),
        (
            in_the_way,
            "conflicted with something in the storage and were left out",
        ),
        (expired, "messages had expired and were left out"),
        (
            abandoned,
            "subscriptions and messages belong to user agents whose retention is over, and were left out",
        ),
    ];
    for (number, what) in rows.into_iter().filter(|(number, _)| *number > 0) {
        text.push_str(&format!("{number} {what}.\n"));
    }
    text
}

fn file_argument(file: &Path) -> FileArgument {
    match file {
        file if file == Path::new("-") => FileArgument::StandardStream,
        file => FileArgument::File(PathBuf::from(file)),
    }
}

/// Does the work, which returns the exit code, and says on standard error why it was refused or failed.
fn run(refused: &str, failed: &str, work: impl Future<Output = Result<u8, TransferCommandError>>) -> u8 {
    serve::run(async {
        match work.await {
            Ok(code) => code,
            Err(error @ TransferCommandError::Refused(_)) => complain(refused, &error, MISCONFIGURED),
            Err(error @ TransferCommandError::Failed(_)) => complain(failed, &error, FAILED),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-37: the report names what was not taken in, and why, and nothing that did not happen.
    #[test]
    fn a_report_names_what_was_left_out() {
        let imported = Imported {
            subscriptions: 3,
            messages: 5,
            expired: 2,
            ..Imported::default()
        };
        let expected = "Imported 3 subscriptions and 5 messages.\n\
             2 messages had expired and were left out.\n";
        assert_eq!(report(imported), expected);
    }

    /// A dash is the standard stream, anything else a file.
    #[test]
    fn a_dash_is_the_standard_stream() {
        assert_eq!(file_argument(Path::new("-")), FileArgument::StandardStream);
        assert_eq!(file_argument(Path::new("./-")), FileArgument::File("./-".into()));
    }
}
