//! Who monitors by Server-Sent Events (WHATWG HTML §9.2), over HTTP/1.1.
//!
//! Reads what an `EventSource` would read, and passes comments over; knows nothing of what an event says.

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::application_server::{Answer, origin_form};
use crate::connector::Connector;
use crate::monitor::{Fields, request};
use crate::within;

/// A stream of events under way.
#[derive(Debug)]
pub struct Events {
    /// The response's header fields.
    pub headers: HeaderMap,
    body: Incoming,
    read: String,
    driver: JoinHandle<()>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id; empty when it has none.
    pub id: String,
    /// What kind it is.
    pub event: String,
    /// What it says, as JSON.
    pub data: Value,
}

impl Events {
    /// Monitors a resource over a connection of its own.
    ///
    /// # Panics
    ///
    /// When that is refused.
    pub async fn open(connector: &Connector, url: &str, fields: Fields<'_>) -> Self {
        match Self::try_open(connector, url, fields).await {
            Ok(events) => events,
            Err(answer) => panic!("events are expected, not {} {}", answer.status, answer.text()),
        }
    }

    /// Monitors a resource over a connection of its own, or returns the answer that is no stream of events.
    pub async fn try_open(connector: &Connector, url: &str, fields: Fields<'_>) -> Result<Self, Answer> {
        let mut request = request(Method::GET, url, fields);
        let accept = http::HeaderValue::from_static("text/event-stream");
        request.headers_mut().insert(http::header::ACCEPT, accept);
        let stream = connector.connect("http/1.1").await.expect("the node listens");
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut requests, connection) = handshake.expect("HTTP/1.1");
        let driver = tokio::spawn(async move { drop(connection.await) });
        let response = within(
            "the request is answered",
            requests.send_request(origin_form(request)),
        )
        .await;
        let (head, body) = response.expect("the request is answered").into_parts();
        if head
            .headers
            .get(http::header::CONTENT_TYPE)
            .is_none_or(|kind| kind != "text/event-stream")
        {
            let body = within("the answer's body", body.collect()).await;
            let body = body.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
            return Err(Answer::new(head, body));
        }
        assert_eq!(head.status, 200);
        Ok(Self {
            headers: head.headers,
            body,
            read: String::new(),
            driver,
        })
    }

    /// The next event; `None` when the stream has ended. Cancel safe.
    pub async fn try_next(&mut self) -> Option<Event> {
        within("an event, or the end", async {
            loop {
                if let Some((event, rest)) = self.read.split_once("\n\n") {
                    let (event, rest) = (Event::parse(event), rest.to_owned());
                    self.read = rest;
                    match event {
                        Some(event) => return Some(event),
                        None => continue,
                    }
                }
                let frame = self.body.frame().await?.ok()?;
                let data = frame.into_data().unwrap_or_default();
                self.read
                    .push_str(std::str::from_utf8(&data).expect("events are text"));
            }
        })
        .await
    }

    /// The next event.
    ///
    /// # Panics
    ///
    /// When the stream ends instead.
    pub async fn next(&mut self) -> Event {
        self.try_next().await.expect("an event")
    }

    /// The last event, and then the end: the status that it tells.
    pub async fn end(&mut self) -> u64 {
        let end = self.next().await;
        assert_eq!(end.event, "end", "{end:?}");
        assert_eq!(self.try_next().await, None, "nothing comes behind the end");
        end.data["status"].as_u64().expect("the end tells a status")
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Event {
    /// `None` for what is only comments.
    fn parse(text: &str) -> Option<Self> {
        let mut event = Self {
            id: String::new(),
            event: "message".to_owned(),
            data: Value::Null,
        };
        for line in text.lines() {
            let (name, value) = line.split_once(':')?;
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "id" => event.id = value.to_owned(),
                "event" => event.event = value.to_owned(),
                "data" => event.data = serde_json::from_str(value).expect("an event's data is JSON"),
                _ => {}
            }
        }
        (event.data != Value::Null).then_some(event)
    }

    /// A URL of its data.
    pub fn url(&self, name: &str) -> &str {
        self.data[name].as_str().expect("a URL")
    }
}
