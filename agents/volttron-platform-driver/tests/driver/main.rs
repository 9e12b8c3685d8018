//! Tests of the platform driver from the outside: the agent on an in-memory platform, and Modbus against pymodbus.

mod agent;
mod modbus;
mod support;
