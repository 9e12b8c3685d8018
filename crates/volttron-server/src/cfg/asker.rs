//! Questions in the form of the original: `<question> [<default>]: `; an empty answer takes the default, and a wrong one is
//! asked again.

use std::collections::BTreeMap;
use std::io;

use super::CfgError;
use crate::ops::auth::Prompt;

/// What is said about an answer that is neither yes nor no.
const NOT_YES_OR_NO: &str = "Invalid response. Proper responses are:\n('Y', 'y', 'N', 'n')";

/// One question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    /// Its name among the answers that were given beforehand.
    pub(super) key: &'a str,
    /// What is asked.
    pub(super) text: &'a str,
    /// The answer that Enter stands for.
    pub(super) default: Option<&'a str>,
}

/// Who answers: options and files first, then the person.
pub(super) struct Asker<'a> {
    person: &'a mut dyn Prompt,
    given: BTreeMap<String, String>,
    /// Nobody is asked.
    silent: bool,
}

impl<'a> Asker<'a> {
    pub(super) fn new(person: &'a mut dyn Prompt, given: BTreeMap<String, String>, silent: bool) -> Self {
        Self { person, given, silent }
    }

    /// Shows a line.
    pub(super) fn tell(&mut self, line: &str) {
        self.person.tell(line);
    }

    /// Asks until `check` takes the answer; its error is shown before the next time.
    pub(super) fn ask<T>(
        &mut self,
        question: Question<'_>,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, CfgError> {
        loop {
            let (answer, from_person) = self.answer(question)?;
            let checked = match (&*answer, question.default) {
                ("", Some(default)) => check(default),
                (text, None) if text.trim().is_empty() => Err("Please enter a non empty value".to_owned()),
                (text, _) => check(text),
            };
            match checked {
                Ok(value) => return Ok(value),
                Err(why) if from_person => self.tell(&why),
                Err(why) => return Err(wrong(question.key, &answer, &why)),
            }
        }
    }

    /// A yes-or-no question.
    pub(super) fn yes(&mut self, key: &str, text: &str, default: bool) -> Result<bool, CfgError> {
        let default = Some(if default { "Y" } else { "N" });
        self.ask(Question { key, text, default }, |answer| match answer {
            "Y" | "y" => Ok(true),
            "N" | "n" => Ok(false),
            _ => Err(NOT_YES_OR_NO.to_owned()),
        })
    }

    /// Any text; with no default it must not be empty.
    pub(super) fn text(&mut self, question: Question<'_>) -> Result<String, CfgError> {
        self.ask(question, |answer| Ok(answer.to_owned()))
    }

    /// An answer was fine by itself, but does not go: told, so that it is asked again; an error when nobody is asked.
    pub(super) fn again(&mut self, why: &str) -> Result<(), CfgError> {
        if self.silent {
            return Err(CfgError::Refused(why.trim().to_owned()));
        }
        self.tell(why);
        Ok(())
    }

    /// The answer, and whether a person gave it.
    fn answer(&mut self, question: Question<'_>) -> Result<(String, bool), CfgError> {
        if let Some(given) = self.given.remove(question.key) {
            return Ok((given, false));
        }
        if self.silent {
            let missing = || {
                CfgError::Refused(format!(
                    "{:?} has no default, and nobody is asked; give it with --answers ({}: ...)",
                    question.text.trim(),
                    question.key
                ))
            };
            return Ok((question.default.ok_or_else(missing)?.to_owned(), false));
        }
        let prompt = match question.default {
            Some(default) => format!("{} [{default}]: ", question.text),
            None => format!("{} ", question.text),
        };
        match self.person.ask(&prompt) {
            Ok(answer) => Ok((answer, true)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                Err(CfgError::NoAnswer(question.text.trim().to_owned()))
            }
            Err(e) => Err(e.into()),
        }
    }
}

fn wrong(key: &str, answer: &str, why: &str) -> CfgError {
    CfgError::Refused(format!("{key}: {answer:?} is not possible: {}", why.replace('\n', " ")))
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// Answers from a list, and everything that was shown.
    #[derive(Default)]
    pub(in crate::cfg) struct Script {
        pub(in crate::cfg) answers: Vec<&'static str>,
        pub(in crate::cfg) shown: Vec<String>,
    }

    impl Prompt for Script {
        fn ask(&mut self, question: &str) -> io::Result<String> {
            self.shown.push(question.to_owned());
            if self.answers.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(self.answers.remove(0).to_owned())
        }

        fn tell(&mut self, line: &str) {
            self.shown.push(line.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Script;
    use super::*;

    const BUS: Question<'_> = Question { key: "bus", text: "Which bus?", default: Some("zmq") };
    const STATE: Question<'_> = Question { key: "state", text: "State:", default: None };

    fn bus(text: &str) -> Result<String, String> {
        if text == "zmq" { Ok(text.to_owned()) } else { Err("no such bus".to_owned()) }
    }

    #[test]
    fn wrong_and_empty_answers_are_asked_again() {
        let mut script = Script { answers: vec!["x", "", "yes", "y", "  ", "WA"], shown: Vec::new() };
        let mut asker = Asker::new(&mut script, BTreeMap::new(), false);
        assert_eq!(asker.ask(BUS, bus).unwrap(), "zmq");
        assert!(asker.yes("web", "Web?", false).unwrap());
        assert_eq!(asker.text(STATE).unwrap(), "WA");
        assert!(matches!(asker.yes("more", "More?", true), Err(CfgError::NoAnswer(q)) if q == "More?"));
        assert_eq!(
            script.shown,
            [
                "Which bus? [zmq]: ",
                "no such bus",
                "Which bus? [zmq]: ",
                "Web? [N]: ",
                NOT_YES_OR_NO,
                "Web? [N]: ",
                "State: ",
                "Please enter a non empty value",
                "State: ",
                "More? [Y]: ",
            ]
        );
    }

    #[test]
    fn given_answers_are_not_asked_for_and_not_repaired() {
        let mut script = Script::default();
        let given = BTreeMap::from([("bus".to_owned(), "x".to_owned()), ("web".to_owned(), "Y".to_owned())]);
        let mut asker = Asker::new(&mut script, given, true);
        assert!(asker.ask(BUS, bus).unwrap_err().to_string().contains("bus: \"x\" is not possible"));
        assert!(asker.yes("web", "Web?", false).unwrap());
        assert_eq!(asker.ask(BUS, bus).unwrap(), "zmq");
        assert!(asker.text(STATE).unwrap_err().to_string().contains("state: ..."));
        assert!(script.shown.is_empty());
    }
}
