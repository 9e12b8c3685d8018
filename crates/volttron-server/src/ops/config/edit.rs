//! `vctl config edit`: a configuration in an editor, stored if it was changed (cli.md section 4.5).

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use tempfile::TempPath;
use volttron_client::CallError;
use volttron_utils::identity::CONFIG_STORE;

use super::super::auth::Prompt;
use super::super::{OpError, Session};
use super::Said;
use super::tree::Item;

/// What edits where nobody says what else should; the first that is there.
const EDITORS: [&str; 2] = ["nano", "vi"];

/// What to edit.
pub(super) struct Edit {
    pub(super) identity: String,
    pub(super) name: String,
    /// A command line; its last argument will be the file.
    pub(super) editor: Option<String>,
    /// Type of a configuration that is not there yet.
    pub(super) kind: &'static str,
    /// Whether to begin with nothing even if it is there.
    pub(super) new: bool,
}

/// Lets a person edit. What was typed and cannot be stored is kept.
pub(super) async fn run(
    session: &Session,
    edit: Edit,
    mut person: Option<&mut dyn Prompt>,
) -> Result<Said, OpError> {
    let stored = stored(session, &edit).await?;
    let before = match &stored {
        Some(found) if !edit.new => found.clone(),
        _ => Item { kind: edit.kind.to_owned(), data: String::new() },
    };
    let file = temporary(&before.data)
        .map_err(|source| OpError::File { what: "a temporary file".to_owned(), source })?;
    loop {
        let status = in_editor(edit.editor.as_deref(), &file)?;
        // By path: editors replace the file.
        let after = match std::fs::read_to_string(&file) {
            Ok(after) => after,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(OpError::Refused(
                    "the editor has removed the file; nothing was stored".to_owned(),
                ));
            }
            Err(error) => return Err(kept(&edit, &before.kind, file, &error.to_string())),
        };
        if status != 0 {
            return Ok(note(format!("Editor returned with code {status}. Changes not committed.")));
        }
        if after == before.data {
            return Ok(note("No changes detected.".to_owned()));
        }
        let failed = match store(session, &edit, stored.as_ref(), &before.kind, after).await {
            Ok(()) => return Ok(Said::default()),
            Err(failed) => failed,
        };
        let again = match (&failed, person.as_mut()) {
            // Only what is wrong with the text can be mended in the editor.
            (OpError::Call(CallError::Remote(_)), Some(person)) => {
                person.tell(&format!("config: error: {failed}"));
                let answer = person.ask("Edit it again? [Y/n] ").unwrap_or_else(|_| "n".to_owned());
                !matches!(answer.trim(), "n" | "N" | "no" | "No")
            }
            _ => false,
        };
        if !again {
            return Err(kept(&edit, &before.kind, file, &failed.to_string()));
        }
    }
}

fn note(text: String) -> Said {
    Said { note: Some(text), ..Said::default() }
}

/// What is in the store.
async fn stored(session: &Session, edit: &Edit) -> Result<Option<Item>, OpError> {
    let call = session.call(CONFIG_STORE, "get_metadata").arg(&edit.identity).arg(&edit.name);
    match call.send::<Item>().await {
        Ok(found) => Ok(Some(found)),
        Err(CallError::Remote(error)) if error.exc_type() == Some("builtins.KeyError") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Stores what was typed, unless somebody else has stored something meanwhile.
async fn store(
    session: &Session,
    edit: &Edit,
    before: Option<&Item>,
    kind: &str,
    text: String,
) -> Result<(), OpError> {
    if stored(session, edit).await?.as_ref() != before {
        return Err(OpError::Refused(
            "the configuration was changed by somebody else meanwhile; nothing was stored".to_owned(),
        ));
    }
    let call = session.call(CONFIG_STORE, "set_config").arg(&edit.identity).arg(&edit.name);
    call.arg(text).named("config_type", kind).send_value().await?;
    Ok(())
}

/// The failure, with where what was typed is now.
fn kept(edit: &Edit, kind: &str, file: TempPath, why: &str) -> OpError {
    let (identity, name) = (&edit.identity, &edit.name);
    let where_it_is = match file.keep() {
        Ok(path) => format!(
            "What you typed is kept in {path}; to store it: vctl config store {identity} {name} {path} --{kind}",
            path = path.display()
        ),
        Err(error) => format!("What you typed is lost: {error}"),
    };
    OpError::Refused(format!("{why}\n{where_it_is}"))
}

fn temporary(text: &str) -> io::Result<TempPath> {
    let mut file = tempfile::Builder::new().prefix("vctl-").suffix(".txt").tempfile()?;
    file.write_all(text.as_bytes())?;
    file.flush()?;
    Ok(file.into_temp_path())
}

/// The editor's exit code.
fn in_editor(editor: Option<&str>, file: &Path) -> Result<i32, OpError> {
    // A variable that is set to nothing says nothing.
    let named = editor.filter(|editor| !editor.trim().is_empty());
    let editors = named.map_or_else(|| EDITORS.to_vec(), |editor| vec![editor]);
    for editor in &editors {
        let mut words = editor.split_whitespace().map(OsStr::new);
        let mut command = Command::new(words.next().unwrap_or_default());
        match command.args(words).arg(file).status() {
            Ok(status) => return Ok(status.code().unwrap_or(-1)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                let what = format!("editor {editor} (--editor or EDITOR chooses another)");
                return Err(OpError::File { what, source });
            }
        }
    }
    Err(OpError::Refused(format!(
        "there is no editor {} here; name one that is: --editor COMMAND, or the variable EDITOR",
        editors.join(" or ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_editor_is_a_command_line() {
        let file = temporary("a\u{e9}\n").unwrap();
        assert_eq!(in_editor(Some("sed -i s/a/b/"), &file).unwrap(), 0);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "b\u{e9}\n");
        assert_eq!(in_editor(Some("false"), &file).unwrap(), 1);
        let error = in_editor(Some("/does/not/exist -x"), &file).unwrap_err().to_string();
        assert!(error.contains("no editor /does/not/exist") && error.contains("EDITOR"), "{error}");
    }
}
