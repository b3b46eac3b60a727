// Adds one to a counter, so many times, under a lock of clientv3's concurrency package: go-lock URLS NAME TIMES.
//
// The counter is read and written by two requests, so that the lock alone keeps additions from being lost.
package main

import (
	"context"
	"os"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

func main() {
	urls, name := os.Args[1], os.Args[2]
	times, err := strconv.Atoi(os.Args[3])
	check(err)
	client, err := clientv3.New(clientv3.Config{Endpoints: strings.Split(urls, ",")})
	check(err)
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
