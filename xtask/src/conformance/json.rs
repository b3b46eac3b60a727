//! The API as JSON.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::context::Context;
use super::expect::same;
use super::page;
use super::rule::rules;

rules!("json", false;
    V3_4 {
        keys_and_values_are_base64,
        whole_numbers_are_text,
        fields_that_are_zero_are_left_out,
        names_have_underscores,
        names_in_camel_case_are_read_too,
        numbers_are_read_as_text_or_numbers,
        unknown_fields_are_passed_over,
        an_answer_is_one_line,
        an_error_has_code_and_message,
        what_is_no_json_is_refused,
        transactions_are_served,
        leases_are_served_under_both_paths,
        an_unknown_path_is_not_found,
        a_watch_is_lines_of_results,
    }
    V3_6 {
        a_get_is_not_allowed_where_a_post_is,
    }
);

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes as JSON has them.
fn text(bytes: &[u8]) -> String {
    let mut encoded = String::new();
    for group in bytes.chunks(3) {
        let number = group.iter().chain([&0, &0]).take(3);
        let number = number.fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
        for place in 0..4 {
            let letter = BASE64.get(number >> (18 - 6 * place) & 63);
            let is_padding = place > group.len();
            let letter = if is_padding {
                b'='
            } else {
                letter.copied().unwrap_or(b'=')
            };
            encoded.push(char::from(letter));
        }
    }
    encoded
}

async fn ask(c: &Context, path: &str, body: &Value) -> Result<Value> {
    let page = page::post(&c.authority, path, &body.to_string()).await?;
    ensure!(page.status == 200, "{page:?}");
    page.json()
}

async fn put(c: &Context) -> Result<()> {
    let body = json!({"key": text(&c.key("a")), "value": text(b"x")});
    ask(c, "/v3/kv/put", &body).await.map(drop)
}

async fn first(c: &Context) -> Result<Value> {
    let answer = ask(c, "/v3/kv/range", &json!({"key": text(&c.key("a"))})).await?;
    let kvs = answer.get("kvs").and_then(|kvs| kvs.get(0)).cloned();
    kvs.with_context(|| format!("{answer}"))
}

async fn keys_and_values_are_base64(c: Context) -> Result<()> {
    put(&c).await?;
    let kv = first(&c).await?;
    same(
        "pair",
        &(kv.get("key"), kv.get("value")),
        &(Some(&text(&c.key("a")).into()), Some(&"eA==".into())),
    )
}

async fn whole_numbers_are_text(c: Context) -> Result<()> {
    put(&c).await?;
    same(
        "version",
        &first(&c).await?.get("version"),
        &Some(&"1".into()),
    )
}

async fn fields_that_are_zero_are_left_out(c: Context) -> Result<()> {
    put(&c).await?;
    same("lease", &first(&c).await?.get("lease"), &None)
}

async fn names_have_underscores(c: Context) -> Result<()> {
    put(&c).await?;
    let kv = first(&c).await?;
    ensure!(
        kv.get("create_revision").is_some() && kv.get("mod_revision").is_some(),
        "{kv}"
    );
    Ok(())
}

async fn names_in_camel_case_are_read_too(c: Context) -> Result<()> {
    put(&c).await?;
    let body = json!({"key": text(&c.key("a")), "countOnly": true});
    let answer = ask(&c, "/v3/kv/range", &body).await?;
    same(
        "answer",
        &(answer.get("count"), answer.get("kvs")),
        &(Some(&"1".into()), None),
    )
}

async fn numbers_are_read_as_text_or_numbers(c: Context) -> Result<()> {
    put(&c).await?;
    for limit in [json!(1), json!("1")] {
        let body = json!({"key": text(&c.key("a")), "limit": limit});
        let answer = ask(&c, "/v3/kv/range", &body).await?;
        same("count", &answer.get("count"), &Some(&"1".into()))?;
    }
    Ok(())
}

async fn unknown_fields_are_passed_over(c: Context) -> Result<()> {
    let body = json!({"key": text(&c.key("a")), "nonsense": 7});
    ask(&c, "/v3/kv/range", &body).await.map(drop)
}

async fn an_answer_is_one_line(c: Context) -> Result<()> {
    put(&c).await?;
    let body = json!({"key": text(&c.key("a"))}).to_string();
    let page = page::post(&c.authority, "/v3/kv/range", &body).await?;
    ensure!(page.body.lines().count() == 1, "{page:?}");
    Ok(())
}

async fn an_error_has_code_and_message(c: Context) -> Result<()> {
    let page = page::post(&c.authority, "/v3/kv/range", "{}").await?;
    let error = page.json()?;
    let found = (page.status, error.get("code"), error.get("message"));
    same(
        "error",
        &found,
        &(
            400,
            Some(&3.into()),
            Some(&"etcdserver: key is not provided".into()),
        ),
    )
}

async fn what_is_no_json_is_refused(c: Context) -> Result<()> {
    same(
        "status",
        &page::post(&c.authority, "/v3/kv/range", "nonsense")
            .await?
            .status,
        &400,
    )
}

async fn a_get_is_not_allowed_where_a_post_is(c: Context) -> Result<()> {
    let status = page::get(&c.authority, "/v3/kv/range").await?.status;
    ensure!([405, 501].contains(&status), "{status}");
    Ok(())
}

async fn transactions_are_served(c: Context) -> Result<()> {
    let key = text(&c.key("a"));
    let body = json!({
        "compare": [{"key": key, "target": "VERSION", "result": "EQUAL", "version": "0"}],
        "success": [{"requestPut": {"key": key, "value": "eA=="}}],
    });
    let answer = ask(&c, "/v3/kv/txn", &body).await?;
    same("succeeded", &answer.get("succeeded"), &Some(&true.into()))?;
    first(&c).await.map(drop)
}

async fn leases_are_served_under_both_paths(c: Context) -> Result<()> {
    let grant = json!({"ID": c.id(1).to_string(), "TTL": "600"});
    let granted = ask(&c, "/v3/lease/grant", &grant).await?;
    same("id", &granted.get("ID"), &Some(&c.id(1).to_string().into()))?;
    for path in ["/v3/lease/timetolive", "/v3/kv/lease/timetolive"] {
        let left = ask(&c, path, &json!({"ID": c.id(1).to_string()})).await?;
        same("granted", &left.get("grantedTTL"), &Some(&"600".into()))?;
    }
    Ok(())
}

async fn an_unknown_path_is_not_found(c: Context) -> Result<()> {
    same(
        "status",
        &page::post(&c.authority, "/v3/nonsense", "{}").await?.status,
        &404,
    )
}

async fn a_watch_is_lines_of_results(c: Context) -> Result<()> {
    let body = json!({"create_request": {"key": text(&c.key("a"))}}).to_string();
    let mut stream = TcpStream::connect(&c.authority).await?;
    let mut request = format!("POST /v3/watch HTTP/1.1\r\nHost: {}\r\n", c.authority);
    let _ = write!(request, "Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await?;
    let mut lines = BufReader::new(stream).lines();
    let mut results = 0;
    while results < 2 {
        let line = lines.next_line().await?.context("the watch ended")?;
        if !line.starts_with(r#"{"result":{"#) {
            continue;
        }
        results += 1;
        if results == 1 {
            ensure!(line.contains(r#""created":true"#), "{line}");
            put(&c).await?;
        } else {
            ensure!(line.contains(r#""events":[{"kv":{"#), "{line}");
        }
    }
    Ok(())
}
