//! What a program answers without a platform: `--describe`, `--version`, `--help`.

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};
use volttron_utils::{json as wire_json, vip};

use super::Program;
use crate::Method;
use crate::agent::{Agent, Registrar};

/// Exit code of wrong arguments.
const EXIT_USAGE: u8 = 2;

/// What an installer wants to know about a program (its `--describe`): package, protocol version, default identity,
/// configuration schema, methods, and what it needs.
pub fn describe<A: Agent>(program: &Program) -> Value {
    let mut registrar = Registrar::<A>::default();
    A::register(&mut registrar);
    about(program, A::NAME, &registrar.methods().map(method).collect::<Vec<_>>())
}

fn method(method: &Method) -> Value {
    let mut about = method.inspect();
    about["name"] = method.name().into();
    about["capabilities"] = method.access().capabilities().into();
    about
}

fn about(program: &Program, class: &str, rpc: &[Value]) -> Value {
    json!({
        "name": program.package.name,
        "version": program.package.version,
        "description": program.package.description,
        "protocol": vip::PROTOCOL,
        "identity": program.identity,
        "class": class,
        "config_schema": program.config_schema,
        "rpc": rpc,
    })
}

/// Answers arguments that need no platform; none if the agent is to run.
pub(super) fn answer_arguments(
    program: &Program,
    described: &dyn Fn() -> Value,
    arguments: &[String],
) -> Option<ExitCode> {
    let package = &program.package;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let text = match arguments.as_slice() {
        [] => return None,
        ["--describe"] => wire_json::to_indent(&described(), 2).unwrap_or_default(),
        ["--version" | "-V"] => format!("{} {}", package.name, package.version),
        ["--help" | "-h"] => format!(
            "{} {}: {}\n\nA VOLTTRON agent. Install it with `vctl install {}`, or run it with the variables\n\
             AGENT_VIP_IDENTITY, AGENT_CONFIG, AGENT_PUBLICKEY, AGENT_SECRETKEY, VOLTTRON_SERVERKEY,\n\
             VOLTTRON_VIP_ADDR and VOLTTRON_HOME.\n\n  --describe  print what it is and serves, as JSON\n  \
             --version   print name and version",
            package.name, package.version, package.description, package.name
        ),
        other => {
            // Nobody reads it: nothing to be done.
            let _ = writeln!(std::io::stderr(), "{}: unknown arguments: {}", package.name, other.join(" "));
            return Some(ExitCode::from(EXIT_USAGE));
        }
    };
    // As above; a closed pipe is not our failure.
    let _ = writeln!(std::io::stdout(), "{text}");
    Some(ExitCode::SUCCESS)
}
