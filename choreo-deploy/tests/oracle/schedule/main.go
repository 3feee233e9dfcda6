// What Kubernetes' API server makes of a schedule or a time zone of a CronJob: a JSON object in, one out.
//
// The rules are those of its validation (pkg/apis/batch/validation), over the packages that it uses:
// robfig/cron and Go's time, with the zones that are built into the API server.
package main

import (
	"archive/zip"
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// A schedule, a time zone of a database, or a database whose names are wanted.
type question struct {
	Cron     *string `json:"cron"`
	Zone     *string `json:"zone"`
	Database string  `json:"database"`
}

type answer struct {
	Refused string `json:"refused,omitempty"`
	// The times as sets of bits, or the interval.
	Schedule string `json:"schedule,omitempty"`
	// A field without any value.
	Empty bool `json:"empty,omitempty"`
	// An interval below a second.
	Short bool     `json:"short,omitempty"`
	Zones []string `json:"zones,omitempty"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	answers := json.NewEncoder(out)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		var found answer
		switch {
		case asked.Cron != nil:
			found = schedule(*asked.Cron)
		case asked.Zone != nil:
			found = zone(*asked.Zone, database(asked.Database))
		default:
			for name := range database(asked.Database) {
				found.Zones = append(found.Zones, name)
			}
		}
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

func schedule(text string) (found answer) {
	// The API server recovers as well: the package panics over a zone without a schedule.
	defer func() {
		if reason := recover(); reason != nil {
			found = answer{Refused: fmt.Sprint(reason)}
		}
	}()
	parsed, err := cron.ParseStandard(text)
	if err != nil {
		return answer{Refused: err.Error()}
	}
	if strings.Contains(text, "TZ") {
		return answer{Refused: "cannot use TZ or CRON_TZ in schedule"}
	}
	switch parsed := parsed.(type) {
	case *cron.SpecSchedule:
		fields := []uint64{parsed.Minute, parsed.Hour, parsed.Dom, parsed.Month, parsed.Dow}
		for _, field := range fields {
			found.Empty = found.Empty || field == 0
		}
		found.Schedule = fmt.Sprintf("%x", fields)
	case cron.ConstantDelaySchedule:
		// What was written: the package makes a second of anything shorter.
		written, err := time.ParseDuration(strings.TrimPrefix(text, "@every "))
		if err != nil {
			panic(err)
		}
		found.Short = written < time.Second
		found.Schedule = parsed.Delay.String()
	}
	return found
}

var characters = regexp.MustCompile(`^[A-Za-z\.\-_0-9+]{1,14}$`)

func zone(name string, database map[string]*zip.File) answer {
	for _, part := range strings.Split(name, "/") {
		if part == "." || part == ".." || strings.HasPrefix(part, "-") || !characters.MatchString(part) {
			return answer{Refused: "unknown time zone"}
		}
	}
	if strings.EqualFold(name, "Local") {
		return answer{Refused: "timeZone must be an explicit time zone"}
	}
	// As time.LoadLocation, but never from the machine's own files, which have more names.
	file, found := database[name]
	if !found {
		return answer{Refused: "unknown time zone"}
	}
	entry, err := file.Open()
	if err != nil {
		panic(err)
	}
	defer entry.Close()
	data, err := io.ReadAll(entry)
	if err != nil {
		panic(err)
	}
	if _, err := time.LoadLocationFromTZData(name, data); err != nil {
		return answer{Refused: err.Error()}
	}
	return answer{}
}

var databases = map[string]map[string]*zip.File{}

// The zones of a database in the form that comes with Go.
func database(path string) map[string]*zip.File {
	if known, found := databases[path]; found {
		return known
	}
	archive, err := zip.OpenReader(path)
	if err != nil {
		panic(err)
	}
	zones := map[string]*zip.File{}
	for _, file := range archive.File {
		if !strings.HasSuffix(file.Name, "/") {
			zones[file.Name] = file
		}
	}
	databases[path] = zones
	return zones
}
