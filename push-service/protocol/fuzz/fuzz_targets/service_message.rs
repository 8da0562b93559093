//! Fuzzes [`push_protocol_fuzz::service_message`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| push_protocol_fuzz::service_message(data));
