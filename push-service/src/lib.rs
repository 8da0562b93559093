//! Service.

pub mod defaults;
pub mod storage;
