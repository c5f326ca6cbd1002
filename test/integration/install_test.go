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

// TestInstall installs packages in an image as an ordinary user who is root in it: by apt from Debian's
// mirror, which --save keeps, and then by pip, rpm and dnf, which apt has installed.
func TestInstall(t *testing.T) {
	if !pace.All() {
		t.Skip("it downloads some 100 MB: `make test-all` runs it, and image_apt.txtar in cmd/ocishim installs a package of its own")
	}
	prepare(t)
	work, err := os.MkdirTemp("", "ocishim-install-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(work) })
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "bash", "-c", installScript, "bash",
		work, filepath.Join(repo, "build/trixie"), filepath.Join(repo, "build/bin"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{
		"\npip: hello by pip\n", "\nrpm: hello-1-1.noarch\n", "\ndnf: made by uid 0", "\n-rwxr-s--- 1 0 0 ",
	} {
		if !strings.Contains("\n"+string(out), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

const installScript = `set -e
work=$1 root=$2 bin=$3 user=65534
chmod 755 "$work"
mknod "$work/fuse" c 10 229 && chmod 666 "$work/fuse" && mount --bind "$work/fuse" /dev/fuse
"$bin/ocishim-image" --store "$work/store" import --format sqfs --name base "$root" >/dev/null 2>&1
"$bin/ocishim-image" --store "$work/store" export --format sqfs base "$work/base.sqsh" 2>/dev/null
rm -r "$work/store"
mkdir "$work/home" "$work/scratch" && cp -r "$bin" "$work/bin" && chmod 644 "$work/base.sqsh"
printf '[image]\nscratch = "%s"\n' "$work/scratch" >"$work/site.toml"
mkdir -p "$work/home/hello/hello"
echo 'print("hello by pip")' >"$work/home/hello/hello/__init__.py"
echo 'from setuptools import setup; setup(name="hello", version="1", packages=["hello"])' >"$work/home/hello/setup.py"
cat >"$work/home/hello.spec" <<'END'
Name: hello
Version: 1
Release: 1
Summary: a package
License: none
BuildArch: noarch
%description
A package.
%install
mkdir -p %{buildroot}/opt/hello && echo hello >%{buildroot}/opt/hello/file
%post -p <lua>
local f = io.open("/opt/hello/made", "w")
f:write("made by uid " .. posix.getprocessid("uid") .. "\n")
f:close()
%files
%attr(2750, root, root) /opt/hello/file
END
chown -R $user:$user "$work/home" "$work/scratch"
run() {
	(cd "$work/home" && setpriv --reuid=$user --regid=$user --clear-groups env -u XDG_RUNTIME_DIR -u XDG_DATA_HOME HOME="$work/home" PATH="$work/bin:$PATH" \
		ocishim --root "$work/home/state" --config "$work/site.toml" run-image --root "$@")
}
run --home=false --save "$work/home/tools.sqsh" "$work/base.sqsh" sh -ec 'apt-get -q update
	apt-get -q -y install --no-install-recommends dnf rpm createrepo-c python3-pip python3-setuptools python3-wheel' 2>&1 | tail -20
run --writable ./tools.sqsh sh -ec 'cp -r '$work'/home/hello /opt/source
	pip install -q --break-system-packages --no-index --no-build-isolation /opt/source
	cd / && echo "pip: $(python3 -c "import hello")"'
run --writable=disk ./tools.sqsh sh -ec 'mkdir /opt/repository
	rpmbuild -bb --quiet --define "_rpmdir /opt/repository" '$work'/home/hello.spec
	createrepo_c -q /opt/repository
	dnf -q -y --releasever=1 --disablerepo="*" --repofrompath=local,file:///opt/repository --enablerepo=local --nogpgcheck install hello
	echo "rpm: $(rpm -q hello)"
	echo "dnf: $(cat /opt/hello/made)"
	ls -ln /opt/hello/file'
`
