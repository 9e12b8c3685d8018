use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

struct World {
    _dir: tempfile::TempDir,
    home: Home,
    supervisor: Arc<Supervisor>,
}

fn world(rules: Rules) -> World {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path()).unwrap();
    home.create_dirs().unwrap();
    let options = SupervisorOptions {
        home: home.clone(),
        facts: PlatformFacts { vip_address: "ipc://@x".into(), ..PlatformFacts::default() },
        rules,
        shutdown_timeout: Duration::from_secs(20),
        keep_agents: false,
        agent_logs: Some(Limits { max_bytes: 1 << 20, files: 2 }),
    };
    World { _dir: dir, home, supervisor: Supervisor::new(options).unwrap() }
}

fn quick() -> Rules {
    Rules {
        delays: vec![Duration::ZERO],
        shortest_delay: Duration::from_millis(10),
        max_restarts: 3,
        ..Rules::default()
    }
}

/// An agent that is a shell script; gives its uuid.
fn script(home: &Home, identity: &str, body: &str) -> String {
    let dir = home.agent(identity);
    fs::create_dir_all(dir.data()).unwrap();
    let uuid = format!("uuid-{identity}");
    fs::write(dir.uuid(), &uuid).unwrap();
    fs::write(dir.name(), "script-1.0").unwrap();
    let program = dir.path().join("program");
    fs::write(&program, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(
        dir.launch(),
        r#"{"format": 1, "package": "script", "version": "1.0", "exec": "program", "runtime": "native"}"#,
    )
    .unwrap();
    uuid
}

async fn next_end(events: &mut broadcast::Receiver<AgentEvent>) -> AgentEvent {
    tokio::time::timeout(Duration::from_secs(20), events.recv()).await.expect("an event").unwrap()
}

#[tokio::test]
async fn an_agent_starts_once_stops_in_order_and_says_how_it_ended() {
    let w = world(quick());
    let uuid = script(&w.home, "a", "trap 'exit 0' INT; echo ready; while :; do sleep 0.02; done");
    assert_eq!(w.supervisor.status(&uuid), (None, None));
    let pid = w.supervisor.start(&uuid).await.unwrap();
    assert_eq!(w.supervisor.status(&uuid), (Some(pid), None));
    assert!(matches!(w.supervisor.start(&uuid).await, Err(StartError::AlreadyRunning)));
    // The trap is set before this line is written.
    while w.supervisor.details(&uuid).unwrap().last_log != ["ready"] {
        tokio::task::yield_now().await;
    }
    w.supervisor.stop(&uuid).await.unwrap();
    assert_eq!(w.supervisor.status(&uuid), (Some(pid), Some(0)));
    w.supervisor.stop(&uuid).await.unwrap();
    assert_eq!(w.supervisor.details(&uuid).unwrap().state, "stopped");
}

#[tokio::test]
async fn an_agent_that_keeps_failing_is_restarted_so_often_and_then_given_up() {
    let w = world(quick());
    let uuid = script(&w.home, "a", "echo no device >&2; exit 3");
    let mut events = w.supervisor.events();
    w.supervisor.start(&uuid).await.unwrap();
    for _ in 0..4 {
        assert!(matches!(next_end(&mut events).await, AgentEvent::Ended { code: 3, by_operator: false, .. }));
    }
    assert!(matches!(next_end(&mut events).await, AgentEvent::GivenUp { .. }));
    let details = w.supervisor.details(&uuid).unwrap();
    assert_eq!((details.state, details.restarts, details.last_exit), ("failed", 3, Some(3)));
    assert_eq!(details.last_log, ["no device"]);
    w.supervisor.clear(true);
    assert_eq!(w.supervisor.status(&uuid), (None, None));
}

#[tokio::test]
async fn a_missing_program_is_explained() {
    let w = world(quick());
    let uuid = script(&w.home, "a", "");
    fs::remove_file(w.home.agent("a").path().join("program")).unwrap();
    let error = w.supervisor.start(&uuid).await.unwrap_err().to_string();
    assert!(error.contains("missing") && error.contains("program"), "{error}");
    assert!(matches!(w.supervisor.start("nobody").await, Err(StartError::Unknown(_))));
}

#[tokio::test]
async fn agents_get_their_environment_and_only_theirs() {
    let w = world(quick());
    let uuid = script(
        &w.home,
        "a",
        "echo \"$AGENT_VIP_IDENTITY $AGENT_UUID $_LAUNCHED_BY_PLATFORM ${AGENT_TAG-none} ${AGENT_SECRETKEY-none} $(pwd)\"",
    );
    let mut events = w.supervisor.events();
    w.supervisor.start(&uuid).await.unwrap();
    next_end(&mut events).await;
    let expected = format!("a {uuid} 1 none none {}", w.home.agent("a").path().display());
    assert_eq!(w.supervisor.details(&uuid).unwrap().last_log, [expected]);
}

#[tokio::test]
async fn stopping_all_goes_from_low_to_high_priority() {
    let w = world(quick());
    let body = |name: &str| {
        let log = w.home.path().join("order");
        format!(
            "trap 'echo {name} >> {}; exit 0' INT; echo ready; while :; do sleep 0.02; done",
            log.display()
        )
    };
    for (identity, priority) in [("late", Some("90")), ("middle", Some("9")), ("first", None)] {
        let uuid = script(&w.home, identity, &body(identity));
        let mut agent = w.supervisor.agent(&uuid).unwrap();
        agent.set_priority(priority).unwrap();
        w.supervisor.start(&uuid).await.unwrap();
        while w.supervisor.details(&uuid).unwrap().last_log != ["ready"] {
            tokio::task::yield_now().await;
        }
    }
    w.supervisor.stop_all().await;
    assert_eq!(fs::read_to_string(w.home.path().join("order")).unwrap(), "first\nmiddle\nlate\n");
}

#[tokio::test]
async fn autostart_starts_enabled_agents_only() {
    let w = world(quick());
    let enabled = script(&w.home, "on", "sleep 600");
    let disabled = script(&w.home, "off", "sleep 600");
    w.supervisor.agent(&enabled).unwrap().set_priority(Some("50")).unwrap();
    w.supervisor.autostart().await;
    assert!(w.supervisor.status(&enabled).0.is_some());
    assert_eq!(w.supervisor.status(&disabled), (None, None));
    w.supervisor.kill_all();
    w.supervisor.stop(&enabled).await.unwrap();
}

#[tokio::test]
#[allow(unsafe_code)]
async fn agents_hear_sigint_though_the_platform_was_started_in_the_background() {
    // SAFETY: ignoring a signal needs no handler. Nothing in this process waits for SIGINT.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
    let w = world(quick());
    let uuid = script(&w.home, "a", "trap 'exit 7' INT; echo ready; while :; do sleep 0.02; done");
    w.supervisor.start(&uuid).await.unwrap();
    while w.supervisor.details(&uuid).unwrap().last_log != ["ready"] {
        tokio::task::yield_now().await;
    }
    w.supervisor.stop(&uuid).await.unwrap();
    assert_eq!(w.supervisor.status(&uuid).1, Some(7));
}

#[tokio::test]
async fn an_agent_waits_for_those_it_comes_after() {
    let w = world(quick());
    let first = script(&w.home, "first", "sleep 600");
    let late = script(&w.home, "late", "sleep 600");
    let launch = w.home.agent("late").launch();
    let manifest = fs::read_to_string(&launch).unwrap();
    fs::write(&launch, manifest.replace("\"format\"", "\"after\": [\"first\", \"nobody\"], \"format\""))
        .unwrap();
    for (uuid, priority) in [(&first, "10"), (&late, "90")] {
        w.supervisor.agent(uuid).unwrap().set_priority(Some(priority)).unwrap();
    }
    let supervisor = w.supervisor.clone();
    let autostart = tokio::spawn(async move { supervisor.autostart().await });
    while w.supervisor.status(&first).0.is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(w.supervisor.status(&late), (None, None), "it waits");
    w.supervisor.observe("first", Input::BusSeen);
    autostart.await.unwrap();
    assert!(w.supervisor.status(&late).0.is_some());
    w.supervisor.kill_all();
    w.supervisor.stop(&first).await.unwrap();
    w.supervisor.stop(&late).await.unwrap();
}
