//! `cargo xtask demo`: a platform with three agents at work, from nothing, with something to see.

mod building_data;
mod stage;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::shell::{Outcome, cargo, step, target_dir};
use stage::Stage;

/// Options of `cargo xtask demo`.
#[derive(clap::Args)]
pub struct Args {
    /// Read a Modbus TCP device instead of replaying recorded data
    #[arg(long, value_name = "HOST:PORT")]
    modbus: Option<String>,
    /// Registry of the Modbus device (CSV); a small example otherwise
    #[arg(long, value_name = "FILE", requires = "modbus")]
    registry: Option<PathBuf>,
    /// Unit of the Modbus device
    #[arg(long, default_value_t = 1, requires = "modbus")]
    unit: u8,
    /// Keep the platform's home here instead of in a directory that is deleted at the end
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// End after so many messages instead of with Ctrl-C
    #[arg(long, value_name = "N")]
    messages: Option<u64>,
}

/// Programs that the demo runs.
const PROGRAMS: [&str; 4] =
    ["volttron-server", "volttron-listener", "volttron-platform-driver", "volttron-sql-historian"];

/// An example of a registry, for a device that has these registers.
const MODBUS_REGISTRY: &str = "\
Volttron Point Name,Units,Modbus Register,Writable,Point Address,Mixed Endian,Transform,Table,Default Value
SupplyTemp,degreesFahrenheit,>f,TRUE,0,TRUE,,holding,
SupplyTempSetPoint,degreesFahrenheit,>H,TRUE,2,,scale(0.1),holding,55.0
FanOn,On/Off,BOOL,TRUE,0,,,,
";

/// Runs the task.
pub fn run(args: &Args) -> Outcome {
    let mut build = cargo();
    build.arg("build");
    for package in PROGRAMS {
        build.args(["-p", package]);
    }
    step("build the platform and three agents (some minutes the first time)", &mut build)?;
    step("build the viewer", cargo().args(["build", "-q", "-p", "volttron-client", "--example", "watch"]))?;

    // From here on Ctrl-C is for the viewer; this program then takes the platform down.
    let interrupted = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, interrupted.clone())
        .map_err(|e| e.to_string())?;
    signal_hook::flag::register(signal_hook::consts::SIGTERM, interrupted).map_err(|e| e.to_string())?;
    let mut stage = Stage::open(args.home.clone())?;
    let shown = perform(args, &stage);
    let down = stage.close();
    shown.and(down)
}

fn perform(args: &Args, stage: &Stage) -> Outcome {
    configure(args, stage)?;
    for (program, identity) in [
        ("volttron-listener", "listener"),
        ("volttron-sql-historian", "platform.historian"),
        ("volttron-platform-driver", "platform.driver"),
    ] {
        let path = target_dir().join("debug").join(program);
        stage.vctl_args(&[
            "install".as_ref(),
            path.as_os_str(),
            "--vip-identity".as_ref(),
            identity.as_ref(),
            "--start".as_ref(),
            "--force".as_ref(),
        ])?;
    }
    eprintln!("== vctl status");
    stage.vctl(&["status"])?;
    eprintln!(
        "== to look around from another terminal: VOLTTRON_HOME={} {} status",
        stage.home().display(),
        target_dir().join("debug/vctl").display()
    );
    view(args, stage)
}

fn configure(args: &Args, stage: &Stage) -> Outcome {
    let (registry, device) = match &args.modbus {
        Some(address) => {
            let (host, port) = address.rsplit_once(':').ok_or("--modbus takes HOST:PORT")?;
            let port: u16 = port.parse().map_err(|_| format!("--modbus: {port} is not a port"))?;
            let registry = match &args.registry {
                Some(path) => {
                    std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?
                }
                None => MODBUS_REGISTRY.to_owned(),
            };
            let settings = serde_json::json!({"device_address": host, "port": port, "slave_id": args.unit});
            (registry, serde_json::json!({"driver_type": "modbus", "driver_config": settings}))
        }
        None => {
            let table = stage.file("building.csv", &building_data::csv(5))?;
            // Five minutes of the building per second.
            let settings = serde_json::json!({"csv_path": table, "speed": 300.0});
            let device = serde_json::json!({"driver_type": "csv_replay", "driver_config": settings});
            (building_data::REGISTRY.to_owned(), device)
        }
    };
    let mut device = device;
    device["interval"] = 1.into();
    device["registry_config"] = "config://registry_configs/ahu1.csv".into();
    let registry = stage.file("registry.csv", &registry)?;
    let device = stage.file("ahu1.json", &device.to_string())?;
    store(stage, "registry_configs/ahu1.csv", &registry, "--csv")?;
    store(stage, "devices/campus/building/ahu1", &device, "--json")
}

/// Stores a file in the driver's configuration store.
fn store(stage: &Stage, name: &str, file: &Path, kind: &str) -> Outcome {
    let words = ["config", "store", "platform.driver", name].map(OsStr::new);
    stage.vctl_args(&[words[0], words[1], words[2], words[3], file.as_os_str(), kind.as_ref()])
}

/// Shows what passes until the viewer ends.
fn view(args: &Args, stage: &Stage) -> Outcome {
    let keys = stage.vctl_output(&["auth", "keypair"])?;
    let keys: serde_json::Value =
        serde_json::from_str(&keys).map_err(|e| format!("vctl auth keypair: {e}"))?;
    let (public, secret) =
        (keys["public"].as_str().unwrap_or_default(), keys["secret"].as_str().unwrap_or_default());
    stage.vctl_output(&[
        "auth",
        "add",
        "--credentials",
        public,
        "--user_id",
        "demo.viewer",
        "--comments",
        "demo",
    ])?;
    let server_key = stage.vctl_output(&["auth", "serverkey"])?;
    let mut viewer = Command::new(target_dir().join("debug/examples/watch"));
    viewer.arg("devices/campus/building/ahu1").args(args.messages.map(|n| n.to_string()));
    viewer
        .env("VOLTTRON_HOME", stage.home())
        .env("AGENT_VIP_IDENTITY", "demo.viewer")
        .env("AGENT_PUBLICKEY", public)
        .env("AGENT_SECRETKEY", secret)
        .env("VOLTTRON_SERVERKEY", server_key.trim());
    let status = viewer.status().map_err(|e| format!("cannot run the viewer: {e}"))?;
    if status.success() || status.code().is_none() {
        Ok(())
    } else {
        Err(format!("the viewer failed ({status})"))
    }
}
