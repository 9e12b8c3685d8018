//! `#[interface]`: from a trait to its registration and to a typed client.
//!
//! The trait stays a trait: each `async fn` becomes a method that returns a `Send` future, and one provided method
//! registers them all. The client is a struct beside it whose methods put a call together.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Error, Ident, ItemTrait, LitStr, Result, ReturnType, TraitItem, TraitItemFn, Type, Visibility};

use crate::attributes::{self, ACCESS_HELP, Marker};
use crate::method::{self, Argument, Method};

/// What the client struct has itself.
const TAKEN: [&str; 3] = ["new", "timeout", "peer"];

/// Expands the attribute.
pub fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "`#[interface]` takes nothing in brackets"));
    }
    let mut interface: ItemTrait = syn::parse2(item).map_err(|e| {
        Error::new(e.span(), "`#[interface]` goes on a trait whose methods are `async fn`s without a body")
    })?;
    if !interface.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &interface.generics,
            "an interface cannot be generic: its methods are called by name; use `serde_json::Value` for what varies",
        ));
    }
    let mut registrations = Vec::new();
    let mut calls = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for item in &mut interface.items {
        let TraitItem::Fn(function) = item else {
            return Err(Error::new_spanned(item, "an interface has methods only"));
        };
        let (access, name, method, result) = declared(function)?;
        if !seen.insert(name.clone()) {
            return Err(attributes::twice(&method.name, &name));
        }
        let (trait_name, function) = (&interface.ident, &method.name);
        let callee = quote!(<Self as #trait_name>::#function);
        registrations.push(method.registration(&access, &name, &callee, &quote!(&agent)));
        calls.push(client_method(&interface.vis, &name, &method, &result));
    }
    let client = client(&interface, &calls);
    extend(&mut interface, &registrations);
    Ok(quote!(#interface #client))
}

/// Reads one method, and makes of the `async fn` what implementations and callers of the trait need.
fn declared(function: &mut TraitItemFn) -> Result<(TokenStream, String, Method, Type)> {
    let ident = &function.sig.ident;
    let mut markers = attributes::take(&mut function.attrs)?.into_iter();
    let (access, name) = match (markers.next(), markers.next()) {
        (Some(Marker::Rpc { access, name }), None) => (access, name),
        (None, _) => return Err(Error::new_spanned(ident, ACCESS_HELP)),
        _ => return Err(Error::new_spanned(ident, "a method of an interface has one marker, `#[rpc(..)]`")),
    };
    if let Some(body) = &function.default {
        return Err(Error::new_spanned(
            body,
            "an interface only declares: end the line with `;` and write the body in the agent's `impl`",
        ));
    }
    if TAKEN.iter().any(|taken| ident == taken) {
        return Err(Error::new_spanned(
            ident,
            format!(
                "the client has a `{ident}` itself; call this one something else and add `name = \"{ident}\"`"
            ),
        ));
    }
    let method = method::read(&mut function.sig, &function.attrs)?;
    let name = name.as_ref().map_or_else(|| Argument::text(&method.name), LitStr::value);
    let result = method::result_type(&function.sig.output)?;
    let output = match &function.sig.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => quote!(#ty),
    };
    function.sig.asyncness = None;
    function.sig.output =
        syn::parse_quote!(-> impl ::core::future::Future<Output = #output> + ::core::marker::Send);
    Ok((access, name, method, result))
}

/// Gives the trait what registering needs.
fn extend(interface: &mut ItemTrait, registrations: &[TokenStream]) {
    let name = &interface.ident;
    let message = format!("`{{Self}}` does not serve the interface `{name}`");
    let note =
        format!("write `impl {name} for {{Self}} {{{{ .. }}}}` with the interface's methods as `async fn`s");
    interface
        .attrs
        .push(syn::parse_quote!(#[diagnostic::on_unimplemented(message = #message, note = #note)]));
    // Towards an agent elsewhere only the client is used.
    interface.attrs.push(syn::parse_quote!(#[allow(dead_code)]));
    for bound in [quote!(::core::marker::Send), quote!(::core::marker::Sync)] {
        interface.supertraits.push(syn::parse_quote!(#bound));
    }
    let doc = format!("Serves the methods of [`{name}`]; `#[agent(serves({name}))]` writes the call of it.");
    interface.items.push(syn::parse_quote! {
        #[doc = #doc]
        fn register_interface(registrar: &mut ::volttron_client::Registrar<Self>)
        where
            Self: ::volttron_client::Agent,
        {
            #(registrar #registrations;)*
        }
    });
}

/// The struct that calls the methods.
fn client(interface: &ItemTrait, calls: &[TokenStream]) -> TokenStream {
    let (name, vis) = (&interface.ident, &interface.vis);
    let client = format_ident!("{}Client", name, span = Span::call_site());
    let doc = format!(" Calls the methods of [`{name}`] at one peer.");
    quote! {
        #[doc = #doc]
        #[derive(Clone, Debug)]
        #vis struct #client {
            cx: ::volttron_client::Cx,
            peer: ::std::string::String,
            timeout: ::core::time::Duration,
        }

        #[allow(dead_code)]
        impl #client {
            /// Calls go to `peer`; each waits for 30 s unless told otherwise.
            #vis fn new(cx: &::volttron_client::Cx, peer: impl ::core::convert::Into<::std::string::String>) -> Self {
                Self {
                    cx: ::core::clone::Clone::clone(cx),
                    peer: ::core::convert::Into::into(peer),
                    timeout: ::volttron_client::rpc::DEFAULT_TIMEOUT,
                }
            }

            /// Sets how long calls wait that do not say so themselves.
            #[must_use]
            #vis fn timeout(mut self, limit: ::core::time::Duration) -> Self {
                self.timeout = limit;
                self
            }

            /// Who is called.
            #vis fn peer(&self) -> &str {
                &self.peer
            }

            #(#calls)*
        }
    }
}

/// One method of the client: parameters only, for what the callee learns by itself is not sent.
fn client_method(vis: &Visibility, name: &str, method: &Method, result: &Type) -> TokenStream {
    let mut takes = Vec::new();
    let mut sends = Vec::new();
    for argument in &method.arguments {
        let Argument::Value { name, ty, default } = argument else { continue };
        let text = Argument::text(name);
        let (takes_type, value) = match (method::last_name(ty).as_deref(), default) {
            (Some("Option"), _) => optional(&quote!(#ty), name),
            (_, Some(_)) => optional(&quote!(::core::option::Option<#ty>), name),
            (last_name, None) => required(ty, last_name, name),
        };
        takes.push(quote!(#name: #takes_type));
        sends.push(quote!(.arg_or_default(#text, #value)));
    }
    let function = &method.name;
    let doc = method.doc.clone().unwrap_or_else(|| format!("Calls `{name}`."));
    quote! {
        #[doc = #doc]
        #vis fn #function(&self, #(#takes),*) -> ::volttron_client::TypedCall<#result> {
            self.cx.call(&self.peer, #name).timeout(self.timeout) #(#sends)* .typed()
        }
    }
}

/// `None` leaves a value to the callee; others are given without `Some`.
fn optional(ty: &TokenStream, name: &Ident) -> (TokenStream, TokenStream) {
    (quote!(impl ::core::convert::Into<#ty>), quote!(::core::convert::Into::<#ty>::into(#name)))
}

/// Text may be given as `&str`, and anything where the callee takes any JSON.
fn required(ty: &Type, last_name: Option<&str>, name: &Ident) -> (TokenStream, TokenStream) {
    let some = quote!(::core::option::Option::Some);
    match last_name {
        Some("String") => {
            let text = quote!(::std::string::String);
            (
                quote!(impl ::core::convert::Into<#text>),
                quote!(#some(::core::convert::Into::<#text>::into(#name))),
            )
        }
        Some("Value") => (quote!(impl ::volttron_client::__macros::Serialize), quote!(#some(#name))),
        _ => (quote!(#ty), quote!(#some(#name))),
    }
}
