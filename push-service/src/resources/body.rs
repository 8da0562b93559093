//! A request's body, read within bounds of size and time.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use tokio::time::timeout;

/// The body of a request, over any version of HTTP.
pub trait RequestBody: Unpin + Send {
    /// The next bytes of it; `None` at its end.
    fn poll_chunk(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenBody>>>;
}

/// The body broke off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrokenBody;

/// Why there is no body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// It is longer than it may be. The rest of it was not read.
    TooLarge,
    /// It was not there in time.
    TooSlow,
    /// It broke off.
    Broken,
}

/// Reads the whole body. One that says that it is too long is not read at all.
pub(super) async fn read<B: RequestBody>(
    headers: &HeaderMap,
    body: &mut B,
    limit: usize,
    within: Duration,
) -> Result<Bytes, Fault> {
    if said_length(headers).is_some_and(|length| length > limit as u64) {
        return Err(Fault::TooLarge);
    }
    timeout(within, collect(body, limit))
        .await
        .unwrap_or(Err(Fault::TooSlow))
}

fn said_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Joins what comes, without copying a body that comes in one piece.
async fn collect<B: RequestBody>(body: &mut B, limit: usize) -> Result<Bytes, Fault> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(chunk) = poll_fn(|cx| Pin::new(&mut *body).poll_chunk(cx)).await {
        let chunk = chunk.map_err(|BrokenBody| Fault::Broken)?;
        if first.len().max(joined.len()) + chunk.len() > limit {
            return Err(Fault::TooLarge);
        }
        if first.is_empty() {
            first = chunk;
            continue;
        }
        if joined.is_empty() {
            joined.extend_from_slice(&first);
        }
        joined.extend_from_slice(&chunk);
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body that comes in these pieces, and then ends, breaks off or says nothing more.
    struct Pieces(Vec<&'static [u8]>, End);

    #[derive(Clone, Copy)]
    enum End {
        Good,
        Broken,
        Silent,
    }

    impl RequestBody for Pieces {
        fn poll_chunk(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Bytes, BrokenBody>>> {
            if !self.0.is_empty() {
                return Poll::Ready(Some(Ok(Bytes::from_static(self.0.remove(0)))));
            }
            match self.1 {
                End::Good => Poll::Ready(None),
                End::Broken => Poll::Ready(Some(Err(BrokenBody))),
                End::Silent => Poll::Pending,
            }
        }
    }

    /// R30-MSG-6, WP-5: a body is read whole up to its limit; what is longer, late or broken is told apart.
    #[tokio::test(start_paused = true)]
    async fn bodies_are_bounded() {
        let rows: [(Pieces, Result<&[u8], Fault>); 7] = [
            (Pieces(vec![], End::Good), Ok(b"")),
            (Pieces(vec![b"abcde"], End::Good), Ok(b"abcde")),
            (
                Pieces(vec![b"", b"ab", b"", b"cd", b"e"], End::Good),
                Ok(b"abcde"),
            ),
            (
                Pieces(vec![b"ab", b"cd", b"ef"], End::Silent),
                Err(Fault::TooLarge),
            ),
            (Pieces(vec![b"abcdef"], End::Silent), Err(Fault::TooLarge)),
            (Pieces(vec![b"ab"], End::Silent), Err(Fault::TooSlow)),
            (Pieces(vec![b"ab"], End::Broken), Err(Fault::Broken)),
        ];
        for (mut pieces, expected) in rows {
            let read = read(&HeaderMap::new(), &mut pieces, 5, Duration::from_secs(10)).await;
            assert_eq!(read, expected.map(Bytes::from_static));
        }
    }

    /// WP-5: a body whose length is said to be too long is not read.
    #[tokio::test(start_paused = true)]
    async fn a_long_body_is_not_read() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, 6.into());
        let mut pieces = Pieces(vec![b"abcdef"], End::Good);
        let read = read(&headers, &mut pieces, 5, Duration::from_secs(10)).await;
        assert_eq!(read, Err(Fault::TooLarge));
        assert_eq!(pieces.0.len(), 1);
    }
}
