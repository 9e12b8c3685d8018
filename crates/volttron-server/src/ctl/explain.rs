//! `vctl explain`: the page of an error code.

use clap::Args;
use serde_json::{Value, json};

use super::output::Output;
use super::{Vctl, render};
use crate::codes::{Code, Page};

/// Options of `vctl explain`.
#[derive(Args, Debug)]
#[command(
    after_help = "Codes stand behind errors on a terminal, in the JSON of `vctl --json` and in the log.\n\n\
    Examples:\n  vctl explain VT1001\n  vctl explain 2005\n  vctl explain                 all codes"
)]
pub struct ExplainArgs {
    /// The code; without it, all codes are listed
    code: Option<String>,
}

pub(super) fn explain(vctl: &Vctl, args: &ExplainArgs, out: &mut Output) -> u8 {
    let Some(text) = &args.code else {
        list(vctl.json, out);
        return 0;
    };
    let Some(code) = Code::parse(text) else {
        out.fail(
            &format!("explain: error: there is no code {text}; see all with: vctl explain"),
            Code::UnknownCode,
            10,
        );
        return 10;
    };
    let page = code.page();
    out.print(&if vctl.json { render::pretty(&as_json(&page)) } else { as_text(&page) });
    0
}

fn list(json: bool, out: &mut Output) {
    if json {
        let all: Value = Code::ALL.iter().map(|code| as_json(&code.page())).collect();
        return out.print(&render::pretty(&all));
    }
    for code in Code::ALL {
        out.line(&format!("{code}  {}", code.title()));
    }
}

fn as_json(page: &Page) -> Value {
    json!({
        "code": page.code.text(), "title": page.code.title(), "meaning": page.meaning, "causes": page.causes,
        "fixes": page.fixes,
    })
}

fn as_text(page: &Page) -> String {
    let list = |heading: &str, items: &[String]| format!("\n{heading}:\n  - {}\n", items.join("\n  - "));
    format!(
        "{}: {}\n\n{}\n{}{}",
        page.code,
        page.code.title(),
        page.meaning,
        list("Usual causes", &page.causes),
        list("What to do", &page.fixes)
    )
}
