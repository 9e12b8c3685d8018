//! Calls with a type for their result, as the clients of `#[interface]` make them.

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;

use super::call::Call;
use crate::CallError;

/// A call whose result is an `R`; made by [`Call::typed`]. Awaiting it sends it.
#[must_use = "a call does nothing until awaited"]
pub struct TypedCall<R> {
    call: Call,
    result: PhantomData<fn() -> R>,
}

impl<R> std::fmt::Debug for TypedCall<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TypedCall").field(&self.call).finish()
    }
}

impl<R> TypedCall<R> {
    pub(super) fn new(call: Call) -> Self {
        Self { call, result: PhantomData }
    }

    /// Sets the deadline of this call.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.call = self.call.timeout(limit);
        self
    }

    /// Sends without asking for an answer; see [`Call::notify`].
    pub async fn notify(self) -> Result<(), CallError> {
        self.call.notify().await
    }
}

impl<R: DeserializeOwned + 'static> IntoFuture for TypedCall<R> {
    type Output = Result<R, CallError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.call.send::<R>().boxed()
    }
}
