package mpi

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Programs of the host come with everything that they and their plugins need.
func TestProvide(t *testing.T) {
	m := newMachine(t)
	const plugins = "/usr/lib/slurm"
	munge := m.library(m.node+"/usr/lib", "libmunge.so.2.0.0", "int munge(void) { return 0; }")
	full := m.library(m.node+plugins, "libslurmfull.so.1.0", "int slurm(void) { return 0; }")
	m.gcc(m.node+plugins+"/auth_munge.so", "int munge(void); int auth(void) { return munge(); }", "-shared", "-fPIC", munge)
	m.gcc(m.node+"/usr/bin/srun", "int slurm(void); int main(void) { return slurm(); }", full, "-Wl,-rpath,"+plugins)
	programs := Programs{Name: "slurm", Files: []string{"/usr/bin/srun"}, Plugins: plugins}
	m.request.CacheDir = t.TempDir()
	e, dir, err := Provide(m.request.Scene, programs)
	m.check(err)
	if again, _, err := Provide(m.request.Scene, programs); err != nil || !reflect.DeepEqual(again, e) || len(m.kept()) != 1 {
		t.Errorf("found out again: %+v, %v", again, err)
	}
	var links []string
	for _, l := range e.Links {
		links = append(links, l.Path+" -> "+l.Target)
	}
	var mounts []string
	for _, mount := range e.Mounts {
		mounts = append(mounts, strings.TrimPrefix(mount.Source, m.node)+" at "+mount.Destination)
	}
	slices.Sort(mounts)
	want := []string{
		"/usr/bin at /run/.ocishim/slurm/programs", "/usr/lib at /run/.ocishim/slurm/node/0",
		"/usr/lib/slurm at /run/.ocishim/slurm/node/1", "/usr/lib/slurm at /run/.ocishim/slurm/plugins",
	}
	if dir != "/run/.ocishim/slurm" || !slices.Equal(mounts, want) || !slices.Contains(e.EnvPrepend, "PATH="+dir+"/bin") {
		t.Errorf("in %s %v, %v", dir, mounts, e.EnvPrepend)
	}
	want = []string{
		dir + "/lib/libmunge.so.2 -> ../node/0/libmunge.so.2.0.0", dir + "/lib/libslurmfull.so.1 -> ../node/1/libslurmfull.so.1.0",
		dir + "/bin/srun -> ../programs/srun",
	}
	if !slices.Equal(links, want) {
		t.Errorf("got %v, want %v", links, want)
	}
	// Like a newer glibc on the host.
	m.write(m.node+"/map", "GLIBC_2.99 { global: future; };")
	libc := m.gcc(m.node+"/future/libc.so.6", "int future(void) { return 0; }", "-shared", "-fPIC", "-Wl,-soname,libc.so.6", "-Wl,--version-script,"+m.node+"/map")
	m.library(m.node+plugins, "libslurmfull.so.1.0", "int future(void); int slurm(void) { return future(); }", "-nostdlib", libc)
	_, _, err = Provide(m.request.Scene, programs)
	if !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), "slurm: the host's") || !strings.Contains(err.Error(), "needs GLIBC_2.99 of libc.so.6") {
		t.Errorf("got %v", err)
	}
}
