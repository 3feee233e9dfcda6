// Reads lines {"auths": [KEY...], "image": IMAGE} and writes for each the key whose credential
// Docker's CLI, containers/image and oras take from such a configuration, or null.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/docker/cli/cli/config/configfile"
	dockertypes "github.com/docker/cli/cli/config/types"
	podmanreference "go.podman.io/image/v5/docker/reference"
	podmanconfig "go.podman.io/image/v5/pkg/docker/config"
	podmantypes "go.podman.io/image/v5/types"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

type question struct {
	Auths []string `json:"auths"`
	Image string   `json:"image"`
}

type answer struct {
	Docker          *string `json:"docker"`
	ContainersImage *string `json:"containers_image"`
	Oras            *string `json:"oras"`
}

type entry struct {
	Auth string `json:"auth"`
}

func main() {
	folder, err := os.MkdirTemp("", "choreo-oracle-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "auth.json")
	registries := filepath.Join(folder, "registries.conf")
	if err := os.WriteFile(registries, nil, 0o600); err != nil {
		log.Fatal(err)
	}
	podman := &podmantypes.SystemContext{
		AuthFilePath:                file,
		SystemRegistriesConfPath:    registries,
		SystemRegistriesConfDirPath: filepath.Join(folder, "none"),
	}

	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	questions := json.NewDecoder(bufio.NewReaderSize(os.Stdin, 1<<20))
	answers := json.NewEncoder(out)
	answers.SetEscapeHTML(false)
	for {
		var asked question
		if err := questions.Decode(&asked); err == io.EOF {
			break
		} else if err != nil {
			log.Fatalf("cannot read a question: %v", err)
		}
		if err := write(file, asked.Auths); err != nil {
			log.Fatalf("cannot write the configuration: %v", err)
		}
		given := answer{docker(asked), containersImage(podman, asked), oras(file, asked)}
		if err := answers.Encode(given); err != nil {
			log.Fatalf("cannot write an answer: %v", err)
		}
	}
	if err := out.Flush(); err != nil {
		log.Fatalf("cannot write the answers: %v", err)
	}
}

// The user name of each entry is the number of its key.
func write(file string, keys []string) error {
	auths := map[string]entry{}
	for number, key := range keys {
		auth := base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf("k%d:p", number)))
		auths[key] = entry{auth}
	}
	document, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		return err
	}
	return os.WriteFile(file, document, 0o600)
}

func key(asked question, user string) *string {
	number, err := strconv.Atoi(strings.TrimPrefix(user, "k"))
	if err != nil {
		return nil
	}
	return &asked.Auths[number]
}

func docker(asked question) *string {
	named, err := reference.ParseNormalizedNamed(asked.Image)
	if err != nil {
		log.Fatalf("%q is no image: %v", asked.Image, err)
	}
	config := configfile.New("")
	for number, key := range asked.Auths {
		config.AuthConfigs[key] = dockertypes.AuthConfig{Username: fmt.Sprintf("k%d", number)}
	}
	found, err := config.GetAuthConfig(reference.Domain(named))
	if err != nil {
		log.Fatalf("docker's CLI failed: %v", err)
	}
	return key(asked, found.Username)
}

func containersImage(podman *podmantypes.SystemContext, asked question) *string {
	named, err := podmanreference.ParseNormalizedNamed(asked.Image)
	if err != nil {
		// Its grammar is an older one, without IPv6 and hosts such as LOCALHOST.
		return nil
	}
	found, err := podmanconfig.GetCredentialsForRef(podman, podmanreference.TrimNamed(named))
	if err != nil {
		log.Fatalf("containers/image failed: %v", err)
	}
	return key(asked, found.Username)
}

// oras knows no short names: it is asked for the image by its full name.
func oras(file string, asked question) *string {
	parsed, err := registry.ParseReference(asked.Image)
	if err != nil {
		return nil
	}
	store, err := credentials.NewFileStore(file)
	if err != nil {
		log.Fatalf("oras failed: %v", err)
	}
	found, err := credentials.Credential(store)(context.Background(), parsed.Host())
	if err != nil {
		log.Fatalf("oras failed: %v", err)
	}
	return key(asked, found.Username)
}
