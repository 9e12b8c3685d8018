//! The pages of `vctl explain`, from `pages.md`: a heading per code, what it means, causes and fixes.

use super::Code;

const TEXT: &str = include_str!("pages.md");
/// Begins a page.
const HEADING: &str = "## ";

/// What there is to say about a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The code.
    pub code: Code,
    /// What it means.
    pub meaning: String,
    /// What usually causes it.
    pub causes: Vec<String>,
    /// What to do, in the order to try it.
    pub fixes: Vec<String>,
}

/// The sections of the text: number and lines.
fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    TEXT.split("\n## ").skip(1).map(|section| section.split_once('\n').unwrap_or((section, "")))
}

/// The codes that have a page, in the order of the text.
#[cfg(test)]
pub(super) fn numbers() -> impl Iterator<Item = &'static str> {
    sections().map(|(number, _)| number.trim())
}

pub(super) fn find(code: Code) -> Page {
    let number = code.text();
    let body = sections().find(|(heading, _)| heading.trim() == number).map_or("", |(_, body)| body);
    read(code, body)
}

fn read(code: Code, body: &str) -> Page {
    let mut page = Page { code, meaning: String::new(), causes: Vec::new(), fixes: Vec::new() };
    let mut list: Option<bool> = None;
    for line in body.lines().map(str::trim).filter(|line| !line.starts_with(HEADING)) {
        let into = match (line, list) {
            ("Causes:", _) => {
                list = Some(false);
                continue;
            }
            ("Fixes:", _) => {
                list = Some(true);
                continue;
            }
            ("", _) => continue,
            (_, None) => {
                join(&mut page.meaning, line);
                continue;
            }
            (_, Some(false)) => &mut page.causes,
            (_, Some(true)) => &mut page.fixes,
        };
        match (line.strip_prefix("- "), into.last_mut()) {
            (Some(item), _) => into.push(item.to_owned()),
            (None, Some(last)) => join(last, line),
            (None, None) => {}
        }
    }
    page
}

/// Lines of one paragraph.
fn join(text: &mut String, line: &str) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read() {
        let body = "\nIt is so,\nand so.\n\nCauses:\n- One\n  more.\n- Two.\n\nFixes:\n- Do it: `x`\n";
        let page = read(Code::Usage, body);
        assert_eq!(page.meaning, "It is so, and so.");
        assert_eq!(page.causes, ["One more.", "Two."]);
        assert_eq!(page.fixes, ["Do it: `x`"]);
    }
}
