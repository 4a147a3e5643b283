//! The process of the housekeeping service. Everything else is in the library; see `app`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
pub(crate) async fn main() -> std::process::ExitCode {
    housekeeping::app::SERVICE.main().await
}
