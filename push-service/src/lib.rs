//! Service.

pub mod admin;
pub mod config;
pub mod defaults;
pub mod metrics;
pub mod storage;
