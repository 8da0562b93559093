//! Service.

pub mod defaults;
pub mod storage;
pub mod tls;
