//! Leases that are kept, and what stands on them, against real servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cairn_client::{Client, Error, Isolation, Keys, Put};
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt as _;

use crate::server::{PATIENCE, Program, Servers};

const TTL: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_kept_lease_outlives_its_time_and_goes_when_it_is_revoked() {
    for program in Program::all() {
        let servers = Servers::one(&program).await;
        let client = servers.client().await;
        let lease = client.leases().keep(Duration::from_secs(2)).await.unwrap();
        client.put("kept", "1").lease(lease.id()).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        assert!(lease.is_alive(), "{}", program.name);
        assert!(
            client.get("kept").await.unwrap().is_some(),
            "{}",
            program.name
        );
        let other = client.leases();
        let id = lease.id();
        other.revoke(id).await.unwrap();
        timeout(PATIENCE, lease.lost())
            .await
            .expect("told that it is gone");
        assert!(!lease.is_alive());
        assert!(matches!(
            other.keep_existing(id).await,
            Err(Error::LeaseLost)
        ));
    }
}

#[tokio::test]
async fn a_kept_lease_survives_the_loss_of_each_member() {
    let mut servers = Servers::start(&Program::cairn(), 3, &[]).await;
    let client = servers.client().await;
    let lease = client.leases().keep(TTL).await.unwrap();
    for at in 0..3 {
        servers.members[at].kill();
        sleep(Duration::from_secs(4)).await;
        servers.members[at].start();
        servers.wait_until_serving().await;
    }
    assert!(lease.is_alive());
    let left = client.leases().time_to_live(lease.id()).await.unwrap();
    assert!(left.is_some());
}

#[tokio::test]
async fn without_any_member_a_lease_is_lost_by_its_own_clock() {
    let mut servers = Servers::one(&Program::cairn()).await;
    let client = servers.client().await;
    let session = client.session(Duration::from_secs(3)).await.unwrap();
    let lock = session.lock("l").await.unwrap();
    servers.members[0].kill();
    let interrupted = timeout(PATIENCE, lock.run(std::future::pending::<()>())).await;
    assert!(matches!(interrupted.unwrap(), Err(Error::LeaseLost)));
    assert!(!session.is_alive());
}

/// Has many take a lock and count; returns how many were inside at once, at most.
async fn crowd(clients: &[Client], name: &'static str) -> usize {
    let inside = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for client in clients {
        let session = client.session(TTL).await.unwrap();
        // Two tasks of one session exclude each other, too.
        for _ in 0..2 {
            let (session, inside, most) = (session.clone(), inside.clone(), most.clone());
            tasks.push(tokio::spawn(async move {
                let mut token = None;
                for _ in 0..3 {
                    let lock = session.lock(name).await.unwrap();
                    assert!(Some(lock.fencing_token()) > token);
                    token = Some(lock.fencing_token());
                    let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    sleep(Duration::from_millis(2)).await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    lock.unlock().await.unwrap();
                }
            }));
        }
    }
    for task in tasks {
        timeout(PATIENCE, task).await.unwrap().unwrap();
    }
    most.load(Ordering::SeqCst)
}

#[tokio::test]
async fn a_lock_is_held_by_one_at_a_time() {
    for program in Program::all() {
        let servers = Servers::one(&program).await;
        let clients = [
            servers.client().await,
            servers.client().await,
            servers.client().await,
        ];
        assert_eq!(crowd(&clients, "crowd").await, 1, "{}", program.name);
        let session = clients[0].session(TTL).await.unwrap();
        let other = clients[1].session(TTL).await.unwrap();
        let held = session.try_lock("t").await.unwrap().expect("nobody has it");
        assert!(other.try_lock("t").await.unwrap().is_none());
        assert!(session.try_lock("t").await.unwrap().is_none());
        let fenced = clients[0]
            .txn()
            .when(held.is_held())
            .then(Put::new("guarded", "1"));
        assert!(fenced.await.unwrap().succeeded);
        // Who no longer waits is no longer in the line.
        let given_up = timeout(Duration::from_millis(300), other.lock("t")).await;
        assert!(given_up.is_err());
        drop(held);
        let third = clients[2].session(TTL).await.unwrap();
        timeout(PATIENCE, third.lock("t"))
            .await
            .unwrap()
            .unwrap()
            .unlock()
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn readers_share_and_writers_do_not() {
    let servers = Servers::one(&Program::cairn()).await;
    let client = servers.client().await;
    let session = client.session(TTL).await.unwrap();
    let first = session.read_lock("rw").await.unwrap();
    let second = session.read_lock("rw").await.unwrap();
    let writer = {
        let session = session.clone();
        tokio::spawn(async move { session.write_lock("rw").await })
    };
    sleep(Duration::from_millis(300)).await;
    assert!(!writer.is_finished());
    first.unlock().await.unwrap();
    second.unlock().await.unwrap();
    let writing = timeout(PATIENCE, writer).await.unwrap().unwrap().unwrap();
    let reader = {
        let session = session.clone();
        tokio::spawn(async move { session.read_lock("rw").await })
    };
    sleep(Duration::from_millis(300)).await;
    assert!(!reader.is_finished());
    drop(writing);
    timeout(PATIENCE, reader)
        .await
        .unwrap()
        .unwrap()
        .unwrap()
        .unlock()
        .await
        .unwrap();
}

#[tokio::test]
async fn leaders_follow_each_other_and_all_hear_them() {
    for program in Program::all() {
        let servers = Servers::one(&program).await;
        let client = servers.client().await;
        let election = client.election("e");
        assert_eq!(election.leader().await.unwrap(), None);
        let mut heard = election.observe();
        let first = client.session(TTL).await.unwrap();
        let second = client.session(TTL).await.unwrap();
        let leading = first.campaign("e", "one").await.unwrap();
        let word = timeout(PATIENCE, heard.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(word.text(), Some("one"), "{}", program.name);
        leading.proclaim("one, again").await.unwrap();
        let word = timeout(PATIENCE, heard.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(word.text(), Some("one, again"));
        let next = {
            let second = second.clone();
            tokio::spawn(async move { second.campaign("e", "two").await })
        };
        sleep(Duration::from_millis(300)).await;
        assert!(!next.is_finished());
        leading.resign().await.unwrap();
        let leading = timeout(PATIENCE, next).await.unwrap().unwrap().unwrap();
        let word = timeout(PATIENCE, heard.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(word.text(), Some("two"), "{}", program.name);
        // A session that is over is no leader.
        drop((second, leading));
        let third = client.session(TTL).await.unwrap();
        let third = timeout(PATIENCE, third.campaign("e", "three"))
            .await
            .unwrap();
        assert!(third.is_ok());
    }
}

#[tokio::test]
async fn barriers_hold_and_let_go() {
    let servers = Servers::one(&Program::cairn()).await;
    let client = servers.client().await;
    let barrier = client.barrier("b");
    barrier.wait().await.unwrap();
    assert!(barrier.hold().await.unwrap());
    assert!(!barrier.hold().await.unwrap());
    let waiter = {
        let barrier = barrier.clone();
        tokio::spawn(async move { barrier.wait().await })
    };
    sleep(Duration::from_millis(300)).await;
    assert!(!waiter.is_finished());
    barrier.release().await.unwrap();
    timeout(PATIENCE, waiter).await.unwrap().unwrap().unwrap();

    let inside = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let session = client.session(TTL).await.unwrap();
        let inside = inside.clone();
        tasks.push(tokio::spawn(async move {
            let entered = session.double_barrier("d", 3).enter().await.unwrap();
            inside.fetch_add(1, Ordering::SeqCst);
            entered.leave().await.unwrap();
            // All have been inside before one has left.
            inside.load(Ordering::SeqCst)
        }));
    }
    for task in tasks {
        assert_eq!(timeout(PATIENCE, task).await.unwrap().unwrap(), 3);
    }
    assert_eq!(client.range(Keys::prefix("d/")).await.unwrap().count, 0);
}

#[tokio::test]
async fn queues_give_each_element_once_and_in_order() {
    for program in Program::all() {
        let servers = Servers::one(&program).await;
        let client = servers.client().await;
        let queue = client.queue("q");
        for at in 0..5 {
            queue.enqueue(format!("{at}")).await.unwrap();
        }
        for at in 0..5 {
            assert_eq!(
                queue.dequeue().await.unwrap(),
                format!("{at}"),
                "{}",
                program.name
            );
        }
        let waiter = {
            let queue = queue.clone();
            tokio::spawn(async move { queue.dequeue().await })
        };
        sleep(Duration::from_millis(100)).await;
        queue.enqueue("late").await.unwrap();
        assert_eq!(
            timeout(PATIENCE, waiter).await.unwrap().unwrap().unwrap(),
            "late"
        );

        let urgent = client.priority_queue("p");
        for (value, priority) in [("c", 7), ("a", 1), ("d", 7), ("b", 1)] {
            urgent.enqueue(value, priority).await.unwrap();
        }
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(urgent.dequeue().await.unwrap());
        }
        assert_eq!(seen, ["a", "b", "c", "d"], "{}", program.name);
    }
}

#[tokio::test]
async fn transactions_in_memory_add_up() {
    for program in Program::all() {
        let servers = Servers::one(&program).await;
        let client = servers.client().await;
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let client = client.clone();
            tasks.push(tokio::spawn(async move {
                for _ in 0..10 {
                    let added = client.stm(Isolation::SerializableSnapshot, async |txn| {
                        let count = txn.get("count").await?;
                        let count = count.map(|it| String::from_utf8(it.to_vec()).unwrap());
                        let count: u64 = count.map_or(0, |it| it.parse().unwrap());
                        txn.put("count", (count + 1).to_string());
                        assert_eq!(txn.get("count").await?.unwrap(), (count + 1).to_string());
                        Ok(())
                    });
                    added.await.unwrap();
                }
            }));
        }
        for task in tasks {
            timeout(PATIENCE, task).await.unwrap().unwrap();
        }
        let count = client.get("count").await.unwrap().unwrap();
        assert_eq!(count.text(), Some("40"), "{}", program.name);
    }
}
