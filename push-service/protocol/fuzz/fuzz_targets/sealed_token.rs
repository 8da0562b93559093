//! Fuzzes [`push_protocol_fuzz::sealed_token`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| push_protocol_fuzz::sealed_token(data));
