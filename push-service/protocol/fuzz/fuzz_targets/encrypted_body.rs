//! Fuzzes [`push_protocol_fuzz::encrypted_body`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| push_protocol_fuzz::encrypted_body(data));
