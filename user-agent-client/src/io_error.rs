//! Errors of connections as sentences of ours, in place of a library's.

use std::io;

use crate::tls::sentences;

/// What went wrong. The words of the operating system are kept. Those of libraries are replaced: they name internals and documentation.
pub(crate) fn sentence(error: &io::Error) -> String {
    if let Some(sentence) = sentences::of_io(error) {
        return sentence;
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the other end closed the connection".to_owned(),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput if error.raw_os_error().is_none() => {
            "the other end does not keep to the protocol".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WS-CON-4: no error of a library is shown; what the operating system says is.
    #[test]
    fn sentences_are_ours() {
        let eof = "peer closed connection without sending TLS close_notify: https://docs.rs/rustls/";
        let rows = [
            (
                io::Error::new(io::ErrorKind::UnexpectedEof, eof),
                "the other end closed the connection",
            ),
            (
                io::Error::new(io::ErrorKind::InvalidData, "DecodeError(\"x\")"),
                "the other end does not keep to the protocol",
            ),
            (
                io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError),
                "TLS failed: the service, or a device on the way to it, breaks the protocol; try another \
                 network",
            ),
            (
                io::Error::from_raw_os_error(111),
                "Connection refused (os error 111)",
            ),
        ];
        for (error, expected) in rows {
            assert_eq!(sentence(&error), expected);
        }
    }
}
