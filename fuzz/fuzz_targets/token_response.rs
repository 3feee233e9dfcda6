//! A token server's answer: the token fits a header, and its time has an end.

#![no_main]

use choreo_registry_client::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fuzzing::token_response(input));
