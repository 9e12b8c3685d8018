//! `#[main]`: from a function that makes an agent to a program.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn, LitStr, Result, ReturnType};

/// Expands the attribute.
pub fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut identity = None;
    let mut schema = None;
    let parser = syn::meta::parser(|meta| {
        if meta.path.is_ident("identity") {
            identity = Some(meta.value()?.parse::<LitStr>()?);
        } else if meta.path.is_ident("config_schema") {
            schema = Some(meta.value()?.parse::<syn::Expr>()?);
        } else {
            return Err(meta.error("`#[main]` knows `identity = \"..\"` and `config_schema = ..`"));
        }
        Ok(())
    });
    syn::parse::Parser::parse2(parser, arguments)?;
    let function: ItemFn = syn::parse2(item)?;
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        return Err(Error::new_spanned(signature.fn_token, "`#[main]` goes on an `async fn`"));
    }
    if signature.inputs.len() != 1 || matches!(signature.output, ReturnType::Default) {
        return Err(Error::new_spanned(
            &signature.ident,
            "the function makes the agent: `async fn main(start: Start) -> Result<MyAgent, StartError>`",
        ));
    }
    // The name that Cargo.toml's `[package.metadata.volttron]` has too; the package's own name will do.
    let identity = identity.map_or_else(|| quote!(env!("CARGO_PKG_NAME")), |text| quote!(#text));
    let schema = schema.map(|schema| quote!(.config_schema(#schema)));
    let name = &signature.ident;
    Ok(quote! {
        fn main() -> ::std::process::ExitCode {
            #[allow(clippy::unused_async)]
            #function
            let program = ::volttron_client::Program::new(::volttron_client::package!(), #identity) #schema;
            ::volttron_client::run_with(&program, #name)
        }
    })
}
