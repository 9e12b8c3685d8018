//! The arguments of `vctl auth`, as clap reads them.

use clap::{Args, Subcommand, ValueEnum};

/// Manage authorization entries and encryption keys.
#[derive(Clone, Debug, Subcommand)]
#[command(rename_all = "kebab-case")]
pub enum AuthCommand {
    /// Add an entry; without any option, ask for each field
    Add(Box<AddArgs>),
    /// List the entries
    List,
    /// Change an entry, asking for each field
    Update {
        /// Index of the entry, as `list` shows it
        #[arg(allow_negative_numbers = true, value_parser = index_of)]
        index: i64,
    },
    /// Remove entries
    Remove {
        /// Indices of the entries, as `list` shows them
        #[arg(required = true, value_name = "INDEX", allow_negative_numbers = true, value_parser = index_of)]
        indices: Vec<i64>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Make a key pair and show it; nothing is stored
    Keypair,
    /// Make a key pair for an agent outside of the platform, admit it, and print the environment to start it with
    #[command(after_help = "Examples:\n  \
                            vctl auth enroll weather > weather.env\n  \
                            vctl auth enroll meter --address tcp://10.0.0.5:22916 --capability can_publish_meters")]
    Enroll(EnrollArgs),
    /// Let installed agents in with the keys they have; one whose keystore is missing or damaged gets a new key
    #[command(
        after_help = "An entry that is there keeps everything but its key and being disabled. A damaged keystore is \
                            kept beside as keystore.json.damaged. Works with the platform up or down; an agent that \
                            runs uses a new key from its next start on.\n\n\
                            Examples:\n  \
                            vctl auth admit pump\n  \
                            vctl auth admit pump && vctl restart pump"
    )]
    Admit {
        /// VIP identities of installed agents
        #[arg(required = true, value_name = "IDENTITY")]
        identities: Vec<String>,
    },
    /// Show the public key of the platform
    Serverkey,
    /// Add a group
    AddGroup(MembersArgs),
    /// List the groups and their roles
    ListGroups,
    /// Add roles to a group, or take them away
    UpdateGroup {
        #[command(flatten)]
        #[expect(missing_docs, reason = "would replace the help of the fields")]
        members: MembersArgs,
        /// Take the roles away
        #[arg(long)]
        remove: bool,
    },
    /// Remove a group
    RemoveGroup {
        /// Name of the group
        name: String,
    },
    /// Add a role
    AddRole(MembersArgs),
    /// List the roles and their capabilities
    ListRoles,
    /// Add capabilities to a role, or take them away
    UpdateRole {
        #[command(flatten)]
        #[expect(missing_docs, reason = "would replace the help of the fields")]
        members: MembersArgs,
        /// Take the capabilities away
        #[arg(long)]
        remove: bool,
    },
    /// Remove a role
    RemoveRole {
        /// Name of the role
        name: String,
    },
    /// Store the server key of another platform
    AddKnownHost {
        /// Host and port, or an address
        #[arg(long)]
        host: String,
        /// Public key of the platform there
        #[arg(long, allow_hyphen_values = true)]
        serverkey: String,
    },
    /// List the stored server keys
    ListKnownHosts,
    /// Forget the server key of another platform
    RemoveKnownHost {
        /// Host and port, or an address
        host: String,
    },
    /// Say which rule decides whether an agent may call, publish or connect
    #[command(after_help = "Examples:\n  vctl auth why platform.driver config.store.set_config\n  \
                            vctl auth why weather devices/campus/building/fan/all\n  vctl auth why weather")]
    Why {
        /// VIP identity of the agent
        identity: String,
        /// PEER.METHOD of a connected peer, else a topic; without it, whether the agent may connect
        what: Option<String>,
    },
    /// Decide about keys that want to connect
    #[command(subcommand)]
    Remote(RemoteCommand),
    /// Adjust which capabilities the methods of agents require
    #[command(subcommand)]
    Rpc(RpcCommand),
}

/// An agent outside of the platform.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct EnrollArgs {
    /// VIP identity of the agent
    pub identity: String,
    /// What it may do, besides editing its own configuration entries; may be repeated
    #[arg(long = "capability", value_name = "NAME")]
    pub capabilities: Vec<String>,
    /// Address at which the agent reaches this platform; the platform's first TCP address if not given, else its local one
    #[arg(long)]
    pub address: Option<String>,
}

/// Fields of a new entry. Lists are separated by commas.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct AddArgs {
    /// ZAP domain to match; everything if not given
    #[arg(long)]
    pub domain: Option<String>,
    /// Peer address to match; everything if not given
    #[arg(long)]
    pub address: Option<String>,
    /// Authentication mechanism: CURVE, NULL or PLAIN
    #[arg(long)]
    pub mechanism: Option<String>,
    /// Public key (CURVE) or password (PLAIN)
    #[arg(long, allow_hyphen_values = true)]
    pub credentials: Option<String>,
    /// User the capabilities belong to
    #[arg(long = "user_id", alias = "user-id")]
    pub user_id: Option<String>,
    /// VIP identity of the agent; the user id if not given
    #[arg(long)]
    pub identity: Option<String>,
    /// Groups
    #[arg(long)]
    pub groups: Option<String>,
    /// Roles
    #[arg(long)]
    pub roles: Option<String>,
    /// Capabilities: names, or JSON
    #[arg(long)]
    pub capabilities: Option<String>,
    /// Comment
    #[arg(long)]
    pub comments: Option<String>,
    /// Add the entry without letting it count
    #[arg(long)]
    pub disabled: bool,
    /// Store the key as the server key of the address, too
    #[arg(long)]
    pub add_known_host: bool,
}

impl AddArgs {
    /// Whether no field is given, so that they are asked for.
    pub fn is_empty(&self) -> bool {
        let empty = Self { add_known_host: self.add_known_host, ..Self::default() };
        *self == empty
    }
}

/// A group with roles, or a role with capabilities.
#[derive(Args, Clone, Debug)]
pub struct MembersArgs {
    /// Name
    pub name: String,
    /// What it brings
    pub members: Vec<String>,
}

fn index_of(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| "an index is a number; vctl auth list shows them".to_owned())
}

/// Verbs of `auth remote`.
#[derive(Clone, Debug, Subcommand)]
pub enum RemoteCommand {
    /// List keys that wait and keys that were decided about
    List {
        /// Only these
        #[arg(long)]
        status: Option<RemoteStatus>,
    },
    /// Let in
    Approve {
        /// User id, as `list` shows it
        user_id: String,
    },
    /// Refuse for good
    Deny {
        /// User id, as `list` shows it
        user_id: String,
    },
    /// Forget
    Delete {
        /// User id, as `list` shows it
        user_id: String,
    },
}

/// What was decided about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RemoteStatus {
    /// Let in.
    Approved,
    /// Refused.
    Denied,
    /// Nothing yet.
    Pending,
}

/// Verbs of `auth rpc`.
#[derive(Clone, Debug, Subcommand)]
pub enum RpcCommand {
    /// Require capabilities
    Add {
        /// Identity and method: IDENTITY.METHOD
        method: String,
        /// Capabilities
        #[arg(required = true)]
        capabilities: Vec<String>,
    },
    /// Require capabilities no more
    Remove {
        /// Identity and method: IDENTITY.METHOD
        method: String,
        /// Capabilities
        #[arg(required = true)]
        capabilities: Vec<String>,
    },
    /// List the requirements in force
    List {
        /// Only of this agent
        identity: Option<String>,
    },
}
