package doctor

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// A Report is what is found out about one host.
type Report struct {
	Facts    map[string]string `json:"facts"`
	Findings []Finding         `json:"findings"`
}

// hostFact is the name of the fact by which a report is told from others; it always differs.
const hostFact = "host"

// Facts are what hosts of one cluster should have in common, by name.
func Facts(p *Patient) map[string]string {
	facts := map[string]string{
		hostFact:  p.Host.ReadLine("/proc/sys/kernel/hostname"),
		"ocishim": p.Version,
		"kernel":  p.Host.ReadLine("/proc/sys/kernel/osrelease"),
		"slurm":   p.slurmVersion(),
		"driver":  p.Host.ReadLine("/proc/driver/nvidia/version"),
		"user":    p.User,
	}
	files := map[string]string{"program": p.Program}
	if dir := p.confDir(); dir != "" {
		files["oci.conf"], files["slurm.conf"] = filepath.Join(dir, "oci.conf"), filepath.Join(dir, "slurm.conf")
	}
	for _, path := range p.Config.Files {
		files[path] = path
	}
	for name, path := range files {
		if data, err := p.Host.ReadFile(path); err == nil {
			sum := sha256.Sum256(data)
			facts[name+" (sha256)"] = hex.EncodeToString(sum[:6])
		}
	}
	return facts
}

// Compare returns a line for each fact, and each status of a check, in which hosts differ from most of
// the others.
func Compare(reports []Report) []string {
	names := map[string]bool{}
	values := make([]map[string]string, len(reports))
	for i, r := range reports {
		values[i] = maps.Clone(r.Facts)
		if values[i] == nil {
			values[i] = map[string]string{}
		}
		for _, f := range r.Findings {
			key := "check " + f.Check
			values[i][key] = strings.TrimPrefix(values[i][key]+"; "+string(f.Status)+" "+f.What, "; ")
		}
		for name := range values[i] {
			names[name] = name != hostFact
		}
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if names[name] {
			lines = append(lines, differing(name, values)...)
		}
	}
	return lines
}

// differing returns a line for each value of a fact that is not the most frequent one.
func differing(name string, values []map[string]string) []string {
	hosts := map[string][]string{}
	for _, v := range values {
		hosts[v[name]] = append(hosts[v[name]], v[hostFact])
	}
	if len(hosts) < 2 {
		return nil
	}
	usual := slices.SortedFunc(maps.Keys(hosts), func(a, b string) int {
		if d := len(hosts[b]) - len(hosts[a]); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	var lines []string
	for _, value := range usual[1:] {
		lines = append(lines, fmt.Sprintf("%s: %s: %s, and %s elsewhere", text.Printable(name), text.Whole(strings.Join(hosts[value], ",")), shown(value), shown(usual[0])))
	}
	return lines
}

func shown(value string) string {
	if value == "" {
		return "nothing"
	}
	return text.Whole(value)
}
