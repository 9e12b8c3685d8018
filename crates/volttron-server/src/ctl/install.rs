//! `vctl install`: options in, report out.

use serde_json::{Map, Value};

use super::args::{BuildArgs, InstallArgs, TrialArgs};
use super::output::Output;
use super::{Vctl, manage, render, seconds};
use crate::install::Registry;
use crate::install::history::Terms;
use crate::install::python::Settings;
use crate::ops::OpError;
use crate::ops::install::{BuildRequest, Report, Request, run};
use crate::ops::lifecycle::Came;
use crate::ops::versions::period;

pub(super) async fn install(vctl: &Vctl, args: InstallArgs, out: &mut Output) -> Result<u8, OpError> {
    let csv = args.csv;
    let session = vctl.connect().await?;
    let wait = seconds(args.patience.agent_start_time);
    let report = run(&session, vctl.home(), request(vctl, args)?).await?;
    if let Some(path) = &report.found_config {
        out.complain(&format!("Using the configuration {}", path.display()));
    }
    let object = report.to_json();
    let text = text(&report);
    if vctl.json {
        // Scripts know it with this indent.
        out.print(&render::indented(&Value::Object(object), 4));
    } else if csv {
        out.print(&as_csv(&object));
    } else {
        out.line(&text);
    }
    if report.rolled_back.is_some() {
        return Ok(1);
    }
    let runs = report.came.as_ref().is_none_or(|came| manage::report_start(&report.agent, came, wait, out));
    // With `--json` the object says that it did not start.
    Ok(u8::from(!runs && !vctl.json))
}

/// A line of keys and a line of values.
fn as_csv(object: &Map<String, Value>) -> String {
    let value = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory does not fail.
    let _ = writer.write_record(object.keys());
    let _ = writer.write_record(object.values().map(value));
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

fn request(vctl: &Vctl, args: InstallArgs) -> Result<Request, OpError> {
    // -1 is how the original says that none was given.
    let priority = args.priority.filter(|text| text != "-1").or_else(|| args.enable.then(|| "50".to_owned()));
    let registry = args.registry.map(Registry::Name).or(args.index.map(Registry::Index));
    Ok(Request {
        path: args.path,
        kind: args.source,
        registry,
        identity: args.vip_identity,
        version: None,
        config: args.agent_config,
        keep_config: false,
        tag: args.tag,
        priority,
        start: args.start,
        wait: seconds(args.patience.agent_start_time),
        force: args.force,
        only_if_new: false,
        trial: terms(&args.trial, args.patience.agent_start_time)?,
        environment: args.env,
        python: python(vctl, &args.build),
        build: build(vctl, args.build),
    })
}

/// How a Python package is installed.
pub(super) fn python(vctl: &Vctl, args: &BuildArgs) -> Settings {
    let configured = Settings::from_home(vctl.home());
    Settings {
        interpreter: args.python.clone().or(configured.interpreter.clone()),
        pre_release: args.pre_release,
        skip_requirements: args.skip_requirements.is_some(),
        script: args.bin.clone(),
        offline: args.offline,
        verbose: vctl.verbose,
        limit: Some(seconds(args.build_timeout)),
        ..configured
    }
}

/// How a crate is built.
pub(super) fn build(vctl: &Vctl, args: BuildArgs) -> BuildRequest {
    BuildRequest {
        bin: args.bin,
        features: args.features,
        no_default_features: args.no_default_features,
        offline: args.offline,
        profile: args.profile,
        limit: seconds(args.build_timeout),
        verbose: vctl.verbose,
    }
}

/// What a version that replaces another one has to show.
pub(super) fn terms(args: &TrialArgs, start_time_s: f64) -> Result<Option<Terms>, OpError> {
    if args.no_rollback {
        return Ok(None);
    }
    Ok(Some(match &args.auto_rollback {
        Some(text) => Terms { period_s: period(text)?, good: true },
        None => Terms { period_s: start_time_s.max(0.1), good: false },
    }))
}

fn text(report: &Report) -> String {
    let uuid = &report.agent.uuid;
    if let Some(back) = &report.rolled_back {
        return format!(
            "Agent {uuid} rolled back from {} to {}{}: {}",
            back.from,
            back.to,
            running(report),
            back.why
        );
    }
    match &report.came {
        None => format!("Agent {uuid} installed"),
        Some(Came::Up { pid } | Came::Silent { pid }) => {
            format!("Agent {uuid} installed and started [{pid}]")
        }
        Some(Came::Ended { code, .. }) => {
            format!("Agent {uuid} installed but failed to start (status {code})")
        }
        Some(Came::NotLaunched { .. }) => format!("Agent {uuid} installed but failed to start"),
    }
}

/// What is to be said about the process of the version that is in place.
pub(super) fn running(report: &Report) -> String {
    match &report.came {
        None => String::new(),
        Some(Came::Up { pid } | Came::Silent { pid }) => format!(", which runs [{pid}]"),
        Some(Came::Ended { code, .. }) => format!(", which failed to start as well (status {code})"),
        Some(Came::NotLaunched { why }) => format!(", which failed to start as well: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_with_commas_and_quotes_stay_one_field() {
        let object = json!({"agent_uuid": "u", "tag": "x, \"y\"", "enabling": true});
        let text = as_csv(object.as_object().unwrap());
        assert_eq!(text, "agent_uuid,tag,enabling\nu,\"x, \"\"y\"\"\",true\n");
    }
}
