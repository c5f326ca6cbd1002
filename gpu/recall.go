package gpu

import (
	"strings"

	"github.com/ocishim/ocishim/internal/cache"
)

// bootID returns an identifier that changes at every boot of the host.
func (p *plan) bootID() string {
	if p.boot == "" {
		p.boot = p.Host.ReadLine("/proc/sys/kernel/random/boot_id")
	}
	return p.boot
}

// mostMemory bounds the size of one kept result, in bytes.
const mostMemory = 1 << 20

// recall reads the rows that keep wrote under the same key. If the file is damaged in
// any way, recall reports nothing and the result is computed again.
func (p *plan) recall(name, key string) (rows [][]string, ok bool) {
	if p.CacheDir == "" {
		return nil, false
	}
	data, err := cache.Read(p.CacheDir, name, mostMemory)
	if err != nil {
		return nil, false
	}
	// The key is the first line; the last line proves that the file is complete.
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

// keep writes a result by rename. A failure is ignored: the next call only takes
// longer. (With encoding/json, reading would take a third of the time of a plan.)
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
