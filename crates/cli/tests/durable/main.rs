//! The built binary against SIGKILL and a full disk (R31): what was acknowledged counts, what was not may be tried again.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "tests"
)]

#[path = "../../../server/tests/support/backend.rs"]
#[expect(dead_code, reason = "shared with the tests of the server")]
mod backend;
#[path = "../../../server/tests/support/clock.rs"]
#[expect(dead_code, reason = "shared with the tests of the server")]
mod clock;
#[path = "../../../server/tests/support/idp.rs"]
#[expect(dead_code, reason = "shared with the tests of the server")]
mod idp;

mod checker;
mod checker_tests;
mod cluster;
mod dice;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod full_disk;
#[cfg(target_os = "linux")]
mod jump;
mod kill;
mod load;
mod network;
mod postgres;
mod process;
mod proxy;
mod record;
mod visitor;
