//! The binding against the real library: what the router and the agents' link rely on.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use smallvec::SmallVec;
use volttron_zmq as zmq;
use zmq::{
    Context, DONTWAIT, Error, Message, MonitorEvent, MonitorEventKind, PollEvents, PollItem, SNDMORE, Socket,
    SocketType, Unsent, curve_keypair, events, poll,
};

/// Long enough that only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

fn bytes(parts: &[Message]) -> Vec<&[u8]> {
    parts.iter().map(AsRef::as_ref).collect()
}

fn parts(frames: &[&[u8]]) -> SmallVec<[Message; 12]> {
    frames.iter().map(|f| Message::from(*f)).collect()
}

/// Waits for a message.
fn recv(socket: &Socket) -> Vec<Message> {
    let mut items = [PollItem::from_socket(socket, PollEvents::IN)];
    assert_eq!(poll(&mut items, Some(PATIENCE)), Ok(1), "nothing arrived");
    socket.recv_multipart(DONTWAIT).unwrap()
}

fn router(ctx: &Context) -> (Socket, String) {
    let socket = ctx.socket(SocketType::Router).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_router_mandatory(true).unwrap();
    socket.set_router_notify_disconnect(true).unwrap();
    socket.bind("tcp://127.0.0.1:*").unwrap();
    let endpoint = socket.last_endpoint().unwrap();
    (socket, endpoint)
}

fn dealer(ctx: &Context, identity: &[u8]) -> Socket {
    let socket = ctx.socket(SocketType::Dealer).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_identity(identity).unwrap();
    socket
}

#[test]
fn the_library_is_the_one_we_build() {
    assert_eq!(zmq::version(), (4, 3, 5));
    assert!(zmq::has(c"curve"));
    assert!(zmq::has(c"draft"));
}

/// Answers one ZAP request: 200 with `user`, or 400 when there is none. Returns domain, mechanism and credentials.
fn answer_zap(zap: &Socket, user: Option<&str>) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let request = recv(zap);
    let (status, text) = if user.is_some() { ("200", "SUCCESS") } else { ("400", "FAIL") };
    let reply: [&[u8]; 8] = [
        &request[0],
        &request[1],
        &request[2],
        &request[3],
        status.as_bytes(),
        text.as_bytes(),
        user.unwrap_or("").as_bytes(),
        b"",
    ];
    zap.send_multipart(parts(&reply), DONTWAIT).unwrap();
    (request[4].to_vec(), request[7].to_vec(), request[8].to_vec())
}

struct Curve {
    ctx: Context,
    zap: Socket,
    router: Socket,
    endpoint: String,
    server_public: [u8; 32],
}

fn curve() -> Curve {
    let ctx = Context::new();
    let (server_public, server_secret) = curve_keypair().unwrap();
    let zap = ctx.socket(SocketType::Router).unwrap();
    zap.set_linger(0).unwrap();
    zap.bind("inproc://zeromq.zap.01").unwrap();
    let router = ctx.socket(SocketType::Router).unwrap();
    router.set_linger(0).unwrap();
    router.set_router_mandatory(true).unwrap();
    router.set_zap_domain("vip").unwrap();
    router.set_curve_server(true).unwrap();
    router.set_curve_secretkey(&server_secret).unwrap();
    router.bind("tcp://127.0.0.1:*").unwrap();
    let endpoint = router.last_endpoint().unwrap();
    Curve { ctx, zap, router, endpoint, server_public }
}

fn curve_client(curve: &Curve, server_public: &[u8; 32]) -> (Socket, [u8; 32]) {
    let (public, secret) = curve_keypair().unwrap();
    let client = dealer(&curve.ctx, b"alice");
    client.set_curve_publickey(&public).unwrap();
    client.set_curve_secretkey(&secret).unwrap();
    client.set_curve_serverkey(server_public).unwrap();
    (client, public)
}

#[test]
fn curve_round_trip_carries_the_user_id_of_the_zap_answer() {
    let curve = curve();
    let (client, public) = curve_client(&curve, &curve.server_public);
    client.connect(&curve.endpoint).unwrap();
    client.send_multipart(parts(&[b"", b"hello"]), 0).unwrap();

    let (domain, mechanism, credentials) = answer_zap(&curve.zap, Some("the-user"));
    assert_eq!((domain.as_slice(), mechanism.as_slice()), (&b"vip"[..], &b"CURVE"[..]));
    assert_eq!(credentials, public);

    let request = recv(&curve.router);
    assert_eq!(bytes(&request), [&b"alice"[..], b"", b"hello"]);
    for part in &request {
        assert_eq!(part.gets(c"User-Id"), Some("the-user"));
        assert_eq!(part.gets(c"Peer-Address"), Some("127.0.0.1"));
    }
    curve.router.send_multipart(parts(&[b"alice", b"welcome"]), DONTWAIT).unwrap();
    assert_eq!(bytes(&recv(&client)), [&b"welcome"[..]]);
}

#[test]
fn a_refused_client_is_told_and_nothing_reaches_the_router() {
    let curve = curve();
    let (client, _) = curve_client(&curve, &curve.server_public);
    client.monitor("inproc://refused", events::HANDSHAKE_FAILED | events::HANDSHAKE_SUCCEEDED).unwrap();
    let monitor = curve.ctx.socket(SocketType::Pair).unwrap();
    monitor.connect("inproc://refused").unwrap();
    client.connect(&curve.endpoint).unwrap();
    answer_zap(&curve.zap, None);
    let event = MonitorEvent::parse(&recv(&monitor)).unwrap();
    assert_eq!((event.kind, event.value), (MonitorEventKind::HandshakeFailedAuth, 400));
    assert_eq!(curve.router.recv_msg(DONTWAIT).unwrap_err(), Error::EAGAIN);
}

#[test]
fn a_wrong_server_key_fails_the_handshake_before_zap() {
    let curve = curve();
    let (wrong, _) = curve_keypair().unwrap();
    let (client, _) = curve_client(&curve, &wrong);
    curve.router.monitor("inproc://wrong", events::HANDSHAKE_FAILED).unwrap();
    let monitor = curve.ctx.socket(SocketType::Pair).unwrap();
    monitor.connect("inproc://wrong").unwrap();
    client.connect(&curve.endpoint).unwrap();
    let event = MonitorEvent::parse(&recv(&monitor)).unwrap();
    assert_eq!(event.kind, MonitorEventKind::HandshakeFailedProtocol);
    assert_eq!(curve.zap.recv_msg(DONTWAIT).unwrap_err(), Error::EAGAIN);
}

#[test]
fn sending_to_an_unknown_peer_gives_the_frames_back() {
    let ctx = Context::new();
    let (router, _) = router(&ctx);
    let frames: [&[u8]; 3] = [b"nobody", b"", &[7; 100]];
    let Unsent { error, parts } = router.send_multipart(parts(&frames), DONTWAIT).unwrap_err();
    assert_eq!(error, Error::EHOSTUNREACH);
    assert_eq!(bytes(&parts), frames);
    assert_eq!(router.peer_writable(b"nobody"), Err(Error::EHOSTUNREACH));
}

#[test]
fn a_full_queue_gives_the_frames_back() {
    let ctx = Context::new();
    let router = ctx.socket(SocketType::Router).unwrap();
    router.set_linger(0).unwrap();
    router.set_router_mandatory(true).unwrap();
    router.set_sndhwm(5).unwrap();
    // inproc: no kernel buffers between, so the limit is exact: both high-water marks.
    router.bind("inproc://full").unwrap();
    let client = dealer(&ctx, b"slow");
    client.set_rcvhwm(5).unwrap();
    client.connect("inproc://full").unwrap();
    client.send("hello", 0).unwrap();
    recv(&router);
    assert_eq!(router.peer_writable(b"slow"), Ok(true));
    let frames: [&[u8]; 3] = [b"slow", b"x", &[7; 100]];
    for _ in 0..10 {
        router.send_multipart(parts(&frames), DONTWAIT).unwrap();
    }
    let Unsent { error, parts: back } = router.send_multipart(parts(&frames), DONTWAIT).unwrap_err();
    assert_eq!(error, Error::EAGAIN);
    assert_eq!(bytes(&back), frames);
    assert_eq!(router.peer_writable(b"slow"), Ok(false));
    // Nothing was half sent: exactly ten whole messages arrive.
    for _ in 0..10 {
        assert_eq!(bytes(&recv(&client)), frames[1..]);
    }
    assert_eq!(client.recv_msg(DONTWAIT).unwrap_err(), Error::EAGAIN);
}

#[test]
fn a_sent_part_is_left_empty_and_usable() {
    let ctx = Context::new();
    let (a, b) = (ctx.socket(SocketType::Pair).unwrap(), ctx.socket(SocketType::Pair).unwrap());
    a.bind("inproc://pair").unwrap();
    b.connect("inproc://pair").unwrap();
    let mut frames = parts(&[b"one", &[2; 200]]);
    a.send_parts(&mut frames, 0).unwrap();
    assert!(frames.iter().all(Message::is_empty));
    assert_eq!(bytes(&recv(&b)), [&b"one"[..], &[2; 200]]);
    assert_eq!(a.send_parts::<Message>(&mut [], 0), Err(Error::EINVAL));
}

#[test]
fn a_disconnect_is_reported_at_once_and_differs_from_a_probe() {
    let ctx = Context::new();
    let (router, endpoint) = router(&ctx);
    let client = dealer(&ctx, b"bob");
    client.connect(&endpoint).unwrap();
    client.send("", 0).unwrap();
    let probe = recv(&router);
    assert_eq!(bytes(&probe), [&b"bob"[..], b""]);
    assert!(probe[1].gets(c"Socket-Type").is_some(), "a peer's own empty message has connection properties");
    drop(client);
    let gone = recv(&router);
    assert_eq!(bytes(&gone), [&b"bob"[..], b""]);
    assert_eq!(gone[1].gets(c"Socket-Type"), None);
}

#[test]
fn a_disconnect_in_mid_message_is_reported_without_the_torn_message() {
    let ctx = Context::new();
    let (router, endpoint) = router(&ctx);
    let client = dealer(&ctx, b"torn");
    client.connect(&endpoint).unwrap();
    client.send("whole", 0).unwrap();
    assert_eq!(bytes(&recv(&router)), [&b"torn"[..], b"whole"]);
    client.send("first of two", SNDMORE).unwrap();
    drop(client);
    assert_eq!(bytes(&recv(&router)), [&b"torn"[..], b""]);
}

#[test]
fn monitor_tells_the_life_of_a_connection() {
    let ctx = Context::new();
    let (router, endpoint) = router(&ctx);
    let client = dealer(&ctx, b"carol");
    client.monitor("inproc://life", events::ALL).unwrap();
    let monitor = ctx.socket(SocketType::Pair).unwrap();
    monitor.connect("inproc://life").unwrap();
    client.connect(&endpoint).unwrap();
    let mut seen = Vec::new();
    while !seen.contains(&MonitorEventKind::HandshakeSucceeded) {
        let event = MonitorEvent::parse(&recv(&monitor)).unwrap();
        assert_eq!(event.endpoint, endpoint);
        seen.push(event.kind);
    }
    assert!(seen.contains(&MonitorEventKind::Connected), "{seen:?}");
    drop(router);
    while MonitorEvent::parse(&recv(&monitor)).unwrap().kind != MonitorEventKind::Disconnected {}
}

#[test]
fn shared_parts_have_one_content() {
    let original = Message::from(vec![5_u8; 4000]);
    let at = original.as_ptr();
    let copies: Vec<Message> = (0..3).map(|_| original.share()).collect();
    assert!(copies.iter().all(|c| c.as_ptr() == at), "long content is referenced");
    drop(original);
    assert!(copies.iter().all(|c| c.as_bytes() == [5; 4000]), "and lives as long as the last reference");

    let short = Message::from("short");
    let copy = short.share();
    drop(short);
    assert_eq!(&*copy, b"short");
}

#[test]
fn contents_of_every_kind_of_part() {
    static LONG: &[u8] = &[9; 500];
    for len in [0, 1, 33, 34, 1023, 1024, 100_000] {
        let bytes: Vec<u8> = (0..=250).cycle().take(len).collect();
        assert_eq!(&*Message::from(bytes.as_slice()), bytes);
        assert_eq!(&*Message::with_len(len, |to| to.copy_from_slice(&bytes)), bytes);
        let moved = Box::new(Message::from(bytes.clone()));
        assert_eq!(&**moved, bytes);
        assert_eq!(moved.len(), len);
    }
    assert_eq!(Message::from_static(LONG).as_ptr(), LONG.as_ptr());
    assert_eq!(&*Message::from_static(b"VIP1"), b"VIP1");
    assert!(Message::new().is_empty());
    assert_eq!(Message::new().gets(c"User-Id"), None);
}

#[test]
fn a_part_beyond_the_limit_costs_the_connection() {
    let ctx = Context::new();
    let router = ctx.socket(SocketType::Router).unwrap();
    router.set_linger(0).unwrap();
    router.set_router_notify_disconnect(true).unwrap();
    router.set_max_msg_size(1000).unwrap();
    router.bind("tcp://127.0.0.1:*").unwrap();
    let client = dealer(&ctx, b"big");
    client.connect(&router.last_endpoint().unwrap()).unwrap();
    client.send(vec![1; 1000], 0).unwrap();
    assert_eq!(recv(&router)[1].len(), 1000);
    client.send(vec![1; 1001], 0).unwrap();
    assert_eq!(bytes(&recv(&router)), [&b"big"[..], b""], "a disconnect, not the message");
}

#[test]
fn identities_in_use_are_not_handed_over() {
    let ctx = Context::new();
    let (router, endpoint) = router(&ctx);
    let first = dealer(&ctx, b"dup");
    first.connect(&endpoint).unwrap();
    first.send("first", 0).unwrap();
    assert_eq!(bytes(&recv(&router)), [&b"dup"[..], b"first"]);
    let second = dealer(&ctx, b"dup");
    second.connect(&endpoint).unwrap();
    second.send("second", 0).unwrap();
    // A third peer's message is the fence: the second's would have come before its answer went out.
    router.send_multipart(parts(&[b"dup", b"to the first"]), DONTWAIT).unwrap();
    assert_eq!(bytes(&recv(&first)), [&b"to the first"[..]]);
    assert_eq!(second.recv_msg(DONTWAIT).unwrap_err(), Error::EAGAIN);
}

#[test]
fn bind_errors_say_what_is_wrong() {
    let ctx = Context::new();
    let (_holder, endpoint) = router(&ctx);
    let other = ctx.socket(SocketType::Router).unwrap();
    assert_eq!(other.bind(&endpoint), Err(Error::EADDRINUSE));
    assert_eq!(other.bind(&format!("ipc://@/{}", "x".repeat(200))), Err(Error::ENAMETOOLONG));
    assert_eq!(other.bind("nonsense"), Err(Error::EINVAL));
    assert_eq!(other.bind("smoke://signals"), Err(Error::EPROTONOSUPPORT));
    assert_eq!(other.bind("with\0nul"), Err(Error::EINVAL));
}

#[test]
fn an_address_is_free_once_the_context_has_ended() {
    let (ctx, other) = (Context::new(), Context::new());
    let (held, endpoint) = router(&ctx);
    drop(held);
    drop(ctx); // waits until the reaper closed the listener
    other.socket(SocketType::Router).unwrap().bind(&endpoint).unwrap();
}

#[test]
fn ipc_on_abstract_and_file_sockets() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::new();
    for endpoint in
        [format!("ipc://@{}/abstract", dir.path().display()), format!("ipc://{}/file", dir.path().display())]
    {
        let router = ctx.socket(SocketType::Router).unwrap();
        router.bind(&endpoint).unwrap();
        assert_eq!(router.last_endpoint().unwrap(), endpoint);
        let client = dealer(&ctx, b"dave");
        client.connect(&endpoint).unwrap();
        client.send("hello", 0).unwrap();
        assert_eq!(bytes(&recv(&router)), [&b"dave"[..], b"hello"]);
    }
}

/// libzmq built without its configuration step accepts these options and ignores them; see the build script.
#[test]
fn ipc_peers_are_named_by_user_and_process() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = format!("ipc://@{}/named", dir.path().display());
    let ctx = Context::new();
    let router = ctx.socket(SocketType::Router).unwrap();
    router.bind(&endpoint).unwrap();
    let client = dealer(&ctx, b"eve");
    client.connect(&endpoint).unwrap();
    client.send("hello", 0).unwrap();
    let address = recv(&router)[0].gets(c"Peer-Address").unwrap().to_owned();
    let ids: Vec<&str> = address.strip_prefix("localhost:").expect(&address).split(':').collect();
    assert_eq!(ids.len(), 3, "{address}");
    assert_eq!(ids[2], std::process::id().to_string());
}

/// What the kernel says about this process's sockets, found by their descriptors.
#[test]
fn sockets_are_kept_alive_and_not_inherited() {
    let ctx = Context::new();
    let (router, endpoint) = router(&ctx);
    let client = dealer(&ctx, b"kept");
    client.set_tcp_keepalive(1).unwrap();
    client.set_tcp_keepalive_idle(77).unwrap();
    client.monitor("inproc://kept", events::CONNECTED).unwrap();
    let monitor = ctx.socket(SocketType::Pair).unwrap();
    monitor.connect("inproc://kept").unwrap();
    client.connect(&endpoint).unwrap();
    client.send("hello", 0).unwrap();
    recv(&router);
    let fd = MonitorEvent::parse(&recv(&monitor)).unwrap().value.cast_signed();
    let mut idle_s: libc::c_int = 0;
    let mut len = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap();
    // SAFETY: room and length agree; the descriptor is open as long as the client is connected.
    let rc = unsafe {
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, (&raw mut idle_s).cast(), &raw mut len)
    };
    assert_eq!((rc, idle_s), (0, 77));
    // SAFETY: asks for the flags of an open descriptor.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    assert_ne!(flags & libc::FD_CLOEXEC, 0);
}

#[test]
fn polling_waits_for_descriptors_too() {
    use std::os::fd::AsFd;
    let ctx = Context::new();
    let (router, _) = router(&ctx);
    let (mut writer, reader) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut items =
        [PollItem::from_socket(&router, PollEvents::IN), PollItem::from_fd(reader.as_fd(), PollEvents::IN)];
    assert_eq!(poll(&mut items, Some(Duration::ZERO)), Ok(0));
    std::io::Write::write_all(&mut writer, b"x").unwrap();
    assert_eq!(poll(&mut items, Some(PATIENCE)), Ok(1));
    assert!(!items[0].is_readable() && items[1].is_readable());
    assert!(!router.get_events().unwrap().readable);
    assert!(router.fd().unwrap() >= 0);
}

#[test]
fn a_shut_down_context_ends_waits() {
    let ctx = Context::new();
    let (router, _) = router(&ctx);
    let waiter = std::thread::spawn(move || router.recv_msg(0).unwrap_err());
    ctx.shutdown().unwrap();
    assert_eq!(waiter.join().unwrap(), Error::ETERM);
}

#[test]
fn every_option_is_accepted() {
    let ctx = Context::new();
    ctx.set_io_threads(2).unwrap();
    ctx.set_max_sockets(30_690).unwrap();
    let s = ctx.socket(SocketType::Router).unwrap();
    s.set_identity(b"0b5c5b8e-7a86-4c1c-8b0f-5a3b9b6e0d8e").unwrap();
    assert_eq!(s.set_identity(&[b'x'; 256]), Err(Error::EINVAL));
    s.set_router_handover(false).unwrap();
    s.set_probe_router(false).unwrap();
    s.set_sndtimeo(0).unwrap();
    s.set_rcvtimeo(0).unwrap();
    s.set_sndhwm(6000).unwrap();
    s.set_rcvhwm(6000).unwrap();
    s.set_sndbuf(-1).unwrap();
    s.set_rcvbuf(-1).unwrap();
    s.set_backlog(100).unwrap();
    s.set_tcp_keepalive(1).unwrap();
    s.set_tcp_keepalive_idle(180).unwrap();
    s.set_tcp_keepalive_intvl(20).unwrap();
    s.set_tcp_keepalive_cnt(6).unwrap();
    s.set_linger(1).unwrap();
    s.set_heartbeat_ivl(5000).unwrap();
    s.set_heartbeat_timeout(10_000).unwrap();
    s.set_heartbeat_ttl(15_000).unwrap();
    s.set_handshake_ivl(30_000).unwrap();
    s.set_max_msg_size(64 << 20).unwrap();
    s.set_ipv6(true).unwrap();
    let d = ctx.socket(SocketType::Dealer).unwrap();
    d.set_immediate(true).unwrap();
    d.set_reconnect_ivl(100).unwrap();
    d.set_reconnect_ivl_max(1000).unwrap();
    d.set_connect_timeout(5000).unwrap();
    d.set_plain_client("user", "password").unwrap();
    let p = ctx.socket(SocketType::Router).unwrap();
    p.set_plain_server(true).unwrap();
}
