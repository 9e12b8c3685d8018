//! The platform driver as a program.

use std::future::ready;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use volttron_client::program::{Program, Start, StartError, options_schema, run_with};
use volttron_platform_driver::{PlatformDriver, limits, settings};

fn main() -> ExitCode {
    let unusable = Arc::new(AtomicBool::new(false));
    let flag = unusable.clone();
    let make = |start: Start| ready(agent(&start, flag));
    let program = Program::new(volttron_client::package!(), "platform.driver")
        .config_schema(options_schema(settings::options()));
    let code = run_with(&program, make);
    if unusable.load(Ordering::SeqCst) { ExitCode::FAILURE } else { code }
}

/// The configuration file of the installation is what holds while the store has no `config`.
fn agent(start: &Start, unusable: Arc<AtomicBool>) -> Result<PlatformDriver, StartError> {
    limits::raise_open_files();
    let defaults = start.config_value()?.unwrap_or_else(|| serde_json::json!({}));
    Ok(PlatformDriver::new(defaults, unusable))
}
