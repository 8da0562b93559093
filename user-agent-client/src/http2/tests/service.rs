//! The service's end of a connection, which does what a test tells it.

use std::future::poll_fn;

use bytes::Bytes;
use h2::server::{SendPushedResponse, SendResponse};
use h2::{Reason, RecvStream, SendStream, server};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use push_protocol::headers::Relation;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// A connection, as the service sees it.
pub(crate) struct Peer {
    asked: mpsc::UnboundedReceiver<(Request<RecvStream>, SendResponse<Bytes>)>,
    commands: mpsc::UnboundedSender<Command>,
    pub(crate) origin: String,
}

enum Command {
    Leave,
    Break,
}

/// A request as it came, and the way to its answer.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    reply: SendResponse<Bytes>,
    origin: String,
}

impl Peer {
    pub(crate) async fn on(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        origin: &str,
    ) -> Self {
        let mut connection: server::Connection<_, Bytes> = server::handshake(stream).await.unwrap();
        let (to, asked) = mpsc::unbounded_channel();
        let (commands, mut commanded) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    command = commanded.recv() => match command {
                        Some(Command::Leave) => connection.graceful_shutdown(),
                        // The test is over, or wants it so.
                        Some(Command::Break) | None => return,
                    },
                    asked = connection.accept() => match asked {
                        Some(Ok(asked)) => drop(to.send(asked)),
                        Some(Err(_)) | None => return,
                    },
                }
            }
        });
        Self {
            asked,
            commands,
            origin: origin.to_owned(),
        }
    }

    /// The next request.
    pub(crate) async fn asked(&mut self) -> Asked {
        self.asked_or_left().await.expect("a request is expected")
    }

    /// The next request; `None` if the user agent has left.
    pub(crate) async fn asked_or_left(&mut self) -> Option<Asked> {
        let (request, reply) = self.asked.recv().await?;
        let (head, mut stream) = request.into_parts();
        let mut body = Vec::new();
        while let Some(data) = stream.data().await {
            let data = data.unwrap();
            stream.flow_control().release_capacity(data.len()).unwrap();
            body.extend_from_slice(&data);
        }
        Some(Asked {
            method: head.method,
            path: head.uri.path_and_query().unwrap().to_string(),
            headers: head.headers,
            body,
            reply,
            origin: self.origin.clone(),
        })
    }

    /// A request that is there already.
    pub(crate) fn asked_now(&mut self) -> bool {
        !self.asked.is_empty()
    }

    /// The next request, which has to be this one.
    pub(crate) async fn expects(&mut self, method: Method, path: &str) -> Asked {
        let asked = self.asked().await;
        assert_eq!((&asked.method, asked.path.as_str()), (&method, path));
        asked
    }

    /// Says that it leaves, and answers what is open.
    pub(crate) fn leaves(&self) {
        let _ = self.commands.send(Command::Leave);
    }

    /// Drops the connection.
    pub(crate) fn breaks(&self) {
        let _ = self.commands.send(Command::Break);
    }
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().unwrap())
    }

    pub(crate) fn answers(mut self, status: u16, headers: &[(&str, &str)]) {
        self.reply.send_response(response(status, headers), true).unwrap();
    }

    /// Answers with a body.
    pub(crate) fn explains(self, status: u16, headers: &[(&str, &str)], body: &str) {
        let mut stream = self.begins_to_explain(status, headers, body);
        stream.send_data(Bytes::new(), true).unwrap();
    }

    /// Answers with a body that doesn't end.
    pub(crate) fn begins_to_explain(
        mut self,
        status: u16,
        headers: &[(&str, &str)],
        body: &str,
    ) -> SendStream<Bytes> {
        let mut stream = self
            .reply
            .send_response(response(status, headers), false)
            .unwrap();
        stream
            .send_data(Bytes::copy_from_slice(body.as_bytes()), false)
            .unwrap();
        stream
    }

    /// Begins to answer with Server-Sent Events.
    pub(crate) fn begins_events(mut self) -> EventsOut {
        assert_eq!(self.method, Method::GET);
        let head = response(200, &[("content-type", "text/event-stream; charset=utf-8")]);
        EventsOut {
            stream: self.reply.send_response(head, false).unwrap(),
            origin: self.origin,
        }
    }

    /// A subscription with this number, in this set.
    pub(crate) fn enrolls(self, number: u32, set: &str) {
        let (origin, push) = (self.origin.clone(), push_resource(&self.origin, number));
        self.answers(
            201,
            &[
                ("location", &format!("/subscription/{number}")),
                ("link", &Relation::Push.link(&push)),
                (
                    "link",
                    &Relation::Set.link(&format!("{origin}/subscriptions/{set}")),
                ),
            ],
        );
    }

    /// Promises a message of the subscription with this number.
    pub(crate) fn promises(&mut self, path: &str, number: u32) -> SendPushedResponse<Bytes> {
        let link = Relation::Push.link(&push_resource(&self.origin, number));
        let url = format!("{}{path}", self.origin);
        self.promises_as(Method::GET, &url, &[("link", &link)])
    }

    pub(crate) fn promises_as(
        &mut self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
    ) -> SendPushedResponse<Bytes> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.reply.push_request(request.body(()).unwrap()).unwrap()
    }

    /// Promises a message and sends it.
    pub(crate) fn pushes(&mut self, path: &str, number: u32, body: &[u8]) {
        let promised = self.promises(path, number);
        let encoding = [("content-encoding", "aes128gcm")];
        delivers(promised, if body.is_empty() { &[] } else { &encoding }, body);
    }

    /// Waits until the user agent gives this request up.
    pub(crate) async fn given_up(mut self) {
        poll_fn(|cx| self.reply.poll_reset(cx)).await.unwrap();
    }
}

/// Server-Sent Events on their way to a user agent.
pub(crate) struct EventsOut {
    stream: SendStream<Bytes>,
    origin: String,
}

impl EventsOut {
    pub(crate) fn writes(&mut self, text: impl AsRef<[u8]>) {
        let data = Bytes::copy_from_slice(text.as_ref());
        self.stream.send_data(data, false).unwrap();
    }

    /// A message of the subscription with this number.
    pub(crate) fn brings(&mut self, path: &str, number: u32, body: &[u8]) {
        self.writes(message_event(&self.origin, path, number, body));
    }

    /// Says why nothing more comes, and ends.
    pub(crate) fn tells_end(mut self, status: u16, detail: &str) {
        self.writes(format!(
            "event: end\ndata: {{\"status\":{status},\"detail\":\"{detail}\"}}\n\n"
        ));
        self.ends();
    }

    pub(crate) fn ends(mut self) {
        self.stream.send_data(Bytes::new(), true).unwrap();
    }

    pub(crate) async fn given_up(mut self) {
        poll_fn(|cx| self.stream.poll_reset(cx)).await.unwrap();
    }
}

/// A message as our service tells it.
pub(crate) fn message_event(origin: &str, path: &str, number: u32, body: &[u8]) -> String {
    use base64::Engine as _;
    let push = push_resource(origin, number);
    let coding = if body.is_empty() {
        ""
    } else {
        r#""content-encoding":"aes128gcm","#
    };
    let body = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(body);
    format!(
        "id: x\nevent: message\ndata: {{\"message\":\"{origin}{path}\",\"push\":\"{push}\",\"headers\":{{{coding}\
         \"last-modified\":\"Thu, 01 Jan 1970 00:00:01 GMT\"}},\"body\":\"{body}\"}}\n\n"
    )
}

/// Answers a promise.
pub(crate) fn delivers(mut promised: SendPushedResponse<Bytes>, headers: &[(&str, &str)], body: &[u8]) {
    let mut stream = begins(&mut promised, headers);
    stream.send_data(Bytes::copy_from_slice(body), true).unwrap();
}

/// Begins to answer a promise.
pub(crate) fn begins(
    promised: &mut SendPushedResponse<Bytes>,
    headers: &[(&str, &str)],
) -> SendStream<Bytes> {
    promised.send_response(response(200, headers), false).unwrap()
}

/// Waits until the user agent refuses a promise.
pub(crate) async fn is_refused(mut promised: SendPushedResponse<Bytes>) -> Reason {
    poll_fn(|cx| promised.poll_reset(cx)).await.unwrap()
}

pub(crate) fn push_resource(origin: &str, number: u32) -> String {
    format!("{origin}/push/{number}")
}

fn response(status: u16, headers: &[(&str, &str)]) -> Response<()> {
    let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap()
}
