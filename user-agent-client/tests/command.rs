//! The command as a script sees it: what it prints where, and its exit codes.

// Helpers are no `#[test]`, and a test that can't go on has failed.
#![allow(clippy::unwrap_used)]

mod shell;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

use tempfile::TempDir;

/// The example of RFC 8291, Appendix A.
const P256DH: &str =
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

/// A directory of its own, and nothing of this user's.
struct Shell {
    directory: TempDir,
}

impl Shell {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        shell::command(self.directory.path(), arguments)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        shell::output(&mut self.command(arguments))
    }

    /// Writes a subscription whose service is at `address`.
    fn subscription(&self, address: SocketAddr) {
        let json = format!(
            r#"{{"endpoint":"http://{address}/push/secret","expirationTime":null,"keys":{{"auth":"{AUTH}","p256dh":"{P256DH}"}}}}"#
        );
        fs::write(self.path("s.json"), json).unwrap();
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What a thread of the test was asked for.
struct Asked<T>(mpsc::Receiver<T>);

impl<T: Send + 'static> Asked<T> {
    fn to(serve: impl FnOnce() -> T + Send + 'static) -> Self {
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(serve()));
        Self(told)
    }

    /// Waits for it; not for ever.
    fn join(self) -> Result<T, mpsc::RecvTimeoutError> {
        self.0.recv_timeout(shell::PATIENCE)
    }
}

/// A service that answers one request, and hands back what was sent.
fn service(answer: &'static str) -> (SocketAddr, Asked<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Asked::to(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !is_whole(&request) {
            let mut bytes = [0; 8192];
            let length = stream.read(&mut bytes).unwrap();
            assert_ne!(length, 0, "cut");
            request.extend(&bytes[..length]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        request
    });
    (address, asked)
}

fn is_whole(request: &[u8]) -> bool {
    let Some(head) = request.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let fields = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
    let length = fields
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse::<usize>().unwrap());
    request.len() >= head + 4 + length
}

/// An address where no server listens.
fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Every command explains itself with examples and exit codes, on standard output.
#[test]
fn help_explains() {
    let shell = Shell::new();
    for command in ["subscribe", "listen", "unsubscribe", "list", "send", "keys"] {
        let output = shell.run(&[command, "--help"]);
        assert_eq!(code(&output), 0);
        let help = text(&output.stdout);
        assert!(help.contains(&format!("user-agent-client {command}")), "{help}");
        assert!(help.contains("Exit codes:"), "{help}");
    }
    let output = shell.run(&["--version"]);
    assert_eq!(
        text(&output.stdout),
        concat!("user-agent-client ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

/// What can't be meant is exit code 2, and nothing is printed that a script could take for a result.
#[test]
fn a_wrong_command_line_is_told() {
    let shell = Shell::new();
    fs::write(shell.path("no.json"), "{}").unwrap();
    fs::write(shell.path("no.pem"), "hello").unwrap();
    shell.subscription(closed_port());
    let rows: [&[&str]; 13] = [
        &[],
        &["listen", "--urgency", "loud"],
        &["listen", "--until-empty", "--count", "1"],
        &["start"],
        &["subscribe"],
        &["subscribe", "--server", "push.example.net"],
        &[
            "subscribe",
            "--server",
            "wss://push.example.net",
            "--ca",
            "there-is-no-such-file",
        ],
        &["send", "--subscription", "-"],
        &["send", "--subscription", "there-is-no-such-file", "Hello"],
        &["send", "--subscription", "no.json", "Hello"],
        &[
            "send",
            "--subscription",
            "s.json",
            "--vapid-key",
            "no.pem",
            "Hello",
        ],
        &["keys", "--vapid-key", "no.pem"],
        &["keys", "--vapid-key", "no/such/directory"],
    ];
    for arguments in rows {
        let output = shell.run(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    assert_eq!(fs::read(shell.path("no.pem")).unwrap(), b"hello");
}

/// A state directory that isn't there is exit code 3, and is not made by those who only look.
#[test]
fn a_missing_state_is_told() {
    let shell = Shell::new();
    let rows: [&[&str]; 3] = [
        &["list", "--state", "s"],
        &["listen", "--state", "s", "--server", "ws://127.0.0.1:1"],
        &["unsubscribe", "--state", "s", "--name", "n"],
    ];
    for arguments in rows {
        let output = shell.run(arguments);
        assert_eq!(code(&output), 3, "{arguments:?}: {}", text(&output.stderr));
        assert!(!shell.path("s").exists(), "{arguments:?}");
    }
}

/// Who waits for a service that isn't there gets exit code 4 in the end; what was asked for stays asked for, in the
/// directory that is this user's.
#[test]
fn a_missing_service_is_told() {
    let shell = Shell::new();
    let server = format!("ws://{}", closed_port());
    let output = shell.run(&[
        "subscribe",
        "--server",
        &server,
        "--name",
        "door",
        "--timeout",
        "1",
    ]);
    assert_eq!(code(&output), 4, "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());
    assert!(shell.path(".local/state/user-agent-client/state.json").exists());

    let output = shell.run(&["list"]);
    assert_eq!((code(&output), text(&output.stdout)), (0, "door\twaiting\n"));
    let output = shell.run(&["list", "--format", "json"]);
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed["name"], "door");
    assert!(listed["subscription"].is_null());

    let output = shell.run(&["unsubscribe", "--name", "window"]);
    assert_eq!(code(&output), 2, "{}", text(&output.stderr));
}

/// R30-SUB-3: HTTP/2 in clear leads to this machine only, and what to type instead is said.
#[test]
fn http2_in_clear_is_refused() {
    let shell = Shell::new();
    let output = shell.run(&["subscribe", "--state", "t", "--server", "http://push.example.net"]);
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("did you mean https://push.example.net/ ?"));
}

/// `keys` makes a key once, for its owner only, and prints the same public key ever after.
#[test]
fn keys_are_made_once() {
    let shell = Shell::new();
    let first = shell.run(&["keys", "--vapid-key", "k.pem"]);
    let second = shell.run(&["keys", "--vapid-key", "k.pem"]);
    assert_eq!((code(&first), code(&second)), (0, 0));
    assert_eq!(text(&first.stdout).trim_end().len(), 87);
    assert_eq!(first.stdout, second.stdout);
    assert!(text(&first.stderr).contains("Keep it secret"));
    assert!(second.stderr.is_empty());
    let mode = fs::metadata(shell.path("k.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// `send` prints the URL of the message, and its exit code says what an application server has to do.
#[test]
fn the_exit_code_of_send_says_what_to_do() {
    let rows = [
        ("201 Created\r\nLocation: /message/1", 0, ""),
        ("400 Bad Request", 4, "400"),
        ("401 Unauthorized", 4, "needs a VAPID key"),
        ("404 Not Found", 5, "Delete it"),
        ("410 Gone", 5, "Delete it"),
        ("413 Content Too Large", 2, "send a shorter one"),
        ("429 Too Many Requests\r\nRetry-After: 7", 6, "try again in 7 s"),
        ("503 Service Unavailable", 6, "try again later"),
    ];
    for (status, expected, sentence) in rows {
        let shell = Shell::new();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").leak();
        let (address, asked) = service(answer);
        shell.subscription(address);
        let output = shell.run(&["send", "--subscription", "s.json", "Hello"]);
        assert_eq!(code(&output), expected, "{status}");
        let complaint = text(&output.stderr);
        assert!(complaint.contains(sentence), "{complaint}");
        assert!(!complaint.contains("secret"), "{complaint}");
        let printed = if expected == 0 {
            format!("http://{address}/message/1\n")
        } else {
            String::new()
        };
        assert_eq!(text(&output.stdout), printed, "{status}");
        asked.join().unwrap();
    }
    let shell = Shell::new();
    shell.subscription(closed_port());
    let output = shell.run(&["send", "--subscription", "s.json", "Hello"]);
    assert_eq!(code(&output), 4, "{}", text(&output.stderr));
}

/// A service that answers one request after the other, each on a connection of its own.
fn service_in_turn(answers: Vec<String>) -> (SocketAddr, Asked<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Asked::to(move || {
        let answering = answers.into_iter().map(|answer| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !is_whole(&request) {
                let mut bytes = [0; 8192];
                let length = stream.read(&mut bytes).unwrap();
                assert_ne!(length, 0, "cut");
                request.extend(&bytes[..length]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request).to_ascii_lowercase()
        });
        answering.collect()
    });
    (address, asked)
}

/// R30-RCP-2, R30-RDL-2: `send --receipt` says at once where the message is, and in the end what became of it, also if it
/// hears of others before; its exit code tells the same to a script.
#[test]
fn send_waits_for_the_receipt() {
    let link = "Link: </receipts/1>; rel=\"urn:ietf:params:push:receipt\"";
    let accepted =
        format!("HTTP/1.1 202 Accepted\r\nLocation: /message/1\r\n{link}\r\nContent-Length: 0\r\n\r\n");
    let event = |message: u32, status: u16| {
        format!("event: receipt\ndata: {{\"message\":\"/message/{message}\",\"status\":{status}}}\n\n")
    };
    let told = |status| {
        let stream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        format!("{stream}{}{}", event(2, 410), event(1, status))
    };
    let not_found = || "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned();
    let rows = [
        (told(204), "acknowledged by the user agent\n", 0),
        (told(410), "given up by the push service\n", 9),
        (not_found(), "", 4),
    ];
    for (answer, printed, expected) in rows {
        let shell = Shell::new();
        let (address, asked) = service_in_turn(vec![accepted.clone(), answer]);
        shell.subscription(address);
        let output = shell.run(&["send", "--subscription", "s.json", "--receipt", "Hello"]);
        assert_eq!(
            (code(&output), text(&output.stdout)),
            (expected, printed),
            "{}",
            text(&output.stderr)
        );
        let url = format!("http://{address}/message/1\n");
        assert!(text(&output.stderr).starts_with(&url), "{}", text(&output.stderr));
        let asked = asked.join().unwrap();
        assert!(asked[0].contains("\r\nprefer: respond-async\r\n"), "{}", asked[0]);
        assert!(asked[1].starts_with("get /receipts/1 "), "{}", asked[1]);
    }
    let shell = Shell::new();
    let without = "HTTP/1.1 201 Created\r\nLocation: /message/1\r\nContent-Length: 0\r\n\r\n";
    let (address, _asked) = service_in_turn(vec![without.to_owned()]);
    shell.subscription(address);
    let output = shell.run(&["send", "--subscription", "s.json", "--receipt", "Hello"]);
    assert_eq!(code(&output), 4);
    assert!(
        text(&output.stderr).contains("sends no receipts"),
        "{}",
        text(&output.stderr)
    );
}

/// A receipt that doesn't come is not waited for longer than was said.
#[test]
fn send_does_not_wait_for_ever() {
    let shell = Shell::new();
    let link = "Link: </receipts/1>; rel=\"urn:ietf:params:push:receipt\"";
    let accepted =
        format!("HTTP/1.1 202 Accepted\r\nLocation: /message/1\r\n{link}\r\nContent-Length: 0\r\n\r\n");
    let busy = "HTTP/1.1 503 Busy\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n";
    let (address, asked) = service_in_turn(vec![accepted, busy.to_owned()]);
    shell.subscription(address);
    let flags = ["--receipt", "--timeout", "3", "Hello"];
    let output = shell.run(&[&["send", "--subscription", "s.json"], &flags[..]].concat());
    assert_eq!((code(&output), text(&output.stdout)), (4, ""));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("no receipt came within 3 s"), "{complaint}");
    asked.join().unwrap();
}

/// What is sent is what was typed: header fields from the flags, and the message from standard input to its last byte.
#[test]
fn send_sends_what_was_typed() {
    let shell = Shell::new();
    shell.run(&["keys", "--vapid-key", "k.pem"]);
    let (address, asked) = service("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    shell.subscription(address);
    let flags = [
        "--ttl",
        "5",
        "--topic",
        "door",
        "--urgency",
        "high",
        "--vapid-key",
        "k.pem",
        "--padding",
        "7",
    ];
    let mut sending = shell
        .command(&[&["send", "--subscription", "s.json"], &flags[..]].concat())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    sending.stdin.take().unwrap().write_all(b"Hello\n").unwrap();
    assert!(shell::ended(sending).status.success());
    let request = asked.join().unwrap();
    let head = request
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    let fields = text(&request[..head]).to_ascii_lowercase();
    for field in [
        "ttl: 5",
        "topic: door",
        "urgency: high",
        "content-encoding: aes128gcm",
    ] {
        assert!(fields.lines().any(|line| line == field), "{field}: {fields}");
    }
    assert!(fields.contains("authorization: vapid t="), "{fields}");
    assert_eq!(request.len() - head - 4, 86 + 6 + 1 + 7 + 16);
}

/// A message that fits nowhere is refused before anything is sent.
#[test]
fn a_message_has_a_longest_length() {
    let shell = Shell::new();
    shell.subscription(closed_port());
    let output = shell.run(&["send", "--subscription", "s.json", &"a".repeat(3994)]);
    assert_eq!(code(&output), 2);
    assert!(
        text(&output.stderr).contains("3993 bytes"),
        "{}",
        text(&output.stderr)
    );
}

/// A command whose output is not read ends with exit code 7 and no panic.
#[test]
fn a_closed_output_is_told() {
    let shell = Shell::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = shell.command(&["keys", "--vapid-key", "k.pem"]);
    let process = command.stdout(writer).stderr(Stdio::piped()).spawn();
    let output = shell::ended(process.unwrap());
    assert_eq!(code(&output), 7, "{}", text(&output.stderr));
    assert!(Path::new(&shell.path("k.pem")).exists());
}

/// PR-5: where no file may grow, that is told with the exit code of the state; no signal ends it.
#[test]
fn a_file_that_may_not_grow_is_told() {
    let shell = Shell::new();
    let subscribe = shell.command(&[
        "subscribe",
        "--state",
        "new",
        "--server",
        "ws://127.0.0.1:1",
        "--timeout",
        "1",
    ]);
    let output = shell::output(&mut shell::limited(&subscribe, 0));
    assert_eq!(code(&output), 3, "{}", text(&output.stderr));
}

/// Completions are scripts for the shells that are named.
#[test]
fn completions_are_scripts() {
    let shell = Shell::new();
    for (name, word) in [("bash", "complete"), ("zsh", "#compdef"), ("fish", "complete")] {
        let output = shell.run(&["completions", name]);
        assert_eq!(code(&output), 0);
        for word in [word, "until-empty", "very-low"] {
            assert!(text(&output.stdout).contains(word), "{name}: {word}");
        }
    }
}

/// A proxy of one tunnel, which it opens to itself: it answers the request in the tunnel. Hands back what asked for the tunnel,
/// and what came through.
fn proxy(answers: [&'static str; 2]) -> (SocketAddr, Asked<[Vec<u8>; 2]>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Asked::to(move || {
        let (mut stream, _) = listener.accept().unwrap();
        answers.map(|answer| {
            let mut request = Vec::new();
            while !is_whole(&request) {
                let mut bytes = [0; 8192];
                match stream.read(&mut bytes).unwrap() {
                    // It has heard enough.
                    0 => return request,
                    length => request.extend(&bytes[..length]),
                }
            }
            stream.write_all(answer.as_bytes()).unwrap();
            request
        })
    });
    (address, asked)
}

/// The environment's proxy is asked for a tunnel to a host that only the proxy knows, and what it refuses is told with exit code 4;
/// what is typed counts for more.
#[test]
fn send_goes_through_a_proxy() {
    const CREATED: &str = "HTTP/1.1 201 Created\r\nLocation: /message/1\r\nContent-Length: 0\r\n\r\n";
    const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let rows = [
        (
            "HTTP/1.1 200 OK\r\n\r\n",
            0,
            "http://push.invalid/message/1\n",
            "",
        ),
        (FORBIDDEN, 4, "", "status 403: it does not allow connections"),
    ];
    for (tunnel, expected, printed, complaint) in rows {
        for is_typed in [false, true] {
            let shell = Shell::new();
            shell.subscription(closed_port());
            let json = fs::read_to_string(shell.path("s.json")).unwrap();
            let (_, rest) = json.split_once("/push/secret").unwrap();
            let json = format!(r#"{{"endpoint":"http://push.invalid/push/secret{rest}"#);
            fs::write(shell.path("s.json"), json).unwrap();
            let (address, asked) = proxy([tunnel, CREATED]);
            let url = format!("http://me:pass%20word@{address}");
            let send = ["send", "--subscription", "s.json", "Hello"];
            let output = if is_typed {
                let mut command = shell.command(&[&send[..], &["--proxy", &url]].concat());
                shell::output(command.env("http_proxy", "socks5://127.0.0.1:1"))
            } else {
                shell::output(shell.command(&send).env("HTTP_PROXY", &url))
            };
            let said = text(&output.stderr);
            assert_eq!(
                (code(&output), text(&output.stdout)),
                (expected, printed),
                "{said}"
            );
            assert!(said.contains(complaint) && !said.contains("word"), "{said}");
            let [connect, post] = asked.join().unwrap();
            let connect = text(&connect);
            assert!(
                connect.starts_with("CONNECT push.invalid:80 HTTP/1.1\r\n"),
                "{connect}"
            );
            assert!(
                connect.contains("\r\nProxy-Authorization: Basic bWU6cGFzcyB3b3Jk\r\n"),
                "{connect}"
            );
            assert_eq!(post.starts_with(b"POST /push/secret "), expected == 0);
        }
    }
}

/// What has to be changed on the command line, in a file that it names or in the environment is exit code 2, and what is wrong with the
/// state directory exit code 3; each with a sentence, and no error of a library's.
#[test]
fn every_way_out_has_its_code() {
    let shell = Shell::new();
    shell.subscription(closed_port());
    fs::write(
        shell.path("torn.pem"),
        "-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    fs::write(shell.path("file"), "").unwrap();
    let subscribe =
        |arguments: &[&'static str]| [&["subscribe", "--server", "ws://127.0.0.1:1"], arguments].concat();
    let send = |arguments: &[&'static str]| [&["send", "--subscription", "s.json", "x"], arguments].concat();
    let rows = [
        (
            subscribe(&["--ca", "missing.pem"]),
            2,
            "missing.pem cannot be read",
        ),
        (
            subscribe(&["--ca", "torn.pem"]),
            2,
            "a certificate in it is damaged",
        ),
        (
            subscribe(&["--proxy", "socks5://p:1"]),
            2,
            "a SOCKS proxy is not supported",
        ),
        (
            subscribe(&["--proxy", "p:0"]),
            2,
            "this is not the URL of a proxy",
        ),
        (subscribe(&["--name", ""]), 2, "name"),
        (subscribe(&["--state", "file"]), 3, "is not a directory"),
        (subscribe(&["--state", "/proc/no"]), 3, "/proc/no"),
        (
            vec!["subscribe", "--server", "ftp://h"],
            2,
            "must begin with wss://",
        ),
        (vec!["listen", "--state", "no"], 3, "no state directory no"),
        (send(&["--ca", "missing.pem"]), 2, "missing.pem cannot be read"),
        (send(&["--vapid-key", "file"]), 2, "file: "),
        (send(&["--padding", "3993"]), 2, "3993 bytes"),
        (vec!["send", "--subscription", "file", "x"], 2, "file: "),
        (vec!["send", "--subscription", "missing", "x"], 2, "missing: "),
        (vec!["keys", "--vapid-key", "no/k.pem"], 2, "no/k.pem: "),
        (vec!["keys", "--vapid-key", "file"], 2, "file: "),
    ];
    for (arguments, expected, words) in rows {
        let output = shell.run(&arguments);
        let said = text(&output.stderr);
        assert_eq!(code(&output), expected, "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
    }
    let mut command = shell.command(&send(&[]));
    let output = shell::output(command.env("ALL_PROXY", "socks5://user:secret@p"));
    let said = text(&output.stderr);
    assert_eq!(code(&output), 2, "{said}");
    assert!(said.contains("ALL_PROXY: ") && !said.contains("secret"), "{said}");
}
