package mpi

import (
	"os"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker"
	"github.com/ocishim/ocishim/internal/linker/ldcache"
)

// Of two libraries with the same name the newer is used, except those that must fit the
// host.
func TestNewerOfTwo(t *testing.T) {
	const own, private = debianLib + "/libhwloc.so.15.5.0", "/run/.ocishim/mpi/lib/libhwloc.so.15"
	for version, ours := range map[string]bool{"15.9.0": true, "15.5.0": false, "15.1.0": false} {
		m := newMachine(t)
		hwloc := "int hwloc(void) { return 0; }"
		m.library(m.image+debianLib, "libhwloc.so.15.5.0", hwloc)
		m.library(m.image+debianLib, "libfabric.so.1.99.0", "int fi_getinfo(void) { return 0; }")
		m.imageMPI("libmpi.so.12.1.0", mpich)
		m.siteMPI("libmpi.so.12.4.1", mpich)
		theirs := m.library(m.node+"/opt/site", "libhwloc.so.15.x", hwloc)
		m.check(os.Rename(theirs, m.node+"/opt/site/libhwloc.so."+version))
		m.check(os.Remove(m.node + "/opt/site/libhwloc.so.15"))
		m.check(os.Symlink("libhwloc.so."+version, m.node+"/opt/site/libhwloc.so.15"))
		m.library(m.node+"/opt/site", "libmpi.so.12.4.1", mpich+"int hwloc(void); int fi_getinfo(void); int x(void) { return hwloc() + fi_getinfo(); }",
			m.node+"/opt/site/libhwloc.so.15", m.node+"/opt/site/libfabric.so.1")
		got := m.plan()
		if strings.Contains(got, private+" -> ") != ours {
			t.Errorf("the node's libhwloc.so.%s and the image's %s:\n%s", version, own, got)
		}
		if !strings.Contains(got, "/libfabric.so.1 -> ") {
			t.Errorf("the image's libfabric is used:\n%s", got)
		}
	}
	gcc := func(v ...string) *linker.Object {
		return &linker.Object{Library: host.Library{Defines: v}, At: "/libstdc++.so.6.0.30"}
	}
	if !newer(gcc("GLIBCXX_3.4.33"), gcc("GLIBCXX_3.4.30", "GLIBCXX_3.4.9")) || newer(gcc("GLIBCXX_3.4.9"), gcc("GLIBCXX_3.4.30")) {
		t.Error("the older libstdc++ is taken")
	}
}

// If the image has a loader's cache, it says where the libraries are, and it keeps all
// of its entries.
func TestLoaderCache(t *testing.T) {
	m := newMachine(t)
	m.imageMPI("libmpi.so.12.1.0", mpich)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	cache := &ldcache.Cache{Entries: []ldcache.Entry{
		{Name: "libother.so.1", Path: "/opt/libother.so.1", Flags: ldcache.Flags("amd64")},
		{Name: "libmpi.so.12", Path: debianLib + "/libmpi.so.12", Flags: ldcache.Flags("amd64")},
	}}
	m.write(m.image+ldcache.Path, string(cache.Encode()))
	result, err := Edits(m.request)
	m.check(err)
	e := result.Edits[0]
	if len(e.EnvPrepend) > 0 || len(e.Files) != 1 || e.Files[0].Path != ldcache.Path {
		t.Fatalf("got %+v", e)
	}
	c, err := ldcache.Parse(e.Files[0].Data)
	m.check(err)
	for name, want := range map[string]string{
		"libother.so.1": "/opt/libother.so.1", "libmpi.so.12": "/run/.ocishim/mpi/lib/libmpi.so.12",
		"libfabric.so.1": "/run/.ocishim/mpi/lib/libfabric.so.1",
	} {
		if got := c.Lookup(name, ldcache.Flags("amd64")); len(got) != 1 || got[0] != want {
			t.Errorf("%s is at %v, want %s", name, got, want)
		}
	}
}

// Editing starts from the cache that an earlier edit left, not from the image's.
func TestLoaderCacheOfEarlierEdit(t *testing.T) {
	m := newMachine(t)
	m.imageMPI("libmpi.so.12.1.0", mpich)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	m.write(m.image+ldcache.Path, string((&ldcache.Cache{}).Encode()))
	cuda := ldcache.Entry{Name: "libcuda.so.1", Path: "/run/.ocishim/gpu/lib/libcuda.so.1", Flags: ldcache.Flags("amd64")}
	m.request.LoaderCache = (&ldcache.Cache{Entries: []ldcache.Entry{cuda}}).Encode()
	result, err := Edits(m.request)
	m.check(err)
	c, err := ldcache.Parse(result.Edits[0].Files[0].Data)
	m.check(err)
	if got := c.Lookup("libcuda.so.1", cuda.Flags); len(got) != 1 || got[0] != cuda.Path || len(c.Lookup("libmpi.so.12", cuda.Flags)) != 1 {
		t.Errorf("got %+v", c.Entries)
	}
}

// A search path of the program that leads to an older library of the fabric is not
// followed.
func TestSearchPathToOlderFabric(t *testing.T) {
	m := newMachine(t)
	m.library(m.image+"/opt/app", "libfabric.so.1.0.0", "int fi_getinfo(void) { return 0; }")
	lib := m.library(m.image+"/opt/app", "libmpi.so.12.1.0", mpich)
	m.gcc(m.image+"/bin/program", calls, lib, "-Wl,--disable-new-dtags,-rpath,/opt/app")
	m.siteMPI("libmpi.so.12.4.1", mpich)
	m.expect("/opt/site/libfabric.so.1.2.3 at /opt/app/libfabric.so.1.0.0", "/opt/site/libmpi.so.12.4.1 at /opt/app/libmpi.so.12.1.0")
}

// A required fabric must exist, whatever else the site configures.
func TestRequire(t *testing.T) {
	m := newMachine(t)
	m.imageMPI("libmpi.so.12.1.0", mpich)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	profile := &m.request.Profiles[0]
	profile.Mismatch, profile.Require = MismatchOwn, []string{"cxi"}
	profile.Closure = []string{"/opt/site"}
	m.refuses(`mpi.site.require "cxi": the fabric that the site requires is missing: the host has no`)
	m.write(m.node+"/dev/cxi0", "c 10 55 666 0 usable")
	m.refuses("the host has no libcxi.so.1")
	m.library(m.node+"/opt/site", "libcxi.so.1.5.0", "int cxi(void) { return 0; }")
	m.library(m.node+"/opt/site/libfabric", "libcxi-fi.so.1.0", "int fi_prov_ini(void) { return 0; }")
	m.check(os.Rename(m.node+"/opt/site/libfabric/libcxi-fi.so.1.0", m.node+"/opt/site/libfabric/libcxi-fi.so"))
	m.expect("/opt/site/libfabric at /run/.ocishim/mpi/libfabric", "FI_PROVIDER_PATH=/run/.ocishim/mpi/libfabric",
		"/run/.ocishim/mpi/lib/libcxi.so.1 -> ../node/0/libcxi.so.1.5.0")
}

// A library of the host that an earlier edit provides by a link, such as the driver's,
// is used where it is, and not given twice.
func TestLibraryOfEarlierEdit(t *testing.T) {
	const given = "/run/.ocishim/gpu/lib/libcuda.so.1"
	m := newMachine(t)
	m.imageMPI("libmpi.so.12.1.0", mpich)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	cuda := m.library(m.node+debianLib, "libcuda.so.1.550", "int cuInit(void) { return 0; }")
	m.library(m.node+"/opt/site", "libmpi.so.12.4.1", mpich+"int cuInit(void); int x(void) { return cuInit(); }", cuda)
	cache := &ldcache.Cache{Entries: []ldcache.Entry{{Name: "libcuda.so.1", Path: given, Flags: ldcache.Flags("amd64")}}}
	m.request.LoaderCache = cache.Encode()
	m.request.Mounts = append(m.request.Mounts, BindOf(debianLib, "/run/.ocishim/gpu/node/0"))
	if got := m.plan(); !strings.Contains(got, "/mpi/lib/libcuda.so.1 -> ") {
		t.Errorf("without the link the library is not given:\n%s", got)
	}
	m.request.Links = []bundle.Link{{Path: given, Target: "../node/0/libcuda.so.1.550"}}
	if got := m.plan(); strings.Contains(got, "libcuda") {
		t.Errorf("it is given twice:\n%s", got)
	}
}
