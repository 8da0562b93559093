//! Service.

pub mod config;
pub mod defaults;
pub mod random;
pub mod storage;
