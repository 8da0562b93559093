//! Fuzzes [`push_protocol_fuzz::push_headers`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| push_protocol_fuzz::push_headers(data));
