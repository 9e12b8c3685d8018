//! `auth why`.

use serde_json::Value;
use volttron_client::Cx;
use volttron_utils::identity::AUTH;

use super::{AuthOpError, Output};

/// Asks the platform which rule decides.
pub async fn why(platform: &Cx, identity: &str, what: Option<&str>) -> Result<Output, AuthOpError> {
    let found = platform.call(AUTH, "why").arg(identity).arg(what).send_value().await?;
    Ok(Output { stdout: render(&found), ..Output::default() }.with_json(found))
}

fn render(found: &Value) -> String {
    let text = |key: &str| found[key].as_str().unwrap_or_default();
    let word = if found["allowed"] == true { "ALLOWED" } else { "DENIED" };
    let mut lines = vec![format!("{word}: {}", text("answer")), format!("  rule: {}", text("rule"))];
    let because = found["because"].as_array().into_iter().flatten().filter_map(Value::as_str);
    lines.extend(because.map(|line| format!("  because: {line}")));
    if let Some(remedy) = found["remedy"].as_str() {
        lines.push(format!("  try: {remedy}"));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_denial_says_what_to_do() {
        let found = json!({"allowed": false, "answer": "a may not publish on t", "rule": "r", "because": ["b", "c"],
            "remedy": "do"});
        let want = "DENIED: a may not publish on t\n  rule: r\n  because: b\n  because: c\n  try: do\n";
        assert_eq!(render(&found), want);
    }
}
