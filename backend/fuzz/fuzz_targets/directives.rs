#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| embedding_gateway_fuzz::directives::check(data));
