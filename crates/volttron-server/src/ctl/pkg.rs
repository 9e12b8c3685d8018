//! `vpkg` (and `volttron-pkg`): a new agent, and a package of one (cli.md section 6). The verbs are those of the original;
//! what they cannot be here says what does it instead.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};
use volttron_utils::identity;

use super::args::BuildArgs;
use super::new::{NewArgs, new};
use super::output::Output;
use super::program::{Common, Program};
use super::{Vctl, install, render};
use crate::install::package::{Form, Packing};
use crate::install::python::Settings;
use crate::install::{InstallError, Source, TrustedKeys, recognise};
use crate::ops::OpError;
use crate::ops::install::build;
use crate::ops::new::Kind;

/// Make a new agent, and packages of agents.
#[derive(Debug, Parser)]
#[command(
    name = "vpkg",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        vpkg init pump-watch pump-watch --silent      the crate of a new agent\n  \
        vpkg package pump-watch                       pump-watch-0.1.0.crate, below packaged/ in the home\n  \
        vpkg package pump-watch --binary --dest /tmp  a program, for machines without Rust\n  \
        vpkg package volttron-listener --vip-identity hall    a wheel of a Python agent\n  \
        vctl install PATH                             what each of them is for"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
enum Verb {
    /// Write the crate of a new agent, historian or driver
    Init(InitArgs),
    /// Make a package of a crate or of the directory of a Python agent
    Package(PackageArgs),
    /// Make a package of an installed agent again
    #[command(
        after_help = "A program comes out as a program, a Python agent as a wheel; keys, configuration and data stay.\n\n\
        Example:\n  vpkg repackage ~/.volttron/agents/listener --dest /tmp"
    )]
    Repackage {
        /// Its directory below agents/
        #[arg(value_name = "INSTALLED_DIR")]
        directory: PathBuf,
        /// Directory for the package; packaged/ in the home otherwise
        #[arg(long, value_name = "DIR")]
        dest: Option<PathBuf>,
    },
    /// Put a configuration into a wheel
    #[command(
        after_help = "What is installed from another package gets it with `vctl install --agent-config`.\n\n\
        Example:\n  vpkg configure volttron_listener-0.2.0-py3-none-any.whl listener.config"
    )]
    Configure {
        /// The wheel
        package: String,
        /// Configuration file
        #[arg(value_name = "CONFIG")]
        config: PathBuf,
    },
    /// Say whether a package may be installed here, by its signature
    #[command(
        after_help = "A signature is a file PACKAGE.minisig beside the package, made with `minisign -S`.\n\n\
        Examples:\n  vpkg verify pump-watch-0.1.0.crate                  by trusted-package-keys in the home's config\n  \
        vpkg verify pump-watch-0.1.0.crate --key our.pub"
    )]
    Verify {
        /// The package
        package: String,
        /// minisign keys to trust, or files with one, separated by commas
        #[arg(long, value_name = "KEY[,..]")]
        key: Option<String>,
    },
    /// Not here: `minisign` signs packages
    Sign(Anything),
    /// Not here: packages are signed with a key of minisign, without certificates
    CreateCa(Anything),
    /// Not here: packages are signed with a key of minisign, without certificates
    CreateCert(Anything),
}

/// Whatever follows a verb that is not built.
#[derive(Args, Debug)]
struct Anything {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _words: Vec<OsString>,
}

#[derive(Args, Debug)]
#[command(after_help = "It asks what `vctl new` asks.\n\n\
    Examples:\n  \
    vpkg init pump-watch pump-watch\n  \
    vpkg init /srv/agents/shelf shelf --template historian --identity shelf --silent")]
struct InitArgs {
    /// Directory to write, which must not be there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Name of the crate
    #[arg(value_name = "MODULE")]
    name: String,
    /// What it is
    #[arg(long, value_enum, default_value = "common")]
    template: Template,
    /// Default VIP identity; n in braces becomes a number at installation
    #[arg(long, value_name = "ID")]
    identity: Option<String>,
    /// Ask nothing
    #[arg(long)]
    silent: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Template {
    /// An agent that subscribes, publishes and answers calls
    Common,
    /// A historian with a store of its own
    Historian,
    /// An agent that reads a device and writes to it
    Driver,
}

#[derive(Args, Debug)]
#[command(after_help = "The last line says where the package is. `vctl install PATH` installs it.\n\n\
    Examples:\n  \
    vpkg package pump-watch                 cargo packs it and tries whether it builds\n  \
    vpkg package pump-watch --no-verify     without trying\n  \
    vpkg package pump-watch --binary        a program for machines like this one\n  \
    vpkg package listener --vip-identity hall --dest /tmp")]
struct PackageArgs {
    /// Directory of the agent
    #[arg(value_name = "DIR")]
    directory: String,
    /// Directory for the package; packaged/ in the home otherwise
    #[arg(long, value_name = "DIR")]
    dest: Option<PathBuf>,
    /// Identity that the agent gets when it is installed (wheels only)
    #[arg(long, value_name = "ID")]
    vip_identity: Option<String>,
    /// A program instead of a .crate file
    #[arg(long)]
    binary: bool,
    /// Do not try whether the .crate file builds
    #[arg(long, conflicts_with = "binary")]
    no_verify: bool,
    #[command(flatten)]
    build: BuildArgs,
}

impl Program for Cli {
    const NAME: &'static str = "vpkg";

    fn common(&self) -> &Common {
        &self.common
    }

    async fn go(self, vctl: &Vctl, out: &mut Output) -> Result<u8, OpError> {
        let home = vctl.home();
        let python = Settings { verbose: vctl.verbose, ..Settings::from_home(home) };
        match self.verb {
            Verb::Init(args) => init(vctl, args, out),
            Verb::Package(args) => package(vctl, args, out).await,
            Verb::Repackage { directory, dest } => {
                let made = Packing { home, dest: &dest_or(vctl, dest), python: &python }
                    .installed(&directory)
                    .await?;
                created(vctl, &made, out);
                Ok(0)
            }
            Verb::Configure { package, config } => {
                let packing = Packing { home, dest: home.path(), python: &python };
                let made = packing.configure(&package, &config).await?;
                said(
                    vctl,
                    &json!({"package": made}),
                    &format!("{} has the configuration of {}", made.display(), config.display()),
                    out,
                );
                Ok(0)
            }
            Verb::Verify { package, key } => verify(vctl, &package, key.as_deref(), out),
            Verb::Sign(_) => Err(OpError::Refused(SIGN.to_owned())),
            Verb::CreateCa(_) | Verb::CreateCert(_) => Err(OpError::Refused(CERTIFICATES.to_owned())),
        }
    }
}

fn init(vctl: &Vctl, args: InitArgs, out: &mut Output) -> Result<u8, OpError> {
    if args.directory.symlink_metadata().is_ok() {
        let text = format!("{} is there already; name another directory", args.directory.display());
        return Err(OpError::Refused(text));
    }
    let kind = match args.template {
        Template::Common => Kind::Agent,
        Template::Historian => Kind::Historian,
        Template::Driver => Kind::Driver,
    };
    new(vctl, NewArgs::asked(kind, args.name, args.directory, args.identity, args.silent), out)
}

async fn package(vctl: &Vctl, args: PackageArgs, out: &mut Output) -> Result<u8, OpError> {
    if let Some(identity) = &args.vip_identity {
        check_identity(identity)?;
    }
    let python = install::python(vctl, &args.build);
    let request = install::build(vctl, args.build);
    let form = if args.binary { Form::Program } else { Form::Sources { verify: !args.no_verify } };
    let packing = Packing { home: vctl.home(), dest: &dest_or(vctl, args.dest), python: &python };
    let made =
        packing.directory(&args.directory, form, &build(&request), args.vip_identity.as_deref()).await?;
    created(vctl, &made, out);
    Ok(0)
}

/// What could not be installed is not packed.
fn check_identity(text: &str) -> Result<(), OpError> {
    let identity = text.replacen("{n}", "1", 1);
    if identity::is_valid(&identity) && !identity::reserved_for_install(&identity) {
        return Ok(());
    }
    let why = "letters, digits, _ . and - only, and none of the platform's own";
    Err(OpError::Usage(format!("--vip-identity {text}: {why}")))
}

fn verify(vctl: &Vctl, package: &str, keys: Option<&str>, out: &mut Output) -> Result<u8, OpError> {
    let keys = match keys {
        Some(text) => TrustedKeys::parse(text)?,
        None => TrustedKeys::of(vctl.home())?,
    };
    let source = recognise(package, None, None)?;
    if !matches!(source, Source::Packed(_) | Source::Wheel(_) | Source::Program(_)) {
        let why = "only .crate files, wheels and programs are signed".to_owned();
        return Err(InstallError::Unsupported { path: package.to_owned(), why }.into());
    }
    if keys.is_empty() {
        return Err(OpError::Refused(format!(
            "nothing says whose signature {package} should have: name a key (--key), or set trusted-package-keys in \
             the home's config"
        )));
    }
    keys.check(&source)?;
    said(
        vctl,
        &json!({"package": package, "trusted": true}),
        &format!("{package} is signed with a trusted key"),
        out,
    );
    Ok(0)
}

fn dest_or(vctl: &Vctl, dest: Option<PathBuf>) -> PathBuf {
    dest.unwrap_or_else(|| vctl.home().packaged())
}

/// The line that scripts look for.
fn created(vctl: &Vctl, path: &Path, out: &mut Output) {
    said(vctl, &json!({"package": path}), &format!("Package created at: {}", path.display()), out);
}

fn said(vctl: &Vctl, object: &Value, text: &str, out: &mut Output) {
    if vctl.json {
        out.print(&render::pretty(object));
    } else {
        out.line(text);
    }
}

const SIGN: &str = "packages are signed by minisign, not by this program: `minisign -G` makes a key, `minisign -S -m PACKAGE` \
    writes PACKAGE.minisig beside the package; trusted-package-keys in a platform's config says whose packages it takes";
const CERTIFICATES: &str = "packages are signed with a key and without certificates: `minisign -G` makes a key, \
    `minisign -S -m PACKAGE` signs; and this platform serves nothing that needs a certificate";
