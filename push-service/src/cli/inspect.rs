//! `inspect`: asks one or more admin listeners what they know of a URL or an id, and shows it as one history.
//!
//! The running nodes answer, because they have the sealing keys and the memory. The URL goes in the body of a request: it is
//! a capability.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};

use push_protocol::escape;
use serde_json::Value;

use super::healthcheck::{connect, reachable};
use super::output::{complain, print};
use super::{FAILED, MISCONFIGURED, OK};
use crate::admin::{Inspection, now_ms};
use crate::defaults::{ADMIN_BODY_BYTES, INSPECT_ANSWER_BYTES, INSPECT_WITHIN};

/// How the answer is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OutputForm {
    /// Lines for a person.
    Text,
    /// One JSON object.
    Json,
}

/// Asks the admin listeners of the configuration, or those that are named.
pub(super) fn inspect(what: &str, named: &[String], configured: &[SocketAddr], form: OutputForm) -> u8 {
    let what = match read(what) {
        Ok(what) => what,
        Err(why) => return complain("nothing to inspect", &why, MISCONFIGURED),
    };
    let nodes = match nodes(named, configured) {
        Ok(nodes) => nodes,
        Err(why) => return complain("no node to ask", &why, MISCONFIGURED),
    };
    let (mut answers, mut failures) = (Vec::new(), Vec::new());
    let asked = std::thread::scope(|scope| {
        let ask_one = |(name, addresses): (String, Vec<SocketAddr>)| {
            let what = &what;
            scope.spawn(move || (ask(&addresses, what), name))
        };
        let asked: Vec<_> = nodes.into_iter().map(ask_one).collect();
        let answered = asked.into_iter().map(std::thread::ScopedJoinHandle::join);
        answered.collect::<Vec<_>>()
    });
    for (answer, name) in asked.into_iter().flatten() {
        match answer {
            Ok(inspection) => answers.push((name, inspection)),
            Err(why) => failures.push(format!("{name}: {why}")),
        }
    }
    let Some(inspection) = Inspection::merged(answers, now_ms()) else {
        return complain("no answer", &failures.join("\n"), FAILED);
    };
    let printed = show(&inspection, form);
    if printed != OK || failures.is_empty() {
        return printed;
    }
    complain(
        "some nodes did not answer, so steps may be missing",
        &failures.join("\n"),
        FAILED,
    )
}

/// What is asked for: the argument, or the first line of standard input.
fn read(what: &str) -> Result<String, String> {
    let text = if what == "-" {
        let mut line = String::new();
        let input = io::stdin().lock().take(ADMIN_BODY_BYTES as u64 + 1);
        io::BufReader::new(input)
            .read_line(&mut line)
            .map_err(|error| format!("standard input cannot be read: {error}"))?;
        line
    } else {
        what.to_owned()
    };
    let text = text.trim();
    if text.is_empty() {
        return Err("give a URL or an id, or `-` and the same on standard input".to_owned());
    }
    if text.len() > ADMIN_BODY_BYTES {
        return Err(format!(
            "it is longer than {ADMIN_BODY_BYTES} bytes: no URL of this service is"
        ));
    }
    Ok(text.to_owned())
}

/// The listeners to ask, by their names.
fn nodes(named: &[String], configured: &[SocketAddr]) -> Result<Vec<(String, Vec<SocketAddr>)>, String> {
    if named.is_empty() {
        return match configured.first() {
            Some(listener) if listener.port() != 0 => {
                let address = reachable(*listener);
                Ok(vec![(address.to_string(), vec![address])])
            }
            _ => Err(
                "listen.admin names no address with a fixed port: set one, or pass --admin HOST:PORT"
                    .to_owned(),
            ),
        };
    }
    let resolve = |name: &String| {
        let bare = name.strip_prefix("http://").unwrap_or(name).trim_end_matches('/');
        let addresses = bare
            .to_socket_addrs()
            .map_err(|error| format!("--admin {name}: use HOST:PORT, such as 127.0.0.1:9090 ({error})"))?;
        Ok((bare.to_owned(), addresses.collect()))
    };
    named.iter().map(resolve).collect()
}

/// Asks one node. The error is a sentence.
fn ask(addresses: &[SocketAddr], what: &str) -> Result<Inspection, String> {
    let answer = exchange(addresses, what).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    })?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).filter(|_| head.starts_with("HTTP/1."));
    match status {
        Some("200") => serde_json::from_str(body)
            .map_err(|_| "its answer cannot be read; does it run another version?".to_owned()),
        Some(status) => Err(refusal(status, body)),
        None => Err("it does not speak HTTP: is it an admin listener?".to_owned()),
    }
}

/// One request over plain TCP, and all that comes back.
fn exchange(addresses: &[SocketAddr], what: &str) -> io::Result<Vec<u8>> {
    let mut stream = connect(addresses, INSPECT_WITHIN)?;
    // The listener answers under its address, whatever name was used to find it.
    let host = stream.peer_addr()?;
    stream.set_read_timeout(Some(INSPECT_WITHIN))?;
    stream.set_write_timeout(Some(INSPECT_WITHIN))?;
    write!(
        stream,
        "POST /inspect HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n{what}",
        what.len()
    )?;
    let mut answer = Vec::new();
    stream.take(INSPECT_ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(answer)
}

/// What a node says when it refuses, as a sentence.
fn refusal(status: &str, body: &str) -> String {
    let told: Option<Value> = serde_json::from_str(body).ok();
    let told = told.as_ref().and_then(|told| told["error"].as_str());
    match told {
        Some(why) => why.to_owned(),
        None => format!("it answers {status}: is it an admin listener of this version?"),
    }
}

/// Prints it, and returns the exit code.
fn show(inspection: &Inspection, form: OutputForm) -> u8 {
    match form {
        // A node may be of another version, or not ours: its text is escaped.
        OutputForm::Text => print(escape::text_except(&inspection.to_string(), &['\n'])),
        OutputForm::Json => match serde_json::to_string_pretty(inspection) {
            Ok(text) => print(format_args!("{}\n", escape::json(&text))),
            Err(error) => complain("the answer cannot be written", &error, FAILED),
        },
    }
}
