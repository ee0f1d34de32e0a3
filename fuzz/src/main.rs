//! One binary with all fuzz targets; `FUZZ_TARGET` says which one runs. See `README.md`.
#![no_main]

mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<targets::Run> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        match targets::ALL.iter().find(|(known, _)| *known == name) {
            Some((_, run)) => drop(TARGET.set(*run)),
            None => {
                let names: Vec<&str> = targets::ALL.iter().map(|(known, _)| *known).collect();
                eprintln!("set FUZZ_TARGET to one of: {}", names.join(" "));
                std::process::exit(2);
            }
        }
    },
    |data: &[u8]| {
        if let Some(run) = TARGET.get() {
            run(data);
        }
    }
);
