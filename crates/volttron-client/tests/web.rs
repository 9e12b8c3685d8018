//! The web seen from an agent, against a web service that the test plays in the in-memory platform.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use volttron_client::testing::TestPlatform;
use volttron_client::{
    Access, Agent, AgentHandle, CallErrorKind, Cx, Method, Registrar, Request, ResourceType, RpcError,
    WebError, WebRequest, WebSocket,
};

/// Notes who asked for what; answers as the web service of a platform does.
#[derive(Default)]
struct Service(Mutex<Vec<Value>>);

impl Service {
    fn note(&self, r: &Request) {
        let args: Vec<&Value> = r.args().values().collect();
        self.0.lock().unwrap().push(json!([r.caller.user, r.method(), args]));
    }

    fn taken(&self) -> Vec<Value> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

async fn noted(me: Arc<Service>, r: Request) -> Result<Value, RpcError> {
    let known =
        me.0.lock()
            .unwrap()
            .iter()
            .any(|seen| seen[1] == r.method() && Some(&seen[2][0]) == r.args().values().next());
    me.note(&r);
    if known && r.method() == "register_endpoint" {
        let class = "volttron.platform.web.platform_web_service.DuplicateEndpointError";
        let text = format!("Endpoint {} is already an endpoint", r.arg::<String>("endpoint")?);
        return Err(RpcError::exception(class, text));
    }
    Ok(if r.method() == "get_user_claims" { json!({"groups": ["vui"]}) } else { Value::Null })
}

impl Agent for Service {
    const NAME: &'static str = "MasterWebService";
    fn register(b: &mut Registrar<Self>) {
        let open = |name: &str| Method::new(name, Access::Open);
        b.rpc(open("register_endpoint").param("endpoint").param("res_type"), noted)
            .rpc(open("register_path_route").param("regex").param("root_dir"), noted)
            .rpc(open("register_agent_route").param("regex").param("fn"), noted)
            .rpc(open("register_websocket").param("endpoint"), noted)
            .rpc(open("unregister_websocket").param("endpoint"), noted)
            .rpc(open("websocket_send").param("endpoint").param("message"), noted)
            .rpc(open("get_user_claims").param("bearer"), noted)
            .rpc(open("unregister_all_agent_routes"), |me: Arc<Self>, r: Request| async move {
                me.note(&r);
                Ok(())
            });
    }
}

struct Site;

impl Agent for Site {
    const NAME: &'static str = "Site";
    fn register(b: &mut Registrar<Self>) {
        b.web();
    }
}

struct Plain;

impl Agent for Plain {
    const NAME: &'static str = "Plain";
    fn register(_: &mut Registrar<Self>) {}
}

async fn service(platform: &TestPlatform, identity: &str) -> (Arc<Service>, AgentHandle) {
    let service = Arc::new(Service::default());
    let builder = volttron_client::AgentBuilder::shared(service.clone());
    let handle = builder.identity(identity).connector(platform.bus()).spawn().await.unwrap();
    assert!(handle.started().await);
    (service, handle)
}

async fn hello(_: Cx, request: WebRequest) -> Result<Value, RpcError> {
    if request.data == "bad" {
        return Err(RpcError::value_error("bad data"));
    }
    Ok(json!({"path": request.path(), "verb": request.method(), "data": request.data}))
}

#[tokio::test]
async fn an_agent_is_served_and_called_back() {
    for name in ["platform_web", "platform.web"] {
        let platform = TestPlatform::new().await;
        let (service, web) = service(&platform, name).await;
        // Callers are told apart only where there is authentication.
        let site = platform.builder("site", Site).auth(true).spawn().await.unwrap();
        assert!(site.started().await);
        let seen = Arc::new(Mutex::new(Vec::<String>::new()));
        let note = move |log: &Arc<Mutex<Vec<String>>>, text: String| log.lock().unwrap().push(text);

        let mine = site.cx().web();
        mine.register_endpoint("/hi", ResourceType::JsonRpc, hello).await.unwrap();
        mine.register_endpoint("/raw", ResourceType::Raw, hello).await.unwrap();
        mine.register_path("^/files/.*", "/srv/www").await.unwrap();
        mine.register_agent_route("^/api/.*", "api").await.unwrap();
        let (a, b, c) = (seen.clone(), seen.clone(), seen.clone());
        let socket = WebSocket::new(move |_, ip: String| {
            note(&a, format!("opened {ip}"));
            async move { ip == "10.0.0.1" }
        })
        .closed(move |_| {
            note(&b, "closed".to_owned());
            async {}
        })
        .message(move |cx: Cx, text: String| {
            note(&c, format!("{} got {text}", cx.identity()));
            async {}
        });
        mine.register_websocket("/ws", socket).await.unwrap();
        mine.send("/ws", "news").await.unwrap();
        assert_eq!(Value::from(mine.user_claims("token").await.unwrap()), json!({"groups": ["vui"]}));
        let twice = mine.register_endpoint("/hi", ResourceType::JsonRpc, hello).await.unwrap_err();
        assert!(matches!(&twice, WebError::Duplicate(t) if t.contains("Endpoint /hi is already")), "{twice}");
        assert_eq!(
            service.taken()[..7],
            [
                json!(["site", "register_endpoint", ["/hi", "jsonrpc"]]),
                json!(["site", "register_endpoint", ["/raw", "raw"]]),
                json!(["site", "register_path_route", ["^/files/.*", "/srv/www"]]),
                json!(["site", "register_agent_route", ["^/api/.*", "api"]]),
                json!(["site", "register_websocket", ["/ws"]]),
                json!(["site", "websocket_send", ["/ws", "news"]]),
                json!(["site", "get_user_claims", ["token"]]),
            ]
        );

        // The callbacks, as the service makes them. The refused second registration has not taken the first away.
        let call = |method: &str, args: Value| {
            let args = args.as_array().unwrap().clone();
            let call = args.into_iter().fold(web.cx().call("site", method), volttron_client::Call::arg);
            async move { call.send_value().await }
        };
        let env = json!({"PATH_INFO": "/hi", "REQUEST_METHOD": "POST"});
        let answer = call("route.callback", json!([env, {"a": 1}])).await.unwrap();
        assert_eq!(answer, json!({"path": "/hi", "verb": "POST", "data": {"a": 1}}));
        let error = call("route.callback", json!([env, "bad"])).await.unwrap_err();
        assert_eq!(error.exc_type(), Some("builtins.ValueError"));
        let nowhere = call("route.callback", json!([{"PATH_INFO": "/no"}, null])).await.unwrap();
        assert_eq!(nowhere, Value::Null);
        assert_eq!(call("client.opened", json!(["10.0.0.1", "/ws"])).await.unwrap(), true);
        assert_eq!(call("client.opened", json!(["10.0.0.2", "/ws"])).await.unwrap(), false);
        assert_eq!(call("client.opened", json!(["10.0.0.1", "/other"])).await.unwrap(), false);
        assert_eq!(call("client.message", json!(["/ws", "hey"])).await.unwrap(), Value::Null);
        assert_eq!(call("client.closed", json!(["/ws"])).await.unwrap(), Value::Null);
        let log = seen.lock().unwrap().clone();
        assert_eq!(log, ["opened 10.0.0.1", "opened 10.0.0.2", "site got hey", "closed"]);

        // Nobody else may call them.
        let stranger = platform.peer("stranger").await;
        for (method, args) in [
            ("route.callback", json!([env, null])),
            ("client.opened", json!(["10.0.0.1", "/ws"])),
            ("client.closed", json!(["/ws"])),
            ("client.message", json!(["/ws", "x"])),
        ] {
            let args = args.as_array().unwrap().clone();
            let call = args.into_iter().fold(stranger.call("site", method), volttron_client::Call::arg);
            let error = call.send_value().await.unwrap_err();
            assert_eq!(error.kind(), CallErrorKind::Denied, "{method}: {error}");
        }
        assert_eq!(seen.lock().unwrap().len(), 4);

        mine.unregister_websocket("/ws").await.unwrap();
        assert_eq!(call("client.opened", json!(["10.0.0.1", "/ws"])).await.unwrap(), false);
        service.taken();
        site.stop().await;
        assert_eq!(service.taken(), [json!(["site", "unregister_all_agent_routes", []])]);
    }
}

#[tokio::test]
async fn what_was_registered_comes_back_after_a_reconnection() {
    let platform = TestPlatform::new().await;
    let (service, _web) = service(&platform, "platform_web").await;
    let site = platform.agent("site", Site).await;
    site.cx().web().register_endpoint("/hi", ResourceType::JsonRpc, hello).await.unwrap();
    site.cx().web().register_path("^/f/", "/srv").await.unwrap();
    let before = service.taken();
    platform.bus().cut("site");
    platform.bus().mend("site");
    for _ in 0..10_000 {
        if service.0.lock().unwrap().len() == before.len() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(service.taken(), before);
}

#[tokio::test]
async fn without_a_web_service_it_says_so() {
    let platform = TestPlatform::new().await;
    let site = platform.agent("site", Site).await;
    let error = site.cx().web().register_endpoint("/hi", ResourceType::JsonRpc, hello).await.unwrap_err();
    assert!(matches!(error, WebError::NoService), "{error}");
    assert!(error.to_string().contains("'bind-web-address'"), "{error}");
    let error = site.cx().web().register_websocket("/w", WebSocket::new(|_, _| async { true })).await;
    assert!(matches!(error, Err(WebError::NoService)));

    let plain = platform.agent("plain", Plain).await;
    let error = plain.cx().web().register_path("^/x", "/x").await.unwrap_err();
    assert!(matches!(error, WebError::NotEnabled), "{error}");
    // And it does not serve the callbacks either.
    let names = site.cx().inspect("plain").await.unwrap();
    assert!(!names.iter().any(|n| n == "route.callback"), "{names:?}");
    let names = plain.cx().inspect("site").await.unwrap();
    let callbacks = ["client.opened", "client.closed", "client.message", "route.callback"];
    assert!(names.ends_with(&callbacks.map(str::to_owned)), "{names:?}");
}
