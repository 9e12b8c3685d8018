//! One marked method: what it takes, and the closure that calls it.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, Expr, FnArg, GenericArgument, Ident, Pat, PathArguments, Result, ReturnType, Signature,
};
use syn::{Type, TypePath};

/// What an argument is for.
pub enum Argument {
    /// `&Cx` or `Cx`.
    Cx { by_reference: bool },
    /// `Caller`.
    Caller,
    /// Anything else: a parameter by name, with its default.
    Value { name: Ident, ty: Box<Type>, default: Option<Box<Expr>> },
}

/// A marked method, checked.
pub struct Method {
    pub name: Ident,
    /// Where the compiler points when what is written about this method does not fit.
    pub at: Span,
    /// The same for its result.
    pub result_at: Span,
    pub arguments: Vec<Argument>,
    pub doc: Option<String>,
    pub returns: Returns,
}

/// What it gives back, as far as the call of it has to know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Returns {
    Nothing,
    /// The name says `Result`.
    Result,
    Value,
}

/// Checks a method and takes our attributes off its parameters.
pub fn read(signature: &mut Signature, attributes: &[Attribute]) -> Result<Method> {
    if signature.asyncness.is_none() {
        return Err(Error::new_spanned(
            signature.fn_token,
            "handlers are `async fn`, whether they wait or not: write `async fn`",
        ));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &signature.generics,
            "handlers cannot be generic: they are called by name",
        ));
    }
    let mut inputs = signature.inputs.iter_mut();
    match inputs.next() {
        Some(FnArg::Receiver(r)) if r.reference.is_some() && r.mutability.is_none() => {}
        Some(other) => {
            return Err(Error::new_spanned(
                other,
                "write `&self`: handlers run at the same time; what changes goes into a `Mutex` or an atomic in the struct",
            ));
        }
        None => {
            return Err(Error::new_spanned(&signature.ident, "handlers take the agent: write `&self` first"));
        }
    }
    let mut arguments = Vec::new();
    for input in inputs {
        if let FnArg::Typed(typed) = input {
            let default = take_default(&mut typed.attrs)?;
            arguments.push(argument(&typed.pat, &typed.ty, default)?);
        }
    }
    Ok(Method {
        name: signature.ident.clone(),
        at: at(signature.ident.span()),
        result_at: match &signature.output {
            ReturnType::Default => at(signature.ident.span()),
            ReturnType::Type(_, ty) => at(ty.span()),
        },
        arguments,
        doc: doc(attributes),
        returns: returns(&signature.output),
    })
}

/// A place in the author's code, with the names that are known where the attribute stands.
fn at(place: Span) -> Span {
    Span::call_site().located_at(place)
}

fn argument(pattern: &Pat, ty: &Type, default: Option<Expr>) -> Result<Argument> {
    let by_reference = matches!(ty, Type::Reference(_));
    let inner = match ty {
        Type::Reference(r) => &r.elem,
        other => other,
    };
    match last_name(inner).as_deref() {
        Some("Cx") => return Ok(Argument::Cx { by_reference }),
        Some("Caller") if !by_reference => return Ok(Argument::Caller),
        _ => {}
    }
    if by_reference
        && let Some(name @ ("Caller" | "Publication" | "ConfigEvent")) = last_name(inner).as_deref()
    {
        return Err(Error::new_spanned(ty, format!("handlers get their own `{name}`: write it without `&`")));
    }
    if by_reference {
        return Err(Error::new_spanned(
            ty,
            "parameters are owned values: write `String` for `&str`, `Vec<T>` for `&[T]`; only `&Cx` is a reference",
        ));
    }
    let Pat::Ident(name) = pattern else {
        return Err(Error::new_spanned(pattern, "give the parameter a plain name: callers use it"));
    };
    Ok(Argument::Value { name: name.ident.clone(), ty: Box::new(ty.clone()), default: default.map(Box::new) })
}

/// The last segment of a type's path.
pub fn last_name(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(TypePath { path, .. }) => path.segments.last().map(|s| s.ident.to_string()),
        _ => None,
    }
}

/// `#[rpc(default)]` and `#[rpc(default = expression)]` on a parameter.
fn take_default(attributes: &mut Vec<Attribute>) -> Result<Option<Expr>> {
    let Some(at) = attributes.iter().position(|a| a.path().is_ident("rpc")) else { return Ok(None) };
    let attribute = attributes.remove(at);
    let mut default = None;
    attribute.parse_nested_meta(|meta| {
        if !meta.path.is_ident("default") {
            return Err(meta.error("parameters know `#[rpc(default)]` and `#[rpc(default = value)]`"));
        }
        default = Some(if meta.input.peek(syn::Token![=]) {
            meta.value()?.parse()?
        } else {
            syn::parse_quote!(::volttron_client::__macros::Value::Null)
        });
        Ok(())
    })?;
    Ok(default)
}

fn doc(attributes: &[Attribute]) -> Option<String> {
    let lines: Vec<String> = attributes
        .iter()
        .filter(|a| a.path().is_ident("doc"))
        .filter_map(|a| match &a.meta {
            syn::Meta::NameValue(nv) => match &nv.value {
                Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => {
                    Some(text.value().trim().to_owned())
                }
                _ => None,
            },
            _ => None,
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n").trim().to_owned())
}

fn returns(output: &ReturnType) -> Returns {
    match output {
        ReturnType::Default => Returns::Nothing,
        ReturnType::Type(_, ty) if matches!(&**ty, Type::Tuple(t) if t.elems.is_empty()) => Returns::Nothing,
        ReturnType::Type(_, ty) if last_name(ty).as_deref() == Some("Result") => Returns::Result,
        ReturnType::Type(..) => Returns::Value,
    }
}

/// The type a caller gets: `T` of `Result<T, ..>`, the type itself otherwise.
pub fn result_type(output: &ReturnType) -> Result<Type> {
    let ReturnType::Type(_, ty) = output else { return Ok(syn::parse_quote!(())) };
    if returns(output) != Returns::Result {
        return Ok((**ty).clone());
    }
    if let Type::Path(TypePath { path, .. }) = &**ty
        && let Some(PathArguments::AngleBracketed(all)) = path.segments.last().map(|s| &s.arguments)
        && let Some(GenericArgument::Type(inner)) = all.args.first()
    {
        return Ok(inner.clone());
    }
    Err(Error::new_spanned(ty, "say what callers get: `Result<Type, RpcError>`"))
}

impl Argument {
    /// The name callers know a parameter by.
    pub fn text(name: &Ident) -> String {
        let text = name.to_string();
        text.strip_prefix("r#").unwrap_or(&text).to_owned()
    }
}

impl Method {
    /// The only value parameter, for handlers that get one thing.
    pub fn single_value(&self) -> Result<Option<&Type>> {
        let mut values = self.arguments.iter().filter_map(|a| match a {
            Argument::Value { ty, .. } => Some(&**ty),
            _ => None,
        });
        let one = values.next();
        match values.next() {
            None => Ok(one),
            Some(second) => Err(Error::new_spanned(second, "this handler gets one value besides `&Cx`")),
        }
    }

    /// The call's arguments, in order; `value` stands for each value parameter.
    pub fn pass(&self, value: &TokenStream) -> Result<Vec<TokenStream>> {
        self.arguments
            .iter()
            .map(|argument| match argument {
                Argument::Cx { by_reference: true } => Ok(quote!(&cx)),
                Argument::Cx { by_reference: false } => Ok(quote!(cx.clone())),
                Argument::Caller => Err(Error::new_spanned(&self.name, "only RPC methods have a caller")),
                Argument::Value { .. } => Ok(value.clone()),
            })
            .collect()
    }

    /// `call` as a handler's result.
    pub fn outcome(&self, call: &TokenStream) -> TokenStream {
        match self.returns {
            Returns::Result => {
                let error =
                    quote_spanned!(self.result_at=> |error| ::volttron_client::__macros::agent_error(error));
                quote!(#call.map_err(#error).map(|_| ()))
            }
            Returns::Nothing | Returns::Value => quote!({ #call; ::core::result::Result::Ok(()) }),
        }
    }

    /// The call of the registrar that serves this method, without the receiver. `callee` is the path of the function,
    /// `agent` its `&self`.
    pub fn registration(
        &self,
        access: &TokenStream,
        name: &str,
        callee: &TokenStream,
        agent: &TokenStream,
    ) -> TokenStream {
        let mut declared = quote!(::volttron_client::Method::new(#name, #access));
        let mut passed = vec![agent.clone()];
        for argument in &self.arguments {
            match argument {
                Argument::Cx { by_reference: true } => passed.push(quote!(&request.cx)),
                Argument::Cx { by_reference: false } => passed.push(quote!(request.cx.clone())),
                Argument::Caller => passed.push(quote!(request.caller.clone())),
                Argument::Value { name, ty, default } => {
                    let text = Argument::text(name);
                    let optional = last_name(ty).as_deref() == Some("Option");
                    declared = match default {
                        Some(value) => {
                            quote!(#declared.optional(#text, ::volttron_client::__macros::json!(#value)))
                        }
                        None if optional => {
                            quote!(#declared.optional(#text, ::volttron_client::__macros::Value::Null))
                        }
                        None => quote!(#declared.param(#text)),
                    };
                    passed.push(quote_spanned!(at(ty.span())=> ::volttron_client::__macros::parameter::<#ty>(&request, #text)?));
                }
            }
        }
        if let Some(doc) = &self.doc {
            declared = quote!(#declared.doc(#doc));
        }
        let call = quote_spanned!(self.at=> #callee(#(#passed),*).await);
        let result = match self.returns {
            Returns::Result => {
                let error =
                    quote_spanned!(self.result_at=> |error| ::volttron_client::__macros::rpc_error(error));
                quote!(#call.map_err(#error))
            }
            Returns::Nothing => quote!({ #call; ::core::result::Result::Ok(()) }),
            Returns::Value => quote!(::core::result::Result::Ok(#call)),
        };
        let checked = quote_spanned!(self.result_at=> ::volttron_client::__macros::answer(result));
        quote_spanned!(self.at=> .rpc(
            #declared,
            |agent: ::std::sync::Arc<Self>, request: ::volttron_client::Request| async move {
                let _ = &request;
                let result: ::core::result::Result<_, ::volttron_client::RpcError> = #result;
                #checked
            }
        ))
    }
}
