//! The half of the agent's `probe` that has nothing to do with processes.

#[path = "../../../agent/src/probe/plan.rs"]
pub mod plan;
#[path = "../../../agent/src/probe/python/mod.rs"]
pub mod python;
#[path = "../../../agent/src/probe/recognise/mod.rs"]
pub mod recognise;
