//! Many kills and failovers in one run.
pub use super::trial::Report;
