//! Which agents a command means (cli.md section 4.1). Pure.

use volttron_utils::pattern::fnmatch;

/// Which fields patterns are compared with; none set = the automatic order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Filters {
    /// Whole uuid.
    pub uuid: bool,
    /// Whole `<package>-<version>`.
    pub name: bool,
    /// Whole tag; an agent without one has the empty tag.
    pub tag: bool,
    /// Whole identity.
    pub identity: bool,
    /// Every agent with a tag; with patterns, those whose tag matches one.
    pub all_tagged: bool,
    /// Every agent.
    pub all: bool,
}

impl Filters {
    /// Whether a selection is possible without a pattern.
    pub fn stand_alone(&self) -> bool {
        self.all || self.all_tagged
    }

    fn any_field(self) -> bool {
        self.uuid || self.name || self.tag || self.identity || self.all_tagged
    }
}

/// What a selection looks at.
pub trait Selectable {
    /// Installation uuid.
    fn uuid(&self) -> &str;
    /// `<package>-<version>`.
    fn name(&self) -> &str;
    /// VIP identity.
    fn identity(&self) -> &str;
    /// Tag, empty if none.
    fn tag(&self) -> &str;
}

/// What one pattern found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Positions of the agents, in order.
    Agents(Vec<usize>),
    /// Several uuids begin so; nothing is chosen.
    Ambiguous(Vec<String>),
}

/// The agents without any pattern: all of them, or all tagged ones.
pub fn without_pattern(agents: &[impl Selectable], filters: Filters) -> Vec<usize> {
    (0..agents.len()).filter(|&i| !filters.all_tagged || filters.all || !agents[i].tag().is_empty()).collect()
}

/// The agents that one pattern means.
pub fn by_pattern(agents: &[impl Selectable], pattern: &str, filters: Filters) -> Found {
    let which = |test: &dyn Fn(usize) -> bool| (0..agents.len()).filter(|&i| test(i)).collect::<Vec<_>>();
    if filters.all {
        return Found::Agents(which(&|_| true));
    }
    if filters.any_field() {
        let tagged = |i: usize| !agents[i].tag().is_empty() && glob(pattern, agents[i].tag());
        return Found::Agents(which(&|i| {
            (filters.uuid && glob(pattern, agents[i].uuid()))
                || (filters.name && glob(pattern, agents[i].name()))
                || (filters.tag && glob(pattern, agents[i].tag()))
                || (filters.identity && glob(pattern, agents[i].identity()))
                || (filters.all_tagged && tagged(i))
        }));
    }
    let begins = format!("{pattern}*");
    let uuids = which(&|i| glob(&begins, agents[i].uuid()));
    if uuids.len() == 1 {
        return Found::Agents(uuids);
    }
    let exact = which(&|i| agents[i].identity() == pattern);
    if !exact.is_empty() {
        return Found::Agents(exact);
    }
    if uuids.len() > 1 {
        return Found::Ambiguous(uuids.into_iter().map(|i| agents[i].uuid().to_owned()).collect());
    }
    let identities = which(&|i| glob(pattern, agents[i].identity()));
    if !identities.is_empty() {
        return Found::Agents(identities);
    }
    Found::Agents(which(&|i| glob(&begins, agents[i].name())))
}

/// `*` any run, `?` one character, everything else itself.
fn glob(pattern: &str, text: &str) -> bool {
    if pattern.contains('[') { fnmatch(&pattern.replace('[', "[[]"), text) } else { fnmatch(pattern, text) }
}

/// The shortest length, at least `at_least`, at which all uuids differ; 0 asks for the full length.
pub fn short_length<'a>(uuids: impl IntoIterator<Item = &'a str>, at_least: usize) -> usize {
    let uuids: Vec<&str> = uuids.into_iter().collect();
    let full = uuids.iter().map(|u| u.len()).max().unwrap_or(0);
    if at_least == 0 {
        return full;
    }
    (at_least..full)
        .find(|&n| {
            let mut cut: Vec<&str> = uuids.iter().map(|u| u.get(..n).unwrap_or(u)).collect();
            cut.sort_unstable();
            cut.windows(2).all(|pair| pair[0] != pair[1])
        })
        .unwrap_or(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Row(&'static str, &'static str, &'static str, &'static str);

    impl Selectable for Row {
        fn uuid(&self) -> &str {
            self.0
        }
        fn name(&self) -> &str {
            self.1
        }
        fn identity(&self) -> &str {
            self.2
        }
        fn tag(&self) -> &str {
            self.3
        }
    }

    const AGENTS: [Row; 4] = [
        Row("ab11", "listener-3.3", "listener_1", "hall"),
        Row("ab22", "listener-3.3", "listener_2", ""),
        Row("cd33", "pump[1]-1.0", "pump", "roof"),
        Row("ef44", "drive-1.0", "ab", ""),
    ];

    #[test]
    fn the_automatic_order_is_uuid_identity_pattern_name() {
        let cases: &[(&str, &[usize])] = &[
            ("c", &[2]),
            ("ab1", &[0]),
            ("ab", &[3]),
            ("listener_2", &[1]),
            ("listener_?", &[0, 1]),
            ("listener", &[0, 1]),
            ("pump[", &[2]),
            ("pump", &[2]),
            ("nothing", &[]),
            ("*33", &[2]),
            ("", &[]),
        ];
        for (pattern, want) in cases {
            let found = by_pattern(&AGENTS, pattern, Filters::default());
            if pattern.is_empty() {
                assert!(matches!(found, Found::Ambiguous(_)));
            } else {
                assert_eq!(found, Found::Agents(want.to_vec()), "{pattern}");
            }
        }
        assert_eq!(
            by_pattern(&AGENTS, "a", Filters::default()),
            Found::Ambiguous(vec!["ab11".into(), "ab22".into()])
        );
    }

    #[test]
    fn a_filter_compares_the_whole_field_and_filters_add_up() {
        let f = Filters::default();
        let cases: &[(&str, Filters, &[usize])] = &[
            ("ab*", Filters { uuid: true, ..f }, &[0, 1]),
            ("ab", Filters { uuid: true, ..f }, &[]),
            ("listener", Filters { name: true, ..f }, &[]),
            ("listener-*", Filters { name: true, ..f }, &[0, 1]),
            ("hall", Filters { tag: true, ..f }, &[0]),
            ("", Filters { tag: true, ..f }, &[1, 3]),
            ("ab", Filters { identity: true, ..f }, &[3]),
            ("*", Filters { all_tagged: true, ..f }, &[0, 2]),
            ("r*", Filters { all_tagged: true, ..f }, &[2]),
            ("ab*", Filters { uuid: true, identity: true, ..f }, &[0, 1, 3]),
            ("x", Filters { all: true, ..f }, &[0, 1, 2, 3]),
        ];
        for (pattern, filters, want) in cases {
            let found = by_pattern(&AGENTS, pattern, *filters);
            assert_eq!(found, Found::Agents(want.to_vec()), "{pattern} {filters:?}");
        }
        assert_eq!(without_pattern(&AGENTS, Filters { all_tagged: true, ..f }), [0, 2]);
        assert_eq!(without_pattern(&AGENTS, f).len(), 4);
    }

    #[test]
    fn short_uuids_are_as_short_as_they_can_be() {
        for (uuids, at_least, want) in [
            (&["ab11", "cd33"][..], 1, 1),
            (&["ab11", "ab22"][..], 1, 3),
            (&["ab11", "cd33"][..], 2, 2),
            (&["ab11", "cd33"][..], 0, 4),
            (&["ab11", "cd33"][..], 9, 4),
            (&[][..], 1, 0),
        ] {
            assert_eq!(short_length(uuids.iter().copied(), at_least), want, "{uuids:?} {at_least}");
        }
    }
}
