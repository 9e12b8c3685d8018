#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| volttron_fuzz_targets::keys(data));
