//! How agents are chosen on the command line (cli.md section 4): patterns, and what they are compared with.

use clap::Args;

use crate::ops::select::Filters;

/// Which agents.
#[derive(Args, Debug, Default)]
pub struct Selection {
    /// Beginning of a uuid, an identity, or beginning of a name; `*` and `?` are wildcards
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<String>,
    /// What patterns are compared with
    #[command(flatten)]
    pub filters: FilterArgs,
}

/// What patterns are compared with.
#[derive(Args, Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct FilterArgs {
    /// Patterns are whole uuids
    #[arg(long)]
    pub uuid: bool,
    /// Patterns are whole names
    #[arg(long)]
    pub name: bool,
    /// Patterns are whole tags
    #[arg(long = "tag", id = "by_tag")]
    pub tag: bool,
    /// Patterns are whole identities
    #[arg(long, alias = "vip-identity")]
    pub identity: bool,
    /// Every agent with a tag
    #[arg(long)]
    pub all_tagged: bool,
    /// Every agent
    #[arg(long = "all", id = "all_agents")]
    pub all: bool,
}

impl From<FilterArgs> for Filters {
    fn from(args: FilterArgs) -> Self {
        Self {
            uuid: args.uuid,
            name: args.name,
            tag: args.tag,
            identity: args.identity,
            all_tagged: args.all_tagged,
            all: args.all,
        }
    }
}

impl Selection {
    /// The filters.
    pub fn filters(&self) -> Filters {
        self.filters.into()
    }
}
