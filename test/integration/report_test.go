//go:build integration

package integration

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// cells holds the outcomes by column and scenario.
var (
	cellsLock sync.Mutex
	cells     = map[string]map[string]outcome{}
)

func record(col column, sc scenario, out outcome) {
	cellsLock.Lock()
	defer cellsLock.Unlock()
	if cells[col.String()] == nil {
		cells[col.String()] = map[string]outcome{}
	}
	cells[col.String()][sc.name] = out
}

// writeReport writes the table: a row for each scenario, a column for each way to run it.
func writeReport(path string) error {
	cellsLock.Lock()
	defer cellsLock.Unlock()
	var b strings.Builder
	head, rule := "| |", "|---|"
	for _, col := range columns() {
		mode := map[string]string{"run": "run, by exec", "run-sh": "run, as documented", "oci": "run, profile oci", "create": "create/start"}[col.mode]
		if col.namespaces != "" {
			mode += ", " + col.namespaces + " namespace of the job's"
		}
		head += fmt.Sprintf(" %s, Slurm %s, %s |", col.runtime, col.slurm, mode)
		rule += "---|"
	}
	b.WriteString(head + "\n" + rule + "\n")
	for _, sc := range scenarios() {
		row, any := "| "+sc.name+" |", false
		for _, col := range columns() {
			out, ok := cells[col.String()][sc.name]
			any = any || ok
			if !ok {
				out.cell = "(not run)"
			}
			row += " " + strings.ReplaceAll(out.cell, "|", "/") + " |"
		}
		if any {
			b.WriteString(row + "\n")
		}
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
