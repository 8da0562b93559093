//! Which build of the service this is.

use http::StatusCode;
use serde_json::json;

use super::response::{AdminResponse, json};

pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// An environment variable of the build of a release.
pub(super) const COMMIT: Option<&str> = option_env!("PUSH_SERVICE_COMMIT");
/// An environment variable of the build of a release.
pub(super) const BUILD: Option<&str> = option_env!("PUSH_SERVICE_BUILD");

/// The answer that says so.
pub(super) fn version() -> AdminResponse {
    let version = json!({
        "version": VERSION,
        "commit": COMMIT.unwrap_or_default(),
        "build": BUILD.unwrap_or_default(),
    });
    json(StatusCode::OK, &version)
}
