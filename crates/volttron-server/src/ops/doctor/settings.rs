//! The platform's configuration file.

use super::{Level, Report, Scene, shown};
use crate::codes::Code;
use crate::install::python::on_path;
use crate::options;

/// Whether the platform understands what it is configured with.
pub(super) fn settings(scene: &Scene, report: &mut Report) {
    let path = scene.home.config_file();
    let edit = |line: usize| format!("${{EDITOR:-nano}} +{line} {}", shown(&path));
    // What is wrong with the home itself is found there, and the file is not to blame.
    if let Err((code, text)) = &scene.options
        && *code != Code::HomeUnusable
    {
        let line =
            text.split_once("(line ").and_then(|(_, rest)| rest.split(')').next()?.parse().ok()).unwrap_or(1);
        let why = "the platform does not start with this".to_owned();
        // Of another file.
        let fix = if *code == Code::LogConfig {
            format!("volttron --vhome {} --check-config", shown(scene.home.path()))
        } else {
            edit(line)
        };
        report.fault(*code, path.display().to_string(), [text.clone(), why, fix]);
    }
    for unknown in options::unknown_keys(&scene.home.config_file()) {
        let fix = match &unknown.nearest {
            Some(near) => format!("sed -i '{}s/{}/{near}/' {}", unknown.line, unknown.key, shown(&path)),
            None => edit(unknown.line),
        };
        let guess = unknown.nearest.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        let texts = [
            format!("{} (line {}): unknown option: {}{guess}", path.display(), unknown.line, unknown.key),
            "it is ignored: the platform runs with the default instead".to_owned(),
            fix,
        ];
        report.warn(Code::UnknownKey, unknown.key, texts);
    }
    if on_path("cargo").is_none() {
        let texts = [
            "cargo is not on PATH".to_owned(),
            "agents cannot be installed from crates, only as programs and Python packages".to_owned(),
            "curl --proto '=https' -sSf https://sh.rustup.rs | sh".to_owned(),
        ];
        report.add(Code::NoCargo, Level::Hint, "cargo", texts);
    }
}
