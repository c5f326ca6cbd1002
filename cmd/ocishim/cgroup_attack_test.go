package main_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// delegatedCgroup makes a cgroup that belongs to the ordinary user, as systemd
// and Slurm 22.05 do, and returns its name.
func delegatedCgroup(t *testing.T) string {
	t.Helper()
	name := "ocishim-attack-" + uniqueID()
	parents, err := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
	if err != nil {
		t.Fatal(err)
	}
	if unified(t) {
		parents = []string{"/sys/fs/cgroup/cgroup.procs"}
	}
	u := ordinaryUser()
	for _, parent := range parents {
		dir := filepath.Join(filepath.Dir(parent), name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			continue // mounted read-only, as in a container
		}
		t.Cleanup(func() { _ = os.Remove(dir) })
		if err := os.Chown(dir, int(u.Uid), int(u.Gid)); err != nil {
			t.Fatal(err)
		}
		return name
	}
	t.Skip("no cgroup can be made here, so none can be attacked")
	return ""
}

func unified(t *testing.T) bool {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &st); err != nil {
		t.Fatal(err)
	}
	return st.Type == unix.CGROUP2_SUPER_MAGIC
}

// A user's container may not write to the user's cgroups, which limit it and others
// (CVE-2023-25809). This holds whether /sys is a new sysfs or, because the network is the host's,
// the host's; and whether or not the bundle mounts anything at /sys/fs/cgroup.
func TestUsersCgroupsAreReadOnly(t *testing.T) {
	needRoot(t)
	t.Parallel()
	name := delegatedCgroup(t)
	for _, network := range []string{"own", "shared"} {
		for _, mount := range []string{"as the bundle has it", "none"} {
			spec, err := exampleSpec()
			if err != nil {
				t.Fatal(err)
			}
			spec.Root.Path = filepath.Join(shared.dir, "bundles", strconv.Itoa(int(ordinaryUser().Uid)), "rootfs")
			spec.Process.Args = []string{"sh", "-c", "find /sys -type d -name '" + name +
				"' 2>/dev/null | while read -r d; do mkdir $d/made && echo $d is writable; rmdir $d/made; done 2>/dev/null; echo looked"}
			if network == "shared" {
				shareNamespace(spec, specs.NetworkNamespace)
			}
			if mount == "none" {
				spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m specs.Mount) bool { return m.Destination == "/sys/fs/cgroup" })
			}
			dir := sharedTempDir(t)
			if err := writeSpec(dir, spec); err != nil {
				t.Fatal(err)
			}
			out, err := asUser(ocishim("--root", filepath.Join(dir, "state"), "run", "-b", dir, uniqueID())).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "looked") || strings.Contains(string(out), "is writable") {
				t.Errorf("network %s, mount of cgroups %s: %v: %s", network, mount, err, out)
			}
		}
	}
}
