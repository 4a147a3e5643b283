//! The gateway's process. Everything is in the library; see `app`.

use std::io;
use std::process::ExitCode;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let ended = runtime().map_err(Into::into).and_then(|it| it.block_on(bff::wiring::run()));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// An instance with one core needs no scheduler that hands tasks from one worker to another: without,
/// a request costs it a sixteenth less, because what waits for a connection is sent together.
fn runtime() -> io::Result<Runtime> {
    let mut builder = match workers() {
        1 => Builder::new_current_thread(),
        several => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(several);
            builder
        }
    };
    builder.enable_all().build()
}

/// As many as tokio itself would take: those it is told, else the cores this process may use.
#[expect(clippy::disallowed_methods, reason = "tokio's own setting, before there is a runtime")]
fn workers() -> usize {
    let told = std::env::var("TOKIO_WORKER_THREADS").ok().and_then(|count| count.parse().ok());
    told.filter(|count| *count > 0).unwrap_or_else(|| available_parallelism().map_or(1, Into::into))
}
