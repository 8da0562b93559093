//! An application server: sends push messages over one connection that it keeps, in HTTP/1.1 or HTTP/2. When an answer
//! says that the connection ends with it, the next request opens another, as HTTP libraries do.
//!
//! A request ends in an [`Answer`], whatever its status, or in [`Unanswered`]: the difference is what the promise is
//! about (PR-2), so no answer is turned into an error here and no error into an answer.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::connector::Connector;
use crate::{payload, within};

/// A push message on its way to a push resource.
#[derive(Clone, Debug)]
pub struct Push {
    request: Request<Bytes>,
}

/// What the service answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// The connection ended before an answer came: the request may have been carried out or not.
#[derive(Debug)]
pub struct Unanswered(String);

/// One connection to a node for requests one after the other.
#[derive(Debug)]
pub struct Http {
    connector: Connector,
    requests: Requests,
    /// The service has said that no answer will follow the last one.
    is_over: bool,
    /// Drives the connection; ends when it is dropped.
    driver: JoinHandle<()>,
}

#[derive(Debug)]
enum Requests {
    One(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Two(h2::client::SendRequest<Bytes>),
}

impl Push {
    /// A message with a TTL of ten minutes and this text in its body.
    pub fn new(push_resource: &str, text: &str) -> Self {
        let request = Request::post(push_resource)
            .header("ttl", "600")
            .header("content-encoding", "aes128gcm")
            .body(payload::body(text).into())
            .expect("the push resource is a URL");
        Self { request }
    }

    /// A message without a body.
    pub fn empty(push_resource: &str) -> Self {
        let message = Self::new(push_resource, "").body(Vec::new());
        message.without("content-encoding")
    }

    /// Replaces the TTL, in seconds.
    pub fn ttl(self, seconds: u64) -> Self {
        self.header("ttl", &seconds.to_string())
    }

    /// Replaces the body.
    pub fn body(mut self, body: Vec<u8>) -> Self {
        *self.request.body_mut() = body.into();
        self
    }

    /// Sets a header field, in place of one of that name.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = value.parse().expect("a header value");
        self.request.headers_mut().insert(name, value);
        self
    }

    /// Leaves a header field out.
    pub fn without(mut self, name: &str) -> Self {
        self.request.headers_mut().remove(name);
        self
    }
}

impl Http {
    /// Connects and speaks HTTP/1.1.
    pub async fn connect(connector: &Connector) -> Result<Self, Unanswered> {
        let stream = TokioIo::new(connector.connect("http/1.1").await?);
        let (requests, connection) = hyper::client::conn::http1::handshake(stream).await?;
        // How the connection ended is told by the request that it failed.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self {
            connector: connector.clone(),
            requests: Requests::One(requests),
            is_over: false,
            driver,
        })
    }

    /// Connects and speaks HTTP/2: by ALPN over TLS, by prior knowledge in clear.
    pub async fn connect_http2(connector: &Connector) -> Result<Self, Unanswered> {
        let stream = connector.connect("h2").await?;
        let (requests, connection) = h2::client::handshake(stream).await?;
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self {
            connector: connector.clone(),
            requests: Requests::Two(requests),
            is_over: false,
            driver,
        })
    }

    /// Sends a push message and expects an answer.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub async fn push(&mut self, push: &Push) -> Answer {
        let answer = within("the push is answered", self.try_push(push)).await;
        answer.expect("the push is answered")
    }

    /// Sends a push message that has to be accepted: 201.
    ///
    /// # Panics
    ///
    /// When it is not.
    pub async fn accepts(&mut self, push: &Push) -> Answer {
        let answer = self.push(push).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer
    }

    /// Sends a push message.
    pub async fn try_push(&mut self, push: &Push) -> Result<Answer, Unanswered> {
        self.request(push.request.clone()).await
    }

    /// Asks for a path of the node, under its address.
    pub async fn get(&mut self, path: &str) -> Result<Answer, Unanswered> {
        let url = format!("http://{}{path}", self.connector.address);
        self.bare(Method::GET, &url).await
    }

    /// Deletes a resource.
    pub async fn delete(&mut self, resource: &str) -> Result<Answer, Unanswered> {
        self.bare(Method::DELETE, resource).await
    }

    /// Sends any request with an absolute URL.
    pub async fn request(&mut self, request: Request<Bytes>) -> Result<Answer, Unanswered> {
        if self.is_over {
            *self = Self::connect(&self.connector).await?;
        }
        let answer = self.exchange(request).await?;
        self.is_over = answer.header("connection") == "close";
        Ok(answer)
    }

    async fn exchange(&mut self, request: Request<Bytes>) -> Result<Answer, Unanswered> {
        match &mut self.requests {
            Requests::One(requests) => {
                requests.ready().await?;
                let response = requests.send_request(origin_form(request)).await?;
                let (parts, body) = response.into_parts();
                let body = body.collect().await?.to_bytes();
                Ok(Answer::new(parts, body))
            }
            Requests::Two(requests) => {
                let mut requests = requests.clone().ready().await?;
                let (parts, body) = request.into_parts();
                let empty = body.is_empty();
                let (response, mut upload) = requests.send_request(Request::from_parts(parts, ()), empty)?;
                if !empty {
                    upload.send_data(body, true)?;
                }
                Answer::read(response.await?).await
            }
        }
    }

    async fn bare(&mut self, method: Method, url: &str) -> Result<Answer, Unanswered> {
        let request = Request::builder().method(method).uri(url).body(Bytes::new());
        self.request(request.expect("a URL")).await
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Answer {
    /// Reads a response of HTTP/2 to its end.
    pub(crate) async fn read(response: Response<h2::RecvStream>) -> Result<Self, Unanswered> {
        let (parts, mut body) = response.into_parts();
        let mut whole = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            whole.extend_from_slice(&chunk);
        }
        Ok(Self::new(parts, whole.into()))
    }

    pub(crate) fn new(parts: http::response::Parts, body: Bytes) -> Self {
        Self {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// A header field as text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The target of the link with this relation; empty when there is none. Links come as the service writes them: a
    /// header field for each, `<target>; rel="relation"`.
    pub fn link(&self, relation: &str) -> &str {
        let links = self.headers.get_all(http::header::LINK).iter();
        let parameter = format!(">; rel=\"{relation}\"");
        let mut targets = links
            .filter_map(|value| value.to_str().ok())
            .filter_map(|text| text.strip_prefix('<')?.strip_suffix(&parameter));
        targets.next().unwrap_or_default()
    }

    /// `errno` of an error body of the `/wpush` dialect.
    pub fn errno(&self) -> Option<u64> {
        serde_json::from_slice::<Value>(&self.body).ok()?["errno"].as_u64()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Unanswered {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// HTTP/1.1 to an origin server names the host in a header field and the path in the request line (RFC 9112 §3.2.1).
pub(crate) fn origin_form(request: Request<Bytes>) -> Request<Full<Bytes>> {
    let (mut parts, body) = request.into_parts();
    if let Some(authority) = parts.uri.authority() {
        let host = authority
            .as_str()
            .parse()
            .expect("an authority is a header value");
        parts.headers.insert(http::header::HOST, host);
    }
    let path = parts
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    parts.uri = path.parse().expect("a path");
    Request::from_parts(parts, Full::new(body))
}
