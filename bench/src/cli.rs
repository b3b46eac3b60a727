//! The command line of `bench`.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use cairn_bench::compare::CompareArgs;
use cairn_bench::endpoint::Endpoint;
use cairn_bench::key_space::{KeySpace, Order};
use cairn_bench::load::{Limit, LoadPlan};
use cairn_bench::running_server::Ending;
use cairn_bench::scenario::{Consistency, Transfer};
use cairn_bench::server_process::ServerProcess;
use cairn_bench::target::Target;
use cairn_bench::tls::TlsArgs;
use cairn_bench::user::UserArgs;
use clap::{Args, Parser, Subcommand};

/// How long is measured unless said otherwise.
const MEASURE_TIME: Duration = Duration::from_secs(10);
/// How long a run of so many requests may take unless said otherwise.
const TOTAL_TIME_MAX: Duration = Duration::from_secs(3600);

/// Measures any etcd endpoint on this machine: etcd itself, Cairn, or whatever speaks its API.
///
/// Each sub-command drives one kind of load against a server that already runs (or, for `restart`
/// and `compare`, against servers that it starts itself in fresh directories), and prints rates,
/// latencies, and what the server paid for them in processor time and memory.
///
/// Latencies come from a closed loop unless `--rate` is given: a server that stalls is sent nothing
/// meanwhile, so they do not tell what requests arriving at a steady rate would have met
/// (coordinated omission). With `--rate`, requests that are late are timed from when they were due.
///
/// Server and generator share the machine: look at "client CPU". Near one core per generator
/// thread, it was the generator that was measured.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print the result as JSON instead of a table.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Draw the latencies (or the ratios) into this SVG file.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Show no progress bars.
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    #[command(flatten)]
    pub(crate) user: UserArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Puts, one key and one value each.
    ///
    /// Example, 1,000 clients on 8 connections for 10 seconds: `bench put --clients 1000`
    Put {
        #[command(flatten)]
        load: LoadArgs,
        #[command(flatten)]
        keys: KeyArgs,
    },
    /// Reads of one key, or of a page of keys with --page.
    Range {
        #[command(flatten)]
        load: LoadArgs,
        #[command(flatten)]
        keys: KeyArgs,
        /// What reads may miss.
        #[arg(long, value_enum, default_value = "linearizable")]
        consistency: Consistency,
        /// Read up to so many keys from a key on, instead of one key.
        #[arg(long, value_name = "KEYS")]
        page: Option<NonZeroU32>,
    },
    /// Reads of the whole key space in one call (try --clients 1 --keys 100000).
    Scan {
        #[command(flatten)]
        load: LoadArgs,
        #[command(flatten)]
        keys: KeyArgs,
        /// Read with RangeStream (etcd 3.7 and later) instead of one answer.
        #[arg(long)]
        stream: bool,
    },
    /// Transactions that compare a key's mod revision and put it.
    Txn {
        #[command(flatten)]
        load: LoadArgs,
        #[command(flatten)]
        keys: KeyArgs,
    },
    /// Reads of one key and puts, mixed.
    Mixed {
        #[command(flatten)]
        load: LoadArgs,
        #[command(flatten)]
        keys: KeyArgs,
        /// Of a hundred requests, how many are reads.
        #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u8).range(0..=100))]
        reads_percent: u8,
        /// What reads may miss.
        #[arg(long, value_enum, default_value = "linearizable")]
        consistency: Consistency,
    },
    /// Many watchers of one key: events per second and per second of server CPU.
    ///
    /// Each put waits for the last one's events; --rate sends puts at a steady rate instead.
    WatchFanout {
        #[command(flatten)]
        watch: WatchArgs,
        /// Watchers of the key.
        #[arg(long, default_value_t = 10_000)]
        watchers: usize,
        /// Watch streams that they are spread over.
        #[arg(long, default_value_t = 100)]
        streams: usize,
    },
    /// From sending a put to receiving its event, with few watchers.
    WatchLatency {
        #[command(flatten)]
        watch: WatchArgs,
        /// Watchers of the key, each on a stream of its own.
        #[arg(long, default_value_t = 1)]
        watchers: usize,
    },
    /// Renewals of leases, each client on a stream that it holds open; the leases are granted first.
    ///
    /// The server's memory is that with the leases: `bench lease-keepalive --leases 100000`.
    LeaseKeepalive {
        #[command(flatten)]
        load: LoadArgs,
        /// Leases that are granted and kept alive.
        #[arg(long, default_value_t = 1000)]
        leases: u64,
    },
    /// Fills the key space once, as fast as the server takes it.
    Load {
        #[command(flatten)]
        load: LoadArgs,
        #[command(flatten)]
        keys: KeyArgs,
        /// Keys in one request: 1 is a put, more are a transaction (at most 128).
        #[arg(long, default_value = "1", value_name = "KEYS")]
        batch: NonZeroU16,
    },
    /// Runs two servers side by side and prints how the first compares with the second.
    ///
    /// Both are started here, with fresh data on the same disk, and get the same load turn by turn.
    /// Results stand beside the aims that Cairn has set itself against etcd.
    Compare(CompareArgs),
    /// Starts a server, fills it, ends it, and times until it answers again.
    Restart(RestartArgs),
}

/// A server that is started again and again.
#[derive(Args, Clone, Debug)]
pub(crate) struct RestartArgs {
    /// The server's command line; flags for data, addresses and logs are added.
    #[arg(long, default_value = "etcd")]
    pub(crate) server: String,
    #[command(flatten)]
    pub(crate) keys: KeyArgs,
    /// Keys in one request while filling (at most 128).
    #[arg(long, default_value = "1", value_name = "KEYS")]
    pub(crate) batch: NonZeroU16,
    /// How the server ends before it is started again.
    #[arg(long, value_enum, default_value = "term")]
    pub(crate) ending: Ending,
    /// Restarts to time.
    #[arg(long, default_value_t = 3)]
    pub(crate) restarts: u32,
    /// Where its data is put, in a directory of its own that is removed afterwards.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// What most loads have in common.
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArgs {
    /// The server: a loopback address; https:// before it for TLS. Several, with commas between
    /// them, are members of one cluster: connections are spread over them, and what they cost is
    /// added up.
    #[arg(long, default_value = "127.0.0.1:2379", value_delimiter = ',')]
    pub(crate) endpoint: Vec<Endpoint>,
    /// The server's process, or its members' (with commas); found by the ports if not given.
    #[arg(long, value_delimiter = ',')]
    pub(crate) pid: Vec<u32>,
    /// Logical clients, each with one request under way.
    #[arg(long, default_value_t = 100)]
    pub(crate) clients: usize,
    /// HTTP/2 connections that the clients are spread over.
    #[arg(long, default_value_t = 8)]
    pub(crate) connections: usize,
    /// Generator threads, each with a runtime of its own.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Requests per second of all clients together, instead of as many as answers come.
    #[arg(long, value_parser = positive)]
    pub(crate) rate: Option<f64>,
    /// Seconds measured (10 if not given); with --total, the longest that it may take (an hour).
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) duration: Option<Duration>,
    /// Seconds of load before it is measured.
    #[arg(long, default_value = "2", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) warm_up: Duration,
    /// End after so many requests, all measured, instead of after a time.
    #[arg(long, value_name = "REQUESTS")]
    pub(crate) total: Option<u64>,
}

impl LoadArgs {
    /// # Errors
    ///
    /// If there is no endpoint.
    pub(crate) fn plan(&self) -> Result<LoadPlan> {
        let limit = match self.total {
            Some(requests) => Limit::Count {
                requests,
                deadline: self.duration.unwrap_or(TOTAL_TIME_MAX),
            },
            None => Limit::Duration {
                warm_up: self.warm_up,
                measure: self.duration.unwrap_or(MEASURE_TIME),
            },
        };
        let processes = if self.pid.is_empty() {
            let endpoints = self.endpoint.iter().copied();
            endpoints.filter_map(ServerProcess::listening_on).collect()
        } else {
            let pids = self.pid.iter().copied();
            pids.map(ServerProcess::with_pid).collect()
        };
        let target = Target::new(self.endpoint.clone()).context("no endpoint")?;
        Ok(LoadPlan {
            target: target.with_processes(processes),
            threads: self.threads,
            connections: self.connections,
            clients: self.clients,
            rate: self.rate,
            limit,
        })
    }
}

/// Which keys and values.
#[derive(Args, Clone, Debug)]
pub(crate) struct KeyArgs {
    /// Keys in the key space.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) keys: u64,
    /// What all keys begin with.
    #[arg(long, default_value = "bench/")]
    pub(crate) prefix: String,
    /// Bytes of a key.
    #[arg(long, default_value_t = 32)]
    pub(crate) key_size: usize,
    /// Bytes of a value.
    #[arg(long, default_value_t = 256)]
    pub(crate) value_size: usize,
    /// The order in which keys are visited.
    #[arg(long, value_enum, default_value = "random")]
    pub(crate) order: Order,
}

impl KeyArgs {
    pub(crate) fn space(&self) -> KeySpace {
        KeySpace::new(&self.prefix, self.keys, self.key_size)
    }
}

/// What watch runs have in common.
#[derive(Args, Clone, Debug)]
pub(crate) struct WatchArgs {
    /// The server: a loopback address; https:// before it for TLS.
    #[arg(long, default_value = "127.0.0.1:2379")]
    pub(crate) endpoint: Endpoint,
    /// The server's process; found by the port if not given.
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// HTTP/2 connections that the streams are spread over.
    #[arg(long, default_value_t = 10)]
    pub(crate) connections: usize,
    /// Watch by JSON over WebSockets, one for each stream, instead of by gRPC.
    #[arg(long)]
    pub(crate) web_socket: bool,
    /// Puts per second, instead of one when the last one's events have arrived.
    #[arg(long, value_parser = positive)]
    pub(crate) rate: Option<f64>,
    /// Bytes of a value.
    #[arg(long, default_value_t = 256)]
    pub(crate) value_size: usize,
    /// Seconds measured.
    #[arg(long, default_value = "10", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) duration: Duration,
    /// Seconds of load before it is measured.
    #[arg(long, default_value = "2", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) warm_up: Duration,
}

pub(crate) fn server(pid: Option<u32>, endpoint: Endpoint) -> Option<ServerProcess> {
    pid.map(ServerProcess::with_pid)
        .or_else(|| ServerProcess::listening_on(endpoint))
}

pub(crate) fn transfer(stream: bool) -> Transfer {
    if stream {
        Transfer::Stream
    } else {
        Transfer::Unary
    }
}

/// The longest that one run may be asked to take.
const SECONDS_MAX: f64 = 24.0 * 3600.0;

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=SECONDS_MAX).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err("not a number of seconds, at most a day".to_owned()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("not a number above zero".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn other_machines_cannot_be_put_under_load() {
        let parsed = Cli::try_parse_from(["bench", "put", "--endpoint", "192.0.2.1:2379"]);
        assert!(parsed.unwrap_err().to_string().contains("loopback"));
    }

    #[test]
    fn durations_and_rates_must_be_sane() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(seconds("-1").is_err() && seconds("NaN").is_err() && seconds("1e9").is_err());
        assert!(positive("0").is_err() && positive("inf").is_err());
    }
}
