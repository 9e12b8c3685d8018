use serde_json::{Value, json};

use super::*;
use crate::json;

fn answer(frame: &str) -> Option<String> {
    let one = |incoming| match incoming {
        Incoming::Invalid(response) => Some(response.into_value()),
        _ => None,
    };
    let value = match parse(frame.as_bytes()) {
        Batch::Single(incoming) => one(incoming)?,
        Batch::Many(list) => Value::Array(list.into_iter().filter_map(one).collect()),
    };
    Some(json::to_string(&value).expect("plain"))
}

fn invalid(id: &str, code: i64, message: &str, detail: &str) -> String {
    format!(
        "{{\"jsonrpc\": \"2.0\", \"id\": {id}, \"error\": {{\"code\": {code}, \"message\": \"{message}\", \"data\": {{\"detail\": \"{detail}\"}}}}}}"
    )
}

#[test]
fn invalid_requests_are_answered_as_python_answers() {
    let kind = "invalid object type";
    let expected = |what: &str, got: &str| format!("expected {what} ; got a '{got}' instead");
    for (frame, response) in [
        ("not json", invalid("null", -32600, kind, &expected("a list or dictionary", "str"))),
        ("", invalid("null", -32600, kind, &expected("a list or dictionary", "str"))),
        ("5", invalid("null", -32600, kind, &expected("a list or dictionary", "int"))),
        ("1.5", invalid("null", -32600, kind, &expected("a list or dictionary", "float"))),
        ("null", invalid("null", -32600, kind, &expected("a list or dictionary", "NoneType"))),
        ("[5]", format!("[{}]", invalid("null", -32600, kind, &expected("a dictionary", "int")))),
        (
            "{\"method\": \"m\", \"id\": \"i\"}",
            invalid("\"i\"", -32600, "missing required member", "missing required 'jsonrpc' member"),
        ),
        (
            "{\"jsonrpc\": \"1.0\", \"method\": \"m\", \"id\": {\"a\": [1]}}",
            invalid(
                "{\"a\": [1]}",
                -32600,
                "unsupported version",
                "version 2.0 supported, but recieved version '1.0'",
            ),
        ),
        (
            "{\"jsonrpc\": \"2.0\", \"method\": \"m\", \"params\": \"x\", \"id\": 7}",
            invalid("null", -32602, kind, &expected("a list or dictionary", "str")),
        ),
        ("[]", "[]".to_owned()),
    ] {
        assert_eq!(answer(frame), Some(response), "{frame}");
    }
}

#[test]
fn what_needs_no_answer_gets_none() {
    for frame in [
        "{\"jsonrpc\": \"2.0\", \"id\": 1}",
        "{\"jsonrpc\": \"2.0\", \"method\": \"m\", \"params\": 1}",
        "{\"jsonrpc\": \"2.0\", \"id\": 1, \"error\": \"bad\"}",
        "{\"jsonrpc\": \"2.0\", \"result\": 1}",
    ] {
        assert_eq!(parse(frame.as_bytes()), Batch::Single(Incoming::Ignored), "{frame}");
    }
}

#[test]
fn parameters_in_every_form_both_ways() {
    let map = |value: Value| value.as_object().cloned().expect("an object");
    for (text, params) in [
        ("", Params::None),
        (", \"params\": [1, \"a\"]", Params::Positional(vec![json!(1), json!("a")])),
        (", \"params\": {\"uuid\": \"abc\"}", Params::Named(map(json!({"uuid": "abc"})))),
        (
            ", \"params\": {\"*args\": [\"NEW\"], \"**kwargs\": {\"b\": true}}",
            Params::Mixed { args: vec![json!("NEW")], kwargs: map(json!({"b": true})) },
        ),
        (", \"params\": {\"*args\": [1]}", Params::Named(map(json!({"*args": [1]})))),
    ] {
        let frame = format!("{{\"jsonrpc\": \"2.0\", \"method\": \"m\"{text}, \"id\": \"i1\"}}");
        let request = Request::call("i1", "m", params);
        assert_eq!(parse(frame.as_bytes()), Batch::Single(Incoming::Request(request.clone())), "{frame}");
        assert_eq!(json::to_string(&request.into_value()).ok(), Some(frame));
    }
    let null = parse(b"{\"jsonrpc\": \"2.0\", \"method\": \"m\", \"params\": null}");
    assert_eq!(null, Batch::Single(Incoming::Request(Request::notification("m", Params::None))));
    assert!(Params::from_value(json!({"*args": 1, "**kwargs": {}})).is_err());
    assert!(Params::from_value(json!({"*args": [], "**kwargs": []})).is_err());
    assert_eq!(Params::new(vec![], serde_json::Map::new()), Params::None);
}

#[test]
fn errors_have_every_member_python_callers_look_at() {
    let text = |error: RpcError| json::to_string(&error.to_value()).expect("plain");
    assert_eq!(
        text(RpcError::value_error("Invalid status value WRONG")),
        "{\"code\": -32000, \"message\": \"unhandled exception\", \"data\": {\"detail\": \"Invalid status value WRONG\", \
         \"exception.py\": {\"exc_type\": \"builtins.ValueError\", \"exc_args\": [\"Invalid status value WRONG\"]}}}"
    );
    assert_eq!(
        text(RpcError::method_not_found("x")),
        "{\"code\": -32601, \"message\": \"unimplemented method\", \"data\": {\"detail\": \"method 'x' is not implemented\"}}"
    );
    let key = RpcError::key_error("No configuration file \"n\" for VIP IDENTIY i");
    assert_eq!(key.detail(), Some("'No configuration file \"n\" for VIP IDENTIY i'"));
    let refused = RpcError::unauthorized("method 'm' requires capabilities");
    assert_eq!(refused.code, CODE_UNHANDLED);
    assert_eq!(refused.exc_type(), Some("volttron.platform.jsonrpc.Error"));
    assert_eq!(refused.exc_args(), [json!(-32001), json!("method 'm' requires capabilities")]);
    assert!(refused.is_unauthorized() && !key.is_unauthorized());
}

#[test]
fn responses_are_read_back() {
    for response in [
        Response { id: json!("i1"), result: Ok(Value::Null) },
        Response { id: json!(1), result: Ok(json!({"a": [1, 2]})) },
        Response { id: json!("i1"), result: Err(RpcError::key_error("k")) },
        Response { id: Value::Null, result: Err(RpcError::internal("x")) },
    ] {
        let text = json::to_string(&response.clone().into_value()).expect("plain");
        assert_eq!(parse(text.as_bytes()), Batch::Single(Incoming::Response(response)), "{text}");
    }
}
