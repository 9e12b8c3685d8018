//! What a method declares, and binding a call's arguments to it.
//!
//! Must never look at who calls; that is `access`.

use std::panic::Location;

use serde_json::{Map, Value, json};
use volttron_utils::jsonrpc::{Params, RpcError};

use crate::access::Access;

/// How a parameter takes its value, with Python's names because `<method>.inspect` reports them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    PositionalOrKeyword,
    VarPositional,
    KeywordOnly,
    VarKeyword,
}

impl Kind {
    fn text(self) -> &'static str {
        match self {
            Self::PositionalOrKeyword => "POSITIONAL_OR_KEYWORD",
            Self::VarPositional => "VAR_POSITIONAL",
            Self::KeywordOnly => "KEYWORD_ONLY",
            Self::VarKeyword => "VAR_KEYWORD",
        }
    }
}

#[derive(Clone, Debug)]
struct Param {
    name: String,
    kind: Kind,
    default: Option<Value>,
}

/// An RPC method: its name, who may call it, its parameters in order.
///
/// ```
/// use volttron_client::{Access, Method};
/// use serde_json::json;
/// let m = Method::new("prioritize_agent", Access::Capability("control_agents"))
///     .param("uuid")
///     .optional("priority", json!("50"))
///     .doc("Sets the start priority of an agent.");
/// assert_eq!(m.inspect()["params"]["priority"]["default"], "50");
/// ```
#[derive(Clone, Debug)]
pub struct Method {
    name: String,
    access: Access,
    hardened: bool,
    params: Vec<Param>,
    doc: Option<String>,
    returns: Option<String>,
    source: &'static Location<'static>,
}

impl Method {
    /// A method without parameters. The access declaration is not optional:
    ///
    /// ```compile_fail,E0061
    /// let undeclared = volttron_client::Method::new("open_valve");
    /// ```
    #[track_caller]
    pub fn new(name: impl Into<String>, access: Access) -> Self {
        let source = Location::caller();
        Self {
            name: name.into(),
            access,
            hardened: false,
            params: Vec::new(),
            doc: None,
            returns: None,
            source,
        }
    }

    /// Says that 9.x serves this method to everybody: `--open-methods` then lifts its access declaration. Requirements
    /// that administrators impose stay.
    #[must_use]
    pub fn hardened(mut self) -> Self {
        self.hardened = true;
        self
    }

    /// Whether [`Self::hardened`].
    pub fn is_hardened(&self) -> bool {
        self.hardened
    }

    fn push(mut self, name: impl Into<String>, kind: Kind, default: Option<Value>) -> Self {
        self.params.push(Param { name: name.into(), kind, default });
        self
    }

    /// Adds a required parameter, given by position or by name.
    #[must_use]
    pub fn param(self, name: impl Into<String>) -> Self {
        self.push(name, Kind::PositionalOrKeyword, None)
    }

    /// Adds a parameter with a default, given by position or by name.
    #[must_use]
    pub fn optional(self, name: impl Into<String>, default: impl Into<Value>) -> Self {
        self.push(name, Kind::PositionalOrKeyword, Some(default.into()))
    }

    /// Adds a parameter that can only be given by name; required if `default` is none.
    #[must_use]
    pub fn keyword(self, name: impl Into<String>, default: Option<Value>) -> Self {
        self.push(name, Kind::KeywordOnly, default)
    }

    /// Takes any number of further positional arguments ([`super::Request::rest`]).
    #[must_use]
    pub fn var_args(self) -> Self {
        self.push("args", Kind::VarPositional, None)
    }

    /// Takes any further named arguments ([`super::Request::extra`]).
    #[must_use]
    pub fn var_kwargs(self) -> Self {
        self.push("kwargs", Kind::VarKeyword, None)
    }

    /// Documentation that callers see through `inspect`.
    #[must_use]
    pub fn doc(mut self, text: impl Into<String>) -> Self {
        self.doc = Some(text.into());
        self
    }

    /// The type of the result, as text for `inspect`.
    #[must_use]
    pub fn returns(mut self, text: impl Into<String>) -> Self {
        self.returns = Some(text.into());
        self
    }

    /// The name callers use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who may call it.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The answer to `<method>.inspect` (subsystems.md section 6.7).
    pub fn inspect(&self) -> Value {
        let mut params = Map::new();
        for p in &self.params {
            let mut entry = Map::new();
            entry.insert("kind".into(), p.kind.text().into());
            if let Some(default) = &p.default {
                entry.insert("default".into(), default.clone());
            }
            params.insert(p.name.clone(), Value::Object(entry));
        }
        let mut out = Map::new();
        out.insert("params".into(), Value::Object(params));
        if let Some(doc) = &self.doc {
            out.insert("doc".into(), doc.as_str().into());
        }
        out.insert("source".into(), json!({"file": self.source.file(), "line_number": self.source.line()}));
        if let Some(returns) = &self.returns {
            out.insert("return".into(), returns.as_str().into());
        }
        out.insert("access".into(), self.access.to_value());
        Value::Object(out)
    }

    /// Binds arguments to parameters as a Python call does; errors are `builtins.TypeError` with Python's wording.
    pub(crate) fn bind(&self, params: Params) -> Result<Bound, RpcError> {
        let (args, kwargs) = params.into_parts();
        let mut bound = Bound::default();
        let mut args = args.into_iter();
        let given = args.len();
        let mut takes = 0;
        let mut var_args = false;
        for p in &self.params {
            match p.kind {
                Kind::PositionalOrKeyword => {
                    takes += 1;
                    if let Some(value) = args.next() {
                        bound.named.insert(p.name.clone(), value);
                    }
                }
                Kind::VarPositional => {
                    var_args = true;
                    bound.rest.extend(args.by_ref());
                }
                Kind::KeywordOnly | Kind::VarKeyword => {}
            }
        }
        if args.next().is_some() && !var_args {
            return Err(self.too_many(takes, given));
        }
        self.bind_named(kwargs, &mut bound)?;
        self.fill_defaults(&mut bound)?;
        Ok(bound)
    }

    fn bind_named(&self, kwargs: Map<String, Value>, bound: &mut Bound) -> Result<(), RpcError> {
        let var_kwargs = self.params.iter().any(|p| p.kind == Kind::VarKeyword);
        for (name, value) in kwargs {
            let known = self
                .params
                .iter()
                .any(|p| p.name == name && matches!(p.kind, Kind::PositionalOrKeyword | Kind::KeywordOnly));
            if known && bound.named.contains_key(&name) {
                return Err(RpcError::type_error(format!(
                    "{}() got multiple values for argument '{name}'",
                    self.name
                )));
            } else if known {
                bound.named.insert(name, value);
            } else if var_kwargs {
                bound.extra.insert(name, value);
            } else {
                return Err(RpcError::type_error(format!(
                    "{}() got an unexpected keyword argument '{name}'",
                    self.name
                )));
            }
        }
        Ok(())
    }

    fn fill_defaults(&self, bound: &mut Bound) -> Result<(), RpcError> {
        for (kind, word) in [(Kind::PositionalOrKeyword, "positional"), (Kind::KeywordOnly, "keyword-only")] {
            let mut missing = Vec::new();
            for p in self.params.iter().filter(|p| p.kind == kind) {
                if bound.named.contains_key(&p.name) {
                    continue;
                }
                match &p.default {
                    Some(default) => {
                        bound.named.insert(p.name.clone(), default.clone());
                    }
                    None => missing.push(format!("'{}'", p.name)),
                }
            }
            if !missing.is_empty() {
                let s = if missing.len() == 1 { "" } else { "s" };
                return Err(RpcError::type_error(format!(
                    "{}() missing {} required {word} argument{s}: {}",
                    self.name,
                    missing.len(),
                    listed(&missing)
                )));
            }
        }
        Ok(())
    }

    fn too_many(&self, takes: usize, given: usize) -> RpcError {
        let required =
            self.params.iter().filter(|p| p.kind == Kind::PositionalOrKeyword && p.default.is_none()).count();
        let counts =
            if required == takes { takes.to_string() } else { format!("from {required} to {takes}") };
        let s = if counts == "1" { "" } else { "s" };
        let was = if given == 1 { "was" } else { "were" };
        RpcError::type_error(format!(
            "{}() takes {counts} positional argument{s} but {given} {was} given",
            self.name
        ))
    }
}

/// `'a'`, `'a' and 'b'`, `'a', 'b', and 'c'`: as Python lists missing arguments.
fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [a, b] => format!("{a} and {b}"),
        [most @ .., last] => format!("{}, and {last}", most.join(", ")),
    }
}

/// Arguments of one call, by parameter name.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    pub(crate) named: Map<String, Value>,
    pub(crate) rest: Vec<Value>,
    pub(crate) extra: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("not an object") };
        map
    }

    #[test]
    fn binding_follows_python() {
        let m = || Method::new("f", Access::Open).param("x").optional("y", 1);
        let mixed = |args: Value, kwargs: Value| Params::Mixed {
            args: args.as_array().expect("list").clone(),
            kwargs: map(kwargs),
        };
        let ok: Vec<(Params, Value)> = vec![
            (Params::Positional(vec![json!(5)]), json!({"x": 5, "y": 1})),
            (mixed(json!([5]), json!({"y": "z"})), json!({"x": 5, "y": "z"})),
            (Params::Named(map(json!({"x": null}))), json!({"x": null, "y": 1})),
        ];
        for (params, want) in ok {
            assert_eq!(Value::Object(m().bind(params).expect("binds").named), want);
        }
        let bad: Vec<(Params, &str)> = vec![
            (Params::None, "f() missing 1 required positional argument: 'x'"),
            (
                Params::Positional(vec![json!(1), json!(2), json!(3)]),
                "f() takes from 1 to 2 positional arguments but 3 were given",
            ),
            (mixed(json!([5]), json!({"x": 1})), "f() got multiple values for argument 'x'"),
            (Params::Named(map(json!({"x": 1, "q": 1}))), "f() got an unexpected keyword argument 'q'"),
        ];
        for (params, want) in bad {
            let error = m().bind(params).expect_err(want);
            assert_eq!(error.data["detail"], want);
            assert_eq!(error.data["exception.py"]["exc_type"], "builtins.TypeError");
        }
        let none = Method::new("g", Access::Open).bind(Params::Positional(vec![json!(1)])).expect_err("none");
        assert_eq!(none.data["detail"], "g() takes 0 positional arguments but 1 was given");
        let three = Method::new("g", Access::Open).param("a").param("b").param("c").bind(Params::None);
        assert_eq!(
            three.expect_err("missing").data["detail"],
            "g() missing 3 required positional arguments: 'a', 'b', and 'c'"
        );
        let kw = Method::new("g", Access::Open).keyword("k", None).bind(Params::None);
        assert_eq!(
            kw.expect_err("missing").data["detail"],
            "g() missing 1 required keyword-only argument: 'k'"
        );
    }

    #[test]
    fn rest_and_extra_take_what_is_left() {
        let m = Method::new("f", Access::Open).param("x").var_args().var_kwargs();
        let bound = m
            .bind(Params::Mixed { args: vec![json!(1), json!(2)], kwargs: map(json!({"q": 3})) })
            .expect("binds");
        assert_eq!(bound.rest, vec![json!(2)]);
        assert_eq!(Value::Object(bound.extra), json!({"q": 3}));
    }
}
