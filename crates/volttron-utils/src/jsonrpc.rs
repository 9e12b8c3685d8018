//! JSON-RPC 2.0 with VOLTTRON's extensions (subsystems.md section 6).
//!
//! Owns the envelopes: reading requests, responses and batches out of a frame, writing them, and the error
//! objects with the members Python callers look at. Must never run a method or keep track of calls.

mod envelope;
mod error;
#[cfg(test)]
mod tests;

pub use envelope::{Batch, Incoming, Params, ParamsError, Request, Response, parse};
pub use error::{
    CODE_INTERNAL, CODE_INVALID_PARAMS, CODE_INVALID_REQUEST, CODE_METHOD_NOT_FOUND, CODE_PARSE,
    CODE_UNAUTHORIZED, CODE_UNHANDLED, EXCEPTION_KEY, RpcError,
};
