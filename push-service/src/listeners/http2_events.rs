//! Server-Sent Events on an HTTP/2 stream: pieces go out as the peer's windows open. What they say is not known here.

use std::future::poll_fn;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::Response;
use http::header::DATE;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::http2_frames::FrameWatch;
use crate::channels::EventStream;
use crate::defaults::CLOSE_WITHIN;
use crate::resources::date;

/// Sends what comes until it ends or the peer has gone. Dropping what is left ends the monitoring.
///
/// A peer that opens no window holds a few pieces, until the monitoring is ended for that reason and
/// [`CLOSE_WITHIN`] later: then its stream is reset.
pub(super) async fn send(
    events: EventStream,
    mut respond: SendResponse<Bytes>,
    frames: &FrameWatch,
) -> Result<(), h2::Error> {
    let EventStream { head, pieces, over } = events;
    let (mut head, ()) = head.into_parts();
    head.headers.insert(DATE, date());
    let mut stream = respond.send_response(Response::from_parts(head, ()), false)?;
    let sent = tokio::select! {
        sent = send_pieces(pieces, &mut stream, frames) => Some(sent),
        () = overdue(over) => None,
    };
    sent.unwrap_or_else(|| {
        stream.send_reset(Reason::CANCEL);
        Ok(())
    })
}

/// Resolves when the monitoring is over, and its end ought to have been taken.
async fn overdue(over: oneshot::Receiver<std::convert::Infallible>) {
    let _ = over.await;
    sleep(CLOSE_WITHIN).await;
}

async fn send_pieces(
    mut pieces: mpsc::Receiver<Bytes>,
    stream: &mut SendStream<Bytes>,
    frames: &FrameWatch,
) -> Result<(), h2::Error> {
    loop {
        let piece = tokio::select! {
            piece = pieces.recv() => piece,
            _ = poll_fn(|cx| stream.poll_reset(cx)) => return Ok(()),
        };
        let Some(piece) = piece else {
            return stream.send_data(Bytes::new(), true);
        };
        send_piece(stream, piece).await?;
        frames.renew_credit(1);
    }
}

/// Hands over no more than the windows take: `h2` holds nothing back for a peer that doesn't read.
async fn send_piece(stream: &mut SendStream<Bytes>, mut piece: Bytes) -> Result<(), h2::Error> {
    stream.reserve_capacity(piece.len());
    while !piece.is_empty() {
        let Some(room) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return Err(Reason::CANCEL.into());
        };
        let part = piece.split_to(room?.min(piece.len()));
        if !part.is_empty() {
            stream.send_data(part, false)?;
        }
    }
    Ok(())
}
