//! End to end: real services, the real agent, a real OTLP receiver.

mod chain;
mod commands;
mod db;
mod dissector;
mod exporter;
mod greenlets;
mod h2;
mod load;
mod need;
mod places;
mod selection;
mod servers;
mod services;
mod streams;
mod tls;
mod transfer;
