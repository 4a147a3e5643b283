//! The gateway's process. Everything is in the library; see [`bff::wiring`].

use std::io;
use std::process::ExitCode;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) fn main() -> ExitCode {
    match runtime() {
        Ok(runtime) => {
            let main = service_kit::program::main_with_check(bff::wiring::check, bff::wiring::run);
            runtime.block_on(main)
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Builds a current-thread runtime on one core: without work stealing a request costs about 6 %
/// less, because writes to a connection are sent together.
fn runtime() -> io::Result<Runtime> {
    let mut builder = match worker_threads() {
        1 => Builder::new_current_thread(),
        several => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(several);
            builder
        }
    };
    builder.enable_all().build()
}

/// Returns tokio's own default: `TOKIO_WORKER_THREADS`, else the cores available to this process.
#[expect(clippy::disallowed_methods, reason = "tokio's own setting, before there is a runtime")]
fn worker_threads() -> usize {
    let allowed = std::env::var("TOKIO_WORKER_THREADS").ok().and_then(|count| count.parse().ok());
    allowed
        .filter(|count| *count > 0)
        .unwrap_or_else(|| available_parallelism().map_or(1, Into::into))
}
