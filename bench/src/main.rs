//! `bench`: see [`bench::cli`].

use std::process::ExitCode;

// One thread sends and measures, so that the other cores are left to what is measured.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    bench::cli::run().await
}
