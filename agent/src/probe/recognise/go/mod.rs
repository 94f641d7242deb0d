//! Go's own TLS, and where its runtime and its HTTP client hand work on, in executables of any kind: stripped or not,
//! position-independent or not, linked by Go or by a C toolchain.
//!
//! Arguments are in registers, as of [Go's internal ABI](https://go.dev/s/regabi), since Go 1.17 on x86-64 and 1.18 on
//! AArch64. A return probe would break a goroutine whose stack moves: each return instruction gets a probe of its own.

mod code;
mod functab;
#[cfg(test)]
mod tests;

use super::Probe;
use crate::elf::{Elf, Function, Machine, Source};
use crate::probe::plan::{Component, ProbeProgram, Recognised};
use ProbeProgram::{
    GoHttp2ReadFrames, GoHttp2RunHandler, GoHttp2WriteHeaders, GoNewproc, GoNewprocReturn, GoRoundTrip, GoTlsHandshake,
    GoTlsHandshakeReturn, GoTlsRead, GoTlsReturn, GoTlsWrite, GrpcGoCalls, GrpcGoHandle, GrpcGoRequest, GrpcGoResponse,
    GrpcGoServes, GrpcGoStreamMade,
};

/// A function that is looked for, and what is attached to it.
struct Wanted {
    name: &'static str,
    entry: Option<ProbeProgram>,
    returns: Option<ProbeProgram>,
}

const FUNCTIONS: [Wanted; 21] = [
    with_returns("crypto/tls.(*Conn).Read", GoTlsRead, GoTlsReturn),
    with_returns("crypto/tls.(*Conn).Write", GoTlsWrite, GoTlsReturn),
    with_returns("crypto/tls.(*Conn).clientHandshake", GoTlsHandshake, GoTlsHandshakeReturn),
    with_returns("crypto/tls.(*Conn).serverHandshake", GoTlsHandshake, GoTlsHandshakeReturn),
    with_returns("runtime.newproc1", GoNewproc, GoNewprocReturn),
    on("net/http.(*persistConn).roundTrip", GoRoundTrip),
    on("net/http.(*http2serverConn).readFrames", GoHttp2ReadFrames),
    on("net/http.(*http2serverConn).runHandler", GoHttp2RunHandler),
    on("net/http.(*http2ClientConn).writeHeaders", GoHttp2WriteHeaders),
    on("net/http/internal/http2.(*serverConn).readFrames", GoHttp2ReadFrames),
    on("net/http/internal/http2.(*serverConn).runHandler", GoHttp2RunHandler),
    on("net/http/internal/http2.(*ClientConn).writeHeaders", GoHttp2WriteHeaders),
    on("golang.org/x/net/http2.(*serverConn).readFrames", GoHttp2ReadFrames),
    on("golang.org/x/net/http2.(*serverConn).runHandler", GoHttp2RunHandler),
    on("golang.org/x/net/http2.(*ClientConn).writeHeaders", GoHttp2WriteHeaders),
    on("google.golang.org/grpc/internal/transport.(*http2Server).HandleStreams", GrpcGoServes),
    on("google.golang.org/grpc/internal/transport.(*http2Server).operateHeaders", GrpcGoRequest),
    on("google.golang.org/grpc.(*Server).handleStream", GrpcGoHandle),
    on("google.golang.org/grpc/internal/transport.(*http2Client).reader", GrpcGoCalls),
    on("google.golang.org/grpc/internal/transport.(*http2Client).operateHeaders", GrpcGoResponse),
    on_returns("google.golang.org/grpc/internal/transport.(*http2Client).NewStream", GrpcGoStreamMade),
];

const fn on(name: &'static str, entry: ProbeProgram) -> Wanted {
    Wanted { name, entry: Some(entry), returns: None }
}

const fn on_returns(name: &'static str, returns: ProbeProgram) -> Wanted {
    Wanted { name, entry: None, returns: Some(returns) }
}

const fn with_returns(name: &'static str, entry: ProbeProgram, returns: ProbeProgram) -> Wanted {
    Wanted { name, entry: Some(entry), returns: Some(returns) }
}

/// Adds what an executable linked by Go has of them.
pub(super) fn recognise<S: Source + ?Sized>(elf: &Elf<'_, S>, recognised: &mut Recognised) {
    let Some(version) = elf.go_version() else { return };
    let component = Component { name: "Go crypto/tls", version };
    match probes(elf, component.version.as_deref()) {
        Ok(probes) => {
            recognised.what.extend(probes.iter().any(|probe| probe.program == GoTlsReturn).then_some(component));
            recognised.probes.extend(probes);
        }
        Err(reason) if functab::mentions(elf, FUNCTIONS[0].name) => {
            recognised.loss = Some(format!("{component} cannot be read: {reason}"));
        }
        Err(_) => {}
    }
}

/// Probes of all functions. An error is why there are none, or none of TLS.
fn probes<S: Source + ?Sized>(elf: &Elf<'_, S>, version: Option<&str>) -> Result<Vec<Probe>, &'static str> {
    has_register_abi(elf.machine, version).then_some(()).ok_or("only Go 1.17 and newer is understood")?;
    let mut probes = Vec::new();
    for function in functions(elf)? {
        match probes_of(elf, &function) {
            Ok(of_function) => probes.extend(of_function),
            Err(reason) if FUNCTIONS[function.name].returns == Some(GoTlsReturn) => return Err(reason),
            Err(_) => {}
        }
    }
    Ok(probes)
}

/// The functions that are there. An error is why nobody can know.
fn functions<S: Source + ?Sized>(elf: &Elf<'_, S>) -> Result<Vec<Function>, &'static str> {
    let names = FUNCTIONS.map(|wanted| wanted.name);
    let by_symbols = elf.functions(&names);
    if by_symbols.is_empty() { functab::functions(elf, &names) } else { Ok(by_symbols) }
}

fn has_register_abi(machine: Machine, version: Option<&str>) -> bool {
    let since = match machine {
        Machine::X86_64 => 17,
        Machine::Aarch64 => 18,
        Machine::Other => return false,
    };
    // `1.27.3`, `1.28rc1`, `1.27-custom`. A version that cannot be read is of Go ≤ 1.17, or none that this agent knows.
    let minor = version.and_then(|version| version.strip_prefix("1."));
    let digits = minor.and_then(|minor| minor.split(|c: char| !c.is_ascii_digit()).next());
    digits.and_then(|digits| digits.parse::<u32>().ok()).is_some_and(|minor| minor >= since)
}

/// A probe at a function's entry, and one at each of its returns where they are wanted.
fn probes_of<S: Source + ?Sized>(elf: &Elf<'_, S>, function: &Function) -> Result<Vec<Probe>, &'static str> {
    let code = code::read(elf, function).ok_or("a function is not in the file's code")?;
    let offsets = code::offsets(elf.machine, &code, function.address).ok_or("its code was not understood")?;
    let offset = |at: u64| elf.code_offset(function.address + at);
    let Wanted { entry, returns, .. } = FUNCTIONS[function.name];
    let returns = returns.into_iter().flat_map(|program| offsets.returns.iter().map(move |at| (*at, program)));
    let places = entry.map(|program| (offsets.entry, program)).into_iter().chain(returns);
    let probe = |(at, program)| Some(Probe { offset: offset(at)?, program });
    places.map(probe).collect::<Option<_>>().ok_or("a function is not in the file's code")
}
