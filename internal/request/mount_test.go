package request

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseMount(t *testing.T) {
	for value, want := range map[string]string{
		"/a":                         "/a at /a",
		"/a:/b":                      "/a at /b",
		"a:/b/../c/":                 "a at /c",
		"./x:/b:ro":                  "./x at /b ro",
		"/a:/b:ro+bind+optional":     "/a at /b ro,bind optional",
		"/a:/b:x-create=dir+nosuid":  "/a at /b nosuid",
		`/a\:b:/c`:                   "/a:b at /c",
		`/a\b:/c`:                    `/a\b at /c`,
		"tmpfs:/mem":                 "tmpfs at /mem",
		"tmpfs:/mem:size=20%+noexec": "tmpfs at /mem size=20%,noexec",
		"umount:/tmp":                "nothing at /tmp",
		"/\xff:/b":                   "/\xff at /b",
		"":                           "a mount is SOURCE",
		":/b":                        "a mount is SOURCE",
		"/a:/b:ro:x":                 "a mount is SOURCE",
		"a":                          "not an absolute path",
		"/a:b":                       "not an absolute path",
		"/a:/":                       "the destination is the root",
		"/a:/b/..":                   "the destination is the root",
		"tmpfs":                      "tmpfs needs a destination",
		"umount":                     "umount needs a destination",
		"/a:/b:reed":                 `unknown flag "reed"`,
		"/a:/b:noexc":                "did you mean noexec?",
		"/a:/b:ro+rw":                "both ro and rw",
		"/a:/b:size=1g":              "size= is for a tmpfs",
		"tmpfs:/b:size=lots":         "size= is for a tmpfs",
		"/a\n:/b":                    "a line break",
		"/a\x00:/b":                  "a NUL byte",
	} {
		m, err := ParseMount(value, "by me")
		source := m.Source
		switch {
		case m.Tmpfs:
			source = "tmpfs"
		case m.Unmount:
			source = "nothing"
		}
		got := strings.TrimSpace(fmt.Sprintf("%s at %s %s", source, m.Destination, strings.Join(m.Options, ",")))
		if m.Optional {
			got += " optional"
		}
		if err != nil {
			got = err.Error()
			if !strings.HasPrefix(got, "by me: mount ") {
				t.Errorf("%q: %s", value, got)
			}
		}
		if got != want && (err == nil || !strings.Contains(got, want)) {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func FuzzParseMount(f *testing.F) {
	for _, seed := range []string{"/a:/b:ro", `a\:b:/c`, "tmpfs:/m:size=1g", "umount:/x", "::", "/a:/../b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		m, err := ParseMount(value, "x")
		if err != nil {
			return
		}
		if !strings.HasPrefix(m.Destination, "/") || m.Destination == "/" || strings.Contains(m.Destination, "/../") || strings.ContainsAny(m.Source+m.Destination, "\x00\n") {
			t.Errorf("%q: %+v", value, m)
		}
	})
}

// A later list replaces an earlier one's mount at the same destination.
func TestAddMounts(t *testing.T) {
	var r Request
	for _, list := range [][]string{{"/a:/x", "/b:/y"}, {"/c:/y", "/d:/z"}} {
		if err := r.Set("mounts", list, "list"); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, m := range r.Mounts {
		got = append(got, m.Source+":"+m.Destination)
	}
	if want := "/a:/x /c:/y /d:/z"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if err := r.Set("mounts", []string{"/a:/x", "/b:/x/"}, "list"); err == nil || !strings.Contains(err.Error(), "same destination") {
		t.Error(err)
	}
	if err := r.Set("mounts", []string{"/e:/e:ro", "/e:/e:ro", "/e:/e/:ro"}, "list"); err != nil || len(r.Mounts) != 4 {
		t.Errorf("the same mount again: %v, %v", r.Mounts, err)
	}
	if err := r.Set("mount", []string{"/a"}, "list"); err == nil || !strings.Contains(err.Error(), "unknown key") {
		t.Error(err)
	}
}
