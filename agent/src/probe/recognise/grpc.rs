//! gRPC's C core in Python (`cygrpc`), which has lost its symbols. `grpc_call_start_batch` names itself in what it would log:
//! code that refers to this text is in that function, or in a part of it that the compiler has put elsewhere since it hardly
//! ever runs, to which a conditional jump of the function leads.

use super::entry_offset;
use crate::elf::{Elf, Function, Source};
use crate::probe::plan::{Probe, ProbeProgram, Recognised};
use std::ops::ControlFlow::{Break, Continue};

/// What CPython calls when the extension is imported.
const EXTENSION: &str = "PyInit_cygrpc";
const LOGGED: &str = "grpc_call_start_batch(call=";

/// Adds what there is in the extension.
pub(super) fn recognise<S: Source + ?Sized>(elf: &Elf<'_, S>, recognised: &mut Recognised) {
    if elf.functions(&[EXTENSION]).is_empty() {
        return;
    }
    if let Some(offset) = start_batch(elf).and_then(|function| entry_offset(elf, &function)) {
        let programs = [ProbeProgram::GrpcStartBatch, ProbeProgram::GrpcStartBatchReturn];
        recognised.probes.extend(programs.map(|program| Probe { offset, program }));
    }
}

/// `None`: it is not there, or it cannot be told from another one.
fn start_batch<S: Source + ?Sized>(elf: &Elf<'_, S>) -> Option<Function> {
    let mut text = None;
    elf.search(&elf.constants(), &[LOGGED.as_bytes()], |found| {
        text = elf.address(found.offset);
        if text.is_some() { Break(()) } else { Continue(()) }
    });
    let logs = only(elf, elf.references(&[text?]).into_iter().map(|(_, at)| at))?;
    let is_called = |function: &Function| !elf.called(&[function.address]).is_empty();
    if is_called(&logs) {
        return Some(logs);
    }
    let end = logs.address.checked_add(logs.size)?;
    only(elf, elf.branches(logs.address..end).into_iter()).filter(is_called)
}

/// The function that all these places are in.
fn only<S: Source + ?Sized>(elf: &Elf<'_, S>, mut places: impl Iterator<Item = u64>) -> Option<Function> {
    let function = elf.function_at(places.next()?)?;
    places.all(|at| elf.function_at(at) == Some(function)).then_some(function)
}
