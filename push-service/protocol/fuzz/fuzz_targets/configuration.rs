//! Fuzzes [`push_protocol_fuzz::configuration`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| push_protocol_fuzz::configuration(data));
