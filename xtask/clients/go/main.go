// What Go's clientv3 does with a cluster.
//
// Each step prints `ok`; the first surprise ends the program. CAIRN_ENDPOINTS are URLs with commas
// between them. With CAIRN_CERTIFICATES, a folder, members are called over TLS, by whom a certificate
// there names: while authentication is on, its common name is the user. With CAIRN_PROXY, what is called
// is a proxy, which names nobody by certificate; CAIRN_PREFIX is what it puts before all keys.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
)

const patience = 180 * time.Second

var (
	endpoints    = strings.Split(os.Getenv("CAIRN_ENDPOINTS"), ",")
	certificates = os.Getenv("CAIRN_CERTIFICATES")
	isProxy      = os.Getenv("CAIRN_PROXY") != ""
	prefix       = os.Getenv("CAIRN_PREFIX")
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client := connect("root", clientv3.Config{})
	steps := []struct {
		name string
		do   func(context.Context, *clientv3.Client)
	}{
		{"keys", keys}, {"watches", watches}, {"fragments", fragments}, {"leases", leases}, {"locks", locks},
		{"elections", elections}, {"maintenance", maintenance}, {"users", users},
	}
	for _, step := range steps {
		step.do(ctx, client)
		fmt.Println("ok", step.name)
	}
	done(client.Close())
}

func connect(user string, config clientv3.Config) *clientv3.Client {
	return must(clientv3.New(configured(user, config)))
}

func configured(user string, config clientv3.Config) clientv3.Config {
	config.Endpoints = endpoints
	config.DialTimeout = 10 * time.Second
	// It has a line for every call that is refused, as many here are.
	config.Logger = zap.NewNop()
	if certificates != "" {
		info := transport.TLSInfo{
			TrustedCAFile: certificates + "/ca.pem",
			CertFile:      certificates + "/" + user + ".pem",
			KeyFile:       certificates + "/" + user + ".key",
		}
		config.TLS = must(info.ClientConfig())
	}
	return config
}

func keys(ctx context.Context, client *clientv3.Client) {
	for _, key := range []string{"go/c", "go/a", "go/b"} {
		must(client.Put(ctx, key, "1"))
	}
	got := must(client.Get(ctx, "go/", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend)))
	expect(got.Count == 3 && string(got.Kvs[0].Key) == "go/c", got)
	answer := must(client.Txn(ctx).
		If(clientv3.Compare(clientv3.Value("go/a"), "=", "1"), clientv3.Compare(clientv3.Version("go/x"), "=", 0)).
		Then(clientv3.OpPut("go/a", "2", clientv3.WithPrevKV()), clientv3.OpGet("go/a")).
		Else(clientv3.OpDelete("go/a")).Commit())
	expect(answer.Succeeded && string(answer.Responses[1].GetResponseRange().Kvs[0].Value) == "2", answer)
	must(client.Compact(ctx, answer.Header.Revision, clientv3.WithCompactPhysical()))
	_, err := client.Get(ctx, "go/a", clientv3.WithRev(1))
	expect(errors.Is(err, rpctypes.ErrCompacted), err)
	deleted := must(client.Delete(ctx, "go/", clientv3.WithPrefix(), clientv3.WithPrevKV()))
	expect(deleted.Deleted == 3 && string(deleted.PrevKvs[0].Value) == "2", deleted)
}

func watches(ctx context.Context, client *clientv3.Client) {
	const count = 100
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	first := must(client.Put(ctx, "go/w", "0"))
	past := client.Watch(ctx, "go/w", clientv3.WithPrefix(), clientv3.WithRev(first.Header.Revision), clientv3.WithPrevKV(), clientv3.WithFragment())
	for number := 1; number < count; number++ {
		must(client.Put(ctx, "go/w", fmt.Sprint(number)))
	}
	for number := 0; number < count; {
		answer := <-past
		done(answer.Err())
		for _, event := range answer.Events {
			expect(string(event.Kv.Value) == fmt.Sprint(number) && event.Kv.Version == int64(number+1), event)
			expect(number == 0 || string(event.PrevKv.Value) == fmt.Sprint(number-1), event)
			number++
		}
	}
	done(client.RequestProgress(ctx))
	progress := <-past
	expect(progress.IsProgressNotify() && progress.Header.Revision >= first.Header.Revision+count-1, progress)
	late := client.Watch(ctx, "go/w", clientv3.WithRev(1))
	end := <-late
	expect(end.CompactRevision > 0 && errors.Is(end.Err(), rpctypes.ErrCompacted), end)
}

// Revisions whose events, with the pairs before, are more than one message may hold: each comes whole and
// once, whether the client lets it be split or not, and so do many of them at once.
func fragments(ctx context.Context, client *clientv3.Client) {
	const revisions, keys = 8, 10
	write := func(number int) int64 {
		value := strings.Repeat(fmt.Sprint(number%10), 128<<10)
		var puts []clientv3.Op
		for key := range keys {
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("go/large/%d", key), value))
		}
		return must(client.Txn(ctx).Then(puts...).Commit()).Header.Revision
	}
	first := write(0)
	for number := 1; number < revisions; number++ {
		write(number)
	}
	ways := [][]clientv3.OpOption{{clientv3.WithFragment()}, {clientv3.WithFragment(), clientv3.WithPrevKV()}, {clientv3.WithPrevKV()}}
	for _, way := range ways {
		watching, cancel := context.WithCancel(ctx)
		options := append(way, clientv3.WithPrefix(), clientv3.WithRev(first))
		heard := client.Watch(watching, "go/large/", options...)
		for next := 0; next < revisions*keys; {
			answer := <-heard
			done(answer.Err())
			expect(len(answer.Events) > 0 && len(answer.Events)%keys == 0, "a revision in parts")
			for _, event := range answer.Events {
				revision, key := first+int64(next/keys), fmt.Sprintf("go/large/%d", next%keys)
				expect(event.Kv.ModRevision == revision && string(event.Kv.Key) == key, string(event.Kv.Key))
				expect(len(event.Kv.Value) == 128<<10 && event.Kv.Value[0] == byte('0'+next/keys), "another value")
				next++
			}
		}
		// What comes now joins what came from the past.
		last := write(revisions)
		answer := <-heard
		expect(len(answer.Events) == keys && answer.Events[0].Kv.ModRevision == last, len(answer.Events))
		must(client.Delete(ctx, "go/large/", clientv3.WithPrefix()))
		cancel()
		first = write(0)
		for number := 1; number < revisions; number++ {
			write(number)
		}
	}
	must(client.Delete(ctx, "go/large/", clientv3.WithPrefix()))
}

func leases(ctx context.Context, client *clientv3.Client) {
	patiently(2, func(ttl int64) error { return renewed(ctx, client, ttl) })
	patiently(1, func(ttl int64) error { return expired(ctx, client, ttl) })
}

// patiently uses a lease of so many seconds. A machine that is busy may not come to renew it, or to use
// it, in time: then it is gone, but never earlier, and a longer one is tried.
func patiently(ttl int64, use func(ttl int64) error) {
	for {
		begun := time.Now()
		err := use(ttl)
		if err == nil {
			return
		}
		expect(errors.Is(err, rpctypes.ErrLeaseNotFound), err)
		expect(time.Since(begun) >= time.Duration(ttl)*time.Second, "a lease ended before its time")
		ttl *= 2
	}
}

// renewed has a lease live for longer than it would unless it was renewed.
func renewed(ctx context.Context, client *clientv3.Client, ttl int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lease := must(client.Grant(ctx, ttl))
	end := time.Now().Add(time.Duration(ttl) * time.Second)
	alive := must(client.KeepAlive(ctx, lease.ID))
	if _, err := client.Put(ctx, "go/leased", "v", clientv3.WithLease(lease.ID)); err != nil {
		return err
	}
	for time.Now().Before(end) {
		answer, open := <-alive
		if !open {
			return rpctypes.ErrLeaseNotFound
		}
		expect(answer.TTL == ttl, answer)
	}
	left := must(client.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys()))
	all := must(client.Leases(ctx))
	if _, err := client.Revoke(ctx, lease.ID); err != nil {
		return err
	}
	// It was there until now.
	expect(left.GrantedTTL == ttl && string(left.Keys[0]) == "go/leased", left)
	expect(len(all.Leases) > 0, all)
	got := must(client.Get(ctx, "go/leased"))
	expect(got.Count == 0, got)
	_, err := client.KeepAliveOnce(ctx, lease.ID)
	expect(errors.Is(err, rpctypes.ErrLeaseNotFound), err)
	return nil
}

// expired waits until a key ends with its lease.
func expired(ctx context.Context, client *clientv3.Client, ttl int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lease := must(client.Grant(ctx, ttl))
	put, err := client.Put(ctx, "go/short", "v", clientv3.WithLease(lease.ID))
	if err != nil {
		return err
	}
	end := <-client.Watch(ctx, "go/short", clientv3.WithRev(put.Header.Revision+1))
	expect(len(end.Events) == 1 && end.Events[0].Type == clientv3.EventTypeDelete, end)
	return nil
}

func session(client *clientv3.Client) *concurrency.Session {
	return must(concurrency.NewSession(client, concurrency.WithTTL(5)))
}

func locks(ctx context.Context, client *clientv3.Client) {
	one, two := session(client), session(client)
	first, second := concurrency.NewMutex(one, "go/lock"), concurrency.NewMutex(two, "go/lock")
	done(first.Lock(ctx))
	expect(errors.Is(second.TryLock(ctx), concurrency.ErrLocked), "locked twice")
	taken := make(chan error)
	go func() { taken <- second.Lock(ctx) }()
	got := must(client.Txn(ctx).If(first.IsOwner()).Then(clientv3.OpPut("go/fenced", "first")).Commit())
	expect(got.Succeeded, got)
	// The session of the holder ends, and with it the lock.
	done(one.Close())
	done(<-taken)
	got = must(client.Txn(ctx).If(first.IsOwner()).Then(clientv3.OpPut("go/fenced", "late")).Commit())
	expect(!got.Succeeded, got)
	done(second.Unlock(ctx))
	done(two.Close())
	// Software transactions from many sides add up.
	added := make(chan error)
	for range 8 {
		go func() {
			_, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
				stm.Put("go/stm", stm.Get("go/stm")+"x")
				return nil
			})
			added <- err
		}()
	}
	for range 8 {
		done(<-added)
	}
	sum := must(client.Get(ctx, "go/stm"))
	expect(string(sum.Kvs[0].Value) == "xxxxxxxx", sum)
}

func elections(ctx context.Context, client *clientv3.Client) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	one, two := session(client), session(client)
	first, second := concurrency.NewElection(one, "go/seat"), concurrency.NewElection(two, "go/seat")
	_, err := first.Leader(ctx)
	expect(errors.Is(err, concurrency.ErrElectionNoLeader), err)
	done(first.Campaign(ctx, "one"))
	observed := second.Observe(ctx)
	heard := func(value string) {
		for answer := range observed {
			if string(answer.Kvs[0].Value) == value {
				return
			}
		}
		panic("never heard of " + value)
	}
	heard("one")
	elected := make(chan error)
	go func() { elected <- second.Campaign(ctx, "two") }()
	done(first.Proclaim(ctx, "uno"))
	heard("uno")
	done(first.Resign(ctx))
	done(<-elected)
	heard("two")
	leader := must(first.Leader(ctx))
	expect(string(leader.Kvs[0].Value) == "two", leader)
	expect(first.Proclaim(ctx, "late") != nil, "a deposed leader proclaims")
	done(two.Close())
	done(one.Close())
}

func maintenance(ctx context.Context, client *clientv3.Client) {
	members := must(client.MemberList(ctx))
	expect(len(members.Members) == len(endpoints), members)
	var leader, other uint64
	for _, endpoint := range endpoints {
		status := must(client.Status(ctx, endpoint))
		leader = status.Leader
		if status.Header.MemberId != leader {
			other = status.Header.MemberId
		}
		must(client.HashKV(ctx, endpoint, 0))
		must(client.Defragment(ctx, endpoint))
	}
	alarms := must(client.AlarmList(ctx))
	expect(len(alarms.Alarms) == 0, alarms)
	snapshot := must(client.Snapshot(ctx))
	size := must(io.Copy(io.Discard, snapshot))
	expect(size > 0, size)
	// A proxy asks any member, who need not lead.
	if other == 0 || isProxy {
		return
	}
	for _, endpoint := range endpoints {
		if status := must(client.Status(ctx, endpoint)); status.Header.MemberId == leader {
			direct := connect("root", clientv3.Config{})
			direct.SetEndpoints(endpoint)
			must(direct.MoveLeader(ctx, other))
			done(direct.Close())
		}
	}
}

func users(ctx context.Context, client *clientv3.Client) {
	must(client.UserAdd(ctx, "root", "secret"))
	must(client.UserGrantRole(ctx, "root", "root"))
	must(client.UserAdd(ctx, "alice", "wonderland"))
	must(client.RoleAdd(ctx, "app"))
	must(client.RoleGrantPermission(ctx, "app", prefix+"go/app/", clientv3.GetPrefixRangeEnd(prefix+"go/app/"), clientv3.PermissionType(clientv3.PermReadWrite)))
	must(client.UserGrantRole(ctx, "alice", "app"))
	role := must(client.RoleGet(ctx, "app"))
	expect(len(role.Perm) == 1 && bytes.Equal(role.Perm[0].Key, []byte(prefix+"go/app/")), role)
	must(client.AuthEnable(ctx))

	root := connect("root", clientv3.Config{Username: "root", Password: "secret"})
	expect(must(root.AuthStatus(ctx)).Enabled, "authentication is off")
	callers := []*clientv3.Client{connect("root", clientv3.Config{Username: "alice", Password: "wonderland"})}
	if certificates != "" && !isProxy {
		callers = append(callers, connect("alice", clientv3.Config{}))
	}
	for _, alice := range callers {
		must(alice.Put(ctx, "go/app/x", "y"))
		_, err := alice.Put(ctx, "go/other", "z")
		expect(errors.Is(err, rpctypes.ErrPermissionDenied), err)
		_, err = alice.Get(ctx, "go/", clientv3.WithPrefix())
		expect(errors.Is(err, rpctypes.ErrPermissionDenied), err)
		_, err = alice.UserList(ctx)
		expect(errors.Is(err, rpctypes.ErrPermissionDenied), err)
		refused := <-alice.Watch(ctx, "go/", clientv3.WithPrefix())
		expect(refused.Canceled, refused)
		held := must(concurrency.NewSession(alice, concurrency.WithTTL(5)))
		mutex := concurrency.NewMutex(held, "go/app/lock")
		done(mutex.Lock(ctx))
		expect(concurrency.NewMutex(held, "go/lock").Lock(ctx) != nil, "a lock without permission")
		done(mutex.Unlock(ctx))
		done(held.Close())
		// The rules change under an open connection, and it goes on.
		must(root.RoleGrantPermission(ctx, "app", prefix+"go/more", "", clientv3.PermissionType(clientv3.PermReadWrite)))
		must(alice.Put(ctx, "go/more", "v"))
		must(root.RoleRevokePermission(ctx, "app", prefix+"go/more", ""))
		_, err = alice.Put(ctx, "go/more", "v")
		expect(errors.Is(err, rpctypes.ErrPermissionDenied), err)
		done(alice.Close())
	}
	_, err := clientv3.New(configured("root", clientv3.Config{Username: "alice", Password: "guess"}))
	expect(errors.Is(err, rpctypes.ErrAuthFailed), err)
	must(root.AuthDisable(ctx))
	done(root.Close())
}

// must is what a call answered, if it did.
func must[T any](answer T, err error) T {
	done(err)
	return answer
}

func done(err error) {
	if err != nil {
		panic(err)
	}
}

func expect(holds bool, found any) {
	if !holds {
		panic(fmt.Sprintf("%v", found))
	}
}
