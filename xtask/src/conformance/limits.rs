//! gRPC itself: methods, metadata, limits.

use std::time::Duration;

use anyhow::{Result, ensure};
use cairn_proto::etcdserverpb as pb;
use cairn_proto::health::HealthCheckRequest;
use cairn_proto::health::health_client::HealthClient;
use tonic::{Code, Request};

use super::context::Context;
use super::expect::{refused, same};
use super::rule::rules;

rules!("grpc", false;
    V3_4 {
        a_health_check_of_no_service_says_that_it_serves,
        a_health_check_of_an_unknown_service_is_not_found,
        an_unknown_method_is_unimplemented,
        an_unknown_service_is_unimplemented,
        there_is_no_reflection,
        a_deadline_that_has_passed_is_told,
        a_message_beyond_every_limit_is_exhausted,
        a_call_that_wants_a_leader_is_served_under_one,
        an_answer_of_four_megabytes_and_more_comes_whole,
    }
);

async fn a_health_check_of_no_service_says_that_it_serves(c: Context) -> Result<()> {
    let request = HealthCheckRequest {
        service: String::new(),
    };
    let answer = HealthClient::new(c.channel.clone()).check(request).await?;
    same("status", &answer.into_inner().status, &1)
}

async fn a_health_check_of_an_unknown_service_is_not_found(c: Context) -> Result<()> {
    let request = HealthCheckRequest {
        service: "nobody".to_owned(),
    };
    let answer = HealthClient::new(c.channel.clone()).check(request).await;
    same(
        "code",
        &answer.err().map(|status| status.code()),
        &Some(Code::NotFound),
    )
}

async fn called(c: &Context, path: &'static str) -> Result<Code> {
    let mut client = tonic::client::Grpc::new(c.channel.clone());
    client.ready().await?;
    let codec = tonic_codec();
    let path = http::uri::PathAndQuery::from_static(path);
    let request = Request::new(pb::StatusRequest {});
    let answer: Result<tonic::Response<pb::StatusResponse>, _> =
        client.unary(request, path, codec).await;
    Ok(answer.map_or_else(|status| status.code(), |_| Code::Ok))
}

fn tonic_codec() -> tonic_prost::ProstCodec<pb::StatusRequest, pb::StatusResponse> {
    tonic_prost::ProstCodec::default()
}

async fn an_unknown_method_is_unimplemented(c: Context) -> Result<()> {
    same(
        "code",
        &called(&c, "/etcdserverpb.KV/Nonsense").await?,
        &Code::Unimplemented,
    )
}

async fn an_unknown_service_is_unimplemented(c: Context) -> Result<()> {
    same(
        "code",
        &called(&c, "/etcdserverpb.Nonsense/Put").await?,
        &Code::Unimplemented,
    )
}

async fn there_is_no_reflection(c: Context) -> Result<()> {
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    same("code", &called(&c, path).await?, &Code::Unimplemented)
}

async fn a_deadline_that_has_passed_is_told(c: Context) -> Result<()> {
    let first = c.key("lock");
    let mut locks = cairn_proto::v3lockpb::lock_client::LockClient::new(c.channel.clone());
    let lock = |name: &[u8]| cairn_proto::v3lockpb::LockRequest {
        name: name.to_vec().into(),
        lease: 0,
    };
    locks.lock(lock(&first)).await?;
    let mut waits = Request::new(lock(&first));
    waits.set_timeout(Duration::from_millis(300));
    let code = locks.lock(waits).await.err().map(|status| status.code());
    // The client itself says Cancelled when it is first.
    let expected = [Some(Code::DeadlineExceeded), Some(Code::Cancelled)];
    ensure!(expected.contains(&code), "{code:?}");
    Ok(())
}

async fn a_message_beyond_every_limit_is_exhausted(c: Context) -> Result<()> {
    let value = vec![7_u8; 3 << 20];
    let put = pb::PutRequest {
        key: c.key("a").into(),
        value: value.into(),
        ..Default::default()
    };
    let code = c.ask_put(put).await.err().map(|status| status.code());
    same("code", &code, &Some(Code::ResourceExhausted))
}

async fn a_call_that_wants_a_leader_is_served_under_one(c: Context) -> Result<()> {
    let mut request = Request::new(c.one("a"));
    request.metadata_mut().insert("hasleader", "true".parse()?);
    c.kv().range(request).await?;
    let unknown = pb::LeaseRevokeRequest { id: c.id(99) };
    let answer = c.leases().lease_revoke(unknown).await;
    refused("a call after it", answer, super::expect::LEASE_NOT_FOUND)
}

async fn an_answer_of_four_megabytes_and_more_comes_whole(c: Context) -> Result<()> {
    for number in 0..5 {
        c.put(&number.to_string(), &"v".repeat(1 << 20)).await?;
    }
    let kvs = c.ask_range(c.all()).await?.kvs;
    ensure!(kvs.iter().map(|kv| kv.value.len()).sum::<usize>() == 5 << 20);
    c.delete("0").await.map(drop)
}
