package bundle

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// minimal is the smallest configuration that Validate accepts.
const minimal = `{"ociVersion":"1.0.2","process":{"user":{"uid":0,"gid":0},"args":["sh"],"cwd":"/"},"root":{"path":"rootfs"}}`

// makeBundle writes a bundle with an empty rootfs directory.
func makeBundle(t testing.TB, config string) string {
	t.Helper()
	// t.TempDir can lead through a symlink, and then Rootfs would differ.
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeConfig(t, dir, config)
	return dir
}

func writeConfig(t testing.TB, dir, config string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, ConfigName), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

// captured returns the configurations that real Slurm, Docker and Podman wrote,
// by file name, with a root.path that exists in a bundle of makeBundle.
func captured(t testing.TB) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/configs/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("find captured configurations: %v, %d found", err, len(files))
	}
	configs := make(map[string]string, len(files))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var top map[string]json.RawMessage
		if err := json.Unmarshal(data, &top); err != nil {
			t.Fatal(err)
		}
		top["root"] = json.RawMessage(`{"path":"rootfs","readonly":true}`)
		if data, err = json.Marshal(top); err != nil {
			t.Fatal(err)
		}
		configs[filepath.Base(file)] = string(data)
	}
	return configs
}

// loadMinimal loads minimal and lets change alter the spec.
func loadMinimal(t testing.TB, change func(*specs.Spec)) *Bundle {
	t.Helper()
	b, err := Load(makeBundle(t, minimal))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(b.Spec)
	}
	return b
}

func marshal(t testing.TB, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestCapturedConfigs(t *testing.T) {
	for name, config := range captured(t) {
		t.Run(name, func(t *testing.T) {
			dir := makeBundle(t, config)
			b, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			if want := filepath.Join(dir, "rootfs"); b.Rootfs != want || b.Dir != dir {
				t.Errorf("Dir, Rootfs = %q, %q, want %q, %q", b.Dir, b.Rootfs, dir, want)
			}
			if err := b.Validate(); err != nil {
				t.Error(err)
			}
			if err := b.Apply(); err != nil {
				t.Error(err)
			}
			if err := b.Validate(); err != nil {
				t.Error("after Apply:", err)
			}
			names := make(map[string]bool)
			for _, entry := range b.Spec.Process.Env {
				if names[envName(entry)] {
					t.Errorf("%s stands twice", envName(entry))
				}
				names[envName(entry)] = true
			}
		})
	}
}

// Slurm 22.05 puts the image's PATH before the step's and leaves both.
func TestSlurm2205DuplicateEnv(t *testing.T) {
	b, err := Load(makeBundle(t, captured(t)["slurm-22.05-sbatch.json"]))
	if err != nil {
		t.Fatal(err)
	}
	before := len(b.Spec.Process.Env)
	if err := b.Apply(); err != nil {
		t.Fatal(err)
	}
	if got := before - len(b.Spec.Process.Env); got != 2 {
		t.Errorf("%d entries collapsed, want PATH and TERM", got)
	}
	for _, entry := range b.Spec.Process.Env {
		if envName(entry) == "PATH" && entry != "PATH=/usr/local/bin:/usr/bin:/bin" {
			t.Errorf("%s is not the step's", entry)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	for name, config := range captured(b) {
		b.Run(name, func(b *testing.B) {
			dir := makeBundle(b, config)
			for b.Loop() {
				if _, err := Load(dir); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkValidate(b *testing.B) {
	loaded, err := Load(makeBundle(b, captured(b)["podman-5.4-run-t.json"]))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := loaded.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}
