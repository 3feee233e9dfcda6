// Asking the registry of ../../benches/client.rs for a digest with Go's clients: calls per second, 64 in flight.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/regclient/regclient"
	"github.com/regclient/regclient/config"
	"github.com/regclient/regclient/types/ref"
)

const (
	inFlight = 64
	perTask  = 50
	rounds   = 20
)

func main() {
	address := os.Args[1]
	image := address + "/team/app:1.4"
	peers := []struct {
		name string
		call func() error
	}{
		{"go-containerregistry", goContainerRegistry(image)},
		{"regclient", regClient(address, image)},
	}
	for _, peer := range peers {
		round(peer.call)
		best, cpu := time.Hour, time.Hour
		for range rounds {
			took, used := round(peer.call)
			best, cpu = min(best, took), min(cpu, used)
		}
		const calls = inFlight * perTask
		fmt.Printf("%-24s best %7.0f calls a second, CPU %6.1f µs a call\n",
			peer.name, calls/best.Seconds(), cpu.Seconds()*1e6/calls)
	}
}

func round(call func() error) (time.Duration, time.Duration) {
	started, before := time.Now(), cpuTime()
	var tasks sync.WaitGroup
	for range inFlight {
		tasks.Go(func() {
			for range perTask {
				if err := call(); err != nil {
					log.Fatal(err)
				}
			}
		})
	}
	tasks.Wait()
	return time.Since(started), cpuTime() - before
}

// cpuTime is what all threads of the process have used.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// goContainerRegistry keeps its puller, as a control plane would, and as many connections as calls.
func goContainerRegistry(image string) func() error {
	reference, err := name.ParseReference(image, name.Insecure)
	if err != nil {
		log.Fatal(err)
	}
	transport := remote.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = inFlight
	puller, err := remote.NewPuller(remote.WithTransport(transport))
	if err != nil {
		log.Fatal(err)
	}
	return func() error { _, err := puller.Head(context.Background(), reference); return err }
}

// regClient asks as many at a time as there are calls; its own bound is 3.
func regClient(address, image string) func() error {
	host := config.HostNewName(address)
	host.TLS = config.TLSDisabled
	host.ReqConcurrent = inFlight
	client := regclient.New(regclient.WithConfigHost(*host))
	reference, err := ref.New(image)
	if err != nil {
		log.Fatal(err)
	}
	return func() error { _, err := client.ManifestHead(context.Background(), reference); return err }
}
