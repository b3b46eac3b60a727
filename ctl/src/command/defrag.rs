//! `defrag`: has members give the disk back what they do not use.

use std::time::Instant;

use cairn_proto::etcdserverpb::DefragmentRequest;
use clap::Command;

use super::endpoint::{cluster_switch, endpoints};
use crate::cli::{arguments, leaf};
use crate::failure::Failure;
use crate::golang::duration;
use crate::session::{Context, put_out, tell};

pub(crate) fn definition() -> Command {
    let about = "Defragments the databases of the members at --endpoints, one after the other";
    arguments(leaf("defrag", about).arg(cluster_switch()), "")
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let session = context.session().await?;
    let mut failed = false;
    for endpoint in endpoints(&session).await? {
        let at_endpoint = session.at(&endpoint)?;
        let start = Instant::now();
        let ended = at_endpoint.call(DefragmentRequest {}).await;
        let took = duration(start.elapsed());
        match ended {
            Ok(_) => put_out(
                format!("Finished defragmenting etcd member[{endpoint}]. took {took}\n").as_bytes(),
            )?,
            Err(failure) => {
                let message = failure.message;
                tell(format_args!(
                    "Failed to defragment etcd member[{endpoint}]. took {took}. ({message})"
                ));
                failed = true;
            }
        }
    }
    if failed { Err(Failure::told()) } else { Ok(()) }
}
