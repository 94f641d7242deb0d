//! End to end: real services, the real agent, a real OTLP receiver.

mod services;
