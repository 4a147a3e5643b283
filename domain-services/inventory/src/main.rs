//! The process of the inventory service. Everything else is in the library; see `app`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    inventory::app::SERVICE.main().await
}
