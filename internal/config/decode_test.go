package config

import (
	"errors"
	"strings"
	"testing"
)

// Errors say where the mistake is, and what would be right.
func TestErrors(t *testing.T) {
	var keys []string
	for _, s := range Default().settings() {
		keys = append(keys, s.key)
	}
	known := "known are " + strings.Join(keys, ", ")
	for _, tt := range []struct{ content, want string }{
		// Unknown keys
		{"[hpc]\nhone = true", "f:2:1: hpc.hone: unknown key; did you mean hpc.home?"},
		{"hpc = { mount = [] }", "f:1:9: hpc.mount: unknown key; did you mean hpc.mounts?"},
		{"home = true", "f:1:1: home: unknown key; did you mean hpc.home?"},
		{"[[hpc.mounts]]\nsrc = '/a'", "f:2:1: hpc.mounts[0].src: unknown key; known are source, destination, options, optional"},
		{"[[hpc.mounts]]\ndestinations = '/a'", "f:2:1: hpc.mounts[0].destinations: unknown key; did you mean destination?"},
		{"# é\n  [fpga]\nvendor = 1", "f:2:4: fpga: unknown key; " + known},
		{"[gpu]\nvendor = 1", "f:2:1: gpu.vendor: unknown key; did you mean gpu.vendors?"},
		{"gpu.cdi.dir = []", "f:1:9: gpu.cdi.dir: unknown key; did you mean gpu.cdi.dirs?"},
		{"[users]\nmay.not = 1", "f:2:1: users.may: expected an array of strings, not a table"},
		{`"hpc.home" = true`, `f:1:1: "hpc.home": unknown key; did you mean hpc.home?`},
		{`"" = true`, `f:1:1: "": unknown key; ` + known},
		{`"a\nb" = true`, `f:1:1: "a\nb": unknown key; ` + known},
		{"PROFILE = 'hpc'", "f:1:1: PROFILE: unknown key; " + known},

		// Wrong types
		{"profile = 3", "f:1:11: profile: expected a string, not the number 3"},
		{"profile = true", "f:1:11: profile: expected a string, not true"},
		{"profile = 1979-05-27", "f:1:11: profile: expected a string, not the time 1979-05-27"},
		{"[profile]", "f:1:2: profile: expected a string, not a table"},
		{"hpc = 'é'", `f:1:7: hpc: expected a table, not the string "é"`},
		{"[[hpc]]", "f:1:3: hpc: expected a table, not an array of tables"},
		{"hpc.home = 'yes'", `f:1:12: hpc.home: expected true or false, not the string "yes"`},
		{"hpc.home = [true]", "f:1:5: hpc.home: expected true or false, not an array"},
		{"hpc.etc = 'hosts'", `f:1:11: hpc.etc: expected an array of strings, not the string "hosts"`},
		{"hpc.etc = ['hosts',\n 1.5]", "f:2:2: hpc.etc[1]: expected a string, not the number 1.5"},
		{"[[hpc.etc]]", "f:1:7: hpc.etc: expected an array of strings, not an array of tables"},
		{"hpc.mounts = { source = '/a' }", "f:1:14: hpc.mounts: expected an array of tables, not a table"},
		{"hpc.mounts = [ '/a' ]", `f:1:16: hpc.mounts[0]: expected a table, not the string "/a"`},

		// Wrong values
		{"profile = 'hcp'", `f:1:11: profile: expected "hpc" or "oci", not "hcp"`},
		{"hpc.etc = ['shadow']", `f:1:12: hpc.etc[0]: expected "passwd", "group", "hosts", "resolv.conf" or "nsswitch.conf", not "shadow"`},
		{"hpc.etc = ['hosts', 'hosts']", `f:1:21: hpc.etc[1]: "hosts" is listed twice`},
		{"users.may = ['all']", `f:1:14: users.may[0]: expected "profile", "gpu.vendors", "gpu.capabilities", "gpu.features", "gpu.isolate", "gpu.order", ` +
			`"gpu.firmware", "gpu.cdi.devices", "gpu.cdi.repair", "mounts", "env", "workdir", "home", "entrypoint", "remap_root", "unshare" or "writable", not "all"`},
		{"gpu.vendors = ['nvdia']", `f:1:16: gpu.vendors[0]: expected "nvidia", "amd" or "intel", not "nvdia"`},
		{"gpu.order = 'minor'", `f:1:13: gpu.order: expected "pci" or "file", not "minor"`},
		{"gpu.devices = ['dev/x']", `f:1:16: gpu.devices[0]: expected an absolute path, not "dev/x"`},
		{"gpu.driver = ''", `f:1:14: gpu.driver: expected an absolute path, not ""`},
		{"gpu.cdi.repair = 'yes'", `f:1:18: gpu.cdi.repair: expected true or false, not the string "yes"`},
		{"[[hpc.mounts]]\n[[hpc.mounts]]", "f:1:7: hpc.mounts[0]: source is missing"},
		{"[[hpc.mounts]]\nsource = 'data'", `f:2:10: hpc.mounts[0].source: expected an absolute path, not "data"`},
		{"[[hpc.mounts]]\nsource = '/a/../b/'", `f:2:10: hpc.mounts[0].source: expected "/b", not "/a/../b/"`},
		{"[[hpc.mounts]]\nsource = \"/a\\u0000\"", `f:2:10: hpc.mounts[0].source: expected a path of printable characters, not "/a\x00"`},
		{"[[hpc.mounts]]\nsource = '/a'\ndestination = '/'", "f:3:15: hpc.mounts[0].destination: expected a path below /, which is the image's"},
		{"[[hpc.mounts]]\nsource = '/'", "f:1:7: hpc.mounts[0]: destination: expected a path below /, which is the image's"},
		{"[[hpc.mounts]]\nsource = '/a'\n[[hpc.mounts]]\nsource = '/b'\ndestination = '/a'", `f:3:7: hpc.mounts[1]: "/a" is already the destination of table 0 of the list`},
		{"[[hpc.mounts]]\nsource = '/a'\noptions = ['suid']", `f:3:12: hpc.mounts[0].options[0]: expected "ro", "nosuid", "nodev", "noexec" or "bind", not "suid"`},

		{"mpi = 1", "f:1:7: mpi: expected a table of tables, not the number 1"},
		{"[mpi.a]\nabi = 'full'", "f:1:6: mpi.a: replace is missing"},
		{"[mpi.'a b']", "f:1:6: mpi.a b: expected a name of letters, digits, '-' and '_'"},
		{"mpi.a = 1", "f:1:9: mpi.a: expected a table, not the number 1"},
		{"[mpi.a]\nreplace = ['lib']", "f:2:12: mpi.a.replace[0]: expected an absolute path, not \"lib\""},
		{"[mpi.a]\nenv.set = ['A']", "f:2:12: mpi.a.env.set[0]: expected NAME=value in printable characters, not \"A\""},
		{"[mpi.a]\nwhen = ['/l']", "f:2:9: mpi.a.when[0]: expected the name of a library, such as libmpi.so.12, not \"/l\""},
		{"[mpi.a]\nmismach = 'own'", "f:2:1: mpi.a.mismach: unknown key; did you mean mismatch?"},

		// Not TOML
		{"profile = ", "f:1:10: the value is missing"},
		{"profile =\n[hpc]", "f:1:10: the value is missing"},
		{"hpc.tmp = # yes", "f:1:11: the value is missing"},
		{"profile = hpc", `f:1:11: expected a value, not hpc: write a string in quotes, "hpc", and a switch as true or false`},
		{"profile = fhpc # x", `f:1:11: expected a value, not fhpc: write a string in quotes, "fhpc", and a switch as true or false`},
		{"gpu.driver = /opt/x", `f:1:14: expected a value, not /opt/x: write a string in quotes, "/opt/x", and a switch as true or false`},
		{"hpc.etc = ['hosts', passwd]", `f:1:21: expected a value, not passwd: write a string in quotes, "passwd", and a switch as true or false`},
		{"hpc = {tmp = no}", `f:1:14: expected a value, not no: write a string in quotes, "no", and a switch as true or false`},
		{"profile = 12ab", `f:1:13: expected a value, not 12ab: write a string in quotes, "12ab", and a switch as true or false`},
		{"profile = h\x1b", `f:1:11: expected a value, not "h\x1b": write a string in quotes, "h\x1b", and a switch as true or false`},
		{"profile: hpc", "f:1:8: expected '=' after key"},
		{"profile = 'hpc", "f:1:14: unterminated literal string"},
		{"# \xff", "f:1:3: not UTF-8"},
		{"profile = 'hpc'\nprofile = 'hpc'", "f:2:1: profile: already set in line 1"},
		{"[hpc]\n\n[hpc]", "f:3:2: hpc: already set in line 1"},
		{"hpc.tmp = true\n[hpc]", "f:2:2: hpc: already set in line 1"},
		{"hpc = {}\n[hpc.home]", "f:2:2: hpc: already set in line 1"},
		{"hpc = {}\nhpc.home = true", "f:2:1: hpc: already set in line 1"},
		{"hpc = { home = true, home = true }", "f:1:22: home: already set in line 1"},
		{"hpc.mounts = []\n[[hpc.mounts]]", "f:2:7: mounts: already set in line 1"},
		{"[hpc]\nmounts = []\n[[hpc.mounts]]", "f:3:7: mounts: already set in line 2"},
		{"[[hpc.mounts]]\n[hpc.mounts]", "f:2:6: mounts: already set in line 1"},
	} {
		t.Run(tt.content, func(t *testing.T) {
			err := Default().merge("f", []byte(tt.content))
			if err == nil || err.Error() != tt.want {
				t.Errorf("%v\nwant %s", err, tt.want)
			}
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%v is no ErrInvalid", err)
			}
		})
	}
}

// Different ways to write the same.
func TestSpellings(t *testing.T) {
	for _, content := range []string{
		"[hpc]\nhome = false\n[[hpc.mounts]]\nsource = '/a'",
		"[[hpc.mounts]]\nsource = '/a'\n[hpc]\nhome = false",
		"hpc = { home = false, mounts = [ { source = '/a' } ] }",
		"hpc.home = false\nhpc.mounts = [\n  { source = '/a' }, # a comment\n]",
		"\"hpc\".'home' = false\r\nhpc . mounts = [ { \"source\" = \"\"\"/a\"\"\", optional = false } ]\r\n",
	} {
		c := Default()
		if err := c.merge("f", []byte(content)); err != nil {
			t.Errorf("%q: %v", content, err)
			continue
		}
		if len(c.HPC.Mounts) != 1 || c.HPC.Mounts[0].Destination != "/a" || c.HPC.Home || !c.HPC.Tmp {
			t.Errorf("%q: %+v", content, c)
		}
	}
}

// A message is one short line, whatever the file contains.
func TestMessagesAreShort(t *testing.T) {
	long := strings.Repeat("x", MaxFileSize/2)
	for _, content := range []string{
		long + " = 1", "profile = '" + long + "'", "profile = " + strings.Repeat("1", MaxFileSize/2), "[[hpc.mounts]]\nsource = '" + long + "'",
		strings.Repeat("hpc.", 10000) + "x = 1", "hpc." + long + " = 1\nhpc." + long + " = 1", "profile = " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
	} {
		err := Default().merge("f", []byte(content))
		if err == nil || len(err.Error()) > 800 {
			t.Errorf("%.20q...: %.700v", content, err)
		}
	}
}
