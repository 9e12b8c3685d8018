//! Bytes as the small values in frames: numbers, errors, whole messages, deliveries, socket events, ZAP questions.

use bytes::Bytes;
use serde_json::Value;
use volttron_utils::health::HealthReport;
use volttron_utils::json;
use volttron_utils::vip::{Message, VipError, typed};
use zmq::MonitorEvent;

/// The bytes as frames, split at zero bytes, each read as everything a frame can hold. Values that are written are
/// read again, and a message that is understood is sent on unchanged.
pub fn wire_values(data: &[u8]) {
    let frames: Vec<Bytes> = data.split(|byte| *byte == 0).map(Bytes::copy_from_slice).collect();
    for frame in frames.iter().chain([&Bytes::copy_from_slice(data)]) {
        value(frame);
    }
    if let Some(error) = VipError::from_args(&frames) {
        assert_eq!(VipError::from_args(&error.to_args()).as_ref(), Some(&error), "{error:?}");
    }
    if let Ok(message) = Message::from_frames(frames.clone()) {
        assert_eq!(message.reply(Vec::new()).peer, message.peer);
        assert_eq!(message.peer_str().chars().count(), message.peer.len());
        assert_eq!(message.into_frames().to_vec(), frames);
    }
    let parts: Vec<zmq::Message> = frames.iter().map(|frame| zmq::Message::from(&frame[..])).collect();
    let _ = MonitorEvent::parse(&parts);
    let raw: Vec<zmq::Message> = data.chunks(6).take(2).map(zmq::Message::from).collect();
    if let Some(event) = MonitorEvent::parse(&raw) {
        assert!(event.endpoint.len() <= 3 * 6);
    }
    volttron_server::front::zap::check_zap(&parts);
    volttron_client::fuzzing::delivery(&frames);
}

fn value(frame: &[u8]) {
    let _ = typed::as_bool(frame);
    let text = typed::text(frame);
    assert_eq!(typed::latin1(&text).as_deref(), Some(frame), "ISO-8859-1 loses nothing");
    assert_eq!(typed::latin1_lossy(&text), frame);
    if let Some(number) = typed::as_uint(frame) {
        assert_eq!(typed::as_uint(number.to_string().as_bytes()), Some(number));
    }
    if let Some(number) = typed::as_float(frame).filter(|number| number.is_finite()) {
        let written = json::to_string(&number).expect("finite numbers can be written");
        assert_eq!(typed::as_float(written.as_bytes()), Some(number), "{written}");
    }
    let seen = typed::as_json(frame);
    if let Some(value) = &seen {
        let written = json::to_string(value).expect("values can be written");
        assert_eq!(json::from_str::<Value>(&written).as_ref(), Ok(value), "{written}");
        let _ = json::python::repr(value);
    }
    assert_eq!(seen.is_some(), typed::is_json_like(&text), "both answer what a Python hop does to {text:?}");
    if let Ok(report) = json::from_slice::<HealthReport>(frame) {
        let written = json::to_string(&report).expect("reports can be written");
        assert_eq!(json::from_str::<HealthReport>(&written), Ok(report));
    }
    if let Ok(members) = json::split_object(frame) {
        let whole: Option<Value> = typed::as_json(frame);
        assert!(
            whole.is_none_or(|whole| whole.is_object()),
            "the splitter sees an object where there is none"
        );
        for (key, raw) in members.iter() {
            assert!(members.get(&key.text()).is_some());
            assert!(raw.len() <= frame.len());
        }
    }
}
