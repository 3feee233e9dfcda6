//! The response of a token server: the token is valid in a header, and its lifetime is finite.

#![no_main]

use choreo_registry_client::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fuzzing::token_response(input));
