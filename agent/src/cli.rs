//! The command line: what can be asked, checked as far as it can be before anything starts.

use crate::export::{BatchConfig, ExportConfig, InvalidVariable, OtlpConfig, SinkConfig};
use crate::process::Selector;
use crate::process::selector::Glob;
use autospan_core::engine::EngineConfig;
use autospan_core::protocol::ProtocolConfig;
use autospan_core::sql::TextPolicy;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

/// Names of one `--capture-header` list.
const CAPTURED_HEADERS_MAX: usize = 64;
const RECORD_BYTES_DEFAULT: u64 = 1 << 30;

const AFTER_HELP: &str = "\
Without selectors every service is watched: each process that listens on a TCP or unix socket, now or later, and the processes that it forks. Nothing is restarted, configured or changed.

Exit status:
  0  ended as asked (doctor: tracing can work here)
  1  it cannot work, or the input was damaged; the message says what to do
  2  the command line or an OTEL_* variable is wrong

Examples:
  sudo autospan                                   live traces in the terminal
  sudo OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 autospan
  sudo autospan --port 8080 --capture-header x-request-id
  autospan replay capture.pcap                    no root needed";

/// Traces HTTP services that are already running, without touching them.
///
/// Shows live traces in the terminal, or exports OpenTelemetry spans where OTEL_EXPORTER_OTLP_ENDPOINT (or any other of
/// the standard OTEL_EXPORTER_OTLP_* variables) says where to.
#[derive(Debug, Parser)]
#[command(name = "autospan", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to log to standard error
    #[arg(long, global = true, value_enum, default_value_t = LogLevel::Info, value_name = "LEVEL")]
    pub log: LogLevel,

    #[command(flatten)]
    pub run: RunArgs,

    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Record what the kernel reports into a file, for replay
    Record(RecordArgs),
    /// Show the traces of a recording or of a packet capture; needs no root
    Replay(ReplayArgs),
    /// Say what this kernel and each running service allow, what is lost and why
    Doctor(DoctorArgs),
}

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub watch: WatchArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub kernel: KernelArgs,
}

#[derive(Debug, Args)]
pub struct RecordArgs {
    /// The recording; it holds parts of the traffic, so only its owner may read it
    pub file: PathBuf,
    /// Stop when the recording has this size
    #[arg(long, value_name = "BYTES", default_value_t = RECORD_BYTES_DEFAULT)]
    pub max_bytes: u64,
    #[command(flatten)]
    pub watch: WatchArgs,
    #[command(flatten)]
    pub kernel: KernelArgs,
}

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// A file of `autospan record`, or a pcap or pcapng capture; told apart by their contents
    pub file: PathBuf,
    #[command(flatten)]
    pub capture: CaptureArgs,
    /// Where spans go
    #[arg(long, value_enum, default_value_t = OutputKind::Terminal, value_name = "SINK")]
    pub output: OutputKind,
    #[command(flatten)]
    pub color: ColorArgs,
    /// Print all counters at the end
    #[arg(long)]
    pub stats: bool,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub kernel: KernelArgs,
}

/// Which processes.
#[derive(Debug, Args)]
#[command(next_help_heading = "What to watch")]
pub struct WatchArgs {
    /// Only this process and those it forks (repeatable)
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Vec<u32>,
    /// Only processes whose executable matches: a file name or the name that it was started under, or a path where
    /// the pattern has a `/` (repeatable)
    #[arg(long, value_name = "GLOB")]
    pub exe: Vec<Glob>,
    /// Only processes that listen on this TCP port (repeatable)
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Vec<u16>,
    /// Every process, service or not
    #[arg(long, conflicts_with_all = ["pid", "exe", "port"])]
    pub all: bool,
    /// Never processes whose executable matches, as for --exe (repeatable)
    #[arg(long, value_name = "GLOB")]
    pub exclude_exe: Vec<Glob>,
    #[command(flatten)]
    pub capture: CaptureArgs,
}

/// What of the traffic.
#[derive(Debug, Args)]
pub struct CaptureArgs {
    /// Put this request header on spans, as `http.request.header.<name>` (repeatable)
    #[arg(long, value_name = "NAME", value_parser = header_name)]
    pub capture_header: Vec<String>,
    /// What `db.query.text` holds
    #[arg(long, value_enum, default_value_t = QueryText::Sanitized, value_name = "WHAT")]
    pub db_query_text: QueryText,
}

/// What of a query's text is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum QueryText {
    /// The text with `?` for its literals
    Sanitized,
    /// The text as it was sent, with whatever it says of anybody
    Verbatim,
    /// Nothing
    Off,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Where spans go [default: otlp where an OTLP endpoint is set in the environment, else terminal]
    #[arg(long, value_enum, value_name = "SINK")]
    pub output: Option<OutputKind>,
    #[command(flatten)]
    pub color: ColorArgs,
    /// Print all counters to standard error at the end, and every so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    pub stats: Option<u64>,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct ColorArgs {
    /// Colour in the terminal
    #[arg(long, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Kernel side")]
pub struct KernelArgs {
    /// Load this BPF object instead of the built-in one
    #[arg(long, value_name = "FILE")]
    pub bpf_object: Option<PathBuf>,
    /// Debug lines of the kernel programs (slow)
    #[arg(long, hide = true)]
    pub debug_kernel_log: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputKind {
    /// One tree per trace, for people
    Terminal,
    /// One JSON object per span and line
    Json,
    /// OpenTelemetry, to the endpoint of the OTEL_EXPORTER_OTLP_* variables
    Otlp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// Where standard output is a terminal and NO_COLOR is not set
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

// === impl WatchArgs ===

impl WatchArgs {
    pub fn selector(&self) -> Selector {
        Selector {
            pids: self.pid.clone(),
            executables: self.exe.clone(),
            ports: self.port.clone(),
            all: self.all,
            excluded: self.exclude_exe.clone(),
        }
    }
}

// === impl CaptureArgs ===

impl CaptureArgs {
    pub fn engine(&self) -> EngineConfig {
        let mut capture_headers = self.capture_header.clone();
        capture_headers.sort_unstable();
        capture_headers.dedup();
        capture_headers.truncate(CAPTURED_HEADERS_MAX);
        let query_text = match self.db_query_text {
            QueryText::Sanitized => TextPolicy::Sanitized,
            QueryText::Verbatim => TextPolicy::Verbatim,
            QueryText::Off => TextPolicy::Off,
        };
        EngineConfig { protocol: ProtocolConfig { capture_headers, query_text } }
    }
}

/// A field name (RFC 9110 section 5.1), in lower case.
fn header_name(text: &str) -> Result<String, String> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if text.is_empty() || text.len() > 256 || !text.bytes().all(is_token) {
        return Err("not the name of an HTTP header".to_owned());
    }
    Ok(text.to_ascii_lowercase())
}

// === impl OutputArgs ===

impl OutputArgs {
    /// # Errors
    /// Names the `OTEL_*` variable with a value that cannot be used.
    pub fn export(&self) -> Result<ExportConfig, InvalidVariable> {
        let default = if OtlpConfig::endpoint_in_env() { OutputKind::Otlp } else { OutputKind::Terminal };
        self.output.unwrap_or(default).export(self.color)
    }

    /// Between two prints of the counters; `None` where they are printed at the end only.
    pub fn stats_interval(&self) -> Option<Duration> {
        self.stats.filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }
}

impl OutputKind {
    /// # Errors
    /// Names the `OTEL_*` variable with a value that cannot be used.
    pub fn export(self, color: ColorArgs) -> Result<ExportConfig, InvalidVariable> {
        let sink = match self {
            Self::Terminal => SinkConfig::Terminal { color: color.enabled() },
            Self::Json => SinkConfig::Json,
            Self::Otlp => SinkConfig::Otlp(OtlpConfig::from_env()?),
        };
        Ok(ExportConfig { sink, batch: BatchConfig::from_env()? })
    }
}

impl ColorArgs {
    fn enabled(self) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                // https://no-color.org
                let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                !refused && std::io::stdout().is_terminal()
            }
        }
    }
}

// === impl LogLevel ===

impl LogLevel {
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("autospan").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn selectors_repeat() {
        let cli = parse("--pid 7 --pid 8 --exe python* --port 80 --exclude-exe curl").expect("valid");
        let selector = cli.run.watch.selector();
        assert_eq!((selector.pids.as_slice(), selector.ports.as_slice()), (&[7, 8][..], &[80][..]));
        assert!(selector.is_restricted() && !selector.is_auto());
        assert!(parse("").expect("valid").run.watch.selector().is_auto());
    }

    #[test]
    fn captured_headers_are_lower_case_and_distinct() {
        let cli =
            parse("--capture-header X-Request-Id --capture-header x-request-id --capture-header A").expect("valid");
        assert_eq!(cli.run.watch.capture.engine().protocol.capture_headers, ["a", "x-request-id"]);
        assert!(parse("--capture-header a:b").is_err());
    }

    #[test]
    fn stats_take_an_optional_interval() {
        let stats = |line| parse(line).expect("valid").run.output;
        assert_eq!(stats("").stats, None);
        assert_eq!((stats("--stats").stats, stats("--stats").stats_interval()), (Some(0), None));
        assert_eq!(stats("--stats=5").stats_interval(), Some(Duration::from_secs(5)));
    }

    #[test]
    fn subcommands() {
        let cli = parse("record /tmp/x --max-bytes 9 --port 80 --log debug").expect("valid");
        assert_eq!(cli.log, LogLevel::Debug);
        assert!(matches!(cli.command, Some(Command::Record(RecordArgs { max_bytes: 9, .. }))));
        let cli = parse("replay x.pcap --output json --capture-header a").expect("valid");
        assert!(matches!(cli.command, Some(Command::Replay(ReplayArgs { output: OutputKind::Json, .. }))));
        assert!(matches!(parse("doctor").expect("valid").command, Some(Command::Doctor(_))));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for line in [
            "--pid 0",
            "--pid x",
            "--port 70000",
            "--port 0",
            "--all --pid 7",
            "--output xml",
            "--log loud",
            "--color blue",
            "--exe=",
            "replay",
            "record",
            "--stats=x",
            "--pid 7 doctor",
            "unknown",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
