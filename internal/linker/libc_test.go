package linker

import (
	"runtime"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/host"
)

// The C library of this host is found, and its version.
func TestLibcOfThisMachine(t *testing.T) {
	tree, err := host.Open("/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	cache, err := ReadCache(tree)
	if err != nil {
		t.Log(err)
	}
	c, err := LibcOf(tree, runtime.GOARCH, cache)
	if err != nil || c.Kind == "glibc" && (c.Version == "" || strings.Trim(c.Version, "0123456789.") != "") {
		t.Errorf("libc is %+v, %v", c, err)
	}
}
