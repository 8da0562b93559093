//! The status page: what an operator sees of this node in a browser.
//!
//! `overview.rs` asks the node and makes one JSON value, which `/overview` answers. `render.rs` writes that value into `page.html`,
//! so the page says everything without JavaScript. `page.js` asks for the value again and again, and writes it into the same
//! elements in the same way: each element names its value and the form of it, and `formats.rs` has these forms.
//!
//! **Invariant:** the page runs no script and shows no style but its own two files, and it asks no other server for anything: its
//! Content-Security-Policy says so, and nothing in it is inline.
//!
//! What it deliberately does not know: how figures come about ([`crate::metrics::Figures`]), and how to change anything. It has no
//! form and no link that acts.

mod formats;
mod overview;
mod render;
#[cfg(test)]
mod tests;

use std::time::Instant;

use http::header::{CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, VARY};
use http::{HeaderMap, StatusCode};

use super::Admin;
use super::response::{AdminResponse, body, json, text};
use super::routes;
use crate::html;

/// Nothing but the files beside the page. `require-trusted-types-for`: no text becomes markup in the script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const PAGE: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const ICON: &str = "image/svg+xml";

impl Admin {
    /// `GET /`: the page for a browser, for others the table of all paths.
    pub(super) async fn front(&self, request: &HeaderMap) -> AdminResponse {
        let mut answer = if html::is_wanted(request) {
            let mut page = body(
                StatusCode::OK,
                PAGE,
                render::page(&self.seen(Instant::now()).await),
            );
            let headers = page.headers_mut();
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
            headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            page
        } else {
            text(StatusCode::OK, routes::contents())
        };
        answer
            .headers_mut()
            .insert(VARY, HeaderValue::from_static("Accept"));
        answer
    }

    /// `GET /overview`: what the page shows.
    pub(super) async fn overview(&self) -> AdminResponse {
        own(json(StatusCode::OK, &self.seen(Instant::now()).await))
    }
}

pub(super) fn style() -> AdminResponse {
    own(body(StatusCode::OK, STYLE, include_str!("page.css")))
}

pub(super) fn script() -> AdminResponse {
    own(body(StatusCode::OK, SCRIPT, include_str!("page.js")))
}

pub(super) fn icon() -> AdminResponse {
    own(body(StatusCode::OK, ICON, include_str!("page.svg")))
}

/// Only for a page of this listener.
fn own(mut answer: AdminResponse) -> AdminResponse {
    const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
    let headers = answer.headers_mut();
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    answer
}
