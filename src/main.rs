//! The program `sunup`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    sunup::cli::main()
}
