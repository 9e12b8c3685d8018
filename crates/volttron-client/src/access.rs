//! Who may call a method: the declaration ([`Access`]), the capabilities of callers ([`CapabilityMap`],
//! [`CapabilitySource`]) and the one rule that joins them (auth.md section 5.2).
//!
//! Every refusal text of subsystems.md section 6.5 is made here; `rpc::dispatch` is the only caller. Must never do IO.

use serde_json::{Map, Value, json};
use volttron_utils::json::python;
use volttron_utils::pattern;

use crate::rpc::Caller;

/// The capabilities of one user: name to parameter restrictions (an object) or null.
pub type CapabilityMap = Map<String, Value>;

/// Who may call a method. There is no default: a method that does not say is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Any authenticated peer.
    Open,
    /// Callers that hold this capability.
    Capability(&'static str),
    /// Callers that hold all of these capabilities.
    Capabilities(Vec<String>),
    /// These identities only, whatever they hold.
    Callers(Vec<String>),
    /// These identities, and whoever holds the capability.
    CallersOr {
        /// Identities that need nothing.
        callers: Vec<String>,
        /// What everybody else needs.
        capability: String,
    },
    /// The caller whose identity is the value of parameter `param`, and whoever holds the capability.
    SelfOr {
        /// Parameter that names an identity.
        param: String,
        /// What everybody else needs.
        capability: String,
    },
}

impl Access {
    /// The capability names this declaration asks of an ordinary caller, as `auth.get_rpc_authorizations` reports them.
    pub fn capabilities(&self) -> Vec<String> {
        match self {
            Self::Open | Self::Callers(_) => Vec::new(),
            Self::Capability(name) => vec![(*name).to_owned()],
            Self::Capabilities(names) => names.clone(),
            Self::CallersOr { capability, .. } | Self::SelfOr { capability, .. } => vec![capability.clone()],
        }
    }

    /// The declaration as `<method>.inspect` shows it: `kind` and what belongs to it. Peers of other make do not send
    /// it; who reads it must do without.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Open => json!({"kind": "open"}),
            Self::Capability(_) | Self::Capabilities(_) => {
                json!({"kind": "capabilities", "capabilities": self.capabilities()})
            }
            Self::Callers(callers) => json!({"kind": "callers", "callers": callers}),
            Self::CallersOr { callers, capability } => {
                json!({"kind": "callers_or", "callers": callers, "capabilities": [capability]})
            }
            Self::SelfOr { param, capability } => {
                json!({"kind": "self_or", "param": param, "capabilities": [capability]})
            }
        }
    }

    /// What `caller` must hold to make this call, before anybody looks at capabilities.
    pub(crate) fn need(&self, method: &str, caller: &Caller, bound: &Map<String, Value>) -> Need {
        let user = caller.user.as_str();
        match self {
            Self::Open => Need::Nothing,
            Self::Capability(_) | Self::Capabilities(_) => Need::Capabilities(self.capabilities()),
            Self::Callers(callers) if callers.iter().any(|c| c == user) => Need::Nothing,
            Self::Callers(callers) => Need::Refused(format!(
                "method {} is reserved to {}, but was called by user {user}",
                python::repr_str(method),
                python::repr(&callers.clone().into()),
            )),
            Self::CallersOr { callers, .. } if callers.iter().any(|c| c == user) => Need::Nothing,
            Self::SelfOr { param, .. } if bound.get(param).and_then(Value::as_str) == Some(user) => {
                Need::Nothing
            }
            Self::CallersOr { capability, .. } | Self::SelfOr { capability, .. } => {
                Need::Capabilities(vec![capability.clone()])
            }
        }
    }
}

/// Outcome of [`Access::need`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    Capabilities(Vec<String>),
    Refused(String),
}

/// Where the capabilities of callers come from when the platform's own services ask: the auth table of the same
/// process. Agents elsewhere ask `platform.auth` and need no source.
pub trait CapabilitySource: Send + Sync {
    /// Capabilities of `user` (an identity); none if no entry names it.
    fn capabilities(&self, user: &str) -> Option<CapabilityMap>;
    /// False when the platform runs without authentication: then every caller is authorised (auth.md section 1).
    fn enabled(&self) -> bool;
    /// True when the operator asked for 9.x's openness (`--open-methods`): the declarations of
    /// [hardened](crate::Method::hardened) methods do not count.
    fn open_methods(&self) -> bool {
        false
    }
    /// Learns that a service refused a call: who serves `method`, who called, and the text the caller gets.
    fn refused(&self, callee: &str, caller: &str, method: &str, why: &str) {
        let _ = (callee, caller, method, why);
    }
}

/// Checks that `caps` (none = unknown user) cover `required`, and that the call's arguments (`bound`: parameter name
/// to value, defaults included) satisfy the restrictions of each required capability. The error is the text that the
/// caller gets, with code -32001 in the exception's arguments.
pub fn check(
    required: &[String],
    caps: Option<&CapabilityMap>,
    method: &str,
    user: &str,
    bound: &Map<String, Value>,
) -> Result<(), String> {
    if required.is_empty() || (required.len() == 1 && required[0].is_empty()) {
        return Ok(());
    }
    let missing = |caps: &CapabilityMap| required.iter().any(|name| !caps.contains_key(name));
    let Some(caps) = caps.filter(|caps| !missing(caps)) else {
        let names: Vec<String> = required.iter().map(|name| python::repr_str(name)).collect();
        let has = caps.map_or_else(|| "[]".to_owned(), |caps| python::repr(&Value::Object(caps.clone())));
        return Err(format!(
            "method {} requires capabilities {{{}}}, but capability {has} was provided for user {user}",
            python::repr_str(method),
            names.join(", "),
        ));
    };
    for name in required {
        if let Some(Value::Object(restrictions)) = caps.get(name) {
            for (param, allowed) in restrictions {
                check_parameter(method, user, param, allowed, bound)?;
            }
        }
    }
    Ok(())
}

fn check_parameter(
    method: &str,
    user: &str,
    param: &str,
    allowed: &Value,
    bound: &Map<String, Value>,
) -> Result<(), String> {
    let Some(given) = bound.get(param) else {
        return Err(format!(
            "User {user} capability is not defined properly. method {method} does not have a parameter {param}"
        ));
    };
    if let Some(text) = allowed.as_str().filter(|text| pattern::between_slashes(text).is_some()) {
        // An unreadable expression matches nothing: closed, not open.
        let matches =
            given.as_str().is_some_and(|g| pattern::Rule::parse(text).is_ok_and(|rule| rule.matches(g)));
        if matches {
            return Ok(());
        }
        return Err(format!(
            "User {user} can call method {method} only with {param} matching pattern {text} but called with {param}={}",
            python_str(given)
        ));
    }
    if same(given, allowed) {
        return Ok(());
    }
    Err(format!(
        "User {user} can call method {method} only with {param}={} but called with {param}={}",
        python_str(allowed),
        python_str(given)
    ))
}

/// Equality as Python sees it: `1 == 1.0`.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        _ => a == b,
    }
}

/// Python's `str()`: text without quotes, everything else as `repr()`.
fn python_str(value: &Value) -> String {
    value.as_str().map_or_else(|| python::repr(value), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("not an object") };
        map
    }

    /// Required, held, outcome.
    type Case<'a> = (&'a [&'a str], Option<&'a CapabilityMap>, Result<(), &'a str>);

    #[test]
    fn refusal_texts_are_those_of_the_reference() {
        let caps = object(json!({"foo": null, "edit": {"identity": "alice"}, "re": {"identity": "/ahu.*/"}}));
        let bound = object(json!({"identity": "bob", "n": 1}));
        let cases: &[Case<'_>] = &[
            (&[], None, Ok(())),
            (&[""], None, Ok(())),
            (&["foo"], Some(&caps), Ok(())),
            (
                &["allow_auth_modifications"],
                None,
                Err(
                    "method 'm' requires capabilities {'allow_auth_modifications'}, but capability [] was provided for user alice",
                ),
            ),
            (
                &["foo", "bar"],
                Some(&caps),
                Err(
                    "method 'm' requires capabilities {'foo', 'bar'}, but capability {'foo': None, 'edit': {'identity': 'alice'}, 're': {'identity': '/ahu.*/'}} was provided for user alice",
                ),
            ),
            (
                &["edit"],
                Some(&caps),
                Err("User alice can call method m only with identity=alice but called with identity=bob"),
            ),
            (
                &["re"],
                Some(&caps),
                Err(
                    "User alice can call method m only with identity matching pattern /ahu.*/ but called with identity=bob",
                ),
            ),
        ];
        for (required, caps, want) in cases {
            let required: Vec<String> = required.iter().map(|s| (*s).to_owned()).collect();
            let got = check(&required, *caps, "m", "alice", &bound);
            assert_eq!(got, want.map_err(str::to_owned), "{required:?}");
        }
        let odd = object(json!({"c": {"nosuch": 1}}));
        assert_eq!(
            check(&["c".into()], Some(&odd), "m", "u", &bound),
            Err("User u capability is not defined properly. method m does not have a parameter nosuch".into())
        );
        let number = object(json!({"c": {"n": 1.0}}));
        assert_eq!(check(&["c".into()], Some(&number), "m", "u", &bound), Ok(()));
        let pattern = object(json!({"c": {"identity": "/b.b/"}}));
        assert_eq!(check(&["c".into()], Some(&pattern), "m", "u", &bound), Ok(()));
        let number_for_pattern = object(json!({"c": {"n": "/1/"}}));
        assert!(check(&["c".into()], Some(&number_for_pattern), "m", "u", &bound).is_err());
    }

    #[test]
    fn declarations_ask_for_what_they_say() {
        let caller = |user: &str| Caller { peer: user.to_owned(), user: user.to_owned() };
        let bound = object(json!({"identity": "bob"}));
        let own = Access::SelfOr { param: "identity".into(), capability: "c".into() };
        assert_eq!(own.need("m", &caller("bob"), &bound), Need::Nothing);
        assert_eq!(own.need("m", &caller("eve"), &bound), Need::Capabilities(vec!["c".into()]));
        let only = Access::Callers(vec!["control".into()]);
        assert_eq!(only.need("m", &caller("control"), &bound), Need::Nothing);
        assert!(
            matches!(only.need("m", &caller("eve"), &bound), Need::Refused(t) if t.contains("['control']"))
        );
        let or = Access::CallersOr { callers: vec!["control".into()], capability: "c".into() };
        assert_eq!(or.need("m", &caller("control"), &bound), Need::Nothing);
        assert_eq!(or.need("m", &caller("eve"), &bound), Need::Capabilities(vec!["c".into()]));
        assert_eq!(Access::Open.need("m", &caller("eve"), &bound), Need::Nothing);
    }
}
