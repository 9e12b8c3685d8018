//! Failures as Python callers know them (auth.md section 9).

use serde_json::Value;
use volttron_client::RpcError;

use crate::auth::entry::EntryError;
use crate::auth::file::EditError;
use crate::auth::store::ChangeError;

/// A refused change of the document.
pub fn edit(error: &EditError) -> RpcError {
    let exc_type = match error {
        EditError::UserIdInUse { .. } => "volttron.platform.auth.auth_file.AuthFileUserIdAlreadyExists",
        EditError::EntryExists { .. } => "volttron.platform.auth.auth_file.AuthFileEntryAlreadyExists",
        EditError::Index(_) => "volttron.platform.auth.auth_file.AuthFileIndexError",
        EditError::Entry(_) => "volttron.platform.auth.auth_entry.AuthEntryInvalid",
        EditError::Value(_) => "builtins.ValueError",
    };
    RpcError::exception(exc_type, error.to_string())
}

/// An entry that is none.
pub fn entry(error: EntryError) -> RpcError {
    edit(&EditError::Entry(error))
}

/// A change that was refused or could not be written. Paths stay in the log.
pub fn change(error: ChangeError<EditError>) -> RpcError {
    match error {
        ChangeError::Refused(refused) => edit(&refused),
        ChangeError::Store(store) => {
            tracing::error!("{store}");
            RpcError::exception(
                "builtins.OSError",
                "the auth file cannot be changed, the platform's log says why",
            )
        }
    }
}

/// A list of names, or one name.
pub fn names(value: &Value, param: &str) -> Result<Vec<String>, RpcError> {
    let bad = || RpcError::type_error(format!("{param} must be a list of capability names"));
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(name) => Ok(vec![name.clone()]),
        Value::Array(list) => {
            list.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<_>>().ok_or_else(bad)
        }
        _ => Err(bad()),
    }
}
