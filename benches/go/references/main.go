// Parsing and normalising the references of ../../lib.rs with Go's parsers: nanoseconds per reference.
package main

import (
	"bufio"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"fmt"
	"os"
	"testing"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/regclient/regclient/types/ref"
)

func main() {
	var inputs []string
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		inputs = append(inputs, lines.Text())
	}
	parsers := []struct {
		name  string
		parse func(string) error
	}{
		{"distribution/reference", func(s string) error { _, err := reference.ParseNormalizedNamed(s); return err }},
		{"go-containerregistry", func(s string) error { _, err := name.ParseReference(s); return err }},
		{"regclient", func(s string) error { _, err := ref.New(s); return err }},
	}
	for _, parser := range parsers {
		result := testing.Benchmark(func(b *testing.B) {
			for range b.N {
				for _, input := range inputs {
					if err := parser.parse(input); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
		fmt.Printf("%-24s %8.0f ns per reference\n", parser.name, float64(result.NsPerOp())/float64(len(inputs)))
	}
}
