package bundle

import (
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestHasDevice(t *testing.T) {
	bind := func(source, destination string) specs.Mount {
		return specs.Mount{Destination: destination, Source: source, Type: "bind", Options: []string{"rbind"}}
	}
	tmpfs := specs.Mount{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"}
	for name, test := range map[string]struct {
		mounts []specs.Mount
		has    bool
	}{
		"nothing":          {nil, false},
		"the node's /dev":  {[]specs.Mount{bind("/dev/", "/dev/")}, true},
		"an own one":       {[]specs.Mount{tmpfs}, false},
		"its directory":    {[]specs.Mount{tmpfs, bind("/dev/ib", "/dev/ib")}, true},
		"itself":           {[]specs.Mount{tmpfs, bind("/dev/ib/x0", "/dev/ib/x0")}, true},
		"another":          {[]specs.Mount{tmpfs, bind("/dev/ib/x1", "/dev/ib/x0")}, false},
		"another name's":   {[]specs.Mount{tmpfs, bind("/dev/ib/x", "/dev/ib/x")}, false},
		"under a later":    {[]specs.Mount{bind("/dev", "/dev"), tmpfs}, false},
		"elsewhere's /dev": {[]specs.Mount{bind("/other/dev", "/dev")}, false},
	} {
		if has := HasDevice(test.mounts, "/dev/ib/x0"); has != test.has {
			t.Errorf("%s: %v", name, has)
		}
	}
}
