//! `#[agent]`: from an `impl` block to an implementation of `Agent`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, ImplItem, ItemImpl, LitStr, Path, Result, Token, Type, parenthesized};

use crate::attributes::{self, Marker};
use crate::method::{self, Argument, Method};

/// Expands the attribute.
pub fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut class = None;
    let mut interfaces = Punctuated::<Path, Token![,]>::new();
    let parser = syn::meta::parser(|meta| {
        if meta.path.is_ident("name") {
            class = Some(meta.value()?.parse::<LitStr>()?);
        } else if meta.path.is_ident("serves") {
            let inner;
            parenthesized!(inner in meta.input);
            interfaces = Punctuated::parse_terminated(&inner)?;
        } else {
            return Err(meta.error("`#[agent]` knows `name = \"..\"` and `serves(Interface, ..)`"));
        }
        Ok(())
    });
    syn::parse::Parser::parse2(parser, arguments)?;
    let mut block: ItemImpl = syn::parse2(item).map_err(|e| {
        Error::new(
            e.span(),
            "`#[agent]` goes on the `impl` block that holds the handlers: `#[agent] impl Pump { .. }`",
        )
    })?;
    if let Some((_, path, _)) = &block.trait_ {
        return Err(Error::new_spanned(
            path,
            "put `#[agent]` on the type's own `impl` block, not on that of a trait",
        ));
    }
    let class = match class {
        Some(class) => class,
        None => type_name(&block.self_ty)?,
    };

    let mut calls = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for item in &mut block.items {
        let ImplItem::Fn(function) = item else { continue };
        let markers = attributes::take(&mut function.attrs)?;
        if markers.is_empty() {
            continue;
        }
        let method = method::read(&mut function.sig, &function.attrs)?;
        // Handlers are async whether they wait or not.
        function.attrs.push(syn::parse_quote!(#[allow(clippy::unused_async)]));
        for marker in &markers {
            if let Marker::Rpc { name, .. } = marker {
                let name = name.as_ref().map_or_else(|| Argument::text(&method.name), LitStr::value);
                if !seen.insert(name.clone()) {
                    return Err(attributes::twice(&method.name, &name));
                }
            }
            calls.push(register(marker, &method)?);
        }
    }
    let interfaces = interfaces.iter();
    let ty = &block.self_ty;
    let (impl_generics, _, where_clause) = block.generics.split_for_impl();
    Ok(quote! {
        #block

        #[automatically_derived]
        impl #impl_generics ::volttron_client::Agent for #ty #where_clause {
            const NAME: &'static str = #class;
            fn register(registrar: &mut ::volttron_client::Registrar<Self>) {
                #(registrar #calls;)*
                #(<Self as #interfaces>::register_interface(registrar);)*
            }
        }
    })
}

fn type_name(ty: &Type) -> Result<LitStr> {
    match method::last_name(ty) {
        Some(name) => Ok(LitStr::new(&name, proc_macro2::Span::call_site())),
        None => Err(Error::new_spanned(ty, "say `#[agent(name = \"..\")]`")),
    }
}

/// One call of the registrar, without the receiver.
fn register(marker: &Marker, method: &Method) -> Result<TokenStream> {
    match marker {
        Marker::Rpc { access, name } => {
            let name = name.as_ref().map_or_else(|| Argument::text(&method.name), LitStr::value);
            let function = &method.name;
            Ok(method.registration(access, &name, &quote!(Self::#function), &quote!(&agent)))
        }
        Marker::Subscribe { prefix, all_platforms } => {
            if method.single_value()?.is_none() {
                return Err(Error::new(
                    method.name.span(),
                    "a subscription handler takes what was published: add a parameter, `publication: Publication`",
                ));
            }
            let call = call(method, &quote!(publication))?;
            Ok(quote_spanned!(method.at=> .subscribe_with(
                #prefix,
                ::volttron_client::SubscribeOptions {
                    all_platforms: #all_platforms,
                    ..::core::default::Default::default()
                },
                |agent: ::std::sync::Arc<Self>,
                 cx: ::volttron_client::Cx,
                 publication: ::volttron_client::Publication| async move { #call }
            )))
        }
        Marker::Config { pattern, actions } => config(pattern, actions.as_ref(), method),
        Marker::Every(period) => {
            let (call, millis) = (plain(method)?, period.as_millis() as u64);
            Ok(quote_spanned!(method.at=> .every(::core::time::Duration::from_millis(#millis), #call)))
        }
        Marker::Cron(expression) => {
            let call = plain(method)?;
            Ok(quote_spanned!(method.at=> .cron(#expression, #call)))
        }
        Marker::On(registrar_method) => {
            let call = plain(method)?;
            Ok(quote_spanned!(method.at=> .#registrar_method(#call)))
        }
    }
}

/// A call of the method with a typed result, for use in an async block.
fn call(method: &Method, value: &TokenStream) -> Result<TokenStream> {
    let (name, arguments) = (&method.name, method.pass(value)?);
    let outcome = method.outcome(&quote_spanned!(method.at=> Self::#name(&agent, #(#arguments),*).await));
    Ok(quote! {
        let outcome: ::core::result::Result<(), ::volttron_client::AgentError> = #outcome;
        outcome
    })
}

/// The closure of a handler that gets nothing but `&Cx`.
fn plain(method: &Method) -> Result<TokenStream> {
    if let Some(ty) = method.single_value()? {
        return Err(Error::new_spanned(
            ty,
            "this handler gets nothing but `&Cx`: keep what it needs in the agent's struct",
        ));
    }
    let call = call(method, &quote!())?;
    Ok(quote_spanned!(method.at=> |agent: ::std::sync::Arc<Self>, cx: ::volttron_client::Cx| async move {
        let _ = &cx;
        #call
    }))
}

fn config(pattern: &LitStr, actions: Option<&TokenStream>, method: &Method) -> Result<TokenStream> {
    let ty = method.single_value()?.ok_or_else(|| {
        Error::new(
            method.name.span(),
            "a configuration handler takes the entry: add a parameter, `config: MyConfig` for its contents or \
             `event: ConfigEvent` for the whole event",
        )
    })?;
    let whole_event = method::last_name(ty).as_deref() == Some("ConfigEvent");
    // Contents exist when an entry is new or updated; only a handler of events hears of deletions by default.
    let actions = match (actions, whole_event) {
        (Some(actions), _) => actions.clone(),
        (None, true) => quote!(::volttron_client::Actions::ALL),
        (None, false) => quote!(::volttron_client::Actions::CONTENTS),
    };
    let value = if whole_event {
        quote!(event)
    } else {
        quote_spanned!(Span::call_site().located_at(ty.span())=> ::volttron_client::__macros::contents::<#ty>(&event)?)
    };
    let call = call(method, &value)?;
    Ok(quote_spanned!(method.at=> .config(
        #pattern,
        #actions,
        |agent: ::std::sync::Arc<Self>,
         cx: ::volttron_client::Cx,
         event: ::volttron_client::ConfigEvent| async move {
            let _ = &cx;
            #call
        }
    )))
}
