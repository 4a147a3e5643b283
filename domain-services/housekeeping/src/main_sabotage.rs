//! The service as drills run it: the setting `guards_off` switches safeguards off.

#[path = "main.rs"]
mod program;

fn main() -> std::process::ExitCode {
    program::main()
}
