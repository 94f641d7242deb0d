//! The kernel programs: one file per hook family under `hooks`, no logic here.
//!
//! Everything below runs inside the kernel on every hooked call of every process, so the first thing each program does
//! is to ask whether the process is traced ([`process::current_target`]).
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod bounds;
mod call;
mod capture;
mod carrier;
mod connection;
mod context;
mod counter;
mod debug;
mod hooks;
mod identity;
mod jobs;
mod kernel;
mod lineage;
mod pending;
mod process;
mod queues;
mod registers;
mod ring;
mod streams;
mod tls;
mod turns;

/// The kernel lends its GPL-only helpers to programs that say so.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Compared with the agent's own at load.
#[unsafe(no_mangle)]
static AUTOSPAN_ABI: u32 = autospan_abi::ABI_VERSION;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
