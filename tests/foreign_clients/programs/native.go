// The Go client of Debian's golang-github-samuel-go-zookeeper-dev, one connection to each of two gateways.
package main

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/samuel/go-zookeeper/zk"
)

func must(err error, what string) {
	if err != nil {
		fmt.Println(what+":", err)
		os.Exit(1)
	}
}

func check(condition bool, what string) {
	if !condition {
		must(fmt.Errorf("is not so"), what)
	}
}

func connect(host string) *zk.Conn {
	connection, events, err := zk.Connect([]string{host}, 20*time.Second, zk.WithLogInfo(false))
	must(err, "connect")
	for event := range events {
		if event.State == zk.StateHasSession {
			break
		}
	}
	go func() {
		for range events {
		}
	}()
	return connection
}

func next(events <-chan zk.Event, kind zk.EventType) {
	select {
	case event := <-events:
		check(event.Type == kind, fmt.Sprint("event ", kind, " and not ", event.Type))
	case <-time.After(60 * time.Second):
		check(false, fmt.Sprint("event ", kind))
	}
}

func main() {
	one, two := connect(os.Args[1]), connect(os.Args[2])
	open := zk.WorldACL(zk.PermAll)
	_, err := one.Create("/go", []byte("x"), 0, open)
	must(err, "create")
	_, err = two.Sync("/go")
	must(err, "sync")
	data, stat, changed, err := two.GetW("/go")
	must(err, "get")
	check(bytes.Equal(data, []byte("x")) && stat.Version == 0, "data")
	_, err = one.Set("/go", []byte("y"), stat.Version)
	must(err, "set")
	next(changed, zk.EventNodeDataChanged)
	_, err = one.Set("/go", []byte("z"), 0)
	check(err == zk.ErrBadVersion, "bad version")
	_, _, appears, err := two.ExistsW("/go/e")
	must(err, "exists")
	_, _, children, err := two.ChildrenW("/go")
	must(err, "children")
	path, err := one.CreateProtectedEphemeralSequential("/go/s-", nil, open)
	must(err, "create protected")
	next(children, zk.EventNodeChildrenChanged)
	_, err = one.Create("/go/e", nil, zk.FlagEphemeral, open)
	must(err, "create ephemeral")
	next(appears, zk.EventNodeCreated)
	_, err = one.Multi(&zk.CreateRequest{Path: "/go/a", Data: []byte("a"), Acl: open},
		&zk.SetDataRequest{Path: "/go", Data: []byte("m"), Version: 1}, &zk.CheckVersionRequest{Path: "/go/a", Version: 0})
	must(err, "multi")
	results, err := one.Multi(&zk.DeleteRequest{Path: "/go/a", Version: 0}, &zk.DeleteRequest{Path: "/go/b", Version: 0})
	check(err == zk.ErrNoNode && len(results) == 2, "a multi that cannot be")
	must(one.AddAuth("digest", []byte("ann:secret")), "auth")
	_, err = one.Create("/go/private", nil, 0, zk.DigestACL(zk.PermAll, "ann", "secret"))
	must(err, "create private")
	_, _, err = two.Get("/go/private")
	check(err == zk.ErrNoAuth, "no auth")
	inside, all := 0, sync.WaitGroup{}
	for number := 0; number < 4; number++ {
		connection := []*zk.Conn{one, two}[number%2]
		all.Add(1)
		go func() {
			defer all.Done()
			for turn := 0; turn < 3; turn++ {
				lock := zk.NewLock(connection, "/go/lock", open)
				must(lock.Lock(), "lock")
				inside++
				check(inside == 1, "alone")
				inside--
				must(lock.Unlock(), "unlock")
			}
		}()
	}
	all.Wait()
	_, _, gone, err := two.ExistsW(path)
	must(err, "exists")
	one.Close()
	next(gone, zk.EventNodeDeleted)
	found, _, err := two.Exists("/go/e")
	must(err, "exists")
	check(!found, "the ephemeral is gone")
	two.Close()
}
