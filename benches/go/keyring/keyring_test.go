// Kubelet's own keyring among 10,000 registries, the mix of benches/keyring.rs.
package keyring

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"k8s.io/kubernetes/pkg/credentialprovider"
)

const count = 10_000

func key(number int) string {
	switch number % 10 {
	case 0:
		return fmt.Sprintf("registry%d.example.com:5000", number)
	case 1, 2:
		return fmt.Sprintf("ghcr.io/team-%d", number)
	case 3:
		return fmt.Sprintf("https://registry%d.example.com/v2/", number)
	default:
		return fmt.Sprintf("%d.dkr.ecr.eu-west-1.amazonaws.com", number)
	}
}

func BenchmarkLookup(b *testing.B) {
	config := credentialprovider.DockerConfig{}
	images := make([]string, 0, count)
	for number := range count {
		config[key(number)] = credentialprovider.DockerConfigEntry{Username: "user", Password: "password"}
		host := strings.TrimSuffix(strings.TrimPrefix(key(number), "https://"), "/v2/")
		images = append(images, fmt.Sprintf("%s/shop/orders-%d", host, number))
	}
	keyring := credentialprovider.BasicDockerKeyring{}
	keyring.Add(nil, config)

	at := 0
	best := time.Duration(math.MaxInt64)
	for b.Loop() {
		started := time.Now()
		if _, found := keyring.Lookup(images[at*7_919%count]); !found {
			b.Fatalf("no credential for %s", images[at*7_919%count])
		}
		best = min(best, time.Since(started))
		at++
	}
	b.ReportMetric(float64(best.Nanoseconds()), "best-ns")
}
