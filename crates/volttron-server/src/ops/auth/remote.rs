//! Verbs about keys that want to connect. The platform keeps those that wait in memory, so it has to run.

use std::fmt::Write;

use serde_json::{Value, json};
use volttron_client::Cx;
use volttron_utils::identity::AUTH;

use super::args::RemoteStatus;
use super::{AuthOpError, Output};

/// `auth remote list`.
pub async fn list(platform: &Cx, only: Option<RemoteStatus>) -> Result<Output, AuthOpError> {
    let mut rows = Vec::new();
    for (status, method, word) in [
        (RemoteStatus::Approved, "get_approved_authorizations", "APPROVED"),
        (RemoteStatus::Denied, "get_denied_authorizations", "DENIED"),
        (RemoteStatus::Pending, "get_pending_authorizations", "PENDING"),
    ] {
        if only.is_none_or(|wanted| wanted == status) {
            let found: Vec<Value> = platform.call(AUTH, method).send().await?;
            rows.extend(found.into_iter().map(|mut row| {
                row["status"] = json!(word);
                row
            }));
        }
    }
    Ok(render(rows))
}

fn render(rows: Vec<Value>) -> Output {
    if rows.is_empty() {
        return Output::line("No remote certificates or credentials").with_json(json!([]));
    }
    let cell = |row: &Value, key: &str| match &row[key] {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        _ => "-".to_owned(),
    };
    let cells: Vec<[String; 3]> =
        rows.iter().map(|r| ["user_id", "address", "status"].map(|key| cell(r, key))).collect();
    let width = |i: usize, heading: &str| {
        cells.iter().map(|c| c[i].chars().count()).max().unwrap_or(0).max(heading.len())
    };
    let (first, second) = (width(0, "USER_ID"), width(1, "ADDRESS"));
    let mut stdout = String::new();
    for [user, address, status] in &cells {
        let _ = writeln!(stdout, "{user:<first$} {address:<second$} {status}");
    }
    // Headings go to standard error, so that pipes see rows only.
    let stderr = format!("{:<first$} {:<second$} STATUS\n", "USER_ID", "ADDRESS");
    Output { stdout, stderr, json: Some(Value::Array(rows)) }
}

/// `auth remote approve|deny|delete`. The platform takes a user id that it does not know for decided; a person has
/// mistyped it.
pub async fn decide(platform: &Cx, method: &str, user_id: &str) -> Result<Output, AuthOpError> {
    let status = platform.call(AUTH, "get_authorization_status").arg(user_id).send_value().await?;
    // Spelt as callers know it.
    if status == "UNKOWN" {
        return Err(AuthOpError::Name(format!(
            "no request and no entry has the user id \"{user_id}\"; vctl auth remote list shows who asked to connect"
        )));
    }
    platform.call(AUTH, method).arg(user_id).send_value().await?;
    Ok(Output::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_line_up_and_empty_cells_show() {
        let rows = vec![
            json!({"user_id": "u1", "address": "127.0.0.1", "status": "PENDING"}),
            json!({"user_id": "longer-user", "address": null, "status": "DENIED"}),
        ];
        let output = render(rows);
        assert_eq!(output.stderr, "USER_ID     ADDRESS   STATUS\n");
        assert_eq!(output.stdout, "u1          127.0.0.1 PENDING\nlonger-user -         DENIED\n");
        assert_eq!(render(Vec::new()).stdout, "No remote certificates or credentials\n");
    }
}
