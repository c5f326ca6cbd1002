package bundle

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// FuzzLoad feeds arbitrary bytes as config.json: Load must not panic, errors are one short line
// with a position inside the file, and what is accepted can be written again.
func FuzzLoad(f *testing.F) {
	for _, config := range captured(f) {
		f.Add([]byte(config))
		f.Add([]byte(config[:len(config)/2]))
	}
	for _, config := range []string{
		minimal, "", "null", "[]", "{", `{"root":{"path":"/"}}`, `{"process":{"args":[1]}}`, minimal + "x",
		`{"root":{"path":"rootfs"},"windows":{},"mounts":[{"destination":"..","uidMappings":[{"size":4294967295}]}]}`,
	} {
		f.Add([]byte(config))
	}
	dir := makeBundle(f, minimal)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, ConfigName), data, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := Load(dir)
		if err == nil {
			if _, err := json.Marshal(b.Spec); err != nil {
				t.Fatalf("marshal what was loaded: %v", err)
			}
			if !filepath.IsAbs(b.Rootfs) {
				t.Fatalf("rootfs %q", b.Rootfs)
			}
			err = b.Validate()
		}
		if err == nil {
			return
		}
		checkMessage(t, err, data)
	})
}

// checkMessage checks what holds for every error about a file with this content.
func checkMessage(t *testing.T, err error, data []byte) {
	t.Helper()
	var bad *ConfigError
	if !errors.As(err, &bad) {
		t.Fatalf("%v is no ConfigError", err)
	}
	lines := strings.Split(string(data), "\n")
	if bad.Line < 0 || bad.Line > len(lines) || bad.Line > 0 && (bad.Column < 1 || bad.Column > len(lines[bad.Line-1])+1) {
		t.Fatalf("position outside of the file: %v", err)
	}
	if text := err.Error(); len(text) > 4000 || strings.ContainsAny(text, "\n\x1b\x00") || bad.Err.Error() == "" {
		t.Fatalf("message %q", text)
	}
}

// FuzzApply applies arbitrary edits to an arbitrary spec: all or nothing, every
// name once, and nothing shared.
func FuzzApply(f *testing.F) {
	edits := marshal(f, []Edit{fullEdit(), {Env: []string{"A=2"}, EnvPrepend: []string{"C=2"}}})
	for _, config := range captured(f) {
		f.Add([]byte(config), []byte(edits))
	}
	f.Add([]byte(minimal), []byte(`[{"from":"a","env":["X"]},{"mounts":[{"destination":"/a/b"},{"destination":"a"}]}]`))
	f.Add([]byte(`{}`), []byte(`[{"user":{},"namespaces":[{"type":"pid"}]}]`))
	f.Fuzz(func(t *testing.T, config, edits []byte) {
		spec, bad := decode(config)
		if bad != nil {
			t.Skip("no configuration: FuzzLoad is for those")
		}
		checkDecoded(t, config, spec)
		var list []Edit
		if json.Unmarshal(edits, &list) != nil {
			t.Skip("no edits")
		}
		b := &Bundle{Dir: "/b", Rootfs: "/b/rootfs", Spec: spec}
		before := marshal(t, b.Spec)
		if err := b.Apply(list...); err != nil {
			if marshal(t, b.Spec) != before || b.Rootfs != "/b/rootfs" || len(b.Applied) != 0 {
				t.Fatalf("%v, but the bundle was changed", err)
			}
			if strings.ContainsAny(err.Error(), "\n\x1b\x00") {
				t.Fatalf("message %q", err)
			}
			return
		}
		checkApplied(t, b, list)
	})
}

// checkDecoded compares spec with what encoding/json makes of the whole file at once.
func checkDecoded(t *testing.T, config []byte, spec *specs.Spec) {
	t.Helper()
	plain := new(specs.Spec)
	if err := json.Unmarshal(config, plain); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(spec, plain) {
		t.Fatalf("decoded\n%s\nand not\n%s", marshal(t, spec), marshal(t, plain))
	}
}

// checkApplied checks what holds for every bundle that list was applied to.
func checkApplied(t *testing.T, b *Bundle, list []Edit) {
	t.Helper()
	if b.Spec.Process != nil {
		names := make(map[string]bool)
		for _, entry := range b.Spec.Process.Env {
			if names[envName(entry)] {
				t.Fatalf("%q stands twice", envName(entry))
			}
			names[envName(entry)] = true
		}
	}
	mounts := make(map[string]string)
	for _, m := range b.Spec.Mounts {
		mounts[destination(m)] = marshal(t, m) // the last one is what is seen
	}
	want := make(map[string]string)
	for _, e := range list {
		for _, m := range e.Mounts {
			want[destination(m)] = marshal(t, m)
		}
	}
	if slices.ContainsFunc(list, func(e Edit) bool { return len(e.MountsAt) > 0 }) {
		clear(want) // MountsAt may replace what earlier edits mount
	}
	for dst := range want {
		if mounts[dst] != want[dst] {
			t.Fatalf("mount at %q is %s, want %s", dst, mounts[dst], want[dst])
		}
	}
	after, applied := marshal(t, b.Spec), marshal(t, b.Applied)
	scramble(reflect.ValueOf(&list))
	if marshal(t, b.Spec) != after || marshal(t, b.Applied) != applied {
		t.Fatal("the bundle shares memory with the edits")
	}
}
