//! The fake device that can be put on the platform driver: somewhere to look at before there is a real one.

use serde_json::{Value, json};
use volttron_utils::identity::PLATFORM_DRIVER;

/// Its name in the store.
const DEVICE: &str = "devices/fake-campus/fake-building/fake-device";
/// Name of its registry.
const REGISTRY: &str = "fake.csv";
/// Its points.
const POINTS: &str = "\
Point Name,Volttron Point Name,Units,Units Details,Writable,Starting Value,Type,Notes
EKG,EKG,waveform,waveform,TRUE,sin,float,Goes up and down once a minute
Heartbeat,Heartbeat,On/Off,On/Off,TRUE,0,boolean,Written by agents that watch over the device
OutsideAirTemperature,OutsideAirTemperature,degC,-50 to 50,FALSE,18.5,float,Outdoor air
RoomTemperature,RoomTemperature,degC,10 to 40,FALSE,21.5,float,Room air
RoomTemperatureSetPoint,RoomTemperatureSetPoint,degC,10 to 30,TRUE,21.0,float,What the room shall have
SupplyFanSpeed,SupplyFanSpeed,%,0 to 100,TRUE,40,float,Speed of the supply fan
Occupied,Occupied,On/Off,On/Off,TRUE,1,boolean,Whether the room is in use
";

/// What the configuration store is to have, as a transaction.
pub(super) fn transaction() -> Value {
    let device = json!({
        "driver_type": "fakedriver",
        "driver_config": {},
        "registry_config": format!("config://{REGISTRY}"),
        "interval": 5,
        "timezone": "UTC",
        "heart_beat_point": "Heartbeat"
    });
    let device = volttron_utils::json::to_string(&device).unwrap_or_default();
    json!({PLATFORM_DRIVER: {"set": {
        REGISTRY: {"type": "csv", "data": POINTS},
        DEVICE: {"type": "json", "data": device},
    }}})
}
