//! Error codes: a stable name, such as `VT1001`, for everything that can go wrong in front of a user, and a page about each
//! (`vctl explain`).
//!
//! Owns the codes and their pages (`pages.md`); which error has which code is in [`of`](self::of). A code, once released,
//! keeps its meaning and is never given to another one.

mod of;
mod page;

pub use of::Coded;
pub use page::Page;

/// Makes the enum, its numbers and its titles.
macro_rules! codes {
    ($($name:ident = $number:literal, $title:literal;)*) => {
        /// What went wrong, as a number that stays.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $title] $name = $number,)*
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What went wrong, in a few words.
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                }
            }

            /// Its name in the source.
            #[cfg(test)]
            fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

codes! {
    // Using vctl.
    NotRunning = 1001, "The platform does not run";
    Usage = 1002, "The command line does not fit together";
    Selection = 1003, "No agent, or more than one, fits the pattern";
    Refused = 1004, "What was asked for cannot be done now";
    OwnKeys = 1005, "vctl has no usable key to talk to the platform";
    File = 1006, "A file cannot be read or written";
    NoWelcome = 1007, "The platform does not answer a connection";
    BadAddress = 1008, "The platform's address cannot be used";
    ConnectSystem = 1009, "The operating system refused what a connection needs";
    // Calls.
    CallTimeout = 1101, "A call was not answered in time";
    Unreachable = 1102, "The agent that was called is not connected";
    Busy = 1103, "The agent that was called does not keep up";
    Denied = 1104, "The call is not allowed";
    RemoteFailure = 1105, "The agent that was called failed";
    NoSuchMethod = 1106, "The agent that was called has no such method";
    BadArguments = 1107, "The arguments of a call are not as they should be";
    BadReply = 1108, "The answer to a call is not as it should be";
    Disconnected = 1109, "The connection to the platform is gone";
    // Installing.
    SourceMissing = 1201, "What is to be installed does not exist";
    SourceUnsupported = 1202, "What is to be installed is nothing that can be installed";
    NotSigned = 1203, "The package is not signed as the platform demands";
    BuildFailed = 1204, "cargo did not build the crate";
    PythonFailed = 1205, "A Python package was not installed";
    NoDescription = 1206, "The program does not say what it is";
    OtherProtocol = 1207, "The agent was built for another version of the protocol";
    BadAgentConfig = 1208, "The configuration file of the agent cannot be used";
    IdentityTaken = 1209, "The identity is taken";
    BadIdentity = 1210, "The identity cannot be used";
    InstallFile = 1211, "A file could not be written while installing";
    NoFormerVersion = 1212, "There is no version to go back to";
    InstallAuth = 1213, "The auth file could not be changed while installing";
    DidNotStart = 1214, "An agent did not come up";
    // Rules.
    RuleConflict = 1301, "The change is against the rules of the auth file";
    RuleName = 1302, "A name in the rules does not exist, or exists already";
    NobodyAnswers = 1303, "A question had no answer";
    // Writing crates.
    CrateAnswer = 1401, "A new crate cannot be called or made like that";
    CrateExists = 1402, "The directory of the new crate exists already";
    // Copies of a home.
    BackupExists = 1501, "The archive exists already";
    BackupUnreadable = 1502, "A file of the home cannot be copied";
    HomeInUse = 1503, "Somebody else is changing the home";
    NotABackup = 1511, "The file is not a backup";
    BackupDamaged = 1512, "The backup is damaged";
    BackupHostile = 1513, "The archive holds what no backup holds";
    HomeNotEmpty = 1514, "The home to restore into is not empty";
    BackupNewer = 1515, "The backup was made by a newer version";
    NoSpace = 1516, "There is not enough room on the disk";
    UnknownCode = 1601, "There is no such code";
    // Homes of Python platforms.
    NotAPythonHome = 1701, "There is no home of a Python platform to migrate";
    NewerGeneration = 1702, "The home is of a generation that is not migrated";
    OldHomeInUse = 1703, "Something works in the home";
    MigrationPlace = 1704, "The new home cannot be there";
    OldHomeBroken = 1705, "The old home has to be mended first";
    NotMigrated = 1706, "The home did not come from a migration";
    ChangedSinceMigration = 1707, "The home has changed since it was migrated";
    // Starting the platform.
    BadOption = 2001, "An option of the platform has a value that is not possible";
    BadConfigFile = 2002, "The platform's configuration file cannot be used";
    NotBuilt = 2003, "This version cannot do what is configured";
    HomeHeld = 2004, "Another platform owns the home";
    AddressTaken = 2005, "An address of the platform is taken by another process";
    BindFailed = 2006, "An address of the platform cannot be used";
    Keystore = 2007, "A keystore cannot be used";
    AuthFile = 2008, "auth.json cannot be used";
    KnownHosts = 2009, "known_hosts cannot be used";
    ConfigStore = 2010, "The configuration store cannot be used";
    HomeUnusable = 2011, "The home cannot be used";
    Isolation = 2012, "Agents cannot have Unix users of their own";
    ServiceFailed = 2013, "A service of the platform did not start";
    System = 2014, "The operating system refused something basic";
    MetricsAddress = 2015, "The address for metrics cannot be used";
    BusEnded = 2016, "The message bus ended by itself";
    LogFile = 2017, "The log cannot be written";
    ControlGroups = 2018, "Agents cannot have control groups";
    LogConfig = 2019, "The logging configuration cannot be used";
    // What doctor finds besides.
    HomeMissing = 3001, "There is no home";
    HomeReadOnly = 3002, "The home is not writable";
    HomeOpen = 3003, "Others may change the home";
    OtherUser = 3004, "The home belongs to another user";
    DiskFull = 3011, "The disk is nearly full";
    SlowDisk = 3012, "The disk is slow to keep what it is given";
    CheckUnfinished = 3013, "A check did not end in time";
    LogGrows = 3014, "The platform's log grows without end";
    ClockBehind = 3021, "The clock is wrong";
    ClockUnsynchronized = 3022, "Nothing keeps the clock right";
    StalePid = 3031, "VOLTTRON_PID names a platform that does not run";
    EndedHard = 3032, "The platform ended without stopping";
    NotReady = 3033, "The platform holds the home and is not ready";
    NotAnswering = 3034, "The platform runs and does not answer";
    AddressNotServed = 3035, "The running platform does not serve a configured address";
    KeystoreOpen = 3041, "Others may read a secret key";
    NoAuthEntry = 3042, "An installed agent may not connect";
    KeyMismatch = 3043, "An agent has another key than its auth entry";
    DuplicateKey = 3044, "Several auth entries have the same key";
    DuplicateIdentity = 3045, "Several auth entries are for the same identity";
    WrongServerKey = 3046, "known_hosts has a wrong key for this platform";
    BadAuthEntry = 3047, "An auth entry is not understood and does not count";
    ProtectedTopics = 3048, "protected_topics.json cannot be used";
    AuthFileOpen = 3049, "Others may change the rules";
    UnknownKey = 3051, "The configuration file has a key that nobody knows";
    PeerUnreachable = 3052, "Another platform cannot be reached";
    AgentIncomplete = 3061, "The directory of an agent is incomplete";
    ProgramMissing = 3062, "The program of an agent is missing";
    OtherMachine = 3063, "The program of an agent is for another kind of machine";
    InterpreterGone = 3064, "The Python of an agent is gone";
    Unfinished = 3065, "A change was interrupted";
    NewerHome = 3066, "The home was used by a newer version";
    NoCargo = 3067, "Crates cannot be built here";
    Crashed = 3071, "An agent crashed";
    Silent = 3072, "An agent is connected and silent";
    Losing = 3073, "A peer loses messages";
    FewDescriptors = 3074, "Too few files may be open";
    NotWell = 3075, "An agent reports that it is not well";
}

impl Code {
    /// The code as users see it.
    pub fn text(self) -> String {
        format!("VT{}", self as u16)
    }

    /// The code of a text such as `VT1001`, `vt1001` or `1001`.
    pub fn parse(text: &str) -> Option<Self> {
        let upper = text.trim().to_ascii_uppercase();
        let number: u16 = upper.strip_prefix("VT").unwrap_or(&upper).parse().ok()?;
        Self::ALL.iter().copied().find(|code| *code as u16 == number)
    }

    /// What there is to say about it.
    pub fn page(self) -> Page {
        page::find(self)
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Every source file of the crate but those that define the codes.
    fn sources(dir: &Path, texts: &mut String) {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, texts);
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("codes/mod.rs") {
                texts.push_str(&fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn every_code_is_used_and_has_a_page_and_every_page_a_code() {
        let mut texts = String::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut texts);
        for code in Code::ALL {
            let page = code.page();
            let name = code.name();
            assert!(!page.meaning.is_empty(), "{code} {name}: no meaning");
            assert!(!page.causes.is_empty() && !page.fixes.is_empty(), "{code} {name}: no causes or fixes");
            assert!(texts.contains(&format!("Code::{name}")), "{code} {name} is given to nothing");
        }
        let known: BTreeSet<String> = Code::ALL.iter().map(|c| c.text()).collect();
        assert_eq!(known.len(), Code::ALL.len(), "a number stands for one thing");
        let paged: Vec<&str> = page::numbers().collect();
        let mut sorted = paged.clone();
        sorted.sort_unstable();
        assert_eq!(paged, sorted, "pages are in order");
        assert_eq!(paged.iter().map(|p| (*p).to_owned()).collect::<BTreeSet<_>>(), known);
        assert_eq!(paged.len(), known.len(), "a page for each");
        // And whatever code a text, a help or a test names exists.
        let named = regex::Regex::new(r"\bVT\d{4}\b").unwrap();
        for found in named.find_iter(&texts) {
            assert!(known.contains(found.as_str()), "{} is no code", found.as_str());
        }
    }

    #[test]
    fn codes_are_read_as_people_type_them() {
        for text in ["VT1001", "vt1001", " 1001 "] {
            assert_eq!(Code::parse(text), Some(Code::NotRunning), "{text}");
        }
        for text in ["", "VT", "VT9", "VT10011", "x1001", "-1001"] {
            assert_eq!(Code::parse(text), None, "{text}");
        }
        assert_eq!(Code::AddressTaken.to_string(), "VT2005");
    }
}
