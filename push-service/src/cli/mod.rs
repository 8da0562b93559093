//! The command line: what an operator types, and what the exit codes mean.
//!
//! Knows words and exit codes; everything else is the service's.

mod check;
mod healthcheck;
mod inspect;
mod output;
mod secret_files;
mod serve;
mod storage;
mod transfer;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use ring::rand::{SecureRandom as _, SystemRandom};

use push_protocol::capability::SealingKey;

use self::output::{complain, print, say};
use crate::config::{self, Config, ConfigError, Examined};
use crate::private;

/// Everything went as asked.
const OK: u8 = 0;
/// It was started well and then failed, or a health check found trouble.
const FAILED: u8 = 1;
/// The configuration or the command line has to be changed. clap exits with the same code.
const MISCONFIGURED: u8 = 2;

const EXIT_CODES: &str = "\
Start with `push-service serve`. Without a configuration it listens on loopback and prints what to do next.

Exit codes: 0 success; 1 it failed while running; 2 the configuration or the command line is wrong.";

const EXPORT_HELP: &str = "\
Use the configuration of the service whose storage this is. The file is JSON Lines, readable by its owner only. It holds \
waiting messages, but no sealing keys: print those with `push-service keys show`.

Exit codes: 0 the file is complete; 1 it failed; 2 other nodes still use the storage, or the configuration or the command \
line is wrong. With 1 and 2 there is no file.";

const IMPORT_HELP: &str = "\
Use the configuration of the new service. security.sealing_keys must have all sealing keys of the old one. The whole file \
is verified before anything is imported.

Exit codes: 0 everything is imported; 1 the file is refused, or the import stopped before its end: then repeat it with \
--merge; 2 the configuration or the command line is wrong, and nothing was imported.";

const INSPECT_HELP: &str = "\
Each node remembers the last 32 steps of a user agent, since its start and within a bound. What waits is what storage says.

Exit codes: 0 all nodes answered; 1 a node did not, or nothing is known by this name; 2 the configuration or the command line \
is wrong.";

/// A Web Push service (RFC 8030) that anyone can run.
#[derive(Parser)]
#[command(name = "push-service", version, after_help = EXIT_CODES)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service. SIGTERM, SIGQUIT or Ctrl-C ends it after all channels were closed one by one; a second signal ends
    /// it at once. SIGHUP reads the certificate files again
    Serve(Source),
    /// Check or print the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make or show sealing keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Export all subscriptions and waiting messages to a file, to move to another storage. Stop the service first
    #[command(after_help = EXPORT_HELP)]
    Export(Export),
    /// Import an exported file into the storage of this configuration. All endpoints keep working
    #[command(after_help = IMPORT_HELP)]
    Import(Import),
    /// Repair a storage that lost its data
    #[command(subcommand)]
    Storage(StorageCommand),
    /// Ask a running service whether it is ready: exit code 0 if it is, 1 if not. For containers without curl
    Healthcheck(Healthcheck),
    /// Ask running nodes what they know of an endpoint, a message or a user agent: what waits, and the last steps
    #[command(after_help = INSPECT_HELP)]
    Inspect(Inspect),
}

/// Where the configuration comes from.
#[derive(Args)]
struct Source {
    /// TOML file; `config print-default` prints one with all keys. Environment variables named `PUSH_SERVICE__SECTION__KEY`
    /// override it; the same names with `_FILE` at the end name files with the values
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Check the file, the environment, and whether all files that they name can be read, as `serve` does, and print a summary.
    /// Opens nothing, except with --live
    Check(Check),
    /// Print every key with its meaning and default, as TOML
    PrintDefault,
}

#[derive(Args)]
struct Check {
    #[command(flatten)]
    source: Source,
    /// Also read certificates and keys, bind all ports, and connect to storage, without changing anything. Run it as the
    /// service's user, while the service is stopped
    #[arg(long)]
    live: bool,
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Print a new sealing key for `security.sealing_keys`
    Generate,
    /// Print all sealing keys, one on each line: those of the configuration, and the one that an embedded store made for
    /// itself. The first key seals. Stop the service first
    Show(Source),
}

#[derive(Subcommand)]
enum StorageCommand {
    /// Give up what a Redis has lost for good. Its subscriptions become unknown, and user agents make new ones; without
    /// this command all requests for them get 503. Data that still exists is not changed
    BeginAnew(Source),
}

#[derive(Args)]
struct Export {
    #[command(flatten)]
    source: Source,
    /// The file to write; it must not exist yet. `-` is standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Args)]
struct Import {
    #[command(flatten)]
    source: Source,
    /// The exported file. `-` is standard input, which is first copied to a temporary file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Also import into a storage that is not empty: add what is missing, end and replace nothing
    #[arg(long)]
    merge: bool,
}

#[derive(Args)]
struct Healthcheck {
    #[command(flatten)]
    source: Source,
    /// Ask this URL instead of the configuration's first admin listener
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    url: Option<String>,
}

#[derive(Args)]
struct Inspect {
    #[command(flatten)]
    source: Source,
    /// URL of an endpoint, a message, a subscription or a receipt subscription; or an id from the log. `-`: the first line of
    /// standard input, so that the URL is not in the list of processes
    #[arg(value_name = "URL|ID")]
    what: String,
    /// Admin listener of a node, HOST:PORT; repeat it for each node of a cluster. Without it: the first of `listen.admin`
    #[arg(long, value_name = "ADDRESS")]
    admin: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(asked) => return ExitCode::from(output::help(&asked)),
    };
    // The store's library makes files by itself.
    private::set_umask();
    let code = match line.command {
        Command::Serve(source) => {
            let file = source.config.as_deref();
            with(Examined::read(file).with_files().finish(), |config| {
                serve::serve(config, file)
            })
        }
        Command::Config(ConfigCommand::Check(Check { source, live })) => {
            check::check(source.config.as_deref(), live)
        }
        Command::Config(ConfigCommand::PrintDefault) => print(config::template()),
        Command::Keys(KeysCommand::Generate) => generate_key(),
        Command::Keys(KeysCommand::Show(source)) => {
            with_config(&source, |config| transfer::show_keys(&config))
        }
        Command::Export(Export { source, file }) => {
            with_config(&source, |config| transfer::export(&config, &file))
        }
        Command::Import(Import { source, file, merge }) => {
            with_config(&source, |config| transfer::import(&config, &file, merge))
        }
        Command::Storage(StorageCommand::BeginAnew(source)) => {
            with_config(&source, |config| storage::begin_anew(&config))
        }
        Command::Healthcheck(Healthcheck { url: Some(url), .. }) => healthcheck::ask_url(&url),
        Command::Healthcheck(Healthcheck { source, .. }) => {
            with_config(&source, |config| healthcheck::ask_admin(&config.listen.admin))
        }
        Command::Inspect(inspect) => inspected(&inspect),
    };
    ExitCode::from(code)
}

/// The configuration is read only if it is needed to know whom to ask.
fn inspected(asked: &Inspect) -> u8 {
    let form = if asked.json {
        inspect::OutputForm::Json
    } else {
        inspect::OutputForm::Text
    };
    if !asked.admin.is_empty() {
        return inspect::inspect(&asked.what, &asked.admin, &[], form);
    }
    with_config(&asked.source, |config| {
        inspect::inspect(&asked.what, &[], &config.listen.admin, form)
    })
}

/// Reads the configuration and goes on with it, or says what to mend.
fn with_config(source: &Source, then: impl FnOnce(Config) -> u8) -> u8 {
    with(Config::load(source.config.as_deref()), then)
}

fn with(config: Result<Config, ConfigError>, then: impl FnOnce(Config) -> u8) -> u8 {
    match config {
        Ok(config) => then(config),
        Err(error) => complain("the configuration is refused", &error, MISCONFIGURED),
    }
}

/// The key alone on standard output, so that a script can take it; how to use it on standard error.
fn generate_key() -> u8 {
    let mut bits = [0; 32];
    if let Err(error) = SystemRandom::new().fill(&mut bits) {
        return complain("the system's random source failed", &error, FAILED);
    }
    let printed = print(format_args!("{}\n", SealingKey::from_random(bits).to_base64url()));
    if printed != OK {
        return printed;
    }
    say("\nKeep it secret. Set the same list of keys on every node:\n\
         \n    [security]\n    sealing_keys = [\"THE KEY\"]\n\
         \nor PUSH_SERVICE__SECURITY__SEALING_KEYS, with commas between the keys. The first key seals new URLs; every key\n\
         in the list opens old ones. To rotate on several nodes: first add the new key at the end of the list on every\n\
         node, then move it to the front. Removing a key ends all subscriptions that were sealed with it.");
    OK
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// The command line is well-formed, and the commands that the documentation names are there.
    #[test]
    fn the_documented_commands_are_understood() {
        CommandLine::command().debug_assert();
        let lines = [
            "push-service serve",
            "push-service serve --config a.toml",
            "push-service config check --config a.toml",
            "push-service config check --live --config a.toml",
            "push-service config print-default",
            "push-service keys generate",
            "push-service keys show --config a.toml",
            "push-service export --config a.toml a.export",
            "push-service export -",
            "push-service import --config b.toml a.export",
            "push-service import --merge -",
            "push-service storage begin-anew --config a.toml",
            "push-service healthcheck",
            "push-service healthcheck --config a.toml",
            "push-service healthcheck --url http://127.0.0.1:9090",
            "push-service inspect https://push.example.net/push/abc",
            "push-service inspect - --json --config a.toml",
            "push-service inspect 0123456789abcdef --admin 10.0.0.1:9090 --admin 10.0.0.2:9090",
        ];
        for line in lines {
            assert!(CommandLine::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
    }

    /// A configuration that is refused has an exit code of its own, and nothing is done with it.
    #[test]
    fn a_refused_configuration_has_its_own_exit_code() {
        let source = Source {
            config: Some("/there/is/no/such/file".into()),
        };
        assert_eq!(with_config(&source, |_| unreachable!()), MISCONFIGURED);
    }

    /// What cannot be meant is refused.
    #[test]
    fn other_command_lines_are_refused() {
        let lines = [
            "push-service",
            "push-service start",
            "push-service serve --port 1",
            "push-service export",
            "push-service export --merge a.export",
            "push-service import",
            "push-service healthcheck --config a.toml --url http://a",
            "push-service inspect",
        ];
        for line in lines {
            assert!(CommandLine::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
