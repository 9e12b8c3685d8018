//! What a page of the documentation tells its reader to do: files to write, and commands with what they print.
//!
//! In Markdown, a `console` block holds commands (`$ command`) and what they print; in that, `[..]` stands for anything
//! within a line and a line `...` for any number of lines. A block after `<!-- file: PATH -->` is a file to write, one after
//! `<!-- elsewhere: WHERE -->` is run by the test that is named there. A command whose comment says `# exit N` ends with
//! that code.

/// One thing to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Write a file.
    File {
        /// Where, below the directory of the page.
        path: String,
        /// Its text.
        text: String,
    },
    /// Run a command.
    Command {
        /// As it stands there.
        text: String,
        /// What it prints; nothing means that the page does not say.
        prints: Vec<String>,
        /// Line of the page.
        line: usize,
    },
}

/// What is to be done with the next block.
#[derive(Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    AsItSays,
    File(String),
    Elsewhere,
}

/// The steps of a page.
///
/// # Panics
/// If a directive is not understood, or a fenced block does not end.
pub fn steps(markdown: &str) -> Vec<Step> {
    let (mut steps, mut next) = (Vec::new(), Next::AsItSays);
    let mut lines = markdown.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(directive) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
            next = match directive.split_once(": ") {
                Some(("file", path)) => Next::File(path.to_owned()),
                Some(("elsewhere", where_)) if !where_.is_empty() => Next::Elsewhere,
                _ => panic!("line {}: the directive {directive:?} is not known", number + 1),
            };
        } else if let Some(language) = line.strip_prefix("```") {
            let mut block: Vec<(usize, &str)> = Vec::new();
            loop {
                let (at, line) = lines.next().unwrap_or_else(|| panic!("line {}: no end", number + 1));
                if line.starts_with("```") {
                    break;
                }
                block.push((at + 1, line));
            }
            match std::mem::take(&mut next) {
                Next::File(path) => {
                    let text: String = block.iter().map(|(_, line)| format!("{line}\n")).collect();
                    steps.push(Step::File { path, text });
                }
                Next::AsItSays if language == "console" => commands(&block, &mut steps),
                Next::AsItSays | Next::Elsewhere => {}
            }
        } else if !line.trim().is_empty() {
            next = Next::AsItSays;
        }
    }
    steps
}

fn commands(block: &[(usize, &str)], steps: &mut Vec<Step>) {
    for (line, text) in block {
        if let Some(command) = text.strip_prefix("$ ") {
            steps.push(Step::Command { text: command.to_owned(), prints: Vec::new(), line: *line });
        } else if let Some(Step::Command { text: command, prints, .. }) = steps.last_mut() {
            if command.ends_with('\\') && prints.is_empty() {
                command.push('\n');
                command.push_str(text);
            } else {
                prints.push((*text).to_owned());
            }
        }
    }
}

/// The exit code that a command's comment announces.
pub fn announced_code(command: &str) -> i32 {
    command.rsplit_once("# exit ").and_then(|(_, code)| code.trim().parse().ok()).unwrap_or(0)
}

/// Whether what was printed is what the page shows.
pub fn matches(shown: &[String], printed: &[String]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..]))
        }
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(line, others)| line_matches(first, line) && matches(rest, others)),
    }
}

/// The widths of columns depend on what stands in them, so blanks count as one.
fn line_matches(shown: &str, printed: &str) -> bool {
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let (shown, printed) = (squeezed(shown), squeezed(printed));
    let mut parts = shown.split("[..]");
    let Some(mut left) = printed.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return left.is_empty() };
    for part in middle {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

#[test]
fn a_page_is_taken_apart() {
    let page = "text\n<!-- file: a.yml -->\n```yaml\nkey: 1\n```\n```console\n$ one \\\n  two\nout\n$ three # exit 2\n```\n\
                <!-- elsewhere: some other test -->\n\n```console\n$ four\n```\n```rust\nfn f() {}\n```\n";
    let command = |text: &str, prints: &[&str], line| Step::Command {
        text: text.to_owned(),
        prints: prints.iter().map(|p| (*p).to_owned()).collect(),
        line,
    };
    assert_eq!(
        steps(page),
        [
            Step::File { path: "a.yml".to_owned(), text: "key: 1\n".to_owned() },
            command("one \\\n  two", &["out"], 7),
            command("three # exit 2", &[], 10),
        ]
    );
    assert_eq!((announced_code("three # exit 2"), announced_code("one")), (2, 0));
}

#[test]
fn wildcards_stand_for_what_changes() {
    let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
    for (shown, printed, alike) in [
        ("a [..] c", "a b c", true),
        ("a [..] c", "a b d", false),
        ("[..]c", "abc", true),
        ("...\nz", "x\ny\nz", true),
        ("a\n...", "a", true),
        ("a\n...", "b", false),
        ("a", "a\nb", false),
        ("a", "a  ", true),
        ("a b", "a    b", true),
    ] {
        assert_eq!(matches(&lines(shown), &lines(printed)), alike, "{shown:?} {printed:?}");
    }
}
