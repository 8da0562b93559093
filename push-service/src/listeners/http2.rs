//! HTTP/2 on one connection: its requests run side by side, within bounds that the peer cannot stretch.
//!
//! Speaks through `h2` itself, because only that can push. Knows nothing of what a request asks for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderValue, Method, Request, Response};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::Context;
use super::stream::HttpStream;
use crate::config::Limits;
use crate::defaults::{
    HTTP2_CONNECTION_WINDOW_BYTES, HTTP2_GOODBYE_WITHIN, HTTP2_RESET_STREAMS, HTTP2_STREAM_WINDOW_BYTES,
};
use crate::resources::{BrokenBody, RequestBody};

/// Serves the connection to its end. Draining, it says GOAWAY twice (R30-LB-3) and finishes the requests under way.
pub(super) async fn serve(stream: HttpStream, context: &Arc<Context>) {
    let limits = &context.limits;
    let handshake = builder(limits).handshake::<_, Bytes>(stream);
    let ended = match timeout(limits.header_within, handshake).await {
        Ok(Ok(connection)) => run(connection, context).await,
        Ok(Err(error)) => Err(error),
        Err(_elapsed) => return,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP/2 connection ended early");
    }
}

fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(limits.http2_streams)
        .initial_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(HTTP2_RESET_STREAMS)
        .max_local_error_reset_streams(Some(HTTP2_RESET_STREAMS));
    builder
}

async fn run(mut connection: Connection<HttpStream, Bytes>, context: &Arc<Context>) -> Result<(), h2::Error> {
    // Dropping the set ends the requests of a connection that is gone: nobody is left to answer.
    let mut requests = JoinSet::new();
    // A request that its peer has taken back is still worked on: bounded here, because h2 counts it no more.
    let most_requests = context.limits.http2_streams as usize + HTTP2_RESET_STREAMS;
    let idle = sleep(context.limits.idle_for);
    tokio::pin!(idle);
    let mut leaving = false;
    loop {
        let was_leaving = leaving;
        tokio::select! {
            accepted = connection.accept(), if requests.len() < most_requests => match accepted {
                Some(Ok((request, respond))) => {
                    let context = Arc::clone(context);
                    requests.spawn(async move { answer(request, respond, &context).await });
                }
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            Some(_) = requests.join_next() => {
                let patience = if leaving { HTTP2_GOODBYE_WITHIN } else { context.limits.idle_for };
                idle.as_mut().reset(Instant::now() + patience);
            }
            () = &mut idle, if requests.is_empty() => {
                if leaving {
                    return Ok(());
                }
                leaving = true;
            }
            () = context.leave.cancelled(), if !leaving => leaving = true,
            () = context.end.cancelled() => return Ok(()),
        }
        if leaving && !was_leaving {
            connection.graceful_shutdown();
            idle.as_mut().reset(Instant::now() + HTTP2_GOODBYE_WITHIN);
        }
    }
}

async fn answer(request: Request<RecvStream>, respond: SendResponse<Bytes>, context: &Context) {
    let (head, body) = request.into_parts();
    let mut body = Http2Body(body);
    let response = context.handlers.resources.answer(&head, &mut body).await;
    if let Err(error) = send(response, head.method == Method::HEAD, respond) {
        tracing::debug!(%error, "an HTTP/2 request ended before its answer");
    }
}

fn send(
    response: Response<Bytes>,
    head_only: bool,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let (mut head, body) = response.into_parts();
    let now = httpdate::fmt_http_date(SystemTime::now());
    if let Ok(date) = HeaderValue::try_from(now) {
        head.headers.insert(DATE, date);
    }
    if !body.is_empty() || head_only {
        head.headers.insert(CONTENT_LENGTH, body.len().into());
    }
    let ends_here = body.is_empty() || head_only;
    let mut stream = respond.send_response(Response::from_parts(head, ()), ends_here)?;
    if ends_here {
        return Ok(());
    }
    // An answer is a few hundred bytes: what the peer's window does not take yet waits in h2.
    stream.send_data(body, true)
}

/// A request's body, which gives its window back as it is read.
struct Http2Body(RecvStream);

impl RequestBody for Http2Body {
    fn poll_chunk(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Bytes, BrokenBody>>> {
        self.0.poll_data(cx).map(|chunk| {
            let chunk = chunk?.map_err(|_| BrokenBody);
            if let Ok(data) = &chunk {
                // Fails only when the stream is gone, and then there is no window to give back.
                let _ = self.0.flow_control().release_capacity(data.len());
            }
            Some(chunk)
        })
    }
}
