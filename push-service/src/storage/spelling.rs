//! The encoding of messages that all durable storages share.
//!
//! Integers are big-endian; a text has its length in front. A value that cannot be read is [`Unreadable`], never a panic: a
//! store may be damaged, or written by a newer node.

use bytes::Bytes;
use push_protocol::{Coding, Content};

const NO_TEXT: u16 = u16::MAX;

/// A stored value has something that this code cannot read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unreadable;

/// All of a message's content but the body, which follows it.
pub(super) fn put_content_header(value: &mut Vec<u8>, content: &Content) {
    let (coding, first, second) = match &content.coding {
        Coding::Absent => (0, None, None),
        Coding::Aes128gcm => (1, None, None),
        Coding::Aesgcm {
            encryption,
            crypto_key,
        } => (2, Some(&**encryption), Some(&**crypto_key)),
        Coding::Other(name) => (3, Some(&**name), None),
    };
    value.push(coding);
    put_text(value, first);
    put_text(value, second);
    put_text(value, content.media_type.as_deref());
}

/// Length and bytes. A text comes from one header field, which is far shorter than 64 KiB.
pub(super) fn put_text(value: &mut Vec<u8>, text: Option<&str>) {
    let length = text.map_or(NO_TEXT, |text| text.len().min(usize::from(NO_TEXT - 1)) as u16);
    value.extend(length.to_be_bytes());
    let bytes = text.unwrap_or_default().as_bytes();
    value.extend(&bytes[..bytes.len().min(usize::from(length))]);
}

/// What was read by [`Fields::content_header`].
pub(super) struct ContentHeader {
    coding: Coding,
    media_type: Option<Box<str>>,
}

impl ContentHeader {
    /// With the body that follows it.
    pub(super) fn with(self, body: Bytes) -> Content {
        Content {
            coding: self.coding,
            media_type: self.media_type,
            body,
        }
    }
}

/// The rest of a value, still to be read.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Unreadable)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Unreadable> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn number(&mut self) -> Result<u64, Unreadable> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn text(&mut self) -> Result<Option<&'a str>, Unreadable> {
        let length = self.array().map(u16::from_be_bytes)?;
        if length == NO_TEXT {
            return Ok(None);
        }
        let (text, rest) = self.0.split_at_checked(usize::from(length)).ok_or(Unreadable)?;
        self.0 = rest;
        std::str::from_utf8(text).map(Some).map_err(|_| Unreadable)
    }

    /// The reverse of [`put_content_header`]. What is left is the body.
    pub(super) fn content_header(&mut self) -> Result<ContentHeader, Unreadable> {
        let coding = self.byte()?;
        let coding = match (coding, self.text()?, self.text()?) {
            (0, None, None) => Coding::Absent,
            (1, None, None) => Coding::Aes128gcm,
            (2, Some(encryption), Some(crypto_key)) => Coding::Aesgcm {
                encryption: encryption.into(),
                crypto_key: crypto_key.into(),
            },
            (3, Some(name), None) => Coding::Other(name.into()),
            _ => return Err(Unreadable),
        };
        Ok(ContentHeader {
            coding,
            media_type: self.text()?.map(Into::into),
        })
    }
}
