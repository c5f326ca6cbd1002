package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	strict "github.com/ocishim/ocishim/internal/toml"
)

// FuzzLoad reads arbitrary bytes as a file: it never panics, an error is one short line
// with a position, and an accepted file is TOML that means the same to go-toml's
// decoder, and to us when it is printed and read again.
func FuzzLoad(f *testing.F) {
	for _, content := range []string{
		"", "profile = \"oci\"", "[hpc]\nhome = false # why\netc = [\n 'hosts', \"passwd\" ]\n[[hpc.mounts]]\nsource = '/a'\noptions = [\"ro\"]\n",
		"hpc = { tmp = false, mounts = [ { source = \"/a\\u00e9\", optional = true } ] }\nusers.may = []", "[hpc]\n[users]\nmay=['profile']\r\n",
		"hpc.home = 1979-05-27T07:32:00Z", "[[hpc.mounts]]\n[[hpc.mounts]]\n[hpc]\n[hpc]", "a.b.c = 1\n[a.b]\n[a]", "x = \"\"\"\n\\\n\"\"\"", "hpc.etc = [[[", "\xef\xbb\xbf",
		Default().TOML(), "[mpi.a-B]\nreplace = ['/l']\nenv.set = [\"A=b\"]\n[mpi.b]\nenv = { prepend = [] }\nreplace = []",
	} {
		f.Add([]byte(content))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := Default()
		if err := c.merge("f", data); err != nil {
			checkMessage(t, err, data)
			return
		}
		checkPrinted(t, c)
		theirs := struct {
			Profile string
			HPC     HPC
			Users   Users
		}{Default().Profile, Default().HPC, Default().Users}
		if err := toml.Unmarshal(data, &theirs); err != nil {
			t.Fatalf("accepted, but no TOML: %v", err)
		}
		for i := range theirs.HPC.Mounts {
			if err := theirs.HPC.Mounts[i].finish(nil); err != nil {
				t.Fatal(err)
			}
			if theirs.HPC.Mounts[i].Options == nil {
				theirs.HPC.Mounts[i].Options = []string{}
			}
		}
		ours := theirs
		ours.Profile, ours.HPC, ours.Users = c.Profile, c.HPC, c.Users
		if !reflect.DeepEqual(ours, theirs) {
			t.Fatalf("read as %+v, by go-toml as %+v", ours, theirs)
		}
	})
}

// checkMessage checks every error about a file with this content.
func checkMessage(t *testing.T, err error, data []byte) {
	t.Helper()
	var bad *strict.Error
	if !errors.As(err, &bad) {
		t.Fatalf("%v is no Error", err)
	}
	lines := strings.Split(string(data), "\n")
	if bad.Line < 1 || bad.Line > len(lines) || bad.Column < 1 || bad.Column > len(lines[bad.Line-1])+1 {
		t.Fatalf("position outside of the file: %v", err)
	}
	if text := err.Error(); len(text) > 1000 || strings.ContainsAny(text, "\n\x1b\x00") || bad.Err.Error() == "" {
		t.Fatalf("message %q", text)
	}
}
