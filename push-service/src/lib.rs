//! Service.

pub mod config;
pub mod defaults;
pub mod storage;
pub mod tls;
