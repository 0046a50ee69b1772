//! The two tasks on two cores of one runtime of ringwork.

use std::io;

use ringwork::runtime::{Builder, Pin};

use super::{Ends, answer, ask};
use crate::plan::Plan;

/// Does what is planned and prints what it cost.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let (op, times) = (plan.need("op")?, plan.times()?);
    let runtime = Builder::new().cores(2).pin(Pin::Each).build().map_err(io::Error::other)?;
    let Ends { there, back } = Ends::of(op);
    let answering = runtime.handle().spawn_on(1, move || answer(op, there.1, back.0));
    let asking = runtime.handle().spawn_on(0, move || ask(op, times, there.0, back.1));
    let meter = runtime.block_on(asking).map_err(io::Error::other)??;
    runtime.block_on(answering).map_err(io::Error::other)??;
    meter.print()
}
