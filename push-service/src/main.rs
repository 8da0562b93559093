//! The service's command.

fn main() -> std::process::ExitCode {
    push_service::cli::main()
}
