//! The Modbus driver against a real server (pymodbus in a process of its own).

use crate::support::ModbusServer;
use serde_json::{Value, json};
use volttron_client::driver::{Device, DeviceContext, DriverError, DriverFactory, Kwargs, Rows};
use volttron_platform_driver::modbus::ModbusFactory;

fn device_with(factory: &ModbusFactory, port: u16, config: &Value, registry: &str) -> Device {
    let mut all = json!({"device_address": "127.0.0.1", "port": port, "slave_id": 1});
    all.as_object_mut().expect("object").extend(config.as_object().expect("object").clone());
    let context = DeviceContext { path: "campus/building/unit", driver_type: "modbus" };
    let rows = Rows::from_csv(registry.as_bytes()).expect("csv");
    Device::new(factory.configure(&context, &all, Some(rows)).expect("configured")).expect("device")
}

fn device(server: &ModbusServer, registry: &str) -> Device {
    device_with(&ModbusFactory::new(None), server.port, &json!({}), registry)
}

fn kw() -> Kwargs {
    Kwargs::new()
}

async fn scrape(device: &Device) -> Value {
    let scrape = device.scrape().await.expect("scrape");
    Value::Object(device.named(&scrape))
}

const EVERY_TYPE: &str = "\
Volttron Point Name,Units,Modbus Register,Writable,Point Address,Mixed Endian,Transform,Table,Default Value
swapped,F,>f,TRUE,10,TRUE,,,
plain,F,>f,TRUE,12,,,,
scaled,A,>H,TRUE,14,,scale(0.1),,
by register,V,>h,FALSE,15,,scale_reg_pow_10(exponent),holding,
exponent,,>h,FALSE,16,,,holding,
counter,kWh,>Q,FALSE,17,,,holding,
model,,>8s,TRUE,21,,,,
input,F,>h,FALSE,3,,,,
fan,On/Off,BOOL,TRUE,5,,,,TRUE
alarm,On/Off,BOOL,FALSE,6,,,,
";

fn fill(server: &mut ModbusServer) {
    server.set("h", 10, &json!([0x999A, 0x425D, 0x425D, 0x999A, 553, 1234, 0xFFFE]));
    server.set("h", 17, &json!([0xFFFF, 0xFFFF, 0xFFFF, 0xFFFE, 0x4148, 0x552D, 0x3300, 0]));
    server.set("i", 3, &json!([0xFFFB]));
    server.set("c", 5, &json!([true]));
    server.set("d", 6, &json!([false]));
}

#[tokio::test]
async fn every_type_is_read_in_merged_blocks_over_one_connection() {
    let Some(mut server) = ModbusServer::start() else { return };
    fill(&mut server);
    let device = device(&server, EVERY_TYPE);
    let want = json!({
        "swapped": 55.400_001_525_878_906, "plain": 55.400_001_525_878_906, "scaled": 55.3, "by register": 12.34,
        "exponent": -2, "counter": u64::MAX - 1, "model": "AHU-3", "input": -5, "fan": true, "alarm": false,
    });
    assert_eq!(scrape(&device).await, want);
    assert_eq!(server.requests(), json!([[4, 3, 1], [3, 10, 15]]));
    assert_eq!(scrape(&device).await, want);
}

#[tokio::test]
async fn writes_change_the_registers_and_are_read_back() {
    let Some(mut server) = ModbusServer::start() else { return };
    fill(&mut server);
    let device = device(&server, EVERY_TYPE);
    scrape(&device).await;
    for (point, value, read_back) in [
        ("swapped", json!(72.5), json!(72.5)),
        ("scaled", json!(12.34), json!(12.3)),
        ("scaled", json!("7"), json!(7.0)),
        ("model", json!("VAV"), json!("VAV")),
        ("fan", json!(0), json!(false)),
    ] {
        assert_eq!(device.set_point(point, &value, &kw()).await, Ok(read_back), "{point}");
    }
    assert_eq!(server.get("h", 10, 2), json!([0, 0x4291]));
    assert_eq!(server.get("h", 14, 1), json!([70]));
    assert_eq!(server.get("h", 21, 4), json!([0x5641, 0x5600, 0, 0]));
    assert_eq!(server.get("c", 5, 1), json!([false]));

    for (point, value, error) in [
        ("scaled", json!(-1), "OutOfRange"),
        ("input", json!(1), "ReadOnly"),
        ("swapped", json!([1]), "NotANumber"),
    ] {
        let got = device.set_point(point, &value, &kw()).await.expect_err(error);
        let expected = match error {
            "ReadOnly" => matches!(got, DriverError::ReadOnly(_)),
            _ => matches!(got, DriverError::Value(_)),
        };
        assert!(expected, "{point}: {got:?}");
    }

    // Back to the default where there is one, else to what was scraped before the write.
    device.revert_point("fan", &kw()).await.expect("revert");
    assert_eq!(server.get("c", 5, 1), json!([true]));
    assert_eq!(device.revert_all(&kw()).await, []);
    assert_eq!(server.get("h", 10, 2), json!([0x999A, 0x425D]));
    assert_eq!(server.get("h", 14, 1), json!([553]));
}

#[tokio::test]
async fn single_writes_are_used_when_asked_for() {
    let Some(mut server) = ModbusServer::start() else { return };
    fill(&mut server);
    let factory = ModbusFactory::new(None);
    let device = device_with(&factory, server.port, &json!({"write_multiple_registers": false}), EVERY_TYPE);
    device.set_point("scaled", &json!(1), &kw()).await.expect("one word");
    assert_eq!(server.requests()[0], json!([6, 14, 1]));
    let refused = device.set_point("plain", &json!(1), &kw()).await.expect_err("two words");
    assert!(matches!(refused, DriverError::Value(_)), "{refused:?}");
}

#[tokio::test]
async fn bad_addresses_are_isolated_and_remembered() {
    let Some(mut server) = ModbusServer::start() else { return };
    let registry: String =
        std::iter::once("Volttron Point Name,Units,Modbus Register,Writable,Point Address\n".to_owned())
            .chain((0..8).map(|n| format!("p{n},,>H,FALSE,{n}\n")))
            .collect();
    server.set("i", 0, &json!([0, 1, 2, 3, 4, 5, 6, 7]));
    server.drop_address("i", 5);
    let device = device(&server, &registry);
    let good = json!({"p0": 0, "p1": 1, "p2": 2, "p3": 3, "p4": 4, "p6": 6, "p7": 7});
    assert_eq!(scrape(&device).await, good);
    let first = server.requests();
    assert_eq!(first[0], json!([4, 0, 8]));
    assert!(first.as_array().expect("list").len() <= 7, "{first}");

    // The second scrape knows: two blocks around the hole.
    assert_eq!(scrape(&device).await, good);
    assert_eq!(server.requests(), json!([[4, 0, 5], [4, 6, 2]]));

    // Asked for by name it is tried, and once it answers it is back in the scrape.
    let error = device.get_point("p5", &kw()).await.expect_err("still illegal");
    assert!(matches!(&error, DriverError::Device(text) if text.contains("address")), "{error}");
    server.set("i", 5, &json!([55]));
    assert_eq!(device.get_point("p5", &kw()).await, Ok(json!(55)));
    server.requests();
    assert_eq!(scrape(&device).await["p5"], 55);
    assert_eq!(server.requests(), json!([[4, 0, 8]]));
}

#[tokio::test]
async fn a_device_that_went_away_and_came_back_is_read_again() {
    let Some(mut server) = ModbusServer::start() else { return };
    fill(&mut server);
    let device = device(&server, EVERY_TYPE);
    scrape(&device).await;
    let mut server = server.restart();
    fill(&mut server);
    assert_eq!(scrape(&device).await["scaled"], 55.3, "the closed connection is replaced at once");

    let port = server.stop();
    for _ in 0..2 {
        let error = device.scrape().await.expect_err("nobody listens");
        assert!(
            matches!(&error, DriverError::Unreachable(text) if text.contains(&port.to_string())),
            "{error}"
        );
    }
    let error = device.get_point("scaled", &kw()).await.expect_err("an error, not a null");
    assert!(error.is_device_wide());
}

#[tokio::test]
async fn a_device_that_does_not_answer_is_given_up_and_found_again() {
    let Some(mut server) = ModbusServer::start() else { return };
    fill(&mut server);
    let device = device_with(&ModbusFactory::new(None), server.port, &json!({"timeout": 0.2}), EVERY_TYPE);
    server.hold();
    let error = device.scrape().await.expect_err("held");
    assert!(matches!(&error, DriverError::Unreachable(text) if text.contains("no answer within")), "{error}");
    server.release();
    // A late answer to the given-up request must not be taken for the answer to this one. The limit is not about
    // speed here, so a loaded machine gets several tries.
    for attempt in 0.. {
        match device.get_point("scaled", &kw()).await {
            Ok(value) => {
                assert_eq!(value, json!(55.3));
                break;
            }
            Err(error) => assert!(attempt < 50, "{error}"),
        }
    }
}

#[tokio::test]
async fn a_dead_unit_behind_a_gateway_fails_alone() {
    let Some(mut server) = ModbusServer::start() else { return };
    fill(&mut server);
    let factory = ModbusFactory::new(Some(1));
    let alive = device_with(&factory, server.port, &json!({}), EVERY_TYPE);
    let dead = device_with(&factory, server.port, &json!({"slave_id": 9}), EVERY_TYPE);
    let (good, bad) = tokio::join!(alive.scrape(), dead.scrape());
    assert_eq!(good.expect("unit 1 answers").values.len(), 10);
    assert!(matches!(bad, Err(DriverError::Unreachable(_))), "{bad:?}");
}

#[tokio::test]
async fn fragile_gateways_get_a_connection_per_operation() {
    let Some(mut server) = ModbusServer::start() else { return };
    fill(&mut server);
    let device = device_with(
        &ModbusFactory::new(None),
        server.port,
        &json!({"connect_per_request": true}),
        EVERY_TYPE,
    );
    for _ in 0..3 {
        assert_eq!(scrape(&device).await["scaled"], 55.3);
    }
    assert_eq!(device.set_point("fan", &json!(true), &kw()).await, Ok(json!(true)));
}
