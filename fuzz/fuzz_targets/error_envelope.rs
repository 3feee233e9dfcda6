//! An error's body and its headers: nothing but a code, a wait and numbers comes out.

#![no_main]

use choreo_registry_client::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fuzzing::error_envelope(input));
