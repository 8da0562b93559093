//! Fuzzes [`push_protocol_fuzz::encryption_header`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| push_protocol_fuzz::encryption_header(data));
