//go:build integration

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/pace"
)

// TestPackages makes the packages twice, to the same bytes, and installs, upgrades and removes the .deb
// in fresh roots of Debian 12 and 13. The programs for the other architecture are started where the
// machine can emulate it.
func TestPackages(t *testing.T) {
	if !pace.All() {
		t.Skip("it compiles a packager and everything twice: `make test-all` runs it")
	}
	prepare(t)
	sums := func(version string) string {
		mustRun(t, "hack/packages", version, "amd64")
		data, err := os.ReadFile(filepath.Join(repo, "build/packages/SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	first := sums("0.9.1")
	if second := sums("0.9.1"); second != first {
		t.Errorf("made again, they differ:\n%s%s", first, second)
	}
	for _, kind := range []string{"ocishim_0.9.1_amd64.deb", "ocishim-0.9.1-1.x86_64.rpm", "ocishim-0.9.1-amd64.tar.gz", "ocishim-0.9.1-amd64.spdx.json"} {
		if !strings.Contains(first, "  "+kind+"\n") {
			t.Errorf("there is no %s:\n%s", kind, first)
		}
	}
	keep := t.TempDir()
	old, newer := filepath.Join(keep, "old.deb"), filepath.Join(keep, "new.deb")
	copyFile(t, filepath.Join(repo, "build/packages/ocishim_0.9.1_amd64.deb"), old)
	sums("0.9.2")
	copyFile(t, filepath.Join(repo, "build/packages/ocishim_0.9.2_amd64.deb"), newer)
	for release, conf := range map[string]string{"bookworm": "22.05.conf", "trixie": "run.conf"} {
		t.Run(release, func(t *testing.T) { installIn(t, filepath.Join(repo, "build", release), old, newer, conf) })
	}
}

// installIn does what an administrator does, on a layer over a root of Debian that goes with it.
func installIn(t *testing.T, root, old, newer, conf string) {
	const script = `set -e
		mount -t tmpfs layer /mnt && mkdir /mnt/upper /mnt/work /mnt/root
		mount -t overlay -o lowerdir="$1",upperdir=/mnt/upper,workdir=/mnt/work layer /mnt/root
		mount -t proc proc /mnt/root/proc
		mkdir -p /mnt/root/run && mount -t tmpfs run /mnt/root/run
		cp "$2" "$3" /mnt/root/tmp/
		chroot /mnt/root /bin/sh -ec '
			find / -xdev -not -path "/proc/*" -not -path "/var/lib/dpkg/*" -not -path "/var/log/*" -not -path "/tmp/*" | sort >/tmp/before
			dpkg -i /tmp/old.deb >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
			ocishim --version | head -1
			[ "$(stat -c %a /run/ocishim)" = 1777 ]
			ocishim image --help >/dev/null
			! grep -rq /usr/local/bin/ocishim /usr/share/ocishim
			zcat /usr/share/man/man8/ocishim.8.gz | grep -c "^.TH"
			mkdir -p /etc/slurm && cp /usr/share/ocishim/oci.conf.d/"$1" /etc/slurm/oci.conf && touch /etc/slurm/slurm.conf
			ocishim doctor --quiet program config oci.conf
			rm /etc/slurm/oci.conf /etc/slurm/slurm.conf
			echo "[hpc]" >/etc/ocishim/config.toml
			dpkg -i /tmp/new.deb >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
			ocishim --version | head -1
			cat /etc/ocishim/config.toml
			dpkg -r ocishim >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
			[ -e /etc/ocishim/config.toml ] && rm /etc/ocishim/config.toml
			dpkg -P ocishim >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
			rmdir /etc/ocishim/conf.d /etc/ocishim 2>/dev/null || true
			find / -xdev -not -path "/proc/*" -not -path "/var/lib/dpkg/*" -not -path "/var/log/*" -not -path "/tmp/*" | sort >/tmp/after
			diff /tmp/before /tmp/after && echo nothing is left' sh "$4"`
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", root, old, newer, conf)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	want := []string{"ocishim version 0.9.1", "1", "ocishim version 0.9.2", "[hpc]", "nothing is left"}
	if len(got) != len(want) {
		t.Fatalf("%s", out)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("%q, wanted %q:\n%s", got[i], want[i], out)
		}
	}
}
