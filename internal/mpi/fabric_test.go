package mpi

import (
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The libraries here are real, made by a compiler, and laid out as rdma-core, UCX and
// libfabric install them. Only the hardware is fake: a device is a file that says which
// device node it stands for (fakenode).

const private = "/run/.ocishim/mpi"

// fabricNode is a machine whose MPI needs libfabric and UCX, with the libraries of
// verbs.
func fabricNode(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	m.imageMPI("libmpi.so.12.1.0", mpich)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	for _, device := range []string{"infiniband/uverbs0 231 192", "infiniband/uverbs1 231 193", "infiniband/rdma_cm 10 58", "knem 10 55", "xpmem 10 56", "hfi1_0 240 0"} {
		name, numbers, _ := strings.Cut(device, " ")
		m.write(m.node+"/dev/"+name, "c "+numbers+" 666 0 ok")
	}
	verbs := m.library(m.node+debianLib, "libibverbs.so.1.14.0", "int ibv_open(void) { return 0; }")
	m.library(m.node+debianLib, "librdmacm.so.1.3.0", "int rdma(void) { return 0; }")
	m.driver("mlx5", verbs)
	m.driver("efa", verbs)
	// A driver that is only a plugin.
	m.gcc(m.node+debianLib+"/libibverbs/librxe-rdmav34.so", "int ibv_open(void); int rxe(void) { return ibv_open(); }", "-shared", "-fPIC", verbs)
	return m
}

// driver makes a verbs driver that is also a library: the plugin is a link out of its
// directory to the library.
func (m *machine) driver(name string, verbs string) {
	m.t.Helper()
	m.library(m.node+debianLib, "lib"+name+".so.1.24.0", "int ibv_open(void); int "+name+"(void) { return ibv_open(); }", verbs)
	m.check(os.MkdirAll(m.node+debianLib+"/libibverbs", 0o755))
	m.check(os.Symlink("../lib"+name+".so.1.24.0", m.node+debianLib+"/libibverbs/lib"+name+"-rdmav34.so"))
}

// has checks that the plan has the lines, and does not have those that begin with a
// minus.
func (m *machine) has(lines ...string) {
	m.t.Helper()
	got := "\n" + m.plan() + "\n"
	for _, line := range lines {
		line, none := strings.CutPrefix(line, "-")
		if strings.Contains(got, "\n"+line+"\n") == none {
			m.t.Errorf("%q is there: %v:\n%s", line, none, got)
		}
	}
}

// All verbs drivers are found, also those that are links out of their directory.
func TestVerbs(t *testing.T) {
	m := fabricNode(t)
	m.request.Profiles[0].Fabric = []string{"verbs"}
	const at = private + "/libibverbs/libibverbs/"
	drivers := "IBV_DRIVERS=" + at + "libefa:" + at + "libmlx5:" + at + "librxe"
	m.has(debianLib+" at "+private+"/libibverbs", drivers,
		private+"/lib/libibverbs.so.1 -> ../node/1/libibverbs.so.1.14.0", private+"/lib/librdmacm.so.1 -> ../node/1/librdmacm.so.1.3.0")
	// Without links the directory itself is enough.
	m.check(os.Remove(m.node + debianLib + "/libibverbs/libmlx5-rdmav34.so"))
	m.check(os.Remove(m.node + debianLib + "/libibverbs/libefa-rdmav34.so"))
	m.has(debianLib+"/libibverbs at "+private+"/libibverbs", "IBV_DRIVERS="+private+"/libibverbs/librxe")
}

// If the container lacks devices of the host's /dev, those that the task may use are
// given.
func TestDevices(t *testing.T) {
	m := fabricNode(t)
	profile := &m.request.Profiles[0]
	profile.Fabric, profile.Devices = []string{"verbs", "knem"}, []string{"/dev/hfi1_*", "/dev/none*"}
	all := []string{
		"device /dev/infiniband/uverbs0 c 231:192 -rw-rw-rw- rw", "device /dev/infiniband/uverbs1 c 231:193 -rw-rw-rw- rw",
		"device /dev/infiniband/rdma_cm c 10:58 -rw-rw-rw- rw", "device /dev/knem c 10:55 -rw-rw-rw- rw", "device /dev/hfi1_0 c 240:0 -rw-rw-rw- rw",
	}
	m.request.Mounts = nil
	m.has(all...)
	m.has("-device /dev/xpmem c 10:56 -rw-rw-rw- rw") // a device of no fabric in the profile
	m.request.Mounts = []specs.Mount{{Destination: "/dev", Source: "/dev", Options: []string{"rbind"}}}
	for _, line := range all {
		m.has("-" + line)
	}
	m.request.Mounts = nil
	m.write(m.node+"/dev/infiniband/uverbs0", "c 231 192 666 0 EPERM")
	m.has("-"+all[0], all[1])
	profile.Require = []string{"verbs"}
	m.has(all[1])
	m.write(m.node+"/dev/infiniband/uverbs1", "c 231 193 660 0 EACCES")
	m.refuses(`mpi.site.require "verbs": the fabric that the site requires is missing: /dev/infiniband/uverbs1 cannot be used: permission denied`)
	m.check(os.RemoveAll(m.node + "/dev/infiniband"))
	m.refuses("the host has no /dev/infiniband/uverbs*")
}

// A profile has files, mounted at the same path, and variables.
func TestBindAndVariables(t *testing.T) {
	m := fabricNode(t)
	m.write(m.node+"/etc/libibverbs.d/mlx5.driver", "driver mlx5\n")
	m.write(m.node+"/opt/cray/pe.conf", "")
	m.check(os.Symlink("/opt/cray/pe.conf", m.node+"/etc/pe.conf"))
	profile := &m.request.Profiles[0]
	profile.Bind = []string{"/etc/libibverbs.d", "/etc/pe.conf", "/etc/none"}
	profile.Set, profile.Prepend = []string{"FI_PROVIDER=cxi", "B=2"}, []string{"LIST=/first", "LIST=/second"}
	m.has("/etc/libibverbs.d at /etc/libibverbs.d", "/opt/cray/pe.conf at /etc/pe.conf", "FI_PROVIDER=cxi", "B=2", "LIST=/first", "LIST=/second")
	if got := m.plan(); strings.Contains(got, "/etc/none") {
		t.Errorf("a file that the host lacks is mounted:\n%s", got)
	}
	// env.set overrides the container's variables, env.prepend goes before their
	// values.
	result, err := Edits(m.request)
	m.check(err)
	e := result.Edits[0]
	if len(e.EnvDefault) > 0 || !strings.HasPrefix(strings.Join(e.Env, " "), "FI_PROVIDER=cxi B=2") || !strings.HasSuffix(strings.Join(e.EnvPrepend, " "), "LIST=/first LIST=/second") {
		t.Errorf("env %v, prepended %v", e.Env, e.EnvPrepend)
	}
}

// UCX finds its modules in one directory, which is the host's even if the image names
// its own; they find what they are linked with, even if that is also a driver of verbs.
func TestUCX(t *testing.T) {
	m := fabricNode(t)
	m.request.Profiles[0].Fabric = []string{"ucx", "verbs"}
	m.request.Profiles[0].Closure = []string{"/opt/ucx"}
	m.request.Env = append(m.request.Env, "UCX_MODULE_DIR=/usr/lib/ucx")
	ucs := m.library(m.node+"/opt/ucx", "libucs.so.0.0.0", "int ucs(void) { return 0; }")
	for _, name := range []string{"libucp", "libuct", "libucm"} {
		m.library(m.node+"/opt/ucx", name+".so.0.0.0", "int ucs(void); int x(void) { return ucs(); }", ucs)
	}
	m.library(m.node+"/opt/ucx/ucx", "libuct_ib.so.0.0.0", "int mlx5(void); int x(void) { return mlx5(); }", m.node+debianLib+"/libmlx5.so.1.24.0")
	m.check(os.Symlink("libuct_ib.so.0", m.node+"/opt/ucx/ucx/libuct_ib.so"))
	result, err := Edits(m.request)
	m.check(err)
	m.has("/opt/ucx/ucx at "+private+"/ucx", "UCX_MODULE_DIR="+private+"/ucx")
	if got := m.plan(); !strings.Contains(got, private+"/lib/libmlx5.so.1 -> ../node/") || !strings.Contains(got, private+"/lib/libucm.so.0 -> ../node/") {
		t.Errorf("UCX lacks libraries:\n%s", got)
	}
	if e := result.Edits[0]; strings.Contains(strings.Join(e.EnvPrepend, " "), "UCX_MODULE_DIR") {
		t.Errorf("a list of directories: %v", e.EnvPrepend)
	}
}

// EFA is verbs and libfabric; its library is also its driver.
func TestEFA(t *testing.T) {
	m := fabricNode(t)
	profile := &m.request.Profiles[0]
	profile.Fabric, profile.Require, profile.Closure = []string{"efa"}, []string{"efa"}, []string{"/opt/amazon/efa/lib64"}
	m.library(m.node+"/opt/amazon/efa/lib64", "libfabric.so.1.28.0", "int fi_getinfo(void) { return 0; }")
	const at = private + "/libibverbs/libibverbs/"
	m.has("IBV_DRIVERS="+at+"libefa:"+at+"libmlx5:"+at+"librxe", private+"/lib/libefa.so.1 -> ../node/0/libefa.so.1.24.0",
		private+"/lib/libfabric.so.1 -> ../node/1/libfabric.so.1.28.0")
	m.check(os.Remove(m.node + debianLib + "/libefa.so.1"))
	m.refuses(`mpi.site.require "efa": the fabric that the site requires is missing: the host has no libefa.so.1`)
}

// PSM2, XPMEM and GDRCopy each have a device and a library.
func TestDeviceAndLibrary(t *testing.T) {
	m := fabricNode(t)
	m.write(m.node+"/dev/gdrdrv", "c 236 0 666 0 ok")
	m.request.Mounts = nil
	profile := &m.request.Profiles[0]
	for name, test := range map[string]struct{ library, device string }{
		"psm2":    {"libpsm2.so.2.2.0", "device /dev/hfi1_0 c 240:0 -rw-rw-rw- rw"},
		"xpmem":   {"libxpmem.so.0.0.0", "device /dev/xpmem c 10:56 -rw-rw-rw- rw"},
		"gdrcopy": {"libgdrapi.so.2.4.0", "device /dev/gdrdrv c 236:0 -rw-rw-rw- rw"},
	} {
		soname := test.library[:strings.Index(test.library, ".so.")+5]
		profile.Fabric, profile.Require = []string{name}, nil
		m.has(test.device)
		profile.Require = []string{name}
		m.refuses("the host has no " + soname)
		m.library(m.node+debianLib, test.library, "int x(void) { return 0; }")
		m.has(test.device, private+"/lib/"+soname+" -> ../node/1/"+test.library)
		profile.Fabric, profile.Require = nil, nil
		m.has("-" + test.device)
	}
}
