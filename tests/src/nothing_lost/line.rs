//! RFC 8030's side of a connection: requests beside each other, and what is monitored, by HTTP/2 server push or by
//! Server-Sent Events.
//!
//! Written for parties whose node may vanish at any moment, unlike [`monitor`](crate::monitor) and [`events`](crate::events):
//! nothing here is an expectation, a connection that ends is an event as any other. What a [`Watch`] brings comes in the order in which it was promised (PR-20).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use h2::client::{Builder, PushPromise, PushPromises, ResponseFuture, SendRequest};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::application_server::{Answer, Unanswered, origin_form};
use crate::connector::Connector;

/// The relation of a subscription's push resource.
pub(crate) const PUSH: &str = "urn:ietf:params:push";
/// That of its set.
pub(crate) const SET: &str = "urn:ietf:params:push:set";
/// That of a receipt subscription.
pub(crate) const RECEIPT: &str = "urn:ietf:params:push:receipt";

/// What is brought and not looked at yet. Few, so that the service notices who is slow.
const WAITING: usize = 16;

/// A connection in HTTP/2.
pub(crate) struct Line {
    requests: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

/// How it is monitored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Manner {
    /// By server push, so many streams at a time.
    Push(u32),
    /// By Server-Sent Events, behind the one with this id.
    Events(Option<String>),
}

/// Monitoring under way; ends when it is dropped.
pub(crate) struct Watch {
    brought: mpsc::Receiver<Brought>,
    reader: JoinHandle<()>,
}

/// What monitoring brings.
#[derive(Debug)]
pub(crate) enum Brought {
    /// A push message.
    Message {
        /// Whose DELETE acknowledges it.
        url: String,
        push_resource: String,
        body: Vec<u8>,
    },
    /// How a message ended.
    Receipt {
        /// The message, by its sender's URL.
        message: String,
        status: u16,
        /// The event that told it, if one did: its id, and the URL whose DELETE says that it has arrived.
        event: Option<(String, String)>,
    },
    /// Monitoring was ended by the service with this status, or the connection broke.
    Over(Option<StatusCode>),
}

impl Line {
    pub(crate) async fn open(connector: &Connector) -> Result<Self, Unanswered> {
        Self::open_for(connector, u32::MAX).await
    }

    /// A connection that takes so many pushes at a time.
    async fn open_for(connector: &Connector, pushes: u32) -> Result<Self, Unanswered> {
        let stream = connector.connect("h2").await?;
        let mut builder = Builder::new();
        let (requests, connection) = builder.max_concurrent_streams(pushes).handshake(stream).await?;
        // How the connection ended is told by the requests that it failed.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { requests, driver })
    }

    /// A request without a body, with a link to a resource of this relation.
    pub(crate) async fn request(
        &self,
        method: Method,
        url: &str,
        link: Option<(&str, &str)>,
    ) -> Result<Answer, Unanswered> {
        let mut request = Request::builder().method(method).uri(url);
        if let Some((target, relation)) = link {
            request = request.header("link", link_to(target, relation));
        }
        let request = request.body(()).expect("a URL");
        let (response, _) = self.requests.clone().ready().await?.send_request(request, true)?;
        Answer::read(response.await?).await
    }

    pub(crate) async fn delete(&self, url: &str) -> Result<Answer, Unanswered> {
        self.request(Method::DELETE, url, None).await
    }
}

/// A link header field.
pub(crate) fn link_to(target: &str, relation: &str) -> String {
    format!("<{target}>; rel=\"{relation}\"")
}

impl Drop for Line {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Watch {
    /// Monitors a resource over a connection of its own.
    pub(crate) async fn open(connector: &Connector, url: &str, manner: Manner) -> Result<Self, Unanswered> {
        let (bring, brought) = mpsc::channel(WAITING);
        let reader = match manner {
            Manner::Push(streams) => {
                let line = Line::open_for(connector, streams).await?;
                let request = Request::get(url).body(()).expect("a URL");
                let (mut response, _) = line.requests.clone().ready().await?.send_request(request, true)?;
                let promises = response.push_promises();
                tokio::spawn(async move {
                    let _line = line;
                    let over = read_pushes(response, promises, &bring).await;
                    let _ = bring.send(Brought::Over(over.ok())).await;
                })
            }
            Manner::Events(last) => {
                let events = ask_for_events(connector, url, last).await?;
                tokio::spawn(async move {
                    let over = read_events(events, &bring).await;
                    let _ = bring.send(Brought::Over(over.ok().flatten())).await;
                })
            }
        };
        Ok(Self { brought, reader })
    }

    /// What comes next. Cancel safe.
    pub(crate) async fn next(&mut self) -> Brought {
        self.brought.recv().await.unwrap_or(Brought::Over(None))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Reads one push after the other; returns the status of the answer.
async fn read_pushes(
    mut response: ResponseFuture,
    mut promises: PushPromises,
    bring: &mpsc::Sender<Brought>,
) -> Result<StatusCode, Unanswered> {
    // The library doesn't wake who waits for a promise when the request is answered.
    let status = loop {
        tokio::select! {
            biased;
            Some(promise) = promises.push_promise() => pass_on(promise?, bring).await?,
            response = &mut response => break response?.status(),
        }
    };
    while let Some(Some(promise)) = futures_util::FutureExt::now_or_never(promises.push_promise()) {
        pass_on(promise?, bring).await?;
    }
    Ok(status)
}

async fn pass_on(promise: PushPromise, bring: &mpsc::Sender<Brought>) -> Result<(), Unanswered> {
    let (request, response) = promise.into_parts();
    let url = request.uri().to_string();
    let answer = Answer::read(response.await?).await?;
    let brought = if answer.status == StatusCode::OK {
        Brought::Message {
            url,
            push_resource: answer.link(PUSH).to_owned(),
            body: answer.body.into(),
        }
    } else {
        Brought::Receipt {
            message: url,
            status: answer.status.as_u16(),
            event: None,
        }
    };
    // Who doesn't want it any more has dropped this task as well.
    let _ = bring.send(brought).await;
    Ok(())
}

/// The stream of events, and what drives its connection.
struct Events {
    status: StatusCode,
    body: Incoming,
    driver: JoinHandle<()>,
}

impl Drop for Events {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn ask_for_events(
    connector: &Connector,
    url: &str,
    last: Option<String>,
) -> Result<Events, Unanswered> {
    let mut request = Request::get(url).header("accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let request = origin_form(request.body(Bytes::new()).expect("a URL"));
    let stream = TokioIo::new(connector.connect("http/1.1").await?);
    let (mut requests, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let driver = tokio::spawn(async move { drop(connection.await) });
    let (head, body) = requests.send_request(request).await?.into_parts();
    Ok(Events {
        status: head.status,
        body,
        driver,
    })
}

/// Reads one event after the other; returns the status that the last one tells, if it comes.
async fn read_events(
    mut events: Events,
    bring: &mpsc::Sender<Brought>,
) -> Result<Option<StatusCode>, Unanswered> {
    if events.status != StatusCode::OK {
        return Ok(Some(events.status));
    }
    let mut read = String::new();
    while let Some(frame) = events.body.frame().await {
        let data = frame?.into_data().unwrap_or_default();
        read.push_str(std::str::from_utf8(&data)?);
        while let Some((event, rest)) = read.split_once("\n\n") {
            let brought = parse(event);
            read = rest.to_owned();
            match brought {
                None => {}
                Some(Brought::Over(status)) => return Ok(status),
                Some(brought) => drop(bring.send(brought).await),
            }
        }
    }
    Ok(None)
}

/// One event; `None` for what is only a comment.
fn parse(event: &str) -> Option<Brought> {
    let field = |name: &str| {
        let mut lines = event.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(field, _)| *field == name).map(|(_, value)| value)
    };
    let data: Value = serde_json::from_str(field("data")?).expect("an event's data is JSON");
    let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
    let status = data["status"].as_u64().unwrap_or_default() as u16;
    Some(match field("event")? {
        "message" => Brought::Message {
            url: text("message"),
            push_resource: text("push"),
            body: URL_SAFE_NO_PAD.decode(text("body")).unwrap_or_default(),
        },
        "receipt" => Brought::Receipt {
            message: text("message"),
            status,
            event: Some((field("id")?.to_owned(), text("acknowledge"))),
        },
        _ => Brought::Over(StatusCode::from_u16(status).ok()),
    })
}
