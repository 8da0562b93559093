//! Fuzzes [`push_protocol_fuzz::vapid_header`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| push_protocol_fuzz::vapid_header(data));
