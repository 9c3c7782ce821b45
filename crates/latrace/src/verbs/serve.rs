//! `latrace serve`: serves a run's report over HTTP, updated while the run is in progress.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use tracing::warn;

use super::output::print;
use latrace_report as report;

/// Arguments of `latrace serve`.
#[derive(Args, Debug)]
#[command(after_help = "\
The address is printed to stdout once the page is available. Ctrl-C stops the server. There is no
authentication: the server listens on localhost only, unless --host says otherwise.

Examples:
  latrace serve runs/quickstart
  latrace serve runs/quickstart --port 0")]
pub struct ServeArguments {
    /// The run folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Port; 0: any free port
    #[arg(long, value_name = "N", default_value_t = 7777)]
    port: u16,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
}

/// Runs `latrace serve`.
pub fn run(arguments: &ServeArguments) -> Result<()> {
    warn_if_reachable(arguments.host);
    report::serve(&arguments.run, SocketAddr::new(arguments.host, arguments.port), announce)
}

fn warn_if_reachable(host: IpAddr) {
    if !host.is_loopback() {
        warn!(
            "{host} can be reached from other machines, and the run's questions, traces and settings are served without authentication"
        );
    }
}

/// Flushed, so that a script that reads the address through a pipe gets it while the server runs.
fn announce(address: SocketAddr) -> Result<()> {
    print(&format!("http://{address}/"))?;
    std::io::stdout().flush().context("cannot write to standard output")
}
