//! What a command stands on: its flags, and the cluster that they name.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use cairn_client::{Client, ConnectOptions, Rpc, ServerError, Tls};
use clap::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Environment, Flags, Globals};
use crate::failure::{Exit, Failure};
use crate::prompt;
use crate::show::{Show, Style};

/// A command as it was called.
#[derive(Debug)]
pub(crate) struct Context {
    /// The program's name as it was called: `cairnctl`, or `etcdctl`.
    pub(crate) program: String,
    pub(crate) flags: Flags,
    /// The whole line, without the program's name.
    pub(crate) line: Vec<OsString>,
    pub(crate) environment: Environment,
    pub(crate) tree: Command,
}

impl Context {
    /// The settings of all commands. Stderr is told of variables that mean nothing.
    pub(crate) fn globals(&self) -> Result<Globals, Failure> {
        // Only flags of all commands have variables, and one of those about endpoints.
        let is_flag = |name: &str| {
            let mut all = self.tree.get_arguments();
            name == "cluster" || all.any(|flag| flag.is_global_set() && flag.get_id() == name)
        };
        for variable in self.environment.unknown(is_flag) {
            tell(format_args!("Warning: {variable} is set and is no setting"));
        }
        let globals = Globals::read(&self.flags, &self.environment)?;
        if self.flags.is("debug") {
            let settings = Globals::variables(&self.flags, &self.tree);
            tell(settings.trim_end());
        }
        Ok(globals)
    }

    /// Connects as the flags say. Without a user to log in, that is left to the first call.
    pub(crate) async fn session(&self) -> Result<Session, Failure> {
        let mut globals = self.globals()?;
        if !globals.discovery_srv.is_empty() {
            globals.endpoints = crate::discovery::endpoints(&globals).await?;
        }
        let client = connect(&globals, &globals.endpoints, credentials(&globals)?).await?;
        Ok(Session {
            style: Style {
                hex: globals.hex,
                value_only: false,
            },
            client,
            globals,
        })
    }
}

/// Tells stderr.
pub(crate) fn tell(line: impl std::fmt::Display) {
    // Nothing is left to tell if that fails.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes to stdout at once, since whoever reads it may wait.
pub(crate) fn put_out(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()?;
    Ok(())
}

/// Returns when somebody wants the program to end. May be called again and again.
pub(crate) async fn interrupted() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            // Without this signal, there is still the other.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

/// Whether people see what is put out.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Who calls.
pub(crate) type Credentials = Option<(String, String)>;

/// A user's name and password, from one flag or two; the password is asked for if there is none.
pub(crate) fn user_and_password(
    user: &str,
    password: &str,
    question: &str,
) -> Result<Credentials, Failure> {
    if user.is_empty() {
        return Ok(None);
    }
    if !password.is_empty() {
        return Ok(Some((user.to_owned(), password.to_owned())));
    }
    if let Some((user, password)) = user.split_once(':') {
        return Ok(Some((user.to_owned(), password.to_owned())));
    }
    let password = prompt::password(question).map_err(Failure::error)?;
    Ok(Some((user.to_owned(), password)))
}

fn credentials(globals: &Globals) -> Result<Credentials, Failure> {
    // A token goes before a user.
    if !globals.jwt.is_empty() {
        return Ok(None);
    }
    user_and_password(&globals.user, &globals.password, "Password: ")
}

/// The TLS that the flags ask for, if they do.
fn tls(globals: &Globals) -> Result<Option<Tls>, Failure> {
    let Globals {
        cert, key, cacert, ..
    } = globals;
    if cert.is_empty() != key.is_empty() {
        let message =
            format!("KeyFile and CertFile must both be present[key: {key}, cert: {cert}]");
        return Err(Failure::arguments(message));
    }
    for file in [cert, key, cacert].into_iter().filter(|it| !it.is_empty()) {
        std::fs::File::open(file)
            .map_err(|error| Failure::arguments(file_error("open", file.as_ref(), &error)))?;
    }
    let mut tls = Tls::new();
    let mut is_wanted = !globals.insecure_transport;
    if !cert.is_empty() {
        tls = tls.identity_files(cert, key);
        is_wanted = true;
    }
    if !cacert.is_empty() {
        tls = tls.ca_file(cacert);
        is_wanted = true;
    }
    if !globals.insecure_discovery && !globals.discovery_srv.is_empty() {
        tls = tls.server_name(&globals.discovery_srv);
        is_wanted = true;
    }
    if globals.skip_verify {
        tls = tls.insecure_skip_verify();
        is_wanted = true;
    }
    Ok(is_wanted.then_some(tls))
}

/// An error of a file in Go's words.
pub(crate) fn file_error(action: &str, path: &Path, error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    let first = first.map(String::from).unwrap_or_default();
    format!("{action} {}: {first}{}", path.display(), letters.as_str())
}

impl Globals {
    /// How to connect to the endpoints of the flags, as nobody.
    pub(crate) fn connect_options(&self) -> Result<ConnectOptions, Failure> {
        options(self, &self.endpoints)
    }
}

fn options(globals: &Globals, endpoints: &[String]) -> Result<ConnectOptions, Failure> {
    let options = ConnectOptions::new(endpoints);
    let mut options = options
        .map_err(|error| Failure::arguments(words(&error)))?
        .connect_timeout(globals.dial_timeout)
        .request_timeout(globals.command_timeout)
        .keepalive(globals.keepalive_time, globals.keepalive_timeout);
    if let Ok(bytes @ 1..) = usize::try_from(globals.max_recv_bytes) {
        options = options.max_response_bytes(bytes);
    }
    if let Some(tls) = tls(globals)? {
        options = options.tls(tls);
    }
    if !globals.jwt.is_empty() {
        options = options.token(&globals.jwt);
    }
    Ok(options)
}

/// Connects to some endpoints with the other settings as they are.
pub(crate) async fn connect(
    globals: &Globals,
    endpoints: &[String],
    credentials: Credentials,
) -> Result<Client, Failure> {
    let invalid = |error: cairn_client::Error| Failure::arguments(words(&error));
    let options = options(globals, endpoints)?;
    let Some((user, password)) = credentials else {
        return Ok(options.connect_lazy());
    };
    // A user is logged in before anything else, as etcdctl does.
    let options = options.user(user, password);
    let connected = patiently(globals.command_timeout, || options.clone().connect()).await;
    connected.map_err(|error| match error {
        cairn_client::Error::Invalid { .. } => invalid(error),
        _ => failure(Exit::BadConnection, &error),
    })
}

/// The longest request, unless a flag says otherwise.
const REQUEST_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How long to wait before somebody who was not there is called again.
const AGAIN: Duration = Duration::from_millis(100);

/// Calls again as long as nobody is there, until the time is over.
async fn patiently<T, C>(time: Duration, call: impl Fn() -> C) -> Result<T, cairn_client::Error>
where
    C: Future<Output = Result<T, cairn_client::Error>>,
{
    let start = Instant::now();
    loop {
        match call().await {
            // Neither has changed anything.
            Err(cairn_client::Error::Unavailable { .. } | cairn_client::Error::Lost { .. })
                if start.elapsed() + AGAIN < time =>
            {
                tokio::time::sleep(AGAIN).await;
            }
            ended => return ended,
        }
    }
}

/// An error of the client as the end of a command.
pub(crate) fn failure(exit: Exit, error: &cairn_client::Error) -> Failure {
    use cairn_client::Error;
    let detail = match error {
        Error::Unavailable { reason } | Error::Timeout { reason, .. } | Error::Lost { reason } => {
            reason.clone()
        }
        _ => String::new(),
    };
    Failure {
        detail,
        ..Failure::new(exit, words(error))
    }
}

/// An error of the client in etcdctl's words where it has any.
pub(crate) fn words(error: &cairn_client::Error) -> String {
    use cairn_client::Error;
    match error {
        Error::Server(server)
        | Error::Ambiguous {
            server: Some(server),
            ..
        } => match server.etcd {
            Some(_) => server.message.clone(),
            None if server.message.starts_with("etcdserver: ") => server.message.clone(),
            None => status_words(server),
        },
        Error::Unavailable { .. } | Error::Timeout { .. } | Error::Lost { .. } => {
            DEADLINE.to_owned()
        }
        _ => error.to_string(),
    }
}

/// A server's error as gRPC's libraries print it.
pub(crate) fn status_words(error: &ServerError) -> String {
    let (code, message) = (error.code.name(), &error.message);
    format!("rpc error: code = {code} desc = {message}")
}

/// What etcdctl says when nothing answers in time.
pub(crate) const DEADLINE: &str = "context deadline exceeded";

/// A connection, and how its answers are to look.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) globals: Globals,
    pub(crate) style: Style,
}

impl Session {
    /// Makes a call. As long as nobody is there to take it, it is made again, as etcdctl does:
    /// a server may be about to start.
    pub(crate) async fn call<R>(&self, request: R) -> Result<R::Response, Failure>
    where
        R: Rpc + Clone,
    {
        let time = self.globals.command_timeout;
        self.check_size(request.encoded_len())?;
        let answer = patiently(time, || self.client.call(request.clone())).await;
        answer.map_err(|error| failure(Exit::Error, &error))
    }

    /// Refuses requests that are longer than the flag lets them be.
    fn check_size(&self, bytes: usize) -> Result<(), Failure> {
        let max = match usize::try_from(self.globals.max_request_bytes) {
            Ok(max @ 1..) => max,
            _ => REQUEST_BYTES_MAX,
        };
        if bytes <= max {
            return Ok(());
        }
        Err(Failure::error(format!(
            "rpc error: code = ResourceExhausted desc = trying to send message larger than max \
             ({bytes} vs. {max})"
        )))
    }

    /// The same at one endpoint.
    pub(crate) fn at(&self, endpoint: &str) -> Result<Self, Failure> {
        let client = self.client.only(endpoint);
        Ok(Self {
            client: client.map_err(|error| Failure::arguments(words(&error)))?,
            ..self.clone()
        })
    }

    /// Shows an answer in the form that was asked for.
    pub(crate) fn show(&self, shown: &dyn Show) -> Result<(), Failure> {
        put_out(&self.globals.format.render(shown, self.style)?)
    }
}
