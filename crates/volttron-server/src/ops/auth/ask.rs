//! Asking a person for the fields of an entry.

use std::io;

use serde_json::Value;

use super::AuthOpError;
use super::text::{capabilities, comma_list};
use crate::auth::entry::{Entry, Filter, Mechanism};

/// The person. Implemented by the program over its terminal or pipe.
pub trait Prompt {
    /// Shows `question` and gives the line typed, without its end. An error when nobody is there any more.
    fn ask(&mut self, question: &str) -> io::Result<String>;
    /// Shows a line.
    fn tell(&mut self, line: &str);
}

/// A yes-or-no question; an empty answer is yes.
pub fn confirm(prompt: &mut dyn Prompt, question: &str) -> Result<bool, AuthOpError> {
    loop {
        let answer = prompt.ask(&format!("{question} [Y/n] "))?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "" | "y" | "yes" => return Ok(true),
            "n" | "no" => return Ok(false),
            _ => prompt.tell("Please answer y or n"),
        }
    }
}

const LIST_NOTE: &str = " (delimit multiple entries with comma)";

/// Asks for every field; an empty answer takes the value of `from`, `clear` empties the field.
pub fn fields(prompt: &mut dyn Prompt, from: &Entry) -> Result<Entry, AuthOpError> {
    let mut entry = from.clone();
    entry.domain = filter(prompt, "domain", &from.domain)?;
    entry.address = filter(prompt, "address", &from.address)?;
    entry.user_id = field(prompt, "user_id", "", &from.user_id, Ok)?;
    let identity = from.identity.as_deref().unwrap_or_default();
    entry.identity = Some(field(prompt, "identity", "", identity, Ok)?).filter(|s| !s.is_empty());
    let shown = if from.capabilities.is_empty() {
        String::new()
    } else {
        Value::Object(from.capabilities.clone()).to_string()
    };
    entry.capabilities = field(prompt, "capabilities", LIST_NOTE, &shown, |text| {
        crate::auth::entry::capabilities(Some(&capabilities(&text)?)).map_err(AuthOpError::from)
    })?;
    entry.roles = field(prompt, "roles", LIST_NOTE, &from.roles.join(","), |text| Ok(comma_list(&text)))?;
    entry.groups = field(prompt, "groups", LIST_NOTE, &from.groups.join(","), |text| Ok(comma_list(&text)))?;
    entry.mechanism = field(prompt, "mechanism", "", from.mechanism.as_str(), |text| {
        let unknown = || AuthOpError::Usage(format!("mechanism must be CURVE, NULL or PLAIN, not {text}"));
        Mechanism::parse(&text.to_ascii_uppercase()).ok_or_else(unknown)
    })?;
    entry.credentials = credentials(prompt, &entry, &from.credentials)?;
    let comments = from.comments.as_deref().unwrap_or_default();
    entry.comments = Some(field(prompt, "comments", "", comments, Ok)?).filter(|s| !s.is_empty());
    let shown = if from.enabled { "True" } else { "False" };
    entry.enabled = field(prompt, "enabled", "", shown, |text| match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "0" => Ok(false),
        _ => Err(AuthOpError::Usage(format!("enabled must be True or False, not {text}"))),
    })?;
    Ok(entry)
}

/// Credentials must fit the mechanism that was just given.
fn credentials(prompt: &mut dyn Prompt, so_far: &Entry, current: &Filter) -> Result<Filter, AuthOpError> {
    field(prompt, "credentials", "", &current.texts().join(","), |text| {
        let mut candidate = so_far.clone();
        candidate.credentials = filter_of(&text, current);
        candidate.validate()?;
        Ok(candidate.credentials)
    })
}

fn filter(prompt: &mut dyn Prompt, name: &str, current: &Filter) -> Result<Filter, AuthOpError> {
    field(prompt, name, "", &current.texts().join(","), |text| Ok(filter_of(&text, current)))
}

/// A list stays a list; what was typed is one text, because expressions contain commas.
fn filter_of(text: &str, current: &Filter) -> Filter {
    if text == current.texts().join(",") { current.clone() } else { Filter::from(text) }
}

/// Asks until the answer can be read.
fn field<T>(
    prompt: &mut dyn Prompt,
    name: &str,
    note: &str,
    current: &str,
    read: impl Fn(String) -> Result<T, AuthOpError>,
) -> Result<T, AuthOpError> {
    loop {
        let mut answer = prompt.ask(&format!("{name}{note} [{current}]: "))?.trim().to_owned();
        if answer == "clear" && confirm(prompt, "Do you want to clear this field?")? {
            answer = String::new();
        } else if answer.is_empty() {
            current.clone_into(&mut answer);
        }
        match read(answer) {
            Ok(value) => return Ok(value),
            Err(e) => prompt.tell(&e.to_string()),
        }
    }
}
