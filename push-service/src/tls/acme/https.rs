//! Requests to the ACME server: HTTPS with our own TLS settings, one connection each.
//!
//! An order is a dozen requests a month or two, so nothing is kept between them. Every request has a deadline, every
//! answer a bound. Remembers how long the server asks us to stay away, for the renewer, which decides when to ask again.
//!
//! What it deliberately does not know: ACME.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::defaults::{ACME_ANSWER_BYTES, ACME_REQUEST_WITHIN};

/// Why a request failed, as a sentence.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Sends requests. A clone is another handle to the same.
#[derive(Clone)]
pub(super) struct Https {
    connector: TlsConnector,
    patience: Arc<Mutex<Option<Duration>>>,
}

impl Https {
    /// Trusts the authorities of `config`.
    pub(super) fn new(config: ClientConfig) -> Self {
        Self {
            connector: TlsConnector::from(Arc::new(config)),
            patience: Arc::default(),
        }
    }

    /// How long the server last asked us to stay away, if it did since this was asked before.
    pub(super) fn take_patience(&self) -> Option<Duration> {
        self.patience
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    async fn exchange(self, request: Request<BodyWrapper<Bytes>>) -> Result<Response<Bytes>, Failure> {
        let is_plain = request.method() != Method::POST;
        let asked = format!("{} {}", request.method(), request.uri());
        let answer = match timeout(ACME_REQUEST_WITHIN, self.send(request)).await {
            Ok(answer) => answer.map_err(|why| format!("{asked}: {why}"))?,
            Err(_) => return Err(format!("{asked}: no answer within {ACME_REQUEST_WITHIN:?}").into()),
        };
        if let Some(patience) = patience(&answer, SystemTime::now()) {
            *self.patience.lock().unwrap_or_else(PoisonError::into_inner) = Some(patience);
        }
        let status = answer.status();
        let is_refusal = status.is_client_error() || status.is_server_error();
        if is_refusal && (is_plain || !is_json(answer.headers())) {
            // The library looks for refusals only in JSON, and only in answers to what it signed.
            let said = serde_json::from_slice(answer.body()).map_or_else(
                |_| String::new(),
                |problem: Problem| format!(": {}", problem.detail.unwrap_or_default()),
            );
            return Err(format!("{asked}: the server answered {status}{said}").into());
        }
        Ok(answer)
    }

    async fn send(&self, mut request: Request<BodyWrapper<Bytes>>) -> Result<Response<Bytes>, Failure> {
        let (host, port) = server(request.uri())?;
        let name = ServerName::try_from(host.clone())?;
        let authority = request
            .uri()
            .authority()
            .map_or("", |authority| authority.as_str());
        let authority = HeaderValue::from_str(authority)?;
        request.headers_mut().insert(HOST, authority);
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.unwrap_or(PathAndQuery::from_static("/")).into();

        let socket = TcpStream::connect((host.as_str(), port)).await?;
        let stream = self.connector.connect(name, socket).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut connection = pin!(connection);
        let mut exchange = pin!(async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, ACME_ANSWER_BYTES).collect().await?;
            Ok(Response::from_parts(head, body.to_bytes()))
        });
        tokio::select! {
            answer = &mut exchange => answer,
            // It may have ended before all that came was read.
            _ = &mut connection => exchange.await,
        }
    }
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let exchange = self.clone().exchange(request);
        Box::pin(async move {
            let (parts, body) = exchange.await.map_err(Error::Other)?.into_parts();
            let body = Box::new(body);
            Ok(BytesResponse { parts, body })
        })
    }
}

/// Host and port of a URL, which must be of HTTPS (RFC 8555 §6.1).
fn server(url: &Uri) -> Result<(String, u16), Failure> {
    match (url.scheme() == Some(&Scheme::HTTPS), url.host()) {
        (true, Some(host)) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Ok((host.to_owned(), url.port_u16().unwrap_or(443)))
        }
        _ => Err("the URL of an ACME server must begin with https://".into()),
    }
}

/// How long a server that refuses because of too much asks us to wait (RFC 8555 §6.6, RFC 9110 §10.2.3).
fn patience(answer: &Response<Bytes>, now: SystemTime) -> Option<Duration> {
    let asks = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    let text = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !asks.contains(&answer.status()) {
        return None;
    }
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok(),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.contains("json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8555 §6.6: a server that is asked too much says when to come back, in seconds or as a date; what else it says
    /// with `Retry-After` is no refusal.
    #[test]
    fn the_server_is_left_alone_for_as_long_as_it_asks() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let rows = [
            (429, "3600", Some(3_600)),
            (503, "60", Some(60)),
            (429, "Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            (429, "Sun, 06 Nov 1994 08:00:00 GMT", None),
            (429, "soon", None),
            (200, "3600", None),
        ];
        for (status, text, expected) in rows {
            let answer = Response::builder().status(status).header(RETRY_AFTER, text);
            let waited = patience(&answer.body(Bytes::new()).unwrap(), now);
            assert_eq!(waited, expected.map(Duration::from_secs), "{status} {text}");
        }
    }

    /// RFC 8555 §6.1: only HTTPS is spoken; a URL names host and port.
    #[test]
    fn only_https_is_spoken() {
        let rows = [
            ("https://acme.example/directory", Some(("acme.example", 443))),
            ("https://127.0.0.1:14000/", Some(("127.0.0.1", 14_000))),
            ("https://[::1]:14000/", Some(("::1", 14_000))),
            ("http://acme.example/directory", None),
            ("/directory", None),
        ];
        for (url, expected) in rows {
            let found = server(&url.parse().unwrap()).ok();
            assert_eq!(
                found,
                expected.map(|(host, port)| (host.to_owned(), port)),
                "{url}"
            );
        }
    }
}
