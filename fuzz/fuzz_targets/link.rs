//! The `Link` header: the address of the next page is a part of the header in angle brackets.

#![no_main]

use choreo_registry_client::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fuzzing::link(input));
