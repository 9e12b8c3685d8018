//! `vctl install`: options in, report out.

use serde_json::Value;

use super::args::InstallArgs;
use super::output::Output;
use super::{Vctl, manage, render, seconds};
use crate::install::Registry;
use crate::install::python::Settings;
use crate::ops::OpError;
use crate::ops::install::{BuildRequest, Report, Request, run};
use crate::ops::lifecycle::Came;

pub(super) async fn install(vctl: &Vctl, args: InstallArgs, out: &mut Output) -> Result<u8, OpError> {
    let csv = args.csv;
    let session = vctl.connect().await?;
    let wait = seconds(args.agent_start_time);
    let report = run(&session, vctl.home(), request(vctl, args)).await?;
    if let Some(path) = &report.found_config {
        out.complain(&format!("Using the configuration {}", path.display()));
    }
    let object = report.to_json();
    let text = text(&report);
    if vctl.json {
        out.print(&render::pretty(&Value::Object(object)));
    } else if csv {
        let value = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        out.line(&object.keys().cloned().collect::<Vec<_>>().join(","));
        out.line(&object.values().map(value).collect::<Vec<_>>().join(","));
    } else {
        out.line(&text);
    }
    let runs = report.came.as_ref().is_none_or(|came| manage::report_start(&report.agent, came, wait, out));
    // With `--json` the object says that it did not start.
    Ok(u8::from(!runs && !vctl.json))
}

fn request(vctl: &Vctl, args: InstallArgs) -> Request {
    // -1 is how the original says that none was given.
    let priority = args.priority.filter(|text| text != "-1").or_else(|| args.enable.then(|| "50".to_owned()));
    let registry = args.registry.map(Registry::Name).or(args.index.map(Registry::Index));
    let build_limit = seconds(args.build_timeout);
    let configured = Settings::from_home(vctl.home());
    let python = Settings {
        interpreter: args.python.or(configured.interpreter.clone()),
        pre_release: args.pre_release,
        skip_requirements: args.skip_requirements.is_some(),
        script: args.bin.clone(),
        offline: args.offline,
        verbose: vctl.verbose,
        limit: Some(build_limit),
        ..configured
    };
    Request {
        path: args.path,
        kind: args.source,
        registry,
        identity: args.vip_identity,
        config: args.agent_config,
        tag: args.tag,
        priority,
        start: args.start,
        wait: seconds(args.agent_start_time),
        force: args.force,
        environment: args.env,
        build: BuildRequest {
            bin: args.bin,
            features: args.features,
            no_default_features: args.no_default_features,
            offline: args.offline,
            profile: args.profile,
            limit: build_limit,
            verbose: vctl.verbose,
        },
        python,
    }
}

fn text(report: &Report) -> String {
    let uuid = &report.agent.uuid;
    match &report.came {
        None => format!("Agent {uuid} installed"),
        Some(Came::Up { pid } | Came::Silent { pid }) => {
            format!("Agent {uuid} installed and started [{pid}]")
        }
        Some(Came::Ended { code, .. }) => {
            format!("Agent {uuid} installed but failed to start (status {code})")
        }
    }
}
