// Reads lines {"auths": [KEY...], "image": IMAGE} and writes for each the keys whose credentials
// kubelet's own keyring returns, in its order, as one JSON array.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"io"
	"log"
	"os"

	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/credentialprovider"
)

type question struct {
	Auths []string `json:"auths"`
	Image string   `json:"image"`
}

func main() {
	// The keyring logs each key that it drops.
	flags := flag.NewFlagSet("klog", flag.PanicOnError)
	klog.InitFlags(flags)
	for name, value := range map[string]string{"logtostderr": "false", "stderrthreshold": "FATAL"} {
		if err := flags.Set(name, value); err != nil {
			log.Fatal(err)
		}
	}
	klog.SetOutput(io.Discard)

	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	questions, answers := json.NewDecoder(lines), json.NewEncoder(out)
	answers.SetEscapeHTML(false)
	for {
		var asked question
		if err := questions.Decode(&asked); err == io.EOF {
			break
		} else if err != nil {
			log.Fatalf("cannot read a question: %v", err)
		}
		if err := answers.Encode(lookup(asked)); err != nil {
			log.Fatalf("cannot write an answer: %v", err)
		}
	}
	if err := out.Flush(); err != nil {
		log.Fatalf("cannot write the answers: %v", err)
	}
}

// Each key's user name is the key itself, so that the credentials tell where they come from.
func lookup(asked question) []string {
	config := credentialprovider.DockerConfig{}
	for _, key := range asked.Auths {
		config[key] = credentialprovider.DockerConfigEntry{Username: key, Password: "p"}
	}
	keyring := credentialprovider.BasicDockerKeyring{}
	keyring.Add(nil, config)

	keys := []string{}
	found, _ := keyring.Lookup(asked.Image)
	for _, credential := range found {
		keys = append(keys, credential.Username)
	}
	return keys
}
