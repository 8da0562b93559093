//! Service.

pub mod admin;
pub mod broker;
pub mod cli;
pub mod config;
pub mod defaults;
pub mod listeners;
pub mod logging;
pub mod metrics;
pub mod random;
pub mod resources;
pub mod service;
pub mod storage;
pub mod tls;
