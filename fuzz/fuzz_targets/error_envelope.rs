//! The body and headers of an error: the output contains only a code, a wait and numbers.

#![no_main]

use choreo_registry_client::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fuzzing::error_envelope(input));
