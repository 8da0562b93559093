//! A request's header fields and body, spelled so that a corpus file can be read and a fuzzer can hardly break a line:
//! each line has one byte that chooses the field, `0` the first one of the target, and its value. An empty line
//! separates the body.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The most lines that are read: a few more than there are fields. Chosen, because few lines are looked at together.
const MAX_LINES: usize = 16;

/// The fields and the body that `data` spells. Values that no HTTP parser would let through are left out.
pub(crate) fn read<'a>(data: &'a [u8], names: &[&'static str]) -> (HeaderMap, &'a [u8]) {
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let (block, body) = match end {
        Some(end) => (&data[..end], &data[end + 2..]),
        None => (data, &[][..]),
    };
    let lines = block.split(|byte| *byte == b'\n').take(MAX_LINES);
    let fields = lines.filter_map(|line| field(line, names));
    (fields.fold(HeaderMap::new(), appended), body)
}

/// Fields of our own spelling.
pub(crate) fn of<const N: usize>(lines: [(&'static str, &str); N]) -> HeaderMap {
    let lines = lines.into_iter().map(|(name, value)| {
        let value = HeaderValue::from_str(value).expect("what was read from a field can stand in one");
        (HeaderName::from_static(name), value)
    });
    lines.fold(HeaderMap::new(), appended)
}

fn field(line: &[u8], names: &[&'static str]) -> Option<(HeaderName, HeaderValue)> {
    let (choice, value) = line.split_first()?;
    let name = names[usize::from(choice.wrapping_sub(b'0')) % names.len()];
    let value = HeaderValue::from_bytes(value).ok()?;
    Some((HeaderName::from_static(name), value))
}

fn appended(mut fields: HeaderMap, (name, value): (HeaderName, HeaderValue)) -> HeaderMap {
    fields.append(name, value);
    fields
}
