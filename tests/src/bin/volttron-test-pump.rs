//! An agent for tests of installing: which version it is and what it does stands behind the end of its own file, where
//! [`volttron_tests::pump`] writes it. So every version is another program, and none has to be compiled.

use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use volttron_client::program::{Package, Program, run_with};
use volttron_client::{Agent, Cx, Registrar};
use volttron_tests::pump::{Does, Pump};

struct Agency(Does);

impl Agent for Agency {
    const NAME: &'static str = "Pump";

    fn register(b: &mut Registrar<Self>) {
        b.on_start(|me: Arc<Self>, cx: Cx| async move {
            if matches!(me.0, Does::StaysBad) {
                cx.health().bad(json!({"reason": "no water"}));
            }
            Ok(())
        });
    }
}

/// Takes the signals that ask for an end, and does nothing about them.
fn hear_nothing() -> ! {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let _taken =
            [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).expect("a signal"));
        std::future::pending().await
    })
}

/// Starts a process that does not end when it is asked to.
#[expect(clippy::zombie_processes, reason = "it is there to be left behind")]
fn fork_something_deaf() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' INT TERM; touch \"$AGENT_DATA_DIR/deaf\"; while true; do sleep 600; done"]);
    shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start a shell");
}

fn main() -> ExitCode {
    let pump = Pump::of_this_program();
    let package = Package {
        name: "pump",
        version: Box::leak(pump.version.into_boxed_str()),
        description: "a program of the tests",
    };
    let asked = std::env::args().len() > 1;
    match pump.does {
        Does::Ends(code) if !asked => {
            eprintln!("there is no pump here");
            return ExitCode::from(code);
        }
        Does::Hangs if !asked => loop {
            std::thread::park();
        },
        Does::Deaf if !asked => hear_nothing(),
        Does::Forks if !asked => fork_something_deaf(),
        _ => {}
    }
    run_with(&Program::new(package, "pump"), |_| std::future::ready(Ok(Agency(pump.does))))
}
