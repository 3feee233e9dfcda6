// What containerd/platforms makes of an image's and a node's platform: JSON arrays of two objects in,
// JSON objects out.
package main

import (
	"bufio"
	"encoding/json"
	"os"

	"github.com/containerd/platforms"
	specs "github.com/opencontainers/image-spec/specs-go/v1"
)

type answer struct {
	Normalized specs.Platform `json:"normalized"`
	Serves     bool           `json:"serves"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	answers := json.NewEncoder(out)
	for lines.Scan() {
		var pair [2]specs.Platform
		if err := json.Unmarshal(lines.Bytes(), &pair); err != nil {
			panic(err)
		}
		image, node := pair[0], pair[1]
		// What the CRI plugin asks of each entry of an index.
		found := answer{platforms.Normalize(image), platforms.Only(node).Match(image)}
		if err := answers.Encode(found); err != nil {
			panic(err)
		}
	}
	if err := lines.Err(); err != nil {
		panic(err)
	}
	if err := out.Flush(); err != nil {
		panic(err)
	}
}
