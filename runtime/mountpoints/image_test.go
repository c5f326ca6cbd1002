package mountpoints

import (
	"testing"

	"github.com/moby/sys/mountinfo"
)

func TestPlacesBelow(t *testing.T) {
	mounts := []*mountinfo.Info{
		{Major: 8, Minor: 1, Root: "/", Mountpoint: "/"},
		{Major: 8, Minor: 2, Root: "/@home", Mountpoint: "/home"},
		{Major: 8, Minor: 3, Root: "/", Mountpoint: "/home/u/image/data"},
		{Major: 8, Minor: 4, Root: "/", Mountpoint: "/home/u/image-of-another"},
	}
	image := placesBelow(mounts, "/home/u/image")
	for at, want := range map[place]bool{
		{8, 2, "/@home/u/image"}:         true,
		{8, 2, "/@home/u/image/etc"}:     true,
		{8, 3, "/any"}:                   true,
		{8, 2, "/@home/u"}:               false,
		{8, 2, "/@home/u/image-of-mine"}: false,
		{8, 2, "/home/u/image/etc"}:      false,
		{8, 1, "/home/u/image/etc"}:      false,
		{8, 4, "/any"}:                   false,
	} {
		got := false
		for _, p := range image {
			got = got || p.holds(at)
		}
		if got != want {
			t.Errorf("%v in %v: %v, want %v", at, image, got, want)
		}
	}
}

// The root of the host, or of a mount on it, is also a directory.
func TestPlacesBelowRoot(t *testing.T) {
	mounts := []*mountinfo.Info{{Major: 8, Minor: 1, Root: "/old", Mountpoint: "/"}, {Major: 8, Minor: 1, Root: "/new", Mountpoint: "/"}}
	for dir, want := range map[string]string{"/": "/new", "/image": "/new/image"} {
		if got := placesBelow(mounts, dir); len(got) != 1 || got[0].path != want {
			t.Errorf("%s is %v, want %s", dir, got, want)
		}
	}
	if !(place{8, 1, "/"}).holds(place{8, 1, "/any"}) || (place{8, 1, "/"}).holds(place{8, 2, "/"}) {
		t.Error("the root of a file system holds all of it, and no other")
	}
}
