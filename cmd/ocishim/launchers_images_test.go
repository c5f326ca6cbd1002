package main_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// etcFiles are the host's files that hpc mounts. Each of them that exists is the same in the
// container.
var etcFiles = []string{"passwd", "group", "hosts", "resolv.conf", "nsswitch.conf"}

// hostsEtc returns what an hpc container shows of the host's /etc.
func hostsEtc() map[string]string {
	want := map[string]string{}
	for _, name := range etcFiles {
		if info, err := os.Stat("/etc/" + name); err == nil {
			want["path /etc/"+name] = fmt.Sprintf("100%o", info.Mode().Perm())
		}
	}
	return want
}

// links makes an image with links, given as NAME=TARGET. TMP in a target is a name in the host's
// /tmp; SITE and WORK are directories of the host.
func links(pairs ...string) func(p *samePlace, rootfs string) error {
	return func(p *samePlace, rootfs string) error {
		for _, pair := range pairs {
			name, target, _ := strings.Cut(pair, "=")
			at := filepath.Join(rootfs, name)
			target = strings.NewReplacer("TMP", p.tmp, "SITE", p.site, "WORK", p.work).Replace(target)
			if err := errors.Join(os.RemoveAll(at), os.MkdirAll(filepath.Dir(at), 0o755), os.Symlink(target, at)); err != nil {
				return err
			}
		}
		return nil
	}
}

// imageCases are images as distributions and tools make them, and some that nobody makes.
func imageCases() map[string]sameCase {
	const site = "[[hpc.mounts]]\nsource = \"SITE\""
	cases := map[string]sameCase{}
	for name, pairs := range map[string][]string{
		"OpenWrt":                     {"/etc/resolv.conf=../tmp/resolv.conf", "/var=tmp"},
		"OpenWrt, absolute":           {"/etc/resolv.conf=/tmp/resolv.conf.d/resolv.conf.auto", "/etc/mtab=/proc/mounts", "/etc/localtime=/tmp/localtime"},
		"Buildroot":                   {"/etc/resolv.conf=../tmp/resolv.conf", "/var/run=../run", "/var/lock=/tmp", "/lib64=usr/lib"},
		"Nix":                         {"/etc/passwd=/nix/store/x/etc/passwd", "/etc/hosts=/nix/store/x/hosts", "/etc/nsswitch.conf=/nix/store/x/nsswitch.conf"},
		"Nix, etc":                    {"/etc=/nix/store/x-etc/etc"},
		"Yocto":                       {"/etc/resolv.conf=/run/resolv.conf", "/etc/mtab=/proc/mounts", "/var/tmp=volatile/tmp"},
		"systemd":                     {"/etc/resolv.conf=../run/systemd/resolve/stub-resolv.conf"},
		"merged-usr":                  {"/lib=usr/lib", "/sbin=usr/bin", "/lib64=/usr/lib"},
		"Fedora Atomic":               {"/home=var/home", "/opt=var/opt", "/srv=var/srv", "/root=var/roothome", "/mnt=var/mnt", "/media=run/media"},
		"tmp is var/tmp":              {"/tmp=var/tmp"},
		"tmp is missing":              {"/tmp=nowhere"},
		"tmp goes in circles":         {"/tmp=a", "/a=tmp"},
		"each file a link to nothing": {"/etc/passwd=x", "/etc/group=/x", "/etc/hosts=../x", "/etc/resolv.conf=/x/y/z", "/etc/nsswitch.conf=."},
		"files are links to others":   {"/etc/passwd=group", "/etc/group=passwd", "/etc/hosts=hosts", "/etc/resolv.conf=hosts"},
		"into the host's tmp":         {"/etc/hosts=TMP", "/etc/passwd=TMP/deep/er", "/etc/group=../../../TMP"},
		"into the site's":             {"/etc/hosts=SITE/made", "/etc/passwd=SITE/file", "/etc/resolv.conf=SITE/sub"},
		"into the working directory":  {"/etc/hosts=WORK/made", "/etc/passwd=WORK/sub/made"},
		"into devices":                {"/etc/hosts=/dev/null", "/etc/passwd=/dev/made", "/etc/resolv.conf=/dev/shm/made"},
		"into proc":                   {"/etc/hosts=/proc/self/environ", "/etc/passwd=/proc/1/root/etc/passwd", "/etc/group=/proc/self/fd/0"},
		"etc is the host's tmp":       {"/etc=TMP"},
		"etc is in the site's":        {"/etc=SITE/sub"},
		"etc is in circles":           {"/etc=x", "/x=etc"},
		"etc is by two links":         {"/etc=a", "/a=b", "/b=usr/etc"},
		"etc is by two, outside":      {"/etc=a", "/a=TMP"},
		"a hidden link":               {"/etc/hosts=/tmp/l", "/tmp/l=/usr/hosts"},
		"home is in tmp":              {"/home=tmp", "/work=tmp"},
		"above the working directory": {"WORKPARENT=TMP"},
		"above the site's":            {"SITEPARENT=/tmp"},
		"dots":                        {"/etc/hosts=../../../../../../TMP", "/etc/passwd=./.././etc/../etc/passwd"},
	} {
		c := sameCase{config: site, want: hostsEtc(), image: func(p *samePlace, rootfs string) error {
			replaced := make([]string, len(pairs))
			for i, pair := range pairs {
				replaced[i] = strings.NewReplacer("WORKPARENT", filepath.Dir(p.work), "SITEPARENT", filepath.Dir(p.site)).Replace(pair)
			}
			return links(replaced...)(p, rootfs)
		}}
		c.want["path SITE/file"] = "100644"
		c.want["cwd"] = "WORK"
		cases["image: "+name] = c
	}
	return cases
}

// directoryCases have something else at the targets of mounts.
func directoryCases() map[string]sameCase {
	cases := map[string]sameCase{}
	for what, make := range map[string]func(path string) error{
		"nothing":     func(string) error { return nil },
		"a file":      func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) },
		"a directory": func(path string) error { return os.MkdirAll(path+"/full", 0o755) },
		"a fifo":      func(path string) error { return unix.Mkfifo(path, 0o666) },
		"a socket":    func(path string) error { return unix.Mknod(path, unix.S_IFSOCK|0o666, 0) },
		"a closed directory": func(path string) error {
			return os.Mkdir(path, 0)
		},
	} {
		for _, where := range []string{"/etc/hosts", "/etc/passwd", "/tmp", "/etc", "WORK", "SITE", "WORKPARENT"} {
			c := sameCase{config: "[[hpc.mounts]]\nsource = \"SITE\"", want: hostsEtc(), image: func(p *samePlace, rootfs string) error {
				at := rootfs + strings.NewReplacer("WORKPARENT", filepath.Dir(filepath.Dir(p.work)), "WORK", p.work, "SITE", p.site).Replace(where)
				return errors.Join(os.RemoveAll(at), os.MkdirAll(filepath.Dir(at), 0o755), make(at))
			}}
			c.want["path SITE/file"] = "100644"
			c.want["cwd"] = "WORK"
			if what == "a closed directory" && (where == "/etc" || where == "WORKPARENT") {
				c.fails, c.want = "either", nil // nobody can look into it
				if where == "/etc" {
					c.fails = "read the image's directory: permission denied"
				}
			}
			cases[what+" at "+where] = c
		}
	}
	return cases
}
