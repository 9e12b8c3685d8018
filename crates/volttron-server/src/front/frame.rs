//! The frame the router works with on this bus: libzmq's message part, moved and never copied.

use volttron_utils::vip::Frame;

/// A [`zmq::Message`] that the sans-IO router can handle.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct ZmqFrame(pub zmq::Message);

impl AsRef<[u8]> for ZmqFrame {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl AsMut<zmq::Message> for ZmqFrame {
    fn as_mut(&mut self) -> &mut zmq::Message {
        &mut self.0
    }
}

impl Frame for ZmqFrame {
    fn from_slice(bytes: &[u8]) -> Self {
        Self(zmq::Message::from(bytes))
    }
    fn from_static(bytes: &'static [u8]) -> Self {
        Self(zmq::Message::from_static(bytes))
    }
    fn from_vec(bytes: Vec<u8>) -> Self {
        Self(zmq::Message::from(bytes))
    }
}
