package plan

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/request"
)

// layered plans a task whose image comes from a store, or is its bundle's.
func layered(t *testing.T, cfg *config.Config, wish, profile string, stored bool) (*bundle.Bundle, error) {
	t.Helper()
	s := nowhere(t)
	s.Config, s.Scratch = cfg, "/scratch"
	b := task(t)
	if stored {
		root, err := os.Open(b.Rootfs)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = root.Close() })
		s.Stored = &image.Image{Path: b.Rootfs, Root: root, Record: image.Record{Format: image.Tree}}
	}
	r := request.Request{Profile: request.Choice{Value: profile, By: "--profile"}}
	if wish != "" {
		if err := r.Set("writable", []string{wish}, "me"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Make(b, r, s)
	return b, err
}

func TestLayer(t *testing.T) {
	for _, test := range []struct{ site, wish, want string }{
		{"false", "", ""},
		{"false", "false", ""},
		{"false", "true", "tmpfs 12% by me"},
		{"false", "tmpfs:3g", "tmpfs 3g by me"},
		{"false", "disk", "disk /scratch by me"},
		{"disk", "", "disk /scratch by image.writable (default)"},
		{"tmpfs", "", "tmpfs 12% by image.writable (default)"},
		{"disk", "false", ""},
		{"disk", "true", "tmpfs 12% by me"},
	} {
		cfg := config.Default()
		cfg.Image.Writable = test.site
		b, err := layered(t, cfg, test.wish, "hpc", true)
		if err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		got := ""
		if b.Layer != nil {
			got = b.Layer.String() + " by " + b.Layer.By
		}
		if got != test.want || !b.Spec.Root.Readonly || b.Layer != nil && b.Layer.Optional != (test.wish == "") {
			t.Errorf("%+v: got %q, %+v", test, got, b.Layer)
		}
	}
}

// What a user asks for and cannot have is an error that names the wish. A site's default is dropped without a word.
func TestNoLayer(t *testing.T) {
	for _, test := range []struct {
		wish, profile string
		stored        bool
		want          string
	}{
		{"disk", "oci", true, "profile oci (--profile)"},
		{"true", "hpc", false, "this is a bundle"},
		{"false", "oci", false, ""},
		{"", "oci", true, ""},
		{"", "hpc", false, ""},
	} {
		cfg := config.Default()
		cfg.Image.Writable = "disk"
		b, err := layered(t, cfg, test.wish, test.profile, test.stored)
		switch {
		case test.want == "" && (err != nil || b.Layer != nil):
			t.Errorf("%+v: %+v, %v", test, b.Layer, err)
		case test.want != "" && (!errors.Is(err, ErrNotWritable) || !strings.HasPrefix(err.Error(), "me ") || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%+v: %v", test, err)
		}
	}
	cfg := config.Default()
	cfg.Users.May = nil
	if _, err := layered(t, cfg, "true", "hpc", true); !errors.Is(err, config.ErrNotAllowed) {
		t.Error("the site does not let users: ", err)
	}
}
