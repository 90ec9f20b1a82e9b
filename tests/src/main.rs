//! The one binary of the system tests: one control plane, all cases.

use std::process::ExitCode;

fn main() -> ExitCode {
    system_tests::case::run(system_tests::all())
}
