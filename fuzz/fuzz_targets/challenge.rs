//! `WWW-Authenticate`: what is read is bounded and comes back the same when it is written plainly.

#![no_main]

use choreo_registry_client::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fuzzing::challenge(input));
