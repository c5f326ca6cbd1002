package mpi

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Each of a hundred plugins counts, whichever processor reads it. If they are not wanted
// after all, no reader is left running.
func TestManyPlugins(t *testing.T) {
	const plugins = 96 // this many are read ahead
	m := newMachine(t)
	m.imageMPI("libmpi.so.40.40.7", openmpi)
	site := m.node + "/opt/site"
	m.library(site, "libmpi.so.40.30.4", openmpi)
	plain, err := os.ReadFile(m.gcc(site+"/openmpi/mca_plain.so", "int x;", "-shared", "-fPIC"))
	m.check(err)
	for i := range plugins {
		m.write(fmt.Sprintf("%s/openmpi/mca_%02d.so", site, i), string(plain))
	}
	m.write(site+"/openmpi/mca_text.so", "no library")
	m.check(os.Symlink("nowhere", site+"/openmpi/mca_lost.so"))
	for _, i := range []int{0, 41, plugins - 1} {
		extra := m.library(site, fmt.Sprintf("libextra%d.so.1.0", i), "int extra(void) { return 0; }")
		m.gcc(fmt.Sprintf("%s/openmpi/mca_%02d.so", site, i), "int extra(void); int x(void) { return extra(); }", "-shared", "-fPIC", extra)
	}
	profile := &m.request.Profiles[0]
	profile.Replace, profile.Prefix = []string{"/opt/site/libmpi.so.40"}, "/opt/site"
	before := openFiles(t)
	got := m.plan()
	for _, i := range []int{0, 41, plugins - 1} {
		if link := fmt.Sprintf("/lib/libextra%d.so.1 -> ", i); !strings.Contains(got, link) {
			t.Errorf("no %q in:\n%s", link, got)
		}
	}
	if strings.Count(got, " -> ../node/0/libextra") != 3 {
		t.Errorf("got:\n%s", got)
	}
	profile.ABI = ABIStrict
	for range 20 {
		m.refuses("are not the same version")
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d files are open, before %d", after, before)
	}
}
