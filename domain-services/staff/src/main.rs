//! The process of the staff service. Everything else is in the library; see `app`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    staff::app::SERVICE.main().await
}
