//! Storage in Redis, which several nodes share.

#[allow(dead_code, unused_imports)]
mod links;
pub mod url;
