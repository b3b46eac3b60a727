//! Health: for load balancers, and for kubelets.

use anyhow::{Result, ensure};
use cairn_proto::etcdserverpb as pb;
use cairn_proto::etcdserverpb::alarm_request::AlarmAction;

use super::context::Context;
use super::expect::same;
use super::page;
use super::rule::rules;

rules!("health", false;
    V3_4 {
        a_healthy_member_says_so,
        health_is_asked_with_get_alone,
        a_space_alarm_is_no_health,
        a_space_alarm_can_be_excluded,
    }
    V3_5 {
        the_body_of_health_is_to_the_letter,
        health_may_be_asked_without_a_quorum,
    }
    V3_6 {
        liveness_and_readiness_say_ok,
        each_check_is_a_page,
        checks_are_listed_if_asked,
        a_check_may_be_excluded,
        an_unknown_check_is_not_found,
        a_space_alarm_leaves_liveness_and_readiness,
        a_corruption_alarm_ends_readiness_alone,
    }
);

async fn status(c: &Context, path: &str) -> Result<u16> {
    Ok(page::get(&c.authority, path).await?.status)
}

async fn a_healthy_member_says_so(c: Context) -> Result<()> {
    let page = page::get(&c.authority, "/health").await?;
    let healthy = page.json()?.get("health").cloned();
    same(
        "health",
        &(page.status, healthy),
        &(200, Some("true".into())),
    )
}

async fn the_body_of_health_is_to_the_letter(c: Context) -> Result<()> {
    let page = page::get(&c.authority, "/health").await?;
    same(
        "body",
        &page.body.trim(),
        &r#"{"health":"true","reason":""}"#,
    )
}

async fn health_is_asked_with_get_alone(c: Context) -> Result<()> {
    same(
        "status",
        &page::post(&c.authority, "/health", "").await?.status,
        &405,
    )
}

async fn health_may_be_asked_without_a_quorum(c: Context) -> Result<()> {
    same(
        "status",
        &status(&c, "/health?serializable=true").await?,
        &200,
    )
}

/// What pages say while an alarm is on.
async fn alarmed<const N: usize>(
    c: &Context,
    kind: pb::AlarmType,
    paths: [&str; N],
) -> Result<[u16; N]> {
    let member_id = c.status().await?.header.unwrap_or_default().member_id;
    let alarm = |action: AlarmAction| pb::AlarmRequest {
        action: action.into(),
        member_id,
        alarm: kind.into(),
    };
    c.maintenance().alarm(alarm(AlarmAction::Activate)).await?;
    let mut found = [0; N];
    for (found, path) in found.iter_mut().zip(paths) {
        *found = status(c, path).await.unwrap_or_default();
    }
    c.maintenance()
        .alarm(alarm(AlarmAction::Deactivate))
        .await?;
    Ok(found)
}

async fn a_space_alarm_is_no_health(c: Context) -> Result<()> {
    let found = alarmed(&c, pb::AlarmType::Nospace, ["/health"]).await?;
    same("status", &found, &[503])
}

async fn a_space_alarm_can_be_excluded(c: Context) -> Result<()> {
    let found = alarmed(&c, pb::AlarmType::Nospace, ["/health?exclude=NOSPACE"]).await?;
    same("status", &found, &[200])
}

async fn liveness_and_readiness_say_ok(c: Context) -> Result<()> {
    for path in ["/livez", "/readyz"] {
        let page = page::get(&c.authority, path).await?;
        same(path, &(page.status, page.body.trim()), &(200, "ok"))?;
    }
    Ok(())
}

async fn each_check_is_a_page(c: Context) -> Result<()> {
    for path in [
        "/livez/serializable_read",
        "/readyz/serializable_read",
        "/readyz/linearizable_read",
        "/readyz/data_corruption",
    ] {
        same(path, &status(&c, path).await?, &200)?;
    }
    Ok(())
}

async fn checks_are_listed_if_asked(c: Context) -> Result<()> {
    let page = page::get(&c.authority, "/readyz?verbose").await?;
    for line in [
        "[+]data_corruption ok",
        "[+]serializable_read ok",
        "[+]linearizable_read ok",
        "ok",
    ] {
        ensure!(page.body.lines().any(|it| it == line), "{:?}", page.body);
    }
    Ok(())
}

async fn a_check_may_be_excluded(c: Context) -> Result<()> {
    let path = "/readyz?verbose&exclude=linearizable_read";
    let page = page::get(&c.authority, path).await?;
    ensure!(
        page.status == 200 && !page.body.contains("[+]linearizable_read ok"),
        "{page:?}"
    );
    Ok(())
}

async fn an_unknown_check_is_not_found(c: Context) -> Result<()> {
    same("status", &status(&c, "/readyz/nonsense").await?, &404)
}

async fn a_space_alarm_leaves_liveness_and_readiness(c: Context) -> Result<()> {
    let found = alarmed(&c, pb::AlarmType::Nospace, ["/livez", "/readyz"]).await?;
    same("status", &found, &[200, 200])
}

async fn a_corruption_alarm_ends_readiness_alone(c: Context) -> Result<()> {
    let found = alarmed(&c, pb::AlarmType::Corrupt, ["/livez", "/readyz"]).await?;
    same("status", &found, &[200, 503])
}
