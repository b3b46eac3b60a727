// What Go programs do beside ours.
//
// "add URLS NAME TIMES" adds one to a counter, so many times, under a lock of clientv3's concurrency package.
// The counter is read and written by two requests, so that the lock alone keeps additions from being lost.
// "serve URLS NAME ADDRESS" adds an endpoint to a service and prints the addresses of all.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
)

func main() {
	what, urls, name, argument := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	client, err := clientv3.New(clientv3.Config{Endpoints: strings.Split(urls, ",")})
	check(err)
	if what == "serve" {
		serve(client, name, argument)
		return
	}
	times, err := strconv.Atoi(argument)
	check(err)
	addAll(client, name, times)
}

func serve(client *clientv3.Client, name, address string) {
	ctx := context.Background()
	manager, err := endpoints.NewManager(client, name)
	check(err)
	check(manager.AddEndpoint(ctx, name+"/go", endpoints.Endpoint{Addr: address, Metadata: "from Go"}))
	all, err := manager.List(ctx)
	check(err)
	for key, endpoint := range all {
		fmt.Println(key, endpoint.Addr, endpoint.Metadata)
	}
}

func addAll(client *clientv3.Client, name string, times int) {
	session, err := concurrency.NewSession(client, concurrency.WithTTL(10))
	check(err)
	mutex := concurrency.NewMutex(session, name)
	ctx := context.Background()
	for range times {
		check(mutex.Lock(ctx))
		add(ctx, client, name+"-counter")
		check(mutex.Unlock(ctx))
	}
	check(session.Close())
}

func add(ctx context.Context, client *clientv3.Client, key string) {
	answer, err := client.Get(ctx, key)
	check(err)
	count := 0
	if len(answer.Kvs) > 0 {
		count, err = strconv.Atoi(string(answer.Kvs[0].Value))
		check(err)
	}
	_, err = client.Put(ctx, key, strconv.Itoa(count+1))
	check(err)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
