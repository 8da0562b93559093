//! Server-Sent Events on an HTTP/2 stream: pieces go out as the peer's windows open.

use std::future::poll_fn;
use std::time::SystemTime;

use bytes::Bytes;
use h2::SendStream;
use h2::server::SendResponse;
use http::header::DATE;
use http::{HeaderValue, Response};

use crate::channels::EventStream;

/// Sends what comes until it ends or the peer has gone. Dropping what is left ends the monitoring.
pub(super) async fn send(mut events: EventStream, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let (mut head, ()) = events.head.into_parts();
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())) {
        head.headers.insert(DATE, date);
    }
    let mut stream = respond.send_response(Response::from_parts(head, ()), false)?;
    loop {
        let piece = tokio::select! {
            piece = events.pieces.recv() => piece,
            _ = poll_fn(|cx| stream.poll_reset(cx)) => return Ok(()),
        };
        let Some(piece) = piece else {
            return stream.send_data(Bytes::new(), true);
        };
        send_piece(&mut stream, piece).await?;
    }
}

/// Hands over no more than the windows take: `h2` holds nothing back for a peer that doesn't read.
async fn send_piece(stream: &mut SendStream<Bytes>, mut piece: Bytes) -> Result<(), h2::Error> {
    stream.reserve_capacity(piece.len());
    while !piece.is_empty() {
        let Some(room) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return Err(h2::Reason::CANCEL.into());
        };
        let part = piece.split_to(room?.min(piece.len()));
        if !part.is_empty() {
            stream.send_data(part, false)?;
        }
    }
    Ok(())
}
