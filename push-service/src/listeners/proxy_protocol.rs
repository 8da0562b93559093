//! The PROXY protocol, versions 1 and 2: a trusted proxy says for whom it connects.
//!
//! Strict: a header that begins like one and is not one ends the connection, because whatever follows would be read as
//! the wrong thing. A connection without a header is the proxy's own, such as its health check.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::net::TcpStream;

use super::opening::Opening;
use crate::defaults::PROXY_HEADER_BYTES;

const TEXT_SIGNATURE: &[u8] = b"PROXY ";
const TEXT_LONGEST: usize = 107;
const BINARY_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const BINARY_FIXED: usize = 16;

/// For whom a trusted proxy made a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MadeFor {
    /// For itself, or for clients that its requests name: there is no header, or a local one.
    Itself,
    /// For a client with this address.
    Client(IpAddr),
    /// For a client whose address it does not know.
    UnknownClient,
}

/// Takes the header from the beginning of a connection and returns for whom the proxy made it.
pub(super) async fn read(socket: &mut TcpStream, opening: &mut Opening) -> io::Result<MadeFor> {
    loop {
        match judge(opening.bytes()) {
            Judgement::Undecided => opening.see_more(socket, PROXY_HEADER_BYTES).await?,
            Judgement::NoHeader => return Ok(MadeFor::Itself),
            Judgement::Broken => return Err(io::ErrorKind::InvalidData.into()),
            Judgement::Header { made_for, length } => {
                opening.skip(socket, length).await?;
                return Ok(made_for);
            }
        }
    }
}

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    /// Too few to tell.
    Undecided,
    /// A whole header of that length.
    Header { made_for: MadeFor, length: usize },
    /// Something else.
    NoHeader,
    /// The beginning of a header that goes wrong, or on for too long.
    Broken,
}

fn judge(bytes: &[u8]) -> Judgement {
    let begins = |signature: &[u8]| {
        let length = bytes.len().min(signature.len());
        bytes[..length] == signature[..length]
    };
    if begins(TEXT_SIGNATURE) && bytes.len() >= TEXT_SIGNATURE.len() {
        judge_text(bytes)
    } else if begins(BINARY_SIGNATURE) && bytes.len() >= BINARY_SIGNATURE.len() {
        judge_binary(bytes)
    } else if begins(TEXT_SIGNATURE) || begins(BINARY_SIGNATURE) {
        Judgement::Undecided
    } else {
        Judgement::NoHeader
    }
}

/// `PROXY TCP4 192.0.2.1 192.0.2.9 51234 443`, or `PROXY UNKNOWN` and anything, up to CR LF.
fn judge_text(bytes: &[u8]) -> Judgement {
    let within = &bytes[..bytes.len().min(TEXT_LONGEST)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if within.len() == TEXT_LONGEST {
            Judgement::Broken
        } else {
            Judgement::Undecided
        };
    };
    let length = end + 2;
    match std::str::from_utf8(&within[TEXT_SIGNATURE.len()..end]).map(text_source) {
        Ok(Some(made_for)) => Judgement::Header { made_for, length },
        _ => Judgement::Broken,
    }
}

/// What a text header says; `None` if the line is not one.
fn text_source(line: &str) -> Option<MadeFor> {
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(MadeFor::UnknownClient);
    }
    let mut address = || words.next()?.parse::<IpAddr>().ok();
    let (source, destination) = (address()?, address()?);
    let mut port = || words.next()?.parse::<u16>().ok();
    port().and(port())?;
    let as_said = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    (as_said && words.next().is_none()).then_some(MadeFor::Client(source))
}

/// Signature, version and command, family, length; then addresses, ports, and fields that we skip.
fn judge_binary(bytes: &[u8]) -> Judgement {
    let Some(fixed) = bytes.first_chunk::<BINARY_FIXED>() else {
        return Judgement::Undecided;
    };
    let length = BINARY_FIXED + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > PROXY_HEADER_BYTES {
        return Judgement::Broken;
    }
    let Some(rest) = bytes.get(BINARY_FIXED..length) else {
        return Judgement::Undecided;
    };
    const LOCAL: u8 = 0x20;
    const PROXIED: u8 = 0x21;
    const INET: u8 = 1;
    const INET6: u8 = 2;
    let made_for = match (fixed[12], fixed[13] >> 4) {
        (LOCAL, _) => MadeFor::Itself,
        (PROXIED, INET) => match (rest.len() >= 12, rest.first_chunk::<4>()) {
            (true, Some(octets)) => MadeFor::Client(Ipv4Addr::from(*octets).into()),
            _ => return Judgement::Broken,
        },
        (PROXIED, INET6) => match (rest.len() >= 36, rest.first_chunk::<16>()) {
            (true, Some(octets)) => MadeFor::Client(Ipv6Addr::from(*octets).into()),
            _ => return Judgement::Broken,
        },
        (PROXIED, _) => MadeFor::UnknownClient,
        _ => return Judgement::Broken,
    };
    Judgement::Header { made_for, length }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [BINARY_SIGNATURE, &[command, family], &length, rest].concat()
    }

    fn client(address: &str) -> MadeFor {
        MadeFor::Client(address.parse().unwrap())
    }

    /// Both versions are read to their last byte and no further, and the source is what they say. A client without an
    /// address is told from the proxy itself.
    #[test]
    fn headers_are_read() {
        let four = [192, 0, 2, 1, 192, 0, 2, 9, 200, 0, 1, 187];
        let six = [[0x20; 32].as_slice(), &[0; 4], b"\x04\0\x02ab"].concat();
        let rows: [(Vec<u8>, MadeFor); 7] = [
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.9 51234 443\r\n".to_vec(),
                client("192.0.2.1"),
            ),
            (
                b"PROXY TCP6 2001:db8::1 2001:db8::9 51234 443\r\n".to_vec(),
                client("2001:db8::1"),
            ),
            (b"PROXY UNKNOWN and whatever\r\n".to_vec(), MadeFor::UnknownClient),
            (binary(0x21, 0x11, &four), client("192.0.2.1")),
            (
                binary(0x21, 0x21, &six),
                client("2020:2020:2020:2020:2020:2020:2020:2020"),
            ),
            (binary(0x20, 0x11, &four), MadeFor::Itself),
            (binary(0x21, 0x31, &[0; 216]), MadeFor::UnknownClient),
        ];
        for (bytes, made_for) in rows {
            let length = bytes.len();
            let expected = Judgement::Header { made_for, length };
            assert_eq!(judge(&bytes), expected);
            assert_eq!(judge(&[&bytes[..], b"GET / HTTP/1.1"].concat()), expected);
            for short in 0..bytes.len() {
                assert_eq!(judge(&bytes[..short]), Judgement::Undecided, "{short} bytes");
            }
        }
    }

    /// A header that goes wrong, or on for too long, ends the connection; bytes that do not begin like one are left for HTTP or TLS.
    #[test]
    fn what_is_no_header_is_told_from_what_is_broken() {
        let four = [0; 12];
        let rows: [(Vec<u8>, Judgement); 11] = [
            (b"GET / HTTP/1.1\r\n".to_vec(), Judgement::NoHeader),
            (b"PRI * HTTP/2.0\r\n".to_vec(), Judgement::NoHeader),
            (vec![0x16, 3, 1], Judgement::NoHeader),
            (b"PROXY TCP4 192.0.2.1 ::1 1 2\r\n".to_vec(), Judgement::Broken),
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.9 1\r\n".to_vec(),
                Judgement::Broken,
            ),
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.9 1 2 3\r\n".to_vec(),
                Judgement::Broken,
            ),
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.9 1 65536\r\n".to_vec(),
                Judgement::Broken,
            ),
            (
                [b"PROXY UNKNOWN ".as_slice(), &[b'a'; 200]].concat(),
                Judgement::Broken,
            ),
            (binary(0x31, 0x11, &four), Judgement::Broken),
            (binary(0x21, 0x11, &four[1..]), Judgement::Broken),
            (binary(0x21, 0x11, &[0; 2000]), Judgement::Broken),
        ];
        for (bytes, expected) in rows {
            assert_eq!(judge(&bytes), expected, "{}", String::from_utf8_lossy(&bytes));
        }
    }
}
