//! The reader of WebSocket frames.

use push_protocol::wire::frame::{
    FrameError, FrameReader, HEADER_BYTES, Incoming, Reader, write_close, write_ping, write_pong, write_text,
};

/// The largest messages that readers are made for: none, around the borders of the three forms of a length, the
/// service's own, and all that can be asked for.
const LIMITS: [u32; 8] = [0, 1, 125, 126, 1_000, 16 * 1024, 70_000, u32::MAX];

/// RFC 6455 §5.5: a control frame's payload. Taken whatever the limit is.
const CONTROL_PAYLOAD_BYTES: usize = 125;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// `FrameReader`: a stream means the same wherever it is cut; a reader holds no more than its limit, and touches no
/// byte but those of the frame that it took; pieces add up to their message; and what was read can be written and is
/// read again alike.
///
/// `data`: one byte for direction and limit, one for the number of cuts, then that many lengths of chunks, used in
/// turn, then the stream.
pub fn websocket_frame(data: &[u8]) {
    let [settings, cuts, rest @ ..] = data else {
        return;
    };
    let end = match settings & 1 {
        0 => End {
            reader: Reader::Service,
            mask: Some(MASK),
            limit: limit(*settings),
        },
        _ => End {
            reader: Reader::UserAgent,
            mask: None,
            limit: limit(*settings),
        },
    };
    let (cuts, stream) = rest.split_at(rest.len().min(usize::from(cuts % 16)));
    let cuts: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut) + 1).collect();

    let whole = end.read(stream, &[stream.len().max(1)]);
    assert_eq!(end.read(stream, &[1]), whole, "byte by byte");
    if !cuts.is_empty() {
        assert_eq!(end.read(stream, &cuts), whole, "cut at {cuts:?}");
    }
    end.round_trip(&whole.heard);
}

fn limit(settings: u8) -> u32 {
    LIMITS[usize::from(settings >> 1) % LIMITS.len()]
}

/// One end of a connection.
struct End {
    reader: Reader,
    /// What frames to this end are masked with.
    mask: Option<[u8; 4]>,
    limit: u32,
}

/// What came of a stream.
#[derive(PartialEq, Eq, Debug)]
struct Outcome {
    heard: Vec<Heard>,
    taken_bytes: usize,
    error: Option<FrameError>,
}

/// [`Incoming`], kept.
#[derive(PartialEq, Eq, Debug)]
enum Heard {
    Text(String),
    Binary,
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    Fragment,
}

impl End {
    /// Shows `stream` chunk by chunk to a new reader, until it ends or can't be read.
    fn read(&self, stream: &[u8], chunks: &[usize]) -> Outcome {
        let mut bytes = stream.to_vec();
        let mut reader = FrameReader::new(self.reader, self.limit);
        let mut outcome = Outcome {
            heard: Vec::new(),
            taken_bytes: 0,
            error: None,
        };
        let (mut shown, mut held) = (0, 0);
        for chunk in chunks.iter().cycle() {
            if shown == stream.len() {
                return outcome;
            }
            shown = stream.len().min(shown + chunk);
            loop {
                let at = outcome.taken_bytes;
                match reader.read(&mut bytes[at..shown]) {
                    Ok(Some((incoming, taken))) => {
                        let payload = taken - header_bytes(&stream[at..shown]);
                        held = self.held(&incoming, held, payload);
                        outcome.heard.push(Heard::from(incoming));
                        outcome.taken_bytes += taken;
                    }
                    Ok(None) => {
                        self.check_unread(shown - at, held);
                        break;
                    }
                    Err(error) => {
                        outcome.error = Some(error);
                        return outcome;
                    }
                }
                let at = outcome.taken_bytes;
                assert_eq!(
                    bytes[at..shown],
                    stream[at..shown],
                    "only what was taken is unmasked"
                );
            }
            let at = outcome.taken_bytes;
            assert_eq!(
                bytes[at..shown],
                stream[at..shown],
                "an incomplete frame is left as it is"
            );
        }
        outcome
    }

    /// How much of a fragmented message is held after `incoming`, whose frame had `payload` bytes.
    fn held(&self, incoming: &Incoming<'_>, held: usize, payload: usize) -> usize {
        let message = held + payload;
        match incoming {
            Incoming::Text(text) => {
                assert_eq!(text.len(), message, "the pieces make the message");
                assert!(message <= self.limit as usize);
                0
            }
            Incoming::Binary => {
                assert!(message <= self.limit as usize);
                0
            }
            Incoming::Fragment => {
                assert!(message <= self.limit as usize);
                message
            }
            Incoming::Ping(_) | Incoming::Pong | Incoming::Close(_) => {
                assert!(payload <= CONTROL_PAYLOAD_BYTES);
                held
            }
        }
    }

    /// What waits for the rest of its frame is bounded, together with what the reader holds.
    fn check_unread(&self, unread: usize, held: usize) {
        let limit = self.limit as usize;
        let largest = (limit - held).max(CONTROL_PAYLOAD_BYTES);
        assert!(
            unread < largest + HEADER_BYTES,
            "{unread} bytes wait, {held} are held of {limit}"
        );
    }

    /// Writes whole messages that were read, and reads them again.
    fn round_trip(&self, heard: &[Heard]) {
        let mut stream = Vec::new();
        let written: Vec<&Heard> = heard
            .iter()
            .filter(|heard| self.write(&mut stream, heard))
            .collect();
        let again = self.read(&stream, &[stream.len().max(1)]);
        assert_eq!(again.error, None);
        assert_eq!(again.heard.iter().collect::<Vec<_>>(), written);
    }

    /// Whether there is a way to write it: neither of our ends says anything binary, or closes without a code.
    fn write(&self, out: &mut Vec<u8>, heard: &Heard) -> bool {
        match heard {
            Heard::Text(text) => write_text(out, self.mask, |out| out.extend_from_slice(text.as_bytes())),
            Heard::Ping(payload) => write_ping(out, self.mask, payload),
            Heard::Pong => write_pong(out, self.mask, b"any"),
            Heard::Close(Some(code)) => write_close(out, self.mask, *code, "why"),
            Heard::Close(None) | Heard::Binary | Heard::Fragment => return false,
        }
        true
    }
}

impl From<Incoming<'_>> for Heard {
    fn from(incoming: Incoming<'_>) -> Self {
        match incoming {
            Incoming::Text(text) => Self::Text(text.to_owned()),
            Incoming::Binary => Self::Binary,
            Incoming::Ping(payload) => Self::Ping(payload.to_vec()),
            Incoming::Pong => Self::Pong,
            Incoming::Close(code) => Self::Close(code),
            Incoming::Fragment => Self::Fragment,
        }
    }
}

/// How long the header of a whole frame is (RFC 6455 §5.2).
fn header_bytes(frame: &[u8]) -> usize {
    let length = match frame[1] & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if frame[1] & 0x80 == 0 { 0 } else { 4 };
    2 + length + mask
}
