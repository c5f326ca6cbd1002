package gpu

import (
	"strings"

	"github.com/ocishim/ocishim/internal/cache"
)

// bootID changes when the machine starts anew.
func (p *plan) bootID() string {
	if p.boot == "" {
		p.boot = p.Host.ReadLine("/proc/sys/kernel/random/boot_id")
	}
	return p.boot
}

// mostMemory bounds what is kept of one discovery, in bytes.
const mostMemory = 1 << 20

// recall reads what keep wrote under the same key: rows of fields. Whatever is
// wrong with it, it is as if there were nothing: it is found out anew.
func (p *plan) recall(name, key string) (rows [][]string, ok bool) {
	if p.CacheDir == "" {
		return nil, false
	}
	data, err := cache.Read(p.CacheDir, name, mostMemory)
	if err != nil {
		return nil, false
	}
	// The key is the first line, and the last one says that nothing is missing.
	kept, rest, _ := strings.Cut(string(data), "\n")
	rest, whole := strings.CutSuffix(rest, endOfMemory)
	if kept != key || !whole {
		return nil, false
	}
	for line := range strings.Lines(rest) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return rows, true
}

const endOfMemory = "end\n"

// keep writes a discovery down, by rename. That it cannot is no error: the next
// call takes longer. (encoding/json takes a third of a plan to read as much.)
func (p *plan) keep(name, key string, rows [][]string) {
	if p.CacheDir == "" {
		return
	}
	data := []byte(key + "\n")
	for _, row := range rows {
		for i, field := range row {
			if strings.ContainsAny(field, "\t\n") {
				return
			}
			if i > 0 {
				data = append(data, '\t')
			}
			data = append(data, field...)
		}
		data = append(data, '\n')
	}
	if data = append(data, endOfMemory...); len(data) > mostMemory || strings.Contains(key, "\n") {
		return
	}
	_ = cache.Write(p.CacheDir, name, data)
}
