package process

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMapsEveryID(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]bool{
		"         0          0 4294967295\n":                                   true,
		"         0          0      65536\n":                                   false, // a rootless engine's
		"         0       1000          1\n":                                   false,
		"      1000       1000          1\n":                                   false,
		"         0     100000 4294867295\n":                                   false,
		"         0          0       1000\n      1000       1001 4294966295\n": false,
		"": false, // before anything is mapped
	} {
		path := filepath.Join(dir, "map")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := mapsEveryID(path); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if !mapsEveryID(filepath.Join(dir, "none")) {
		t.Error("a kernel without user namespaces maps nothing away")
	}
	if mapsEveryID(dir) {
		t.Error("what cannot be read maps every id")
	}
}
