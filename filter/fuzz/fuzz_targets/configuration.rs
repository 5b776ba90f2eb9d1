#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| body_hash_filter_fuzz::configuration::check(data));
