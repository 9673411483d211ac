#![no_main]

#[path = "../../tests/it/corpus/strings.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::check(data));
