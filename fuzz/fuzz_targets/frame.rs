//! The wire's decoders, taken in by their files: the server's package would bring DataFusion along.
#![no_main]
#![allow(dead_code)]

#[path = "../../strata-server/src/frame.rs"]
mod frame;
#[path = "../../strata-server/src/frontend/mod.rs"]
mod frontend;

libfuzzer_sys::fuzz_target!(|data: &[u8]| frontend::fuzzing::frame(data));
