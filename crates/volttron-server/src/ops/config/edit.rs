//! `vctl config edit`: a configuration in an editor, stored if it was changed (cli.md section 4.5).

use std::io::Write;
use std::process::Command;

use volttron_client::CallError;
use volttron_utils::identity::CONFIG_STORE;

use super::super::{OpError, Session};
use super::Said;
use super::tree::Item;

/// What to edit.
pub(super) struct Edit {
    pub(super) identity: String,
    pub(super) name: String,
    /// A command line; its last argument will be the file.
    pub(super) editor: String,
    /// Type of a configuration that is not there yet.
    pub(super) kind: &'static str,
    /// Whether to begin with nothing even if it is there.
    pub(super) new: bool,
}

/// Lets a person edit.
pub(super) async fn run(session: &Session, edit: Edit) -> Result<Said, OpError> {
    let call = |method| session.call(CONFIG_STORE, method).arg(&edit.identity).arg(&edit.name);
    let nothing = || Item { kind: edit.kind.to_owned(), data: String::new() };
    let before = if edit.new {
        nothing()
    } else {
        match call("get_metadata").send::<Item>().await {
            Ok(found) => found,
            Err(CallError::Remote(error)) if error.exc_type() == Some("builtins.KeyError") => nothing(),
            Err(error) => return Err(error.into()),
        }
    };
    let (status, after) = in_editor(&edit.editor, &before.data).map_err(|source| OpError::File {
        what: format!("editor {} (--editor or EDITOR chooses another)", edit.editor),
        source,
    })?;
    let note = if status != 0 {
        format!("Editor returned with code {status}. Changes not committed.")
    } else if after == before.data {
        "No changes detected.".to_owned()
    } else {
        call("set_config").arg(after).named("config_type", before.kind).send_value().await?;
        return Ok(Said::default());
    };
    Ok(Said { note: Some(note), ..Said::default() })
}

/// The editor's exit code and what it left.
fn in_editor(editor: &str, data: &str) -> std::io::Result<(i32, String)> {
    let mut file = tempfile::Builder::new().prefix("vctl-").suffix(".txt").tempfile()?;
    file.write_all(data.as_bytes())?;
    file.flush()?;
    let mut words = editor.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or(editor));
    let status = command.args(words).arg(file.path()).status()?;
    // By path: editors replace the file.
    Ok((status.code().unwrap_or(-1), std::fs::read_to_string(file.path())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_editor_is_a_command_line() {
        assert_eq!(in_editor("sed -i s/a/b/", "a\u{e9}\n").unwrap(), (0, "b\u{e9}\n".to_owned()));
        assert_eq!(in_editor("false", "x").unwrap(), (1, "x".to_owned()));
        assert!(in_editor("/does/not/exist", "").is_err());
    }
}
