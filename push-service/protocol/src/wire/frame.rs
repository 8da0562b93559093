//! WebSocket frames (RFC 6455 §5), read in place and written into a buffer that the caller lends.
//!
//! Our own reader, because an idle connection must own no buffer: it looks at whatever bytes there are, wherever they
//! are, and keeps nothing but the pieces of a fragmented message. It guarantees that no peer makes it hold more than
//! the limit it was made with, and that a text is UTF-8. It doesn't know what the texts mean, and negotiates no
//! extension, so a reserved bit is always an error.

use std::fmt;

/// Which end of the connection reads: frames of a user agent are masked, those of the service are not (§5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reader {
    /// The service reads what a user agent wrote.
    Service,
    /// The user agent reads what the service wrote.
    UserAgent,
}

/// What the peer said.
#[derive(PartialEq, Eq, Debug)]
pub enum Incoming<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message. Its bytes are not shown: nothing in this protocol is binary.
    Binary,
    /// To be answered by a pong with the same payload.
    Ping(&'a [u8]),
    /// An answer to a ping.
    Pong,
    /// The peer closes, with its code if it gave one.
    Close(Option<u16>),
    /// A piece of a message that goes on: nothing to do yet.
    Fragment,
}

/// Why a frame can't be read. Each ends the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FrameError {
    /// Not RFC 6455: close 1002.
    Protocol(&'static str),
    /// A text that is not UTF-8: close 1007.
    NotUtf8,
    /// Larger than the reader takes: close 1009.
    TooLarge,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protocol(what) => what,
            Self::NotUtf8 => "a text message is not UTF-8",
            Self::TooLarge => "a message is too large",
        })
    }
}

impl std::error::Error for FrameError {}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// RFC 6455 §5.5: a control frame's payload.
const CONTROL_PAYLOAD_BYTES: usize = 125;

/// The longest frame header: two bytes, eight of length, four of mask (§5.2).
pub const HEADER_BYTES: usize = 14;

/// Reads frames.
pub struct FrameReader {
    reader: Reader,
    limit: u32,
    /// A fragmented message so far. On the heap, because fragments are rare.
    fragments: Option<Box<Fragments>>,
}

struct Fragments {
    opcode: u8,
    ended: bool,
    payload: Vec<u8>,
}

impl FrameReader {
    /// A reader of messages of at most `limit` bytes.
    pub fn new(reader: Reader, limit: u32) -> Self {
        Self {
            reader,
            limit,
            fragments: None,
        }
    }

    /// Reads the first frame of `input` and says how many bytes of it that took, or `None` if it isn't whole yet.
    ///
    /// Unmasks in place: bytes that were consumed must not be shown again. An incomplete `input` never holds more than
    /// the limit and [`HEADER_BYTES`], because what is longer is refused as soon as its header is there.
    pub fn read<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Option<(Incoming<'a>, usize)>, FrameError> {
        if self.fragments.as_ref().is_some_and(|fragments| fragments.ended) {
            self.fragments = None;
        }
        let Some(header) = self.header(input)? else {
            return Ok(None);
        };
        let end = header.bytes + header.payload;
        if input.len() < end {
            return Ok(None);
        }
        let payload = &mut input[header.bytes..end];
        if let Some(mask) = header.mask {
            apply_mask(payload, mask);
        }
        self.frame(&header, payload).map(|incoming| Some((incoming, end)))
    }

    fn header(&self, input: &[u8]) -> Result<Option<Header>, FrameError> {
        let [first, second, rest @ ..] = input else {
            return Ok(None);
        };
        if first & RESERVED != 0 {
            return Err(FrameError::Protocol(
                "a reserved bit is set, but no extension was negotiated",
            ));
        }
        let masked = second & MASKED != 0;
        match self.reader {
            Reader::Service if !masked => {
                return Err(FrameError::Protocol("a user agent's frame must be masked"));
            }
            Reader::UserAgent if masked => {
                return Err(FrameError::Protocol("a service's frame must not be masked"));
            }
            _ => {}
        }
        let Some((payload, length_bytes)) = payload_length(second & !MASKED, rest)? else {
            return Ok(None);
        };
        let opcode = first & 0x0f;
        self.check_length(opcode, first & FIN != 0, payload)?;
        let mask = match rest[length_bytes..] {
            _ if !masked => None,
            [a, b, c, d, ..] => Some([a, b, c, d]),
            _ => return Ok(None),
        };
        let bytes = 2 + length_bytes + if masked { 4 } else { 0 };
        Ok(Some(Header {
            opcode,
            last: first & FIN != 0,
            payload: payload as usize,
            bytes,
            mask,
        }))
    }

    fn check_length(&self, opcode: u8, last: bool, payload: u64) -> Result<(), FrameError> {
        let held = self
            .fragments
            .as_ref()
            .map_or(0, |fragments| fragments.payload.len() as u64);
        match opcode {
            // Subtracted, because a peer may claim a length to which nothing can be added.
            TEXT | BINARY | CONTINUATION if payload > u64::from(self.limit).saturating_sub(held) => {
                Err(FrameError::TooLarge)
            }
            TEXT | BINARY | CONTINUATION => Ok(()),
            CLOSE | PING | PONG if payload > CONTROL_PAYLOAD_BYTES as u64 => Err(FrameError::Protocol(
                "a control frame must have at most 125 bytes",
            )),
            CLOSE | PING | PONG if !last => {
                Err(FrameError::Protocol("a control frame must not be fragmented"))
            }
            CLOSE | PING | PONG => Ok(()),
            _ => Err(FrameError::Protocol("unknown opcode")),
        }
    }

    fn frame<'a>(&'a mut self, header: &Header, payload: &'a [u8]) -> Result<Incoming<'a>, FrameError> {
        match header.opcode {
            PING => Ok(Incoming::Ping(payload)),
            PONG => Ok(Incoming::Pong),
            CLOSE => close(payload),
            CONTINUATION => self.continuation(header.last, payload),
            _ if self.fragments.is_some() => Err(FrameError::Protocol(
                "a new message began before the fragmented one ended",
            )),
            opcode if !header.last => {
                let fragments = Fragments {
                    opcode,
                    ended: false,
                    payload: payload.to_vec(),
                };
                self.fragments = Some(Box::new(fragments));
                Ok(Incoming::Fragment)
            }
            opcode => whole(opcode, payload),
        }
    }

    fn continuation<'a>(&'a mut self, last: bool, payload: &[u8]) -> Result<Incoming<'a>, FrameError> {
        let fragments = self.fragments.as_mut().ok_or(FrameError::Protocol(
            "a continuation frame without a message to continue",
        ))?;
        fragments.payload.extend_from_slice(payload);
        if !last {
            return Ok(Incoming::Fragment);
        }
        fragments.ended = true;
        whole(fragments.opcode, &fragments.payload)
    }
}

struct Header {
    opcode: u8,
    last: bool,
    payload: usize,
    bytes: usize,
    mask: Option<[u8; 4]>,
}

/// The payload's length, and how many bytes after the first two say it. The shortest form is the only one (§5.2).
fn payload_length(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, FrameError> {
    let (length, bytes, least) = match (short, rest) {
        (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 2, 126),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 8, 1 << 16)
        }
        (126 | 127, _) => return Ok(None),
        _ => (u64::from(short), 0, 0),
    };
    if length < least {
        return Err(FrameError::Protocol(
            "a length must be written in its shortest form",
        ));
    }
    Ok(Some((length, bytes)))
}

fn whole(opcode: u8, payload: &[u8]) -> Result<Incoming<'_>, FrameError> {
    if opcode == BINARY {
        return Ok(Incoming::Binary);
    }
    std::str::from_utf8(payload)
        .map(Incoming::Text)
        .map_err(|_| FrameError::NotUtf8)
}

/// The reason in a close frame that a [`FrameReader`] has read, and which fills `frame`. Empty if the frame has no reason.
pub fn close_reason(frame: &[u8]) -> &str {
    // Two bytes of head, as no control frame is long, and the code. A mask is not looked for: user agents have no reasons.
    let reason = frame.get(4..).unwrap_or_default();
    std::str::from_utf8(reason).unwrap_or_default()
}

fn close(payload: &[u8]) -> Result<Incoming<'_>, FrameError> {
    match payload {
        [] => Ok(Incoming::Close(None)),
        [_] => Err(FrameError::Protocol(
            "a close frame must have no body, or begin with a code of two bytes",
        )),
        [a, b, reason @ ..] => {
            std::str::from_utf8(reason).map_err(|_| FrameError::NotUtf8)?;
            let code = u16::from_be_bytes([*a, *b]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(FrameError::Protocol("this close code must not be sent"));
            }
            Ok(Incoming::Close(Some(code)))
        }
    }
}

fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let (words, tail) = payload.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// Appends a text message to `out`, whose payload `fill` appends. `mask` is what a user agent must give.
pub fn write_text(out: &mut Vec<u8>, mask: Option<[u8; 4]>, fill: impl FnOnce(&mut Vec<u8>)) {
    write_frame(out, TEXT, mask, fill);
}

/// Appends a ping.
pub fn write_ping(out: &mut Vec<u8>, mask: Option<[u8; 4]>, payload: &[u8]) {
    write_frame(out, PING, mask, |out| {
        out.extend_from_slice(&payload[..payload.len().min(CONTROL_PAYLOAD_BYTES)]);
    });
}

/// Appends a pong with the payload of the ping that it answers.
pub fn write_pong(out: &mut Vec<u8>, mask: Option<[u8; 4]>, payload: &[u8]) {
    write_frame(out, PONG, mask, |out| {
        out.extend_from_slice(&payload[..payload.len().min(CONTROL_PAYLOAD_BYTES)]);
    });
}

/// Appends a close frame. A reason that doesn't fit is cut at a character's border.
pub fn write_close(out: &mut Vec<u8>, mask: Option<[u8; 4]>, code: u16, reason: &str) {
    let fits = reason.floor_char_boundary(CONTROL_PAYLOAD_BYTES - 2);
    write_frame(out, CLOSE, mask, |out| {
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(&reason.as_bytes()[..fits]);
    });
}

/// Writes the payload where it will stay if it is of the usual size, and moves it if its header turns out to be another.
fn write_frame(out: &mut Vec<u8>, opcode: u8, mask: Option<[u8; 4]>, fill: impl FnOnce(&mut Vec<u8>)) {
    const GUESS: usize = 4;
    let start = out.len();
    out.extend_from_slice(&[0; GUESS]);
    fill(out);
    let length = out.len() - start - GUESS;

    let mut header = [0; HEADER_BYTES];
    header[0] = FIN | opcode;
    let mut bytes = match length {
        0..126 => {
            header[1] = length as u8;
            2
        }
        126..0x1_0000 => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..10].copy_from_slice(&(length as u64).to_be_bytes());
            10
        }
    };
    if let Some(mask) = mask {
        header[1] |= MASKED;
        header[bytes..bytes + 4].copy_from_slice(&mask);
        bytes += 4;
        apply_mask(&mut out[start + GUESS..], mask);
    }
    out.splice(start..start + GUESS, header[..bytes].iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: Option<[u8; 4]> = Some([0x37, 0xfa, 0x21, 0x3d]);

    fn service() -> FrameReader {
        FrameReader::new(Reader::Service, 1000)
    }

    fn text(mask: Option<[u8; 4]>, payload: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write_text(&mut out, mask, |out| out.extend_from_slice(payload.as_bytes()));
        out
    }

    /// RFC 6455 §5.7's examples: what we write is what the RFC prints, masked and not.
    #[test]
    fn the_rfcs_examples() {
        assert_eq!(text(None, "Hello"), b"\x81\x05Hello");
        assert_eq!(
            text(MASK, "Hello"),
            [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]
        );
        let mut ping = Vec::new();
        write_ping(&mut ping, None, b"Hello");
        assert_eq!(ping, b"\x89\x05Hello");
    }

    /// WS-CON-3: what one end writes the other reads, whatever the length and wherever the bytes are cut.
    #[test]
    fn round_trip_at_every_cut() {
        for length in [0, 1, 125, 126, 127, 999] {
            let payload = "x".repeat(length);
            let frame = text(MASK, &payload);
            for cut in 0..frame.len() {
                let mut reader = service();
                assert_eq!(
                    reader.read(&mut frame[..cut].to_vec()),
                    Ok(None),
                    "{length} cut at {cut}"
                );
            }
            let mut whole = [frame.clone(), b"more".to_vec()].concat();
            let mut reader = service();
            assert_eq!(
                reader.read(&mut whole),
                Ok(Some((Incoming::Text(&payload), frame.len())))
            );
        }
        let long = "x".repeat(70_000);
        let mut frame = text(None, &long);
        let (length, mut reader) = (frame.len(), FrameReader::new(Reader::UserAgent, 70_000));
        assert_eq!(reader.read(&mut frame), Ok(Some((Incoming::Text(&long), length))));
    }

    /// RFC 6455 §5.4: pieces make one message, control frames may stand between them.
    #[test]
    fn fragments_make_one_message() {
        let mut reader = service();
        let mut first = b"\x01\x83\0\0\0\0{\"a".to_vec();
        assert_eq!(reader.read(&mut first), Ok(Some((Incoming::Fragment, 9))));
        let mut ping = b"\x89\x81\0\0\0\0!".to_vec();
        assert_eq!(reader.read(&mut ping), Ok(Some((Incoming::Ping(b"!"), 7))));
        let mut last = b"\x80\x84\0\0\0\0\":1}".to_vec();
        assert_eq!(
            reader.read(&mut last),
            Ok(Some((Incoming::Text("{\"a\":1}"), 10)))
        );
        let mut next = text(MASK, "{}");
        assert_eq!(reader.read(&mut next).unwrap().unwrap().0, Incoming::Text("{}"));
    }

    /// WS-CON-6: a length that wraps around when it is added to what is held, or to its header, is too large like others.
    #[test]
    fn no_length_wraps_around() {
        for (held, length) in [
            (126, u64::MAX),
            (126, u64::MAX - 13),
            (900, u64::MAX - 400),
            (0, u64::MAX),
            (0, u64::MAX - 13),
        ] {
            let mut reader = service();
            let mut piece = [&[0x01, 0xfe, 0x03, 0x84, 0, 0, 0, 0][..], &[b'x'; 900]].concat();
            if held > 0 {
                piece[2..4].copy_from_slice(&u16::to_be_bytes(held));
                assert_eq!(reader.read(&mut piece).unwrap().unwrap().0, Incoming::Fragment);
            }
            let opcode = if held > 0 { 0x80 } else { 0x81 };
            let mut rest = [&[opcode, 0xff][..], &length.to_be_bytes(), &[0; 4], &[b'x'; 64]].concat();
            assert_eq!(
                reader.read(&mut rest),
                Err(FrameError::TooLarge),
                "{held} and {length}"
            );
        }
    }

    /// WS-CON-6: what is too large is refused when its header is there, before anything of it is held.
    #[test]
    fn too_large_is_known_from_the_header() {
        assert_eq!(
            service().read(&mut text(MASK, &"x".repeat(1001))[..8].to_vec()),
            Err(FrameError::TooLarge)
        );
        let mut reader = service();
        let mut piece = [b"\x01\xfe\x03\x84\0\0\0\0".as_slice(), &[b'x'; 900]].concat();
        assert_eq!(reader.read(&mut piece).unwrap().unwrap().0, Incoming::Fragment);
        let mut rest = [b"\x80\xfe\x00\x80\0\0\0\0".as_slice(), &[b'x'; 128]].concat();
        assert_eq!(reader.read(&mut rest), Err(FrameError::TooLarge));
    }

    /// RFC 6455 §5: each broken frame has its error.
    #[test]
    fn broken_frames() {
        let rows: &[(&[u8], &str)] = &[
            (b"\x81\x00", "a user agent's frame must be masked"),
            (
                b"\xc1\x80\0\0\0\0",
                "a reserved bit is set, but no extension was negotiated",
            ),
            (b"\x83\x80\0\0\0\0", "unknown opcode"),
            (b"\x09\x80\0\0\0\0", "a control frame must not be fragmented"),
            (
                b"\x89\xfe\x00\x7e\0\0\0\0",
                "a control frame must have at most 125 bytes",
            ),
            (
                b"\x80\x80\0\0\0\0",
                "a continuation frame without a message to continue",
            ),
            (
                b"\x81\xfe\x00\x05\0\0\0\0",
                "a length must be written in its shortest form",
            ),
            (
                b"\x81\xff\0\0\0\0\0\0\0\x05\0\0\0\0",
                "a length must be written in its shortest form",
            ),
            (
                b"\x88\x81\0\0\0\0\x03",
                "a close frame must have no body, or begin with a code of two bytes",
            ),
            (b"\x88\x82\0\0\0\0\x03\xed", "this close code must not be sent"),
            (b"\x88\x82\0\0\0\0\x00\x00", "this close code must not be sent"),
            (b"\x81\x82\0\0\0\0\xc3\x28", "a text message is not UTF-8"),
        ];
        for (frame, error) in rows {
            assert_eq!(
                service().read(&mut frame.to_vec()).unwrap_err().to_string(),
                *error,
                "{frame:x?}"
            );
        }
    }

    /// RFC 6455 §5.5.1: a close carries its code; ours carries a reason that is cut at a character.
    #[test]
    fn close_with_a_reason() {
        let mut out = Vec::new();
        write_close(&mut out, MASK, 1011, &"ä".repeat(100));
        let length = out.len();
        assert_eq!(
            service().read(&mut out),
            Ok(Some((Incoming::Close(Some(1011)), length)))
        );
        assert_eq!(length, 6 + 2 + 122);
    }
}
