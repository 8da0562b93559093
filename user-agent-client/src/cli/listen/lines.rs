//! Prints a message as one line.
//!
//! Messages come from others: whatever a message holds, it stays one line, and holds nothing that a terminal obeys or that
//! changes the order of what a person sees ([`push_protocol::escape`]).

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use push_protocol::{Topic, Urgency, escape};
use serde::Serialize;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;
use user_agent_client::message::Data;

use super::delivery::Delivery;
use crate::cli::args::Format;

/// Where lines go. Each is printed whole, even if several are printed at the same time.
pub(super) struct Lines<W> {
    format: Format,
    output: Mutex<W>,
}

impl<W: AsyncWrite + Unpin> Lines<W> {
    pub(super) fn new(format: Format, output: W) -> Self {
        Self {
            format,
            output: Mutex::new(output),
        }
    }

    /// Prints a message. When it returns, the line has left this process.
    pub(super) async fn print(&self, delivery: &Delivery) -> io::Result<()> {
        let mut line = line(self.format, delivery);
        line.push('\n');
        let mut output = self.output.lock().await;
        output.write_all(line.as_bytes()).await?;
        output.flush().await
    }
}

fn line(format: Format, delivery: &Delivery) -> String {
    match format {
        Format::Text => text(delivery),
        Format::Json => json(delivery),
    }
}

fn text(delivery: &Delivery) -> String {
    let text = delivery.data.as_ref().map_or_else(String::new, Data::text);
    let mut line = String::new();
    for character in text.chars() {
        match character {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\\' => line.push_str("\\\\"),
            '\t' => line.push('\t'),
            other => line.push_str(&escape::text(other.encode_utf8(&mut [0; 4]))),
        }
    }
    line
}

fn json(delivery: &Delivery) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        subscription: &'a str,
        id: &'a str,
        attempt: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
        received: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        urgency: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        topic: Option<&'a str>,
        #[serde(flatten)]
        content: Content<'a>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "lowercase")]
    enum Content<'a> {
        Text(Option<&'a str>),
        Base64(String),
    }
    let content = match &delivery.data {
        None => Content::Text(None),
        Some(data) => match data.utf8() {
            Some(text) => Content::Text(Some(text)),
            None => Content::Base64(STANDARD.encode(data.bytes())),
        },
    };
    let line = Line {
        subscription: &delivery.subscription,
        id: &delivery.id,
        attempt: delivery.attempt,
        time: delivery.time,
        received: delivery.received,
        urgency: delivery.urgency.map(Urgency::as_str),
        topic: delivery.topic.as_ref().map(Topic::as_str),
        content,
    };
    let line = serde_json::to_string(&line).expect("strings always serialize");
    escape::json(&line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(data: Option<&[u8]>) -> Delivery {
        Delivery::example("door \"1\"", data.map(Data::new))
    }

    /// A message is one line of text, whatever is in it.
    #[test]
    fn a_text_is_one_line() {
        let rows: [(Option<&[u8]>, &str); 8] = [
            (Some(b"hello"), "hello"),
            (Some("Grüße ☃".as_bytes()), "Grüße ☃"),
            (Some(b"a\nb\r\nc\td\\n"), "a\\nb\\r\\nc\td\\\\n"),
            (Some(b"\x1b[2J\x00\x7f\xc2\x9b"), "\\u{1b}[2J\\u{0}\\u{7f}\\u{9b}"),
            (
                Some("\u{202e}a\u{2066}b\u{2028}c\u{61c}".as_bytes()),
                "\\u{202e}a\\u{2066}b\\u{2028}c\\u{61c}",
            ),
            (Some(b"\xef\xbb\xbfa\xff"), "a\u{fffd}"),
            (Some(b""), ""),
            (None, ""),
        ];
        for (data, expected) in rows {
            assert_eq!(line(Format::Text, &delivery(data)), expected);
        }
    }

    /// WP-RCV-3, WP-RCV-7: text, bytes that are none, no bytes and no data are told apart.
    #[test]
    fn json_tells_contents_apart() {
        let rows: [(Option<&[u8]>, &str); 7] = [
            (Some(b"a\n\"b\""), r#""text":"a\n\"b\"""#),
            (
                Some("\u{7f}\u{9b}2J\u{202e}\u{2029}".as_bytes()),
                r#""text":"\u007f\u009b2J\u202e\u2029""#,
            ),
            (Some(b"\xef\xbb\xbfa"), r#""text":"a""#),
            (Some(b"\xff\x00"), r#""base64":"/wA=""#),
            (Some(b"\xff\xff\xff\xff"), r#""base64":"/////w==""#),
            (Some(b""), r#""text":"""#),
            (None, r#""text":null"#),
        ];
        for (data, content) in rows {
            let about = r#""subscription":"door \"1\"","id":"7","attempt":1,"received":1500"#;
            let expected = format!("{{{about},{content}}}");
            assert_eq!(line(Format::Json, &delivery(data)), expected);
        }
    }

    /// R30-URG-4, R30-TOP-7: time, urgency and topic are members if a service says them.
    #[test]
    fn json_says_what_the_service_said() {
        let delivery = Delivery {
            attempt: 2,
            time: Some(1_000),
            urgency: Some(Urgency::High),
            topic: Topic::parse("t"),
            ..delivery(Some(b"a"))
        };
        let about = r#""id":"7","attempt":2,"time":1000,"received":1500,"urgency":"high","topic":"t""#;
        let expected = format!(r#"{{"subscription":"door \"1\"",{about},"text":"a"}}"#);
        assert_eq!(line(Format::Json, &delivery), expected);
    }

    /// A line that can't be written is an error, so that its message is not acknowledged.
    #[tokio::test]
    async fn a_closed_output_is_noticed() {
        let (ours, theirs) = tokio::io::duplex(64);
        let lines = Lines::new(Format::Text, ours);
        lines.print(&delivery(Some(b"hello"))).await.unwrap();
        drop(theirs);
        let error = lines.print(&delivery(Some(b"hello"))).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
