//! `bench`: see [`bench::cli`].

use std::process::ExitCode;

// One thread sends and measures, which leaves the other cores to the measured servers.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    bench::cli::run().await
}
