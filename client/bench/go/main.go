// The work of client/bench with Go's clientv3: put|get|watch URL COUNT.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	tasks = 32
	keys  = 1000
)

func key(at int) string { return fmt.Sprintf("bench/%04d", at%keys) }

func main() {
	kind, url := os.Args[1], os.Args[2]
	count, err := strconv.Atoi(os.Args[3])
	check(err)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{url}, DialTimeout: 10 * time.Second})
	check(err)
	if kind == "watch" {
		watch(client, count)
		return
	}
	calls(client, kind, count/tasks)
}

func calls(client *clientv3.Client, kind string, each int) {
	ctx := context.Background()
	_, err := client.Get(ctx, "ready?")
	check(err)
	value := strings.Repeat("v", 256)
	begun, cpu := time.Now(), cpuSeconds()
	var group sync.WaitGroup
	for task := range tasks {
		group.Go(func() {
			for at := range each {
				key := key(task*each + at)
				if kind == "put" {
					_, err := client.Put(ctx, key, value)
					check(err)
					continue
				}
				answer, err := client.Get(ctx, key)
				check(err)
				if len(answer.Kvs) != 1 {
					panic("no such key")
				}
			}
		})
	}
	group.Wait()
	end(begun, cpu, tasks*each)
}

func watch(client *clientv3.Client, count int) {
	answers := client.Watch(context.Background(), "bench/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-answers
	fmt.Println("ready")
	var begun time.Time
	var cpu float64
	seen := 0
	for answer := range answers {
		check(answer.Err())
		if begun.IsZero() {
			begun, cpu = time.Now(), cpuSeconds()
		}
		seen += len(answer.Events)
		if seen >= count {
			break
		}
	}
	end(begun, cpu, count)
}

func end(begun time.Time, cpu float64, count int) {
	wall := time.Since(begun).Seconds()
	fmt.Printf("%.3f %.0f\n", (cpuSeconds()-cpu)*1e6/float64(count), float64(count)/wall)
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	seconds := func(time syscall.Timeval) float64 { return float64(time.Sec) + float64(time.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
