//! RFC 8030 by other people's programs, which were written without knowing this service.
//!
//! - [`nghttp`]: nghttp2's command, which shows what is pushed to it.
//! - [`python`]: a user agent by Python's HTTP/2 library, to which pywebpush sends.
//! - [`curl`]: everything that needs no server push, Server-Sent Events above all; also through nginx.
//!
//! `PYTHON` names a Python that has what `tests/senders/requirements.txt` lists.

mod curl;
mod nghttp;
mod python;

use std::process::Stdio;

use push_tests::binaries;
use push_tests::within;
use tokio::io::AsyncWriteExt as _;

/// Runs a program to its end, and returns what it wrote to standard output.
async fn run(program: &str, words: &[&str], input: &str) -> String {
    let mut command = tokio::process::Command::from(binaries::program(program));
    let mut child = command
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    stdin
        .write_all(input.as_bytes())
        .await
        .expect("the program reads");
    drop(stdin);
    let output = within("the program ends", child.wait_with_output()).await;
    let output = output.expect("the program can be waited for");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {words:?}: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}
