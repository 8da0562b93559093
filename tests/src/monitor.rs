//! Who monitors by HTTP/2 server push: a user agent its messages, an application server its receipts (RFC 8030 §6, §6.3;
//! RFC 9113 §8.4).
//!
//! A [`Connection`] carries any number of monitoring requests and other ones beside them. What a [`Monitor`] is promised
//! comes out one by one, in the order of the promises, read or not: so a test can refuse a push, or leave it unread.
//!
//! The end of the promises can't be waited for: the library doesn't wake who waits for the next one when the request is
//! answered. So both are waited for, and promises are looked for again behind the answer.

use bytes::Bytes;
use futures_util::FutureExt as _;
use h2::client::{Builder, PushPromise, PushPromises, PushedResponseFuture, ResponseFuture, SendRequest};
use h2::{Ping, PingPong};
use http::{HeaderMap, Method, Request, Uri};
use tokio::task::JoinHandle;

use crate::application_server::{Answer, Unanswered};
use crate::connector::Connector;
use crate::{payload, within};

/// Header fields of a request.
pub type Fields<'a> = &'a [(&'static str, &'a str)];

/// A connection in HTTP/2 that takes pushes, unless it was told otherwise.
pub struct Connection {
    requests: SendRequest<Bytes>,
    pings: PingPong,
    driver: JoinHandle<()>,
}

/// What a user agent is given when it subscribes (RFC 8030 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// The subscription resource.
    pub subscription: String,
    /// The push resource.
    pub push: String,
    /// The subscription set.
    pub set: String,
}

/// A monitoring request under way.
pub struct Monitor {
    response: ResponseFuture,
    promises: PushPromises,
    answer: Option<Answer>,
}

/// What comes next.
pub enum Next {
    /// A promised message or receipt.
    Pushed(Pushed),
    /// The answer: nothing more is promised.
    Over(Answer),
}

/// A promise. Dropped unread, its stream is reset.
pub struct Pushed {
    request: Request<()>,
    response: PushedResponseFuture,
}

/// What was pushed: a message, or a receipt.
#[derive(Clone, Debug)]
pub struct Message {
    /// The promised request's method.
    pub method: Method,
    /// The promised request's URL: the message resource.
    pub url: Uri,
    /// The promised request's header fields.
    pub promised: HeaderMap,
    /// The number of the promised stream.
    pub stream: u32,
    /// The response.
    pub answer: Answer,
}

impl Connection {
    /// Connects: by ALPN over TLS, by prior knowledge in clear.
    pub async fn open(connector: &Connector) -> Self {
        Self::open_with(connector, |_| {}).await
    }

    /// The same with other settings.
    ///
    /// # Panics
    ///
    /// When the node does not listen.
    pub async fn open_with(connector: &Connector, change: impl FnOnce(&mut Builder)) -> Self {
        let stream = connector.connect("h2").await.expect("the node listens");
        let mut builder = Builder::new();
        change(&mut builder);
        let (requests, mut connection) = builder.handshake(stream).await.expect("HTTP/2");
        let pings = connection.ping_pong().expect("only this sends pings");
        // How the connection ended is told by the requests that it failed.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Self {
            requests,
            pings,
            driver,
        }
    }

    /// Sends any request with an absolute URL and expects an answer.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub async fn request(&self, request: Request<Bytes>) -> Answer {
        let (parts, body) = request.into_parts();
        let is_all = body.is_empty();
        let (response, mut upload) = within("a stream", self.requests.clone().ready())
            .await
            .and_then(|mut requests| requests.send_request(Request::from_parts(parts, ()), is_all))
            .expect("the connection takes the request");
        if !is_all {
            upload
                .send_data(body, true)
                .expect("the connection takes the body");
        }
        let answered = async { Answer::read(response.await?).await };
        let answer: Result<_, Unanswered> = within("the request is answered", answered).await;
        answer.expect("the request is answered")
    }

    /// Any request without a body.
    pub async fn ask(&self, method: Method, url: &str, fields: Fields<'_>) -> Answer {
        self.request(request(method, url, fields)).await
    }

    /// DELETE: acknowledges a message, or ends what is monitored.
    pub async fn delete(&self, url: impl ToString) -> Answer {
        self.ask(Method::DELETE, &url.to_string(), &[]).await
    }

    /// Makes a subscription in a set of its own, at the service of this origin.
    pub async fn subscribe(&self, origin: &str) -> Subscribed {
        self.subscribe_with(origin, &[]).await
    }

    /// Makes a subscription with a request that has these header fields.
    pub async fn subscribe_with(&self, origin: &str, fields: Fields<'_>) -> Subscribed {
        let answer = self
            .ask(Method::POST, &format!("{origin}/subscribe"), fields)
            .await;
        Subscribed::read(&answer)
    }

    /// Makes a subscription in this set.
    pub async fn subscribe_in(&self, origin: &str, set: &str) -> Subscribed {
        self.subscribe_with(origin, &[("link", &set_link(set))]).await
    }

    /// Monitors a resource.
    pub async fn monitor(&self, url: &str) -> Monitor {
        self.monitor_with(url, &[]).await
    }

    /// Monitors it by a request with these header fields.
    ///
    /// # Panics
    ///
    /// When the connection is gone.
    pub async fn monitor_with(&self, url: &str, fields: Fields<'_>) -> Monitor {
        let (parts, _) = request(Method::GET, url, fields).into_parts();
        let (mut response, _) = within("a stream", self.requests.clone().ready())
            .await
            .and_then(|mut requests| requests.send_request(Request::from_parts(parts, ()), true))
            .expect("the connection takes the request");
        Monitor {
            promises: response.push_promises(),
            response,
            answer: None,
        }
    }

    /// Waits until the service has answered a PING: what it had sent before is here.
    pub async fn ping(&mut self) {
        let answered = within("a PING is answered", self.pings.ping(Ping::opaque())).await;
        answered.expect("a PING is answered");
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Subscribed {
    /// From the answer to a request to subscribe.
    ///
    /// # Panics
    ///
    /// When it is no 201 with three URLs.
    pub fn read(answer: &Answer) -> Self {
        assert_eq!(answer.status, 201, "{}", answer.text());
        let made = Self {
            subscription: answer.header("location").to_owned(),
            push: answer.link("urn:ietf:params:push").to_owned(),
            set: answer.link("urn:ietf:params:push:set").to_owned(),
        };
        for url in [&made.subscription, &made.push, &made.set] {
            assert!(!url.is_empty(), "{:?}", answer.headers);
        }
        made
    }
}

impl Monitor {
    /// What comes next.
    pub async fn next(&mut self) -> Next {
        let next = self.next_whenever();
        within("something is pushed, or the request answered", next).await
    }

    /// The next promise.
    ///
    /// # Panics
    ///
    /// When the request is answered instead.
    pub async fn promise(&mut self) -> Pushed {
        match self.next().await {
            Next::Pushed(pushed) => pushed,
            Next::Over(answer) => panic!("a message is expected, not {} {}", answer.status, answer.text()),
        }
    }

    /// The next message or receipt, whole.
    pub async fn message(&mut self) -> Message {
        self.promise().await.read().await
    }

    /// The next message, which carries this text; its URL.
    pub async fn receives(&mut self, text: &str) -> String {
        let message = self.message().await;
        assert_eq!(message.text().as_deref(), Some(text));
        message.url.to_string()
    }

    /// The answer.
    ///
    /// # Panics
    ///
    /// When something is pushed before.
    pub async fn over(&mut self) -> Answer {
        match self.next().await {
            Next::Over(answer) => answer,
            Next::Pushed(pushed) => panic!("the end is expected, not {}", pushed.url()),
        }
    }

    /// Whether nothing has come so far.
    pub fn is_quiet(&mut self) -> bool {
        self.next_whenever().now_or_never().is_none()
    }

    /// What comes next, however long it takes. Cancel safe: what was not returned comes with the next call.
    pub async fn next_whenever(&mut self) -> Next {
        loop {
            if let Some(answer) = &self.answer {
                return match self.promises.push_promise().now_or_never() {
                    Some(Some(promise)) => Next::Pushed(promise.expect("a promise").into()),
                    _ => Next::Over(answer.clone()),
                };
            }
            let response = tokio::select! {
                biased;
                Some(promise) = self.promises.push_promise() => {
                    return Next::Pushed(promise.expect("a promise").into());
                }
                response = &mut self.response => response.expect("the request is answered"),
            };
            // Short, and on its way: the test's deadline holds for it as well.
            let read = Answer::read(response).await;
            self.answer = Some(read.expect("the answer is whole"));
        }
    }
}

impl From<PushPromise> for Pushed {
    fn from(promise: PushPromise) -> Self {
        let (request, response) = promise.into_parts();
        Self { request, response }
    }
}

impl Pushed {
    /// The message resource.
    pub fn url(&self) -> String {
        self.request.uri().to_string()
    }

    /// Reads the response to its end.
    ///
    /// # Panics
    ///
    /// When it breaks off.
    pub async fn read(self) -> Message {
        let stream = self.response.stream_id().as_u32();
        let response = async { Answer::read(self.response.await?).await };
        let answer: Result<_, Unanswered> = within("the pushed response", response).await;
        let (parts, ()) = self.request.into_parts();
        Message {
            method: parts.method,
            url: parts.uri,
            promised: parts.headers,
            stream,
            answer: answer.expect("the pushed response is whole"),
        }
    }

    /// Resets its stream when its response has begun: the push is refused, if it has not arrived already. One that is
    /// reset still earlier may cost the connection: the service's library takes the stream for one that was never opened.
    pub async fn refuse(self) {
        drop(within("the pushed response", self.response).await);
    }
}

impl Message {
    /// The text that its body carries.
    pub fn text(&self) -> Option<String> {
        payload::text(&self.answer.body)
    }

    /// The push resource that its link names.
    pub fn push_resource(&self) -> &str {
        self.answer.link("urn:ietf:params:push")
    }
}

/// A `Link` header field that names a subscription set.
pub fn set_link(set: &str) -> String {
    format!("<{set}>; rel=\"urn:ietf:params:push:set\"")
}

/// A `Link` header field that names a receipt subscription.
pub fn receipt_link(receipts: &str) -> String {
    format!("<{receipts}>; rel=\"urn:ietf:params:push:receipt\"")
}

/// A request without a body.
pub(crate) fn request(method: Method, url: &str, fields: Fields<'_>) -> Request<Bytes> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Bytes::new()).expect("a URL and header fields")
}
