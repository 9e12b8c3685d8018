use super::*;

/// Every method says who may call it; this is the list that must not change by accident.
#[test]
fn who_may_call_what() {
    let mut b = Registrar::<AuthService>::default();
    AuthService::register(&mut b);
    let mut open: Vec<&str> = Vec::new();
    for method in b.methods() {
        match method.access() {
            Access::Open => open.push(method.name()),
            Access::Capability(name) => assert_eq!(*name, ADMIN, "{}", method.name()),
            Access::SelfOr { param, capability } => {
                assert_eq!(
                    (method.name(), param.as_str(), capability.as_str()),
                    ("update_id_rpc_authorizations", "identity", ADMIN)
                );
            }
            other => panic!("{}: {other:?}", method.name()),
        }
    }
    assert_eq!(
        open,
        [
            "get_user_to_capabilities",
            "get_authorizations",
            "get_capabilities",
            "get_groups",
            "get_roles",
            "get_pending_authorizations",
            "get_approved_authorizations",
            "get_denied_authorizations",
            "auth_file.read",
            "auth_file.find_by_credentials",
            "get_protected_rpcs",
            "check_rpc_authorization",
            "check_pubsub_authorization",
            "report_refused_calls",
        ]
    );
    let hardened: Vec<&str> = b.methods().filter(|m| m.is_hardened()).map(Method::name).collect();
    assert_eq!(hardened.len(), 10, "{hardened:?}");
    assert!(!hardened.contains(&"approve_authorization"), "9.x protects these itself");
}
