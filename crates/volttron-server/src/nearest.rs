//! The known name that a mistyped one was probably meant to be.

/// The name that looks most like `word`, if any is near.
pub(crate) fn nearest<'a>(names: impl IntoIterator<Item = &'a str>, word: &str) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| (edits(name, word), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let cost = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_guessed() {
        let names = ["vip-address", "instance-name", "log"];
        for (word, guess) in [
            ("vip-adress", Some("vip-address")),
            ("instance_name", Some("instance-name")),
            ("lgo", None),
            ("logs", Some("log")),
            ("colour", None),
        ] {
            assert_eq!(nearest(names, word), guess, "{word}");
        }
    }
}
