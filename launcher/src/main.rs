//! `launcher`: see [`launcher::cli`].

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    launcher::cli::run().await
}
