package policy

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/image"
)

// example has a requirement of each kind, at scopes of each form.
const example = `{"default":[{"type":"reject"}],"transports":{
	"docker":{
		"":[{"type":"insecureAcceptAnything"}],
		"docker.io":[{"type":"signedBy","keyType":"GPGKeys"}],
		"docker.io/library":[{"type":"insecureAcceptAnything"}],
		"docker.io/library/bad":[{"type":"reject"}],
		"docker.io/library/bad:good":[{"type":"insecureAcceptAnything"}],
		"*.example.com":[{"type":"insecureAcceptAnything"},{"type":"sigstoreSigned"}],
		"a.b.example.com":[{"type":"insecureAcceptAnything"}]},
	"oci":{"/images":[{"type":"insecureAcceptAnything"}],"/images/no":[{"type":"reject"}]},
	"docker-archive":{"":[{"type":"insecureAcceptAnything"}]}}}`

func TestCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(file, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Load(filepath.Join(t.TempDir(), "none"), file)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"docker://quay.io/a/b:1":                                         nil,
		"docker://docker.io/alice/app:1":                                 ErrSignature,
		"docker://docker.io/library/debian:12":                           nil,
		"docker://docker.io/library/bad:1":                               ErrRejected,
		"docker://docker.io/library/bad:good":                            nil,
		"docker://docker.io/library/badly:1":                             nil,
		"docker://x.example.com/a:1":                                     ErrSignature,
		"docker://x.y.example.com/a:1":                                   ErrSignature,
		"docker://a.b.example.com/a:1":                                   nil,
		"docker://example.com/a:1":                                       nil,
		"docker://docker.io/alice/app@sha256:" + strings.Repeat("0", 64): ErrSignature,
		"oci:/images/yes:1":                                              nil,
		"oci:/images/no:1":                                               ErrRejected,
		"oci:/images/nothing:1":                                          nil,
		"oci:/other:1":                                                   ErrRejected,
		"docker-archive:/a.tar":                                          nil,
		"squashfs:/a.sqfs":                                               ErrRejected,
	} {
		r, err := image.ParseReference(name, image.Rules{Dir: "/"})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Check(r); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

// Without a policy everything is accepted; a policy that is not understood is an error.
func TestLoad(t *testing.T) {
	p, err := Load(filepath.Join(t.TempDir(), "none"))
	if err != nil || p.Check(image.Reference{Kind: image.KindRegistry, Registry: "x", Repository: "y"}) != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{
		"":                          "unexpected end",
		"{":                         "unexpected end",
		"{}":                        `"default" is missing`,
		`{"default":"reject"}`:      "cannot unmarshal",
		`{"default":[{"type":1}]}`:  "cannot unmarshal",
		strings.Repeat(" ", most+1): "more than",
	} {
		file := filepath.Join(t.TempDir(), "policy.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(file); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%.30q: %v, want %q", text, err, want)
		}
	}
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("a directory is a policy")
	}
}
