//! Attribute macros of `volttron-client`; use them through that crate.
//!
//! Owns the reading of `#[agent]` blocks, `#[interface]` traits and `#[main]` functions. A macro here only writes calls of the builder
//! (`Registrar`) that could be written by hand; it must never hide anything else. Start reading at `agent::expand`.

mod agent;
mod attributes;
mod entry;
mod interface;
mod method;

use proc_macro::TokenStream;

/// Registers the marked methods of an `impl` block with the agent.
///
/// The block stays as it is; an implementation of `Agent` is added whose `register` has one call per marker:
///
/// | marker on a method | call | the method takes, in any order |
/// |---|---|---|
/// | `#[rpc(open)]`, `#[rpc(allow = "cap")]`, `#[rpc(callers("a", "b"))]`, `#[rpc(self_or("param", "cap"))]` | `rpc` | `&Cx`, `Caller`, then named parameters; `#[rpc(default = ..)]` or `Option<T>` make one optional |
/// | `#[subscribe("prefix")]` | `subscribe` | `&Cx`, `Publication` |
/// | `#[config("pattern")]` or `#[config("pattern", on(New, Update))]` | `config` | `&Cx`, `ConfigEvent`, or any `T: Deserialize` for the contents |
/// | `#[every("30s")]`, `#[cron("0 * * * *")]` | `every`, `cron` | `&Cx` |
/// | `#[on(setup)]`, `#[on(connected)]`, `#[on(start)]`, `#[on(stop)]` | `on_...` | `&Cx` |
///
/// Marked methods are `async` and take `&self`. `#[agent(name = "..")]` sets the class name in alert topics, the type's
/// name otherwise. `#[agent(serves(Pump))]` also serves the methods of an [`macro@interface`] that the type implements.
#[proc_macro_attribute]
pub fn agent(arguments: TokenStream, item: TokenStream) -> TokenStream {
    agent::expand(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Declares methods once, for the agent that serves them and for those that call it.
///
/// On a trait of `async fn`s without bodies, each with its `#[rpc(..)]` (as in [`macro@agent`]). Written are:
///
/// - the trait, with futures that are `Send`; an agent implements it with `async fn`s and says
///   `#[agent(serves(Pump))]`, or calls `<Self as Pump>::register_interface(registrar)` in its `Agent::register`;
/// - a struct `PumpClient` with `new(&cx, "peer")`, `timeout(..)` for all calls, and the same methods. They take the
///   parameters without `&Cx` and `Caller`, and return a `TypedCall`, which is awaited, perhaps after its own
///   `timeout(..)`. `None` for an optional parameter leaves it to the callee; text is given as `&str` or `String`,
///   where the callee takes a `Value` anything that can be put into JSON.
///
/// The callee may be of any make: towards a Python agent only the client is used, and `#[rpc(..)]` says what that
/// agent declares.
#[proc_macro_attribute]
pub fn interface(arguments: TokenStream, item: TokenStream) -> TokenStream {
    interface::expand(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a program of an agent: `#[main(identity = "pump-{n}")] async fn main(start: Start) -> Result<Pump, StartError>`.
///
/// The function makes the agent; connecting, logging, signals and the exit code are `volttron_client::run_with`'s.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    entry::expand(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
