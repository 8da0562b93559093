//! Commands, flags, and their help.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum, ValueHint};
use push_protocol::vapid::PublicKey;
use push_protocol::{Topic, Ttl, Urgency};
use user_agent_client::{Transport, defaults};

use super::exit::EXIT_CODES;
use super::help;

/// A Web Push user agent without a browser.
#[derive(Parser, Debug)]
#[command(name = "user-agent-client", version, long_about = help::ABOUT, after_long_help = EXIT_CODES)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub(super) struct CommandLine {
    /// Log more: -v the channel's events, -vv each message and request, -vvv everything. RUST_LOG overrides it
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(super) verbose: u8,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Make a subscription, or find the existing one, and print it for the application server
    #[command(long_about = help::SUBSCRIBE, after_long_help = EXIT_CODES)]
    Subscribe(Subscribe),
    /// Receive messages until a signal, and print each one as a line
    #[command(long_about = help::LISTEN, after_long_help = EXIT_CODES)]
    Listen(Listen),
    /// End a subscription
    #[command(long_about = help::UNSUBSCRIBE, after_long_help = EXIT_CODES)]
    Unsubscribe(Unsubscribe),
    /// Show the subscriptions; works while `listen` runs
    #[command(long_about = help::LIST, after_long_help = EXIT_CODES)]
    List(List),
    /// Send a message, as an application server
    #[command(long_about = help::SEND, after_long_help = EXIT_CODES)]
    Send(Send),
    /// Send one message through a push service and back, and print how long each step took
    #[command(long_about = help::PROBE, after_long_help = EXIT_CODES)]
    Probe(Probe),
    /// Make a VAPID key pair, or read an existing one, and print the public key
    #[command(long_about = help::KEYS, after_long_help = EXIT_CODES)]
    Keys(Keys),
    /// Run the commands of `listen`, which starts this itself
    #[command(hide = true)]
    Supervise(Supervise),
    /// Print a script that completes commands and flags in a shell
    Completions(Completions),
}

/// Where the state is.
#[derive(Args, Debug)]
pub(super) struct StateArguments {
    /// Directory for keys and subscriptions [default: $XDG_STATE_HOME/user-agent-client, or
    /// ~/.local/state/user-agent-client]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(super) state: Option<PathBuf>,
}

/// How to talk to the push service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum TransportArgument {
    /// By the URL: wss:// and ws:// are a WebSocket, https:// is HTTP/2
    Auto,
    /// The WebSocket that Firefox uses; https:// is read as wss://
    Websocket,
    /// RFC 8030 over HTTP/2; wss:// is read as https://
    Http2,
}

impl TransportArgument {
    /// The one that was asked for; `None` if the URL says it.
    pub(super) fn asked(self) -> Option<Transport> {
        match self {
            Self::Auto => None,
            Self::Websocket => Some(Transport::WebSocket),
            Self::Http2 => Some(Transport::Http2),
        }
    }
}

/// Whom to trust.
#[derive(Args, Debug)]
pub(super) struct TrustArguments {
    /// Also trust the certificates in this PEM file: a private CA, or the service's own certificate. The state remembers it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "insecure")]
    pub(super) ca: Option<PathBuf>,
    /// Accept any certificate. For tests only: others on the network can read and change everything
    #[arg(long)]
    pub(super) insecure: bool,
    /// Use this HTTP proxy, or `none`. Overrides HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY
    #[arg(long, value_name = "URL|none")]
    pub(super) proxy: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct Subscribe {
    /// URL of the push service: wss://HOST or https://HOST, or ws://HOST:PORT without TLS. The state remembers it
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(super) server: Option<String>,
    /// Transport to the push service. Subscriptions of one state share one transport
    #[arg(long, value_name = "TRANSPORT", default_value = "auto")]
    pub(super) transport: TransportArgument,
    #[command(flatten)]
    pub(super) state: StateArguments,
    /// Only the application server with this public VAPID key may send, as `keys` prints it
    #[arg(long, value_name = "KEY", value_parser = public_key)]
    pub(super) application_server_key: Option<PublicKey>,
    /// Your name for the subscription
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(super) name: String,
    /// How long to wait for the service, in seconds. The request is kept after that
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(super) timeout: Duration,
    #[command(flatten)]
    pub(super) trust: TrustArguments,
}

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("commands").multiple(true)))]
pub(super) struct Listen {
    /// URL of the push service. The state remembers it
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(super) server: Option<String>,
    /// Transport to the push service: the same as of `subscribe`
    #[arg(long, value_name = "TRANSPORT", default_value = "auto")]
    pub(super) transport: TransportArgument,
    #[command(flatten)]
    pub(super) state: StateArguments,
    /// How messages are printed. Default: text; with --exec or --notify they are not printed
    #[arg(long, value_name = "FORMAT")]
    pub(super) format: Option<Format>,
    /// Stop after this number of messages
    #[arg(long, value_name = "N")]
    pub(super) count: Option<NonZeroU64>,
    /// Stop when no more messages wait at the service. Only over HTTP/2
    #[arg(long, conflicts_with = "count")]
    pub(super) until_empty: bool,
    /// Take only messages of this urgency or higher; the others wait at the service
    #[arg(long, value_name = "URGENCY", default_value = "very-low", value_parser = urgency())]
    pub(super) urgency: Urgency,
    /// Run this command for each message, by sh -c. The message is its standard input; exit code 0 acknowledges it
    #[arg(long, value_name = "CMD", value_hint = ValueHint::CommandString, group = "commands")]
    pub(super) exec: Option<String>,
    /// Run this command for messages of one subscription, instead of --exec. Can be repeated
    #[arg(long, value_name = "NAME=CMD", group = "commands")]
    pub(super) exec_for: Vec<String>,
    /// Run DIR/NAME for messages of the subscription NAME, if this file exists, instead of --exec
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, group = "commands")]
    pub(super) exec_dir: Option<PathBuf>,
    /// Kill the command and all its child processes after this number of seconds; the attempt has failed
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(super) exec_timeout: Duration,
    /// How many messages are handled at the same time. With 1, they keep their order
    #[arg(long, value_name = "N", default_value = "1", requires = "commands")]
    pub(super) jobs: NonZeroUsize,
    /// How many times a failing message is tried before it is given up. Failures before a restart count as crashes: 16 in all
    #[arg(long, value_name = "N", default_value_t = ATTEMPTS)]
    pub(super) attempts: NonZeroU32,
    /// Show each message on the desktop
    #[cfg(feature = "notify")]
    #[arg(long)]
    pub(super) notify: bool,
    /// Run this command, by sh -c, when the service lost a subscription and a new one was made. Its standard input is the
    /// new subscription, as `subscribe` prints it
    #[arg(long, value_name = "CMD", value_hint = ValueHint::CommandString)]
    pub(super) on_renew: Option<String>,
    #[command(flatten)]
    pub(super) trust: TrustArguments,
}

/// How a message or a subscription is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// One JSON object in each line
    Json,
}

#[derive(Args, Debug)]
pub(super) struct Unsubscribe {
    #[command(flatten)]
    pub(super) state: StateArguments,
    /// Name of the subscription; `list` shows all
    #[arg(long, value_name = "NAME")]
    pub(super) name: String,
    /// How long to wait for the service, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(super) timeout: Duration,
    #[command(flatten)]
    pub(super) trust: TrustArguments,
}

#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    pub(super) state: StateArguments,
    /// text: name and state. json: also the subscription for the application server
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: Format,
}

#[derive(Args, Debug)]
pub(super) struct Send {
    /// File with the subscription in JSON, as `subscribe` and browsers print it; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) subscription: PathBuf,
    /// File with the VAPID key to sign with: PEM or DER, or the private key that npm's web-push prints
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) vapid_key: Option<PathBuf>,
    /// How the push service's operator can reach you: mailto:ADDRESS or an https:// URL. Some services require it
    #[arg(long, value_name = "URL", requires = "vapid_key")]
    pub(super) subject: Option<String>,
    /// How many seconds the message may wait for the user agent. 0: deliver now or never
    #[arg(long, value_name = "SECONDS", default_value = "86400", value_parser = ttl)]
    pub(super) ttl: Ttl,
    /// Replace the waiting message with the same topic: 1 to 32 letters, digits, - or _
    #[arg(long, value_name = "TOPIC", value_parser = topic, allow_hyphen_values = true)]
    pub(super) topic: Option<Topic>,
    /// How urgent the message is; user agents that save battery take only urgent ones
    #[arg(long, value_name = "URGENCY", default_value = "normal", value_parser = urgency())]
    pub(super) urgency: Urgency,
    /// Add this number of bytes, to hide the length of the message
    #[arg(long, value_name = "BYTES", default_value = "0")]
    pub(super) padding: usize,
    /// Wait for the receipt, and print whether the user agent acknowledged the message or the push service gave it up
    #[arg(long)]
    pub(super) receipt: bool,
    /// How long to wait for the service, in seconds [default: 30]; with --receipt, also for the receipt [default: --ttl and
    /// a minute]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(super) timeout: Option<Duration>,
    /// The message. Default: standard input
    #[arg(value_name = "TEXT", conflicts_with = "no_data")]
    pub(super) text: Option<String>,
    /// Send a message without data
    #[arg(long)]
    pub(super) no_data: bool,
    #[command(flatten)]
    pub(super) trust: TrustArguments,
}

#[derive(Args, Debug)]
pub(super) struct Probe {
    /// URL of the push service. All connections lead there, whatever host the service's own URLs have
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(super) server: String,
    /// Transport to the push service
    #[arg(long, value_name = "TRANSPORT", default_value = "auto")]
    pub(super) transport: TransportArgument,
    /// Leave the channel idle for this number of seconds before the message is sent; it must stay open
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(super) idle: Option<Duration>,
    /// How long all steps may take together, without --idle, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(super) timeout: Duration,
    #[command(flatten)]
    pub(super) trust: TrustArguments,
}

#[derive(Args, Debug)]
pub(super) struct Keys {
    /// File of the private key. If it does not exist, it is made, readable by its owner only
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) vapid_key: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct Supervise {
    /// The file that is locked as long as a command may run
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) lock: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct Completions {
    /// For which shell
    #[arg(value_name = "SHELL")]
    pub(super) shell: clap_complete::Shell,
}

fn public_key(text: &str) -> Result<PublicKey, &'static str> {
    PublicKey::parse(text)
        .ok_or("it must be a public VAPID key, 87 characters of base64url, as `keys` prints it")
}

const ATTEMPTS: NonZeroU32 = NonZeroU32::new(defaults::ATTEMPTS).expect("a message is tried");

/// More than a year is no waiting; and it would be too long for some clocks.
fn seconds(text: &str) -> Result<Duration, &'static str> {
    const YEAR: u64 = 365 * 24 * 3_600;
    let seconds = text.parse().ok().filter(|seconds| (1..=YEAR).contains(seconds));
    seconds
        .map(Duration::from_secs)
        .ok_or("it must be a whole number of seconds, from 1 to 31536000 (a year)")
}

fn ttl(text: &str) -> Result<Ttl, &'static str> {
    Ttl::parse(text).ok_or("it must be a whole number of seconds")
}

fn topic(text: &str) -> Result<Topic, &'static str> {
    Topic::parse(text).ok_or("it must be 1 to 32 letters, digits, - or _")
}

/// Completions know the four names.
fn urgency() -> impl TypedValueParser<Value = Urgency> {
    PossibleValuesParser::new(Urgency::ALL.map(Urgency::as_str))
        .map(|name| Urgency::parse(&name).expect("one of the four"))
}
