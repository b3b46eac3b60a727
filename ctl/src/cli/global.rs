//! Flags that every command takes, and the environment variables of the same names.

use std::time::Duration;

use clap::{Arg, ArgAction, Command};

use super::{Environment, Flags, duration, number, switch, text};
use crate::failure::Failure;
use crate::golang::{Base, parse_bool, parse_duration, parse_i64};
use crate::show::Format;

const HEADING: &str = "Options of all commands";

/// The flags, in the order of help.
pub(crate) fn flags() -> Vec<Arg> {
    let flags = of_answers().into_iter();
    let flags = flags.chain(of_connections()).chain(of_bounds());
    // `options` shows them; beside the flags of a command they would hide those.
    let global = |flag: Arg| flag.global(true).help_heading(HEADING).hide(true);
    flags.map(global).collect()
}

/// Whom to ask and how to show what is answered.
fn of_answers() -> [Arg; 4] {
    [
        text(
            "endpoints",
            "Members to call: HOST:PORT or URLs, with commas between them",
        )
        .action(ArgAction::Append)
        .default_value("127.0.0.1:2379")
        .hide_default_value(false),
        super::choice(
            "write-out",
            "simple",
            &["simple", "json", "fields", "table", "protobuf"],
            "The form of answers: simple, json, fields, table or protobuf",
        )
        .short('w'),
        switch(
            "hex",
            "Show bytes, and in fields and json ids, in hexadecimal",
        ),
        switch("debug", "Tell stderr the settings"),
    ]
}

/// Who calls, and how servers are found and believed.
fn of_connections() -> [Arg; 11] {
    [
        text(
            "user",
            "Whom to call as: NAME or NAME:PASSWORD; asks for a password that is not given",
        ),
        text("password", "The password of --user"),
        text(
            "auth-jwt-token",
            "A signed token to call with, in place of --user",
        ),
        text(
            "cacert",
            "PEM file of the authorities that servers' certificates are checked by",
        ),
        text("cert", "PEM file of the certificate to show to servers"),
        text("key", "PEM file of the certificate's private key"),
        switch(
            "insecure-skip-tls-verify",
            "Believe any server: for tests only",
        ),
        switch(
            "insecure-transport",
            "Speak plain text to endpoints without a scheme",
        )
        .default_value("true")
        .hide_default_value(false),
        text(
            "discovery-srv",
            "Ask this domain's SRV records for endpoints",
        )
        .short('d'),
        text("discovery-srv-name", "The suffix of the SRV service's name"),
        switch(
            "insecure-discovery",
            "Take endpoints without TLS from SRV records too",
        )
        .default_value("true")
        .hide_default_value(false),
    ]
}

/// How long and how large things may be.
fn of_bounds() -> [Arg; 6] {
    [
        duration("command-timeout", "5s", "How long a short command may take"),
        duration("dial-timeout", "2s", "How long connecting may take"),
        duration(
            "keepalive-time",
            "2s",
            "How long a server may be silent before it is asked",
        ),
        duration(
            "keepalive-timeout",
            "6s",
            "How long it may take to answer that",
        ),
        number(
            "max-request-bytes",
            "The longest request, in bytes; 0: 2 MiB",
        ),
        number("max-recv-bytes", "The longest answer, in bytes; 0: 2 GiB"),
    ]
}

/// What the flags and the environment say.
#[derive(Clone, Debug)]
pub(crate) struct Globals {
    pub(crate) endpoints: Vec<String>,
    pub(crate) format: Format,
    pub(crate) hex: bool,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) jwt: String,
    pub(crate) cacert: String,
    pub(crate) cert: String,
    pub(crate) key: String,
    pub(crate) skip_verify: bool,
    pub(crate) insecure_transport: bool,
    pub(crate) discovery_srv: String,
    pub(crate) discovery_srv_name: String,
    pub(crate) insecure_discovery: bool,
    pub(crate) command_timeout: Duration,
    pub(crate) command_timeout_is_given: bool,
    pub(crate) dial_timeout: Duration,
    pub(crate) keepalive_time: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) max_request_bytes: i64,
    pub(crate) max_recv_bytes: i64,
    /// `--cluster` of commands about endpoints.
    pub(crate) cluster: bool,
}

/// Reads each setting from its flag, or from its variable.
struct Source<'a> {
    flags: &'a Flags,
    environment: &'a Environment,
}

impl Source<'_> {
    fn get<T>(
        &self,
        name: &str,
        flag: impl Fn(&Flags, &str) -> T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Failure> {
        let Some((variable, value)) = self.environment.value_of(name) else {
            return Ok(flag(self.flags, name));
        };
        if self.flags.is_given(name) {
            let message = format!(
                "{variable} and --{name} are both set: unset the variable or leave out the flag"
            );
            return Err(Failure::error(message));
        }
        if value.is_empty() {
            return Ok(flag(self.flags, name));
        }
        let quoted = crate::golang::quote(value.as_bytes());
        let refusal =
            |error| Failure::arguments(format!("invalid value {quoted} for {variable}: {error}"));
        parse(value).map_err(refusal)
    }

    fn text(&self, name: &str) -> Result<String, Failure> {
        self.get(name, Flags::text, |text| Ok(text.to_owned()))
    }

    fn truth(&self, name: &str) -> Result<bool, Failure> {
        self.get(name, Flags::is, parse_bool)
    }

    fn number(&self, name: &str) -> Result<i64, Failure> {
        self.get(name, Flags::number, |text| parse_i64(text, Base::Prefixed))
    }

    fn duration(&self, name: &str) -> Result<Duration, Failure> {
        self.get(name, Flags::duration, parse_duration)
    }

    /// A file, whose name must not be empty if the flag is given.
    fn file(&self, name: &str) -> Result<String, Failure> {
        let file = self.text(name)?;
        if file.is_empty() && self.flags.is_given(name) {
            let message = format!("empty string is passed to --{name} option");
            return Err(Failure::arguments(message));
        }
        Ok(file)
    }
}

impl Globals {
    /// # Errors
    ///
    /// A variable that cannot be read, or that is set beside its flag; a format that there is not.
    pub(crate) fn read(flags: &Flags, environment: &Environment) -> Result<Self, Failure> {
        let source = Source { flags, environment };
        // Of this flag alone, all occurrences count.
        let endpoints = source.get("endpoints", Flags::texts, |text| Ok(text.to_owned()))?;
        let globals = Self {
            endpoints: endpoints
                .split(',')
                .map(|it| it.trim().to_owned())
                .collect(),
            cert: source.file("cert")?,
            key: source.file("key")?,
            cacert: source.file("cacert")?,
            hex: source.truth("hex")?,
            user: source.text("user")?,
            password: source.text("password")?,
            jwt: source.text("auth-jwt-token")?,
            skip_verify: source.truth("insecure-skip-tls-verify")?,
            insecure_transport: source.truth("insecure-transport")?,
            discovery_srv: source.text("discovery-srv")?,
            discovery_srv_name: source.text("discovery-srv-name")?,
            insecure_discovery: source.truth("insecure-discovery")?,
            command_timeout: source.duration("command-timeout")?,
            command_timeout_is_given: flags.is_given("command-timeout"),
            dial_timeout: source.duration("dial-timeout")?,
            keepalive_time: source.duration("keepalive-time")?,
            keepalive_timeout: source.duration("keepalive-timeout")?,
            max_request_bytes: source.number("max-request-bytes")?,
            max_recv_bytes: source.number("max-recv-bytes")?,
            cluster: flags.knows("cluster") && source.truth("cluster")?,
            format: Format::parse(&source.text("write-out")?)?,
        };
        Ok(globals)
    }

    /// Every flag as its variable, for `--debug`.
    pub(crate) fn variables(flags: &Flags, command: &Command) -> String {
        let mut lines: Vec<String> = command
            .get_arguments()
            .filter(|argument| argument.get_help_heading() == Some(HEADING))
            .map(|argument| {
                let name = argument.get_id().as_str();
                let value = flags.shown(name);
                format!("{}={value}\n", Environment::variable(name))
            })
            .collect();
        lines.sort();
        lines.concat()
    }
}
