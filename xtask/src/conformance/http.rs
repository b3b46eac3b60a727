//! Pages beside gRPC.

use anyhow::{Result, ensure};

use super::context::Context;
use super::expect::same;
use super::page;
use super::rule::rules;

rules!("http", false;
    V3_4 {
        the_version_page_has_no_spaces,
        the_version_page_is_json,
        an_unknown_page_is_not_found,
        metrics_are_served_beside_grpc,
        variables_are_served,
        one_port_speaks_both_versions_of_http,
    }
);

async fn the_version_page_has_no_spaces(c: Context) -> Result<()> {
    let page = page::get(&c.authority, "/version").await?;
    ensure!(
        page.status == 200 && !page.body.trim().contains(' '),
        "{page:?}"
    );
    Ok(())
}

async fn the_version_page_is_json(c: Context) -> Result<()> {
    let page = page::get(&c.authority, "/version").await?.json()?;
    let release = format!("{}.{}.", c.version.major, c.version.minor);
    for field in ["etcdserver", "etcdcluster"] {
        let version = page
            .get(field)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        ensure!(version.starts_with(&release), "{page}");
    }
    Ok(())
}

async fn an_unknown_page_is_not_found(c: Context) -> Result<()> {
    same(
        "status",
        &page::get(&c.authority, "/nonsense").await?.status,
        &404,
    )
}

async fn metrics_are_served_beside_grpc(c: Context) -> Result<()> {
    let page = page::get(&c.authority, "/metrics").await?;
    let kind = page.header("content-type").unwrap_or_default();
    ensure!(
        page.status == 200 && kind.starts_with("text/plain; version=0.0.4"),
        "{kind}"
    );
    Ok(())
}

async fn variables_are_served(c: Context) -> Result<()> {
    let page = page::get(&c.authority, "/debug/vars").await?;
    ensure!(page.status == 200 && page.json()?.is_object());
    Ok(())
}

async fn one_port_speaks_both_versions_of_http(c: Context) -> Result<()> {
    same(
        "status",
        &page::get(&c.authority, "/health").await?.status,
        &200,
    )?;
    c.status().await.map(drop)
}
