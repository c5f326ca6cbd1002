package bundle_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"unicode/utf8"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// oddStrings are strings that JSON cannot hold, or that could be mistaken for our escaping.
var oddStrings = []string{
	"", "plain", "é", "\xe9", "a\xffb\x80c", "\xf4\x8f\xbe\x80", "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xa9\xe9", "\ufffd", `\ufffd`,
	"\xed\xb3\xa9", "\xc3", "\xf4\x90\x80\x80", "\xf4\x8f\xbe", "\x00\x01", "\U0010ff7f", "\U0010ff80\xe9\U0010ffff",
}

func TestBytes(t *testing.T) {
	t.Parallel()
	for _, s := range oddStrings {
		text := bundle.EncodeBytes(s)
		if !utf8.ValidString(text) {
			t.Errorf("%q becomes %q, which is not UTF-8", s, text)
		}
		if back := bundle.DecodeBytes(text); back != s {
			t.Errorf("%q becomes %q, and %q", s, text, back)
		}
	}
}

func FuzzBytes(f *testing.F) {
	for _, s := range oddStrings {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		data, err := bundle.Marshal([]string{s})
		if err != nil || !json.Valid(data) || !utf8.Valid(data) {
			t.Fatalf("%q: %q, %v", s, data, err)
		}
		var back []string
		if err := bundle.Unmarshal(data, &back); err != nil || back[0] != s {
			t.Fatalf("%q: %q, %v", s, back, err)
		}
	})
}

// Every kind of value in our files survives a round trip.
func TestMarshalKeepsBytes(t *testing.T) {
	t.Parallel()
	for _, s := range oddStrings {
		umask := uint32(0o22)
		p := &specs.Process{Args: []string{s, "x"}, Env: []string{"A=" + s}, Cwd: "/" + s, User: specs.User{Umask: &umask}, Scheduler: nil}
		data, err := bundle.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		back := new(specs.Process)
		if err := bundle.Unmarshal(data, back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(p, back) {
			t.Errorf("%q: %+v came back as %+v", s, p, back)
		}
		e := []bundle.Edit{{From: "x", Mounts: []specs.Mount{{Destination: "/" + s}}, Annotations: map[string]string{s: s}, Files: []bundle.File{{Path: s, Data: []byte(s + "\xe9")}}}}
		if data, err = bundle.Marshal(e); err != nil {
			t.Fatal(err)
		}
		var edits []bundle.Edit
		if err := bundle.Unmarshal(data, &edits); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(e, edits) {
			t.Errorf("%q: %+v came back as %+v", s, e, edits)
		}
	}
}

// Slurm writes a job's environment unescaped.
func TestLoadKeepsBytes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	config := "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"rootfs\"},\"annotations\":{\"k\xe9\":\"v\xe9\"},\"process\":{\"cwd\":\"/w\xe9\",\"args\":[\"a\xe9\",\"\u00e9\",\"\xf4\x8f\xbf\xa9\"],\"env\":[\"L=\xe9\"]}}"
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := b.Spec.Process
	want := []string{"/w\xe9", "a\xe9", "é", "\xf4\x8f\xbf\xa9", "L=\xe9", "v\xe9"}
	got := []string{p.Cwd, p.Args[0], p.Args[1], p.Args[2], p.Env[0], b.Spec.Annotations["k\xe9"]}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
