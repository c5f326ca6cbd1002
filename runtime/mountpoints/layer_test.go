package mountpoints

import (
	"reflect"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// For a container with a layer nothing is covered: what is missing, or in the way, is listed.
func TestPointsOfALayer(t *testing.T) {
	root := image(t, "etc/", "etc/passwd -> /nowhere", "here/", "here/file", "loop -> loop", "lib/", "lib/x/", "sub -> etc")
	source := image(t, "file", "dir/")
	b := &bundle.Bundle{
		Rootfs: root,
		Spec: &specs.Spec{Root: &specs.Root{Readonly: true}, Process: &specs.Process{Cwd: "/work/dir"}, Mounts: []specs.Mount{
			bundle.Bind(source+"/dir", "/here"), bundle.Bind(source+"/file", "/etc/passwd"), bundle.Bind(source+"/dir", "/a/b"),
			bundle.Bind(source+"/dir", "/loop"), bundle.Bind(source+"/file", "/sub/new"),
		}},
		Exact: []string{"/etc/passwd", "/loop"},
		Links: []bundle.Link{{Path: "/lib/x", Target: "y"}},
	}
	plan, err := New(b, "", Options{Strict: true, Layer: true})
	if err != nil {
		t.Fatal(err)
	}
	want := []inplace.Point{
		{Path: "/etc/passwd", File: true, Instead: "/etc/passwd"},
		{Path: "/a/b"},
		{Path: "/loop", Instead: "/loop"},
		{Path: "/etc/new", File: true},
		{Path: "/work/dir"},
		{Path: "/lib/x", Link: "y", Instead: "/lib/x"},
	}
	if !reflect.DeepEqual(plan.Points, want) {
		t.Errorf("got  %+v\nwant %+v", plan.Points, want)
	}
	if !plan.Edit.Empty() || len(plan.OfImage) > 0 {
		t.Errorf("covers: %+v", plan)
	}
}
