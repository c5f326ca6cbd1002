// Command gofloor is the lower bound for a launch in place: a Go program with C that does nothing,
// executes itself once more, and becomes true(1). Between its two starts a launch in place enters
// its namespaces.
package main

import "C" // as in ocishim: Go starts slower with its C runtime

import (
	"os"
	"syscall"
)

func main() {
	if len(os.Args) == 1 {
		_ = syscall.Exec("/proc/self/exe", []string{os.Args[0], "again"}, nil)
	} else {
		_ = syscall.Exec("/bin/true", []string{"true"}, nil)
	}
	os.Exit(1)
}
