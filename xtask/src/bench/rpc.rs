//! The load of the round-trip case: one call in flight, caller and echo in processes of their own. Bare DEALERs on one
//! side, agents with the client crate (JSON-RPC, typed arguments, authorisation) on the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use volttron_client::{
    Access, Agent, AgentBuilder, CallError, Cx, Method, Registrar, Request, link::zmq::ZmqConnector,
};
use zmq::{Context, DONTWAIT, Message};

use super::{
    load::{dealer, message, wait},
    setup::{Keys, Outcome},
};

const WARM_UP_CALLS: u64 = 500;
/// Of the cases with many calls at the same time.
const IN_FLIGHT: u64 = 64;
/// What is echoed.
const ARGUMENT: &str =
    "a text of the size of a small answer, as set_point or get_point have it: 72.5 degrees";

/// Answers messages with their own frames, until killed.
pub fn raw_echo(endpoint: &str, keys: Option<&Keys>) -> Outcome<()> {
    let context = Context::new();
    let socket = dealer(&context, endpoint, "b", keys)?;
    // A platform's router knows only who has spoken.
    socket.send_parts(&mut message(&[b"", b"VIP1", b"", b"h", b"ping", b"ping"]), 0)?;
    println!("ready");
    loop {
        let mut parts = socket.recv_multipart(0)?;
        // Not the answer to the ping.
        if parts.len() > 2 && !parts[0].is_empty() {
            parts[2] = Message::new();
            socket.send_parts(&mut parts, 0)?;
        }
    }
}

/// Waits until the echo answers: messages to it are lost before it is connected.
fn meet(socket: &zmq::Socket, frames: &[&[u8]]) -> Outcome<()> {
    let begin = Instant::now();
    loop {
        socket.send_parts(&mut message(frames), 0)?;
        if wait(socket, 50) && socket.recv_multipart(DONTWAIT).is_ok_and(|m| m.len() > 4 && &*m[0] == b"b") {
            break;
        }
        if begin.elapsed() > Duration::from_secs(20) {
            return Err("the echo does not answer".into());
        }
    }
    while wait(socket, 200) {
        while socket.recv_with(DONTWAIT, drop).is_ok() {}
    }
    Ok(())
}

/// Calls the echo, one call at a time, and prints the times.
pub fn raw_caller(endpoint: &str, keys: Option<&Keys>, calls: u64) -> Outcome<()> {
    let context = Context::new();
    let socket = dealer(&context, endpoint, "a", keys)?;
    let payload =
        json!({"jsonrpc": "2.0", "method": "echo", "params": [ARGUMENT], "id": "m-0000001"}).to_string();
    let frames: [&[u8]; 6] = [b"b", b"VIP1", b"", b"m-0000001", b"RPC", payload.as_bytes()];
    meet(&socket, &frames)?;
    let mut times = Vec::with_capacity(calls as usize);
    for n in 0..WARM_UP_CALLS + calls {
        let from = Instant::now();
        socket.send_parts(&mut message(&frames), 0)?;
        socket.recv_with(0, drop)?;
        if n >= WARM_UP_CALLS {
            times.push(from.elapsed());
        }
    }
    print_times(times, WARM_UP_CALLS + calls);
    Ok(())
}

/// Calls the echo with [`IN_FLIGHT`] calls in flight, and prints calls per second.
pub fn raw_callers(endpoint: &str, keys: Option<&Keys>, calls: u64) -> Outcome<()> {
    let context = Context::new();
    let socket = dealer(&context, endpoint, "a", keys)?;
    let payload =
        json!({"jsonrpc": "2.0", "method": "echo", "params": [ARGUMENT], "id": "m-0000001"}).to_string();
    let frames: [&[u8]; 6] = [b"b", b"VIP1", b"", b"m-0000001", b"RPC", payload.as_bytes()];
    meet(&socket, &frames)?;
    let mut begin = Instant::now();
    let (mut sent, mut done) = (0, 0);
    while done < WARM_UP_CALLS + calls {
        while sent - done < IN_FLIGHT && sent < WARM_UP_CALLS + calls {
            socket.send_parts(&mut message(&frames), 0)?;
            sent += 1;
        }
        socket.recv_with(0, drop)?;
        done += 1;
        if done == WARM_UP_CALLS {
            begin = Instant::now();
        }
    }
    print_rate(calls, begin);
    Ok(())
}

/// Agents' calls with [`IN_FLIGHT`] calls in flight, and prints calls per second.
pub fn agent_callers(endpoint: &str, keys: Option<&Keys>, calls: u64) -> Outcome<()> {
    runtime()?.block_on(async {
        let agent = AgentBuilder::new(Caller).identity("a").connector(connector(endpoint, "a", keys)?);
        let running = agent.store(false).auth(false).spawn().await?;
        let cx: Cx = running.cx().clone();
        time_calls(cx.clone(), 1).await?;
        let begin = Instant::now();
        let callers = (0..IN_FLIGHT).map(|_| {
            let cx = cx.clone();
            tokio::spawn(async move {
                for _ in 0..calls / IN_FLIGHT {
                    cx.call("b", "echo").arg(ARGUMENT).send::<Value>().await?;
                }
                Ok::<_, CallError>(())
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await??;
        }
        print_rate(calls / IN_FLIGHT * IN_FLIGHT, begin);
        Ok(())
    })
}

fn print_rate(calls: u64, begin: Instant) {
    let rate = calls as f64 / begin.elapsed().as_secs_f64();
    println!("{}", json!({"per_second": rate, "total": calls * 2}));
}

struct Echo;

impl Agent for Echo {
    const NAME: &'static str = "Echo";
    fn register(b: &mut Registrar<Self>) {
        b.rpc(Method::new("echo", Access::Open).param("text"), |_: Arc<Self>, request: Request| async move {
            request.arg::<String>("text")
        });
    }
}

struct Caller;

impl Agent for Caller {
    const NAME: &'static str = "Caller";
    fn register(_: &mut Registrar<Self>) {}
}

fn connector(endpoint: &str, identity: &str, keys: Option<&Keys>) -> Outcome<ZmqConnector> {
    let connector = ZmqConnector::new(endpoint.parse()?)?;
    let Some(keys) = keys else { return Ok(connector) };
    let own = keys.peers.get(identity).ok_or("an identity without keys")?;
    Ok(connector.keys(own.key_pair()).serverkey(keys.server.key_pair().public))
}

fn runtime() -> Outcome<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// An agent that answers `echo`, until killed.
pub fn agent_echo(endpoint: &str, keys: Option<&Keys>) -> Outcome<()> {
    runtime()?.block_on(async {
        let agent = AgentBuilder::new(Echo).identity("b").connector(connector(endpoint, "b", keys)?);
        let running = agent.store(false).auth(false).spawn().await?;
        println!("ready");
        running.joined().await;
        Ok(())
    })
}

/// An agent that calls `echo`, one call at a time, and prints the times.
pub fn agent_caller(endpoint: &str, keys: Option<&Keys>, calls: u64) -> Outcome<()> {
    runtime()?.block_on(async {
        let agent = AgentBuilder::new(Caller).identity("a").connector(connector(endpoint, "a", keys)?);
        let running = agent.store(false).auth(false).spawn().await?;
        let cx: Cx = running.cx().clone();
        // As a task of its own, as an agent's handlers are.
        let times = tokio::spawn(time_calls(cx, calls)).await??;
        print_times(times, WARM_UP_CALLS + calls);
        Ok(())
    })
}

async fn time_calls(cx: Cx, calls: u64) -> Result<Vec<Duration>, CallError> {
    let begin = Instant::now();
    while let Err(error) = cx.call("b", "echo").arg(ARGUMENT).send::<String>().await {
        if begin.elapsed() > Duration::from_secs(20) {
            return Err(error);
        }
    }
    let mut times = Vec::with_capacity(calls as usize);
    for n in 0..WARM_UP_CALLS + calls {
        let from = Instant::now();
        let back: Value = cx.call("b", "echo").arg(ARGUMENT).send().await?;
        if n >= WARM_UP_CALLS {
            times.push(from.elapsed());
        }
        assert_eq!(back, ARGUMENT, "the echo");
    }
    Ok(times)
}

fn print_times(mut times: Vec<Duration>, total: u64) {
    times.sort_unstable();
    let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e6;
    println!("{}", json!({"p50_us": at(0.5), "p99_us": at(0.99), "total": total * 2}));
}
