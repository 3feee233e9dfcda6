// What distribution/reference makes of each input: JSON strings in, JSON objects out.
package main

import (
	"bufio"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/json"
	"os"

	"github.com/distribution/reference"
)

type answer struct {
	Input      string `json:"input"`
	OK         bool   `json:"ok"`
	Domain     string `json:"domain,omitempty"`
	Path       string `json:"path,omitempty"`
	Tag        string `json:"tag,omitempty"`
	Digest     string `json:"digest,omitempty"`
	Normalized string `json:"normalized,omitempty"`
	Familiar   string `json:"familiar,omitempty"`
	Error      string `json:"error,omitempty"`
}

func describe(input string) answer {
	named, err := reference.ParseNormalizedNamed(input)
	if err != nil {
		return answer{Input: input, Error: err.Error()}
	}
	found := answer{
		Input:      input,
		OK:         true,
		Domain:     reference.Domain(named),
		Path:       reference.Path(named),
		Normalized: named.String(),
		Familiar:   reference.FamiliarString(named),
	}
	if tagged, ok := named.(reference.Tagged); ok {
		found.Tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		found.Digest = digested.Digest().String()
	}
	return found
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	answers := json.NewEncoder(out)
	answers.SetEscapeHTML(false)
	for lines.Scan() {
		var input string
		if err := json.Unmarshal(lines.Bytes(), &input); err != nil {
			panic(err)
		}
		if err := answers.Encode(describe(input)); err != nil {
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
