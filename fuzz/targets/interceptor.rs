#![no_main]

#[path = "../../tests/it/corpus/interceptor.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::check(data));
