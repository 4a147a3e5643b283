//! What every server's `main` does: it reads the arguments, loads the configuration and runs.

use std::fmt::Display;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use crate::config::{self, Configuration, SettingErrors};

/// Loads the configuration and passes it to `run`; with `--check-config` only loads it. The exit status
/// is 1 after an error and 2 for other arguments.
pub async fn main<T: Configuration, E: Display>(
    run: impl AsyncFnOnce(T) -> Result<(), E>,
) -> ExitCode {
    main_with_check(|_| Ok(()), run).await
}

/// As [`main`]. With `--check-config`, `check` then checks what `run` would find wrong before it opens
/// anything, such as the content of files.
pub async fn main_with_check<T: Configuration, E: Display>(
    check: impl FnOnce(&T) -> Result<(), SettingErrors>,
    run: impl AsyncFnOnce(T) -> Result<(), E>,
) -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let is_check = match arguments.as_slice() {
        [] => false,
        [argument] if argument == "--check-config" => true,
        _ => {
            print_error(
                &"The only argument is --check-config, which validates the configuration. Settings are environment variables; see docs/configuration.md.",
            );
            return ExitCode::from(2);
        }
    };
    match config::load() {
        Err(error) => failure(error),
        Ok(config) if is_check => match check(&config) {
            Err(errors) => failure(errors),
            Ok(()) => writeln!(stdout(), "configuration is valid")
                .map_or_else(failure, |()| ExitCode::SUCCESS),
        },
        Ok(config) => run(config).await.map_or_else(failure, |()| ExitCode::SUCCESS),
    }
}

fn failure(error: impl Display) -> ExitCode {
    print_error(&error);
    ExitCode::FAILURE
}

/// Prints the error; the causes too, if its alternate form has them. Without a standard error the exit
/// status has to do.
fn print_error(error: &dyn Display) {
    let _ = writeln!(stderr(), "{error:#}");
}
