//! `txn`: compares, and does one of two lists of requests.

use std::ffi::OsString;
use std::io::BufRead;
use std::os::unix::ffi::OsStringExt as _;

use cairn_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use cairn_proto::etcdserverpb::request_op::Request;
use cairn_proto::etcdserverpb::{Compare, RequestOp, TxnRequest};
use clap::{Arg, Command};

use super::{del, get, put};
use crate::cli::{Flags, arguments, leaf, switch};
use crate::failure::Failure;
use crate::golang::{Base, parse_i64, quote, scan_quoted};
use crate::session::{Context, put_out};
use crate::words::words;

pub(crate) fn definition() -> Command {
    let interactive: Arg = switch("interactive", "Say what is expected next").short('i');
    let about = "Compares, then does one of two lists of requests, as one";
    arguments(leaf("txn", about).arg(interactive), "").after_help(
        "Standard input has three parts, each ended by an empty line: compares, requests if all of\n\
         them hold, and requests if not. Requests are put, get and del with their flags.\n\n\
         Example:\n  mod(\"key\") > \"0\"\n\n  put key \"changed\"\n  get other --prefix\n\n  put key \"created\"\n\n\
         Compares are value, version, create, mod and lease, with =, !=, < and >.",
    )
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    if !context.flags.arguments().is_empty() {
        return Err(Failure::arguments("txn command does not accept argument"));
    }
    let session = context.session().await?;
    let is_interactive = context.flags.is("interactive");
    let prompt = |text: &str| match is_interactive {
        true => put_out(format!("{text}\n").as_bytes()),
        false => Ok(()),
    };
    let mut input = std::io::stdin().lock();
    prompt("compares:")?;
    let mut compare = Vec::new();
    while let Some(line) = read_line(&mut input)? {
        compare.push(parse_compare(&line)?);
    }
    prompt("success requests (get, put, del):")?;
    let success = requests(&mut input).await?;
    prompt("failure requests (get, put, del):")?;
    let failure = requests(&mut input).await?;
    drop(input);
    let request = TxnRequest {
        compare,
        success,
        failure,
    };
    let response = session.call(request).await?;
    session.show(&response)
}

/// The next line, without blanks around it; `None` if it is empty.
fn read_line(input: &mut impl BufRead) -> Result<Option<String>, Failure> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") {
        return Err(Failure::input("EOF"));
    }
    let line = String::from_utf8_lossy(&line).trim().to_owned();
    Ok((!line.is_empty()).then_some(line))
}

async fn requests(input: &mut impl BufRead) -> Result<Vec<RequestOp>, Failure> {
    let mut requests = Vec::new();
    while let Some(line) = read_line(input)? {
        let request = Some(parse_request(&line).await?);
        requests.push(RequestOp { request });
    }
    Ok(requests)
}

/// Reads a request as the command line of the same name.
async fn parse_request(line: &str) -> Result<Request, Failure> {
    let words = words(line)?;
    if words.len() < 2 {
        return Err(Failure::input(format!(
            "invalid txn compare request: {line}"
        )));
    }
    let commands = Command::new("txn")
        .no_binary_name(true)
        .infer_subcommands(true)
        .disable_help_flag(true)
        .subcommands([put::definition(), get::definition(), del::definition()]);
    let invalid = || Failure::input(format!("invalid txn request: {line}"));
    let matches = commands
        .try_get_matches_from(words.into_iter().map(OsString::from_vec))
        .map_err(|_| invalid())?;
    let (name, matches) = matches.subcommand().ok_or_else(invalid)?;
    let flags = Flags::new(matches.clone());
    Ok(match name {
        "put" => Request::RequestPut(put::request(&flags, || {
            // Standard input is the transaction's.
            Err(Failure::arguments(put::NEEDS))
        })?),
        "get" => Request::RequestRange(get::request(&flags)?),
        _ => Request::RequestDeleteRange(del::request(&flags).await?),
    })
}

/// The parts of `target("key") op "value"` as far as they can be read.
#[derive(Debug, Default)]
struct Parts {
    key: Option<Vec<u8>>,
    op: String,
    value: Option<Vec<u8>>,
}

impl Parts {
    fn read(text: &str) -> Self {
        let mut parts = Self::default();
        let Some((key, rest)) = scan_quoted(text.trim_start()) else {
            return parts;
        };
        parts.key = Some(key);
        let Some(rest) = rest.strip_prefix(')') else {
            return parts;
        };
        let rest = rest.trim_start();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (op, rest) = rest.split_at(end);
        op.clone_into(&mut parts.op);
        parts.value = scan_quoted(rest.trim_start()).map(|(value, _)| value);
        parts
    }
}

fn parse_compare(line: &str) -> Result<Compare, Failure> {
    let malformed = || format!("malformed comparison: {line}");
    let Some((target, rest)) = line.split_once('(') else {
        return Err(Failure::input(malformed()));
    };
    let parts = Parts::read(rest);
    let Parts { op, .. } = &parts;
    let (Some(key), Some(value)) = (&parts.key, &parts.value) else {
        let quoted = |part: &Option<Vec<u8>>| quote(part.as_deref().unwrap_or_default());
        let (key, value) = (quoted(&parts.key), quoted(&parts.value));
        let got = format!("got {target}({key}) {op} {value}");
        return Err(Failure::input(format!("{}; {got}", malformed())));
    };
    let number = |base| {
        let text = String::from_utf8_lossy(value);
        let number = parse_i64(&text, base);
        number.map_err(|_| Failure::input(format!("invalid txn compare request: {line}")))
    };
    let (target, union) = match target {
        "ver" | "version" => {
            let version = TargetUnion::Version(number(Base::Decimal)?);
            (CompareTarget::Version, version)
        }
        "c" | "create" => {
            let revision = TargetUnion::CreateRevision(number(Base::Decimal)?);
            (CompareTarget::Create, revision)
        }
        "m" | "mod" => {
            let revision = TargetUnion::ModRevision(number(Base::Decimal)?);
            (CompareTarget::Mod, revision)
        }
        "val" | "value" => {
            let value = TargetUnion::Value(value.clone().into());
            (CompareTarget::Value, value)
        }
        // Everywhere on this command line, leases are in hexadecimal.
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number(Base::Hex)?)),
        _ => {
            let unknown = format!("(unknown target {target})");
            return Err(Failure::input(format!("{} {unknown}", malformed())));
        }
    };
    let result = match op.as_str() {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        _ => {
            let unknown = format!("(unknown operator {op}: use =, !=, < or >)");
            return Err(Failure::input(format!("{} {unknown}", malformed())));
        }
    };
    Ok(Compare {
        result: result.into(),
        target: target.into(),
        key: key.clone().into(),
        range_end: bytes::Bytes::new(),
        target_union: Some(union),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> String {
        parse_compare(line).unwrap_err().message
    }

    #[test]
    fn compares_name_a_target_a_key_and_a_value() {
        let compare = parse_compare(r#"mod("a\x00") != "12""#).unwrap();
        assert_eq!(compare.key, b"a\0".as_slice());
        assert_eq!(compare.result(), CompareResult::NotEqual);
        assert_eq!(compare.target_union, Some(TargetUnion::ModRevision(12)));
        let compare = parse_compare(r#"lease("a") = "2040a22682df620c""#).unwrap();
        let lease = Some(TargetUnion::Lease(0x2040_a226_82df_620c));
        assert_eq!(compare.target_union, lease);
    }

    #[test]
    fn compares_are_refused_in_etcdctl_s_words() {
        let cases = [
            ("abc", "malformed comparison: abc"),
            (
                r#"mod(w/a) > "0""#,
                r#"malformed comparison: mod(w/a) > "0"; got mod("")  """#,
            ),
            (
                r#"mod("w/a")>"0""#,
                r#"malformed comparison: mod("w/a")>"0"; got mod("w/a") >"0" """#,
            ),
            (
                r#"foo("w/a") > "0""#,
                r#"malformed comparison: foo("w/a") > "0" (unknown target foo)"#,
            ),
            (
                r#"ver("w/a") > "x""#,
                r#"invalid txn compare request: ver("w/a") > "x""#,
            ),
        ];
        for (line, message) in cases {
            assert_eq!(refusal(line), message);
        }
    }

    #[tokio::test]
    async fn requests_are_command_lines() {
        let put = parse_request(r#"put "a\nb" 'c d' --prev-kv"#)
            .await
            .unwrap();
        let Request::RequestPut(put) = put else {
            panic!("{put:?}");
        };
        assert_eq!((&*put.key, &*put.value), (&b"a\nb"[..], &b"c d"[..]));
        assert!(put.prev_kv);
        let cases = [
            ("get", "invalid txn compare request: get"),
            ("foo bar", "invalid txn request: foo bar"),
            ("get a --rev=1x", "invalid txn request: get a --rev=1x"),
            ("put a", put::NEEDS),
        ];
        for (line, message) in cases {
            assert_eq!(parse_request(line).await.unwrap_err().message, message);
        }
    }
}
