package main_test

import (
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// mounted returns a case with mounts; SITE in a source is the site's directory.
func mounted(mounts ...specs.Mount) sameCase {
	return sameCase{spec: func(p *samePlace, s *specs.Spec) {
		for _, m := range mounts {
			if len(m.Source) >= 4 && m.Source[:4] == "SITE" {
				m.Source = p.site + m.Source[4:]
			}
			s.Mounts = append(s.Mounts, m)
		}
		s.Process.Args = append(s.Process.Args, "/mnt", "/mnt/sub", "/opt", "/opt/deep/er")
	}}
}

func bindOf(source, destination string, options ...string) specs.Mount {
	return specs.Mount{Type: "bind", Source: source, Destination: destination, Options: options}
}

func tmpfsOf(destination string, options ...string) specs.Mount {
	return specs.Mount{Type: "tmpfs", Source: "tmpfs", Destination: destination, Options: options}
}

func mountCases() map[string]sameCase {
	failing := func(c sameCase, why string) sameCase {
		c.fails = why
		return c
	}
	cases := map[string]sameCase{
		"bind a file":              mounted(bindOf("SITE/file", "/mnt", "bind")),
		"bind over a file":         mounted(bindOf("SITE/file", "/etc/hosts", "bind", "ro")),
		"bind deep":                mounted(bindOf("SITE", "/opt/deep/er", "rbind")),
		"bind twice":               mounted(bindOf("SITE", "/mnt", "rbind"), bindOf("SITE/sub", "/mnt", "rbind")),
		"bind in a bind":           mounted(bindOf("SITE", "/mnt", "rbind"), bindOf("SITE/sub", "/mnt/sub", "rbind", "ro")),
		"bind in a bind, missing":  failing(mounted(bindOf("SITE", "/mnt", "rbind"), bindOf("SITE/sub", "/mnt/new", "rbind")), "/mnt/new"),
		"bind below a file":        failing(mounted(bindOf("SITE/sub", "/etc/passwd/x", "rbind")), "/etc/passwd"),
		"a file on a directory":    failing(mounted(bindOf("SITE/file", "/usr", "bind")), "not a directory"),
		"a directory on a file":    failing(mounted(bindOf("SITE", "/etc/passwd", "rbind")), "not a directory"),
		"no source":                failing(mounted(bindOf("SITE/none", "/mnt", "rbind")), "/site/none"),
		"no source in /etc":        failing(mounted(bindOf("/none/hosts", "/etc/hosts", "rbind")), "/none/hosts"),
		"the type alone":           mounted(specs.Mount{Type: "bind", Source: "SITE", Destination: "/mnt"}),
		"the option alone":         mounted(specs.Mount{Source: "SITE", Destination: "/mnt", Options: []string{"rbind", "nosuid"}}),
		"in a tmpfs":               mounted(tmpfsOf("/mnt"), bindOf("SITE", "/mnt/sub", "rbind")),
		"in a tmpfs that is ro":    mounted(tmpfsOf("/mnt", "ro", "nosuid"), bindOf("SITE", "/mnt/sub", "rbind"), bindOf("SITE/file", "/mnt/file", "bind")),
		"tmpfs over the home":      mounted(tmpfsOf("/home", "mode=0700")),
		"tmpfs with a size":        mounted(tmpfsOf("/mnt", "size=1m", "nr_inodes=50", "mode=1777")),
		"tmpfs of somebody":        mounted(tmpfsOf("/mnt", "uid=5", "gid=7", "mode=0750")),
		"tmpfs with huge":          mounted(tmpfsOf("/mnt", "huge=never")),
		"tmpfs, unknown option":    failing(mounted(tmpfsOf("/mnt", "sise=1m")), "sise=1m"),
		"tmpfs, wrong size":        failing(mounted(tmpfsOf("/mnt", "size=lots")), "size=lots"),
		"tmpfs noexec and noatime": mounted(tmpfsOf("/mnt", "noexec", "nodev", "noatime")),
		"devpts":                   mounted(specs.Mount{Type: "devpts", Source: "devpts", Destination: "/terminals", Options: []string{"newinstance", "ptmxmode=0666", "gid=5"}}),
		"over /tmp":                mounted(tmpfsOf("/tmp", "mode=1777")),
		"over passwd":              mounted(bindOf("SITE/file", "/etc/passwd", "bind", "ro")),
		"private":                  mounted(bindOf("SITE", "/mnt", "rbind", "rprivate")),
		"slave":                    mounted(bindOf("SITE", "/mnt", "rbind", "rslave", "nosuid")),
		"unbindable":               mounted(bindOf("SITE", "/mnt", "rbind", "unbindable")),
		"shared":                   mounted(bindOf("SITE", "/mnt", "rbind", "rshared")),
		"mpol":                     mounted(tmpfsOf("/mnt", "mpol=default", "size=10%")),
		"idmap":                    failing(mounted(bindOf("SITE", "/mnt", "rbind", "idmap")), "idmapped"),
		"nosymfollow":              mounted(bindOf("SITE", "/mnt", "rbind", "nosymfollow")),
		"overlay":                  failing(mounted(specs.Mount{Type: "overlay", Source: "overlay", Destination: "/mnt", Options: []string{"lowerdir=/none"}}), "/mnt"),
		"no such type":             failing(mounted(specs.Mount{Type: "nofs", Source: "none", Destination: "/mnt"}), "nofs"),
		"relative":                 mounted(bindOf("SITE", "mnt", "rbind")),
		"with dots":                mounted(bindOf("SITE", "/opt/../mnt/./x", "rbind")),
		"proc of the bundle":       mounted(specs.Mount{Type: "proc", Source: "proc", Destination: "/proc"}),
	}
	for _, options := range [][]string{
		{"ro"}, {"rw"}, {"nosuid", "nodev", "noexec"}, {"ro", "rw"}, {"suid", "dev", "exec"}, {"relatime"}, {"noatime"}, {"strictatime"}, {"nodiratime"}, {"rro"}, {"rrw"}, {"defaults", "ro"},
	} {
		for _, bind := range []string{"bind", "rbind"} {
			name := bind
			for _, o := range options {
				name += "," + o
			}
			cases[name] = mounted(bindOf("SITE", "/mnt", append([]string{bind}, options...)...))
			// The host's /proc and /sys have flags, and many mounts below them.
			cases[name+" of /sys"] = mounted(bindOf("/sys", "/mnt", append([]string{bind}, options...)...))
		}
	}
	for name, options := range map[string]string{"none": "", "ro": `"ro"`, "bind": `"bind"`, "all": `"ro", "nosuid", "nodev", "noexec"`, "bind ro": `"bind", "ro"`} {
		cases["hpc.mounts "+name] = sameCase{config: "[[hpc.mounts]]\nsource = \"SITE\"\noptions = [" + options + "]", want: map[string]string{"path SITE/file": "100644"}}
		cases["hpc.mounts of /dev "+name] = sameCase{config: "[[hpc.mounts]]\nsource = \"/dev\"\ndestination = \"/mnt\"\noptions = [" + options + "]"}
	}
	cases["hpc.mounts elsewhere"] = sameCase{config: "[[hpc.mounts]]\nsource = \"SITE\"\ndestination = \"/opt/x\""}
	cases["hpc.mounts below /tmp"] = sameCase{config: "[[hpc.mounts]]\nsource = \"SITE\"\ndestination = \"/tmp/not/there\"", fails: "/tmp/not/there"}
	cases["hpc.mounts, none"] = sameCase{config: "[[hpc.mounts]]\nsource = \"SITE/no\"", fails: "hpc.mounts"}
	cases["hpc.mounts, optional"] = sameCase{config: "[[hpc.mounts]]\nsource = \"SITE/no\"\noptional = true"}
	cases["hpc.tmp off"] = sameCase{config: "hpc.tmp = false\nhpc.workdir = false", want: map[string]string{"may write /tmp": "true"}}
	cases["hpc.etc of one"] = sameCase{config: `hpc.etc = ["hosts"]`}
	cases["hpc.home off"] = sameCase{config: "hpc.home = false"}
	cases["bind of the image"] = sameCase{spec: func(p *samePlace, s *specs.Spec) {
		s.Mounts = append(s.Mounts, bindOf(p.dir+"/bundle/rootfs/usr", "/mnt", "rbind"))
	}}
	cases["a link as the source"] = sameCase{
		image: func(p *samePlace, _ string) error { return os.Symlink(p.site, p.work+"/link") },
		spec: func(p *samePlace, s *specs.Spec) {
			s.Mounts = append(s.Mounts, bindOf(p.work+"/link", "/mnt", "rbind"))
		},
	}
	return cases
}
