//! `vctl rpc`: which methods there are, and how to call them; texts as scripts know them (cli.md section 4.7).

use std::fmt::Write;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
use volttron_utils::json::python;

use super::output::Output;
use super::{Vctl, render};
use crate::ops::rpc::{self, Description, Failure, Methods};
use crate::ops::{OpError, Session};

/// Verbs of `vctl rpc`.
#[derive(Debug, Subcommand)]
#[command(rename_all = "kebab-case")]
pub enum RpcVerb {
    /// List the methods of peers, or tell about some of them
    #[command(after_help = "Examples:\n  \
        vctl rpc list                                    all peers; -v shows built-in methods, too\n  \
        vctl rpc list platform.driver\n  \
        vctl rpc list platform.driver get_point set_point  their parameters; -v adds what they do")]
    List(RpcListArgs),
    /// Show the lines that call methods
    #[command(after_help = "Examples:\n  vctl rpc code platform.driver\n  \
        vctl rpc code --lang rust platform.driver get_point")]
    Code(RpcCodeArgs),
}

/// Arguments of `vctl rpc list`.
#[derive(Args, Debug)]
pub struct RpcListArgs {
    /// Identity of a peer, and names of its methods
    #[arg(value_name = "PEER [METHOD")]
    pub words: Vec<String>,
    /// Each word is the identity of a peer
    #[arg(short = 'i', long = "vip")]
    pub only_peers: bool,
}

/// Arguments of `vctl rpc code`.
#[derive(Args, Debug)]
pub struct RpcCodeArgs {
    /// Identity of a peer, and names of its methods
    #[arg(value_name = "PEER [METHOD")]
    pub words: Vec<String>,
    /// Language of the lines; without it they are those that scripts know, without quotation marks
    #[arg(long, value_enum)]
    pub lang: Option<Lang>,
}

/// Language of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Lang {
    /// As in an agent on `volttron-client`.
    Rust,
    /// As in an agent of the Python library.
    Python,
}

pub(super) async fn rpc(vctl: &Vctl, verb: RpcVerb, out: &mut Output) -> Result<u8, OpError> {
    let session = vctl.connect().await?;
    match verb {
        RpcVerb::List(args) => match args.words.as_slice() {
            [peer, methods @ ..] if !args.only_peers && !methods.is_empty() => {
                let told = rpc::describe(&session, peer, methods).await;
                Ok(show_descriptions(vctl, peer, &told, out))
            }
            peers => {
                let told = own_methods(vctl, rpc::methods(&session, peers).await?);
                Ok(show_methods(vctl, &told, !peers.is_empty(), out))
            }
        },
        RpcVerb::Code(args) => code(vctl, &session, &args, out).await,
    }
}

/// Names with a dot belong to the subsystems that every agent has; they show with `-v` only.
fn own_methods(vctl: &Vctl, mut told: Vec<Methods>) -> Vec<Methods> {
    if !vctl.verbose {
        told.iter_mut().flat_map(|(_, names)| names.as_mut()).for_each(|n| n.retain(|n| !n.contains('.')));
    }
    told
}

/// What went wrong with a peer: on standard output among the others, as scripts know it, on standard error alone.
fn tell_failure(peer: &str, failure: &Failure, named: bool, out: &mut Output) -> u8 {
    if named {
        out.complain(&format!("rpc: error: {peer} {}", failure.text));
        return failure.code;
    }
    out.line(&format!("{peer} {}", failure.text));
    0
}

fn show_methods(vctl: &Vctl, told: &[Methods], named: bool, out: &mut Output) -> u8 {
    let mut code = 0;
    let mut all = Map::new();
    for (peer, names) in told {
        match names {
            Ok(names) if vctl.json => drop(all.insert(peer.clone(), json!({"methods": names}))),
            Ok(names) => {
                out.line(peer);
                for name in names {
                    out.line(&format!("\t{name}"));
                }
            }
            Err(failure) => {
                all.insert(peer.clone(), json!({"error": failure.text}));
                if named || !vctl.json {
                    code = code.max(tell_failure(peer, failure, named, out));
                }
            }
        }
    }
    if vctl.json {
        out.print(&render::pretty(&all.into()));
    }
    code
}

fn show_descriptions(vctl: &Vctl, peer: &str, told: &[Description], out: &mut Output) -> u8 {
    let mut code = 0;
    let mut all = Map::new();
    let mut text = format!("{peer}\n");
    for (method, description) in told {
        match description {
            Ok(description) => {
                all.insert(method.clone(), description.clone());
                describe(&mut text, method, description, vctl.verbose);
            }
            Err(failure) => {
                all.insert(method.clone(), json!({"error": failure.text}));
                code = code.max(tell_failure(peer, failure, true, out));
            }
        }
    }
    if vctl.json {
        out.print(&render::pretty(&json!({peer: {"described": all}})));
    } else if told.iter().any(|(_, description)| description.is_ok()) {
        out.print(&text);
    }
    code
}

fn describe(text: &mut String, method: &str, description: &Value, verbose: bool) {
    let _ = writeln!(text, "\t{method}");
    if verbose {
        let doc = description["doc"].as_str().unwrap_or("No documentation for this method.");
        let _ = writeln!(text, "\tDocumentation:\n\t\t{}\n", doc.replace('\n', "\n\t\t"));
    }
    text.push_str("\tParameters:\n");
    match description["params"].as_object() {
        Some(params) => {
            for (name, about) in params {
                let _ = writeln!(text, "\t\t{name}:\n\t\t\t{}", python::repr(about));
            }
        }
        None => text.push_str("\t\tNo parameters for this method.\n"),
    }
}

async fn code(vctl: &Vctl, session: &Session, args: &RpcCodeArgs, out: &mut Output) -> Result<u8, OpError> {
    let mut code = 0;
    let mut all = Map::new();
    let wanted: Vec<Methods> = match args.words.as_slice() {
        [peer, methods @ ..] if !methods.is_empty() => vec![(peer.clone(), Ok(methods.to_vec()))],
        peers => own_methods(vctl, rpc::methods(session, peers).await?),
    };
    let named = !args.words.is_empty();
    for (peer, methods) in &wanted {
        let mut lines = Vec::new();
        let told = match methods {
            Ok(methods) => rpc::describe(session, peer, methods).await,
            Err(failure) => {
                if named || !vctl.json {
                    code = code.max(tell_failure(peer, failure, named, out));
                }
                continue;
            }
        };
        for (method, description) in &told {
            match description {
                Ok(description) => lines.push(call_line(args.lang, peer, method, description)),
                Err(failure) => code = code.max(tell_failure(peer, failure, true, out)),
            }
        }
        if vctl.json {
            all.insert(peer.clone(), json!(lines));
        } else {
            for line in &lines {
                out.line(line);
            }
        }
    }
    if vctl.json {
        out.print(&render::pretty(&all.into()));
    }
    Ok(code)
}

fn call_line(lang: Option<Lang>, peer: &str, method: &str, description: &Value) -> String {
    let names: Vec<&str> =
        description["params"].as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
    let list = if names.is_empty() { String::new() } else { format!(", {}", python::repr(&json!(names))) };
    match lang {
        None => format!("self.vip.rpc.call({peer}, {method}{list}).get()"),
        Some(Lang::Python) => {
            let names: String = names.iter().flat_map(|name| [", ", name]).collect();
            format!(
                "self.vip.rpc.call({}, {}{names}).get()",
                python::repr_str(peer),
                python::repr_str(method)
            )
        }
        Some(Lang::Rust) => {
            let args: String = names.iter().flat_map(|name| [".arg(", name, ")"]).collect();
            format!("cx.call({peer:?}, {method:?}){args}.send_value().await?")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_call_are_those_of_their_language() {
        let description = json!({"params": {"topic": {"kind": "POSITIONAL_OR_KEYWORD"}, "value": {}}});
        let line = |lang| call_line(lang, "platform.driver", "set_point", &description);
        assert_eq!(line(None), "self.vip.rpc.call(platform.driver, set_point, ['topic', 'value']).get()");
        assert_eq!(
            line(Some(Lang::Python)),
            "self.vip.rpc.call('platform.driver', 'set_point', topic, value).get()"
        );
        assert_eq!(
            line(Some(Lang::Rust)),
            "cx.call(\"platform.driver\", \"set_point\").arg(topic).arg(value).send_value().await?"
        );
        let none = json!({"params": {}});
        assert_eq!(call_line(None, "p", "m", &none), "self.vip.rpc.call(p, m).get()");
    }

    #[test]
    fn a_method_is_described_as_scripts_know_it() {
        let mut text = String::new();
        let description = json!({"doc": "Does.\nMore.", "params": {"a": {"kind": "X", "default": null}}});
        describe(&mut text, "m", &description, true);
        assert_eq!(
            text,
            "\tm\n\tDocumentation:\n\t\tDoes.\n\t\tMore.\n\n\tParameters:\n\t\ta:\n\t\t\t{'kind': 'X', 'default': None}\n"
        );
    }
}
