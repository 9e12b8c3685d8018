//! The markers and their arguments.

use std::time::Duration;

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Ident, LitStr, Result, Token, parenthesized};

/// What a marker says.
pub enum Marker {
    /// `#[rpc(..)]`: an expression of type `Access`, and another name for the method.
    Rpc { access: TokenStream, name: Option<LitStr> },
    /// `#[subscribe("prefix")]`
    Subscribe { prefix: LitStr, all_platforms: bool },
    /// `#[config("pattern", on(..))]`: an expression of type `Actions`, if given.
    Config { pattern: LitStr, actions: Option<TokenStream> },
    /// `#[every("30s")]`
    Every(Duration),
    /// `#[cron("..")]`
    Cron(LitStr),
    /// `#[on(start)]`: the registrar's method.
    On(Ident),
}

/// Reads an attribute if it is one of ours.
fn read(attribute: &Attribute) -> Result<Option<Marker>> {
    let Some(name) = attribute.path().get_ident() else { return Ok(None) };
    let marker = match name.to_string().as_str() {
        "rpc" => rpc(attribute)?,
        "subscribe" => subscribe(attribute)?,
        "config" => config(attribute)?,
        "every" => Marker::Every(duration(&attribute.parse_args::<LitStr>()?)?),
        "cron" => Marker::Cron(cron(attribute)?),
        "on" => on(attribute)?,
        _ => return Ok(None),
    };
    Ok(Some(marker))
}

/// Reads our attributes and takes them off.
pub fn take(attributes: &mut Vec<Attribute>) -> Result<Vec<Marker>> {
    let mut markers = Vec::new();
    for attribute in attributes.iter() {
        markers.extend(read(attribute)?);
    }
    attributes.retain(|a| !is_marker(a));
    Ok(markers)
}

/// Two methods of one name.
pub fn twice(method: &Ident, name: &str) -> Error {
    Error::new(
        method.span(),
        format!(
            "method `{name}` is registered twice; give one of them another name, `#[rpc(.., name = \"..\")]`"
        ),
    )
}

/// True for the markers this crate reads.
fn is_marker(attribute: &Attribute) -> bool {
    ["rpc", "subscribe", "config", "every", "cron", "on"].iter().any(|name| attribute.path().is_ident(name))
}

/// What to write where nothing says who may call.
pub const ACCESS_HELP: &str = "say who may call this method: `#[rpc(open)]` for every authenticated peer, \
     `#[rpc(allow = \"capability\")]` for callers that hold a capability, `#[rpc(callers(\"identity\"))]` for named \
     identities, or `#[rpc(self_or(\"parameter\", \"capability\"))]`";

struct RpcArguments {
    access: Option<TokenStream>,
    name: Option<LitStr>,
}

impl Parse for RpcArguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut all = Self { access: None, name: None };
        while !input.is_empty() {
            let word: Ident = input.parse()?;
            let access = match word.to_string().as_str() {
                "open" => Some(quote!(::volttron_client::Access::Open)),
                "allow" => Some(allow(input)?),
                "callers" => {
                    let names = strings(input)?;
                    Some(quote!(::volttron_client::Access::Callers(vec![#(#names.to_owned()),*])))
                }
                "self_or" => {
                    let names = strings(input)?;
                    let [param, capability] = names.as_slice() else {
                        return Err(Error::new(
                            word.span(),
                            "write `self_or(\"parameter\", \"capability\")`",
                        ));
                    };
                    Some(quote!(::volttron_client::Access::SelfOr {
                        param: #param.to_owned(),
                        capability: #capability.to_owned(),
                    }))
                }
                "name" => {
                    input.parse::<Token![=]>()?;
                    all.name = Some(input.parse()?);
                    None
                }
                other => {
                    return Err(Error::new(word.span(), format!("unknown word `{other}`; {ACCESS_HELP}")));
                }
            };
            if let Some(access) = access
                && all.access.replace(access).is_some()
            {
                return Err(Error::new(word.span(), "a method has one access declaration"));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(all)
    }
}

/// `allow = "one"` or `allow("one", "two")`: all are needed.
fn allow(input: ParseStream<'_>) -> Result<TokenStream> {
    if input.peek(Token![=]) {
        input.parse::<Token![=]>()?;
        let name: LitStr = input.parse()?;
        return Ok(quote!(::volttron_client::Access::Capability(#name)));
    }
    let names = strings(input)?;
    Ok(quote!(::volttron_client::Access::Capabilities(vec![#(#names.to_owned()),*])))
}

fn strings(input: ParseStream<'_>) -> Result<Vec<LitStr>> {
    let inner;
    parenthesized!(inner in input);
    Ok(Punctuated::<LitStr, Token![,]>::parse_terminated(&inner)?.into_iter().collect())
}

fn rpc(attribute: &Attribute) -> Result<Marker> {
    let arguments = match &attribute.meta {
        syn::Meta::Path(_) => RpcArguments { access: None, name: None },
        _ => attribute.parse_args()?,
    };
    let access = arguments.access.ok_or_else(|| Error::new(attribute.span(), ACCESS_HELP))?;
    Ok(Marker::Rpc { access, name: arguments.name })
}

fn subscribe(attribute: &Attribute) -> Result<Marker> {
    attribute.parse_args_with(|input: ParseStream<'_>| {
        let prefix = input.parse()?;
        let mut all_platforms = false;
        if input.parse::<Option<Token![,]>>()?.is_some() && !input.is_empty() {
            let word: Ident = input.parse()?;
            if word != "all_platforms" {
                return Err(Error::new(word.span(), "only `all_platforms` may follow the prefix"));
            }
            all_platforms = true;
        }
        Ok(Marker::Subscribe { prefix, all_platforms })
    })
}

fn config(attribute: &Attribute) -> Result<Marker> {
    attribute.parse_args_with(|input: ParseStream<'_>| {
        let pattern = input.parse()?;
        let mut actions = None;
        if input.parse::<Option<Token![,]>>()?.is_some() && !input.is_empty() {
            let word: Ident = input.parse()?;
            if word != "on" {
                return Err(Error::new(word.span(), "write `on(New, Update, Delete)` behind the pattern"));
            }
            let inner;
            parenthesized!(inner in input);
            let names = Punctuated::<Ident, Token![,]>::parse_terminated(&inner)?;
            for name in &names {
                if !["New", "Update", "Delete"].iter().any(|known| name == known) {
                    return Err(Error::new(name.span(), "actions are `New`, `Update` and `Delete`"));
                }
            }
            let names = names.iter();
            actions = Some(quote!([#(::volttron_client::Action::#names),*]));
        }
        Ok(Marker::Config { pattern, actions })
    })
}

fn cron(attribute: &Attribute) -> Result<LitStr> {
    let text: LitStr = attribute.parse_args()?;
    if text.value().split_whitespace().count() == 5 {
        return Ok(text);
    }
    Err(Error::new(
        text.span(),
        "a cron expression has five fields: minute, hour, day of month, month, day of week",
    ))
}

fn on(attribute: &Attribute) -> Result<Marker> {
    let word: Ident = attribute.parse_args()?;
    let method = match word.to_string().as_str() {
        "setup" | "connected" | "start" | "stop" => Ident::new(&format!("on_{word}"), Span::call_site()),
        _ => {
            return Err(Error::new(word.span(), "there are `setup`, `connected`, `start` and `stop`"));
        }
    };
    Ok(Marker::On(method))
}

/// `500ms`, `30s`, `5m`, `1h`: a number and a unit.
fn duration(text: &LitStr) -> Result<Duration> {
    let value = text.value();
    let bad = || Error::new(text.span(), "write a number and a unit: `500ms`, `30s`, `5m` or `1h`");
    let digits = value.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
    let (number, unit) = value.split_at(digits);
    let number: f64 = number.parse().map_err(|_| bad())?;
    let seconds = match unit.trim() {
        "ms" => number / 1000.0,
        "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(bad()),
    };
    Duration::try_from_secs_f64(seconds).ok().filter(|d| !d.is_zero()).ok_or_else(bad)
}
