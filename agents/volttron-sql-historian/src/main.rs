//! The SQL historian as a program.

use std::future::ready;
use std::process::ExitCode;

use serde_json::{Map, Value};
use volttron_client::historian::HistorianAgent;
use volttron_client::program::{Program, Start, StartError, options_schema, run_with};
use volttron_client::utils::identity;
use volttron_sql_historian::{SqlHistorian, settings};

fn main() -> ExitCode {
    let program = Program::new(volttron_client::package!(), identity::PLATFORM_HISTORIAN)
        .config_schema(options_schema(settings::options()));
    run_with(&program, |start| ready(agent(&start)))
}

/// The configuration file of the installation is the base; the store's entry `config` goes over it.
fn agent(start: &Start) -> Result<HistorianAgent<SqlHistorian>, StartError> {
    let file = match start.config_value()? {
        Some(Value::Object(map)) => map,
        None | Some(Value::Null) => Map::new(),
        Some(_) => return Err(StartError::Agent("the configuration must be a map of options".into())),
    };
    Ok(HistorianAgent::new(SqlHistorian, &file))
}
