package credentials

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// write makes a file below the home directory.
func write(t *testing.T, home, name, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func auth(pair string) string { return base64.StdEncoding.EncodeToString([]byte(pair)) }

// auths returns a file with an entry for each KEY=USER:PASSWORD.
func auths(entries ...string) string {
	var list []string
	for _, e := range entries {
		key, pair, _ := strings.Cut(e, "=")
		list = append(list, fmt.Sprintf("%q: {%q: %q}", key, "auth", auth(pair)))
	}
	return `{"auths": {` + strings.Join(list, ",") + `}}`
}

// Find uses each source when those before it have been removed.
func TestFindInOrder(t *testing.T) {
	home := t.TempDir()
	bin := filepath.Join(home, "bin")
	write(t, home, "bin/docker-credential-own", "#!/bin/sh\nread -r url; echo \"{\\\"Username\\\": \\\"helper-$url\\\", \\\"Secret\\\": \\\"$SECRET\\\"}\"\n", 0o755)
	given := write(t, home, "given.json", auths("reg.io=given:p"), 0o600)
	variable := write(t, home, "variable.json", auths("reg.io=variable:p"), 0o600)
	e := Environment{
		Home: home, RuntimeDir: filepath.Join(home, "run"), AuthFile: given, Helpers: []string{"own"},
		Env: []string{
			"PATH=" + bin + ":/usr/bin:/bin", "SECRET=s", "REGISTRY_AUTH_FILE=" + variable,
			"APPTAINER_DOCKER_USERNAME=apptainer", "APPTAINER_DOCKER_PASSWORD=p",
			"OCISHIM_REGISTRY_USERNAME=own", "OCISHIM_REGISTRY_PASSWORD=p",
		},
	}
	without := func(name string) {
		e.Env = slices.DeleteFunc(e.Env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	}
	remove := func(name string) {
		if err := os.Remove(filepath.Join(home, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, home, "run/containers/auth.json", auths("reg.io=runtime:p"), 0o600)
	write(t, home, ".config/containers/auth.json", auths("reg.io=config:p"), 0o600)
	write(t, home, ".docker/config.json", `{"credHelpers": {"reg.io": "own"}}`, 0o600)
	write(t, home, ".config/enroot/.credentials", "machine reg.io login $oauthtoken password p\n", 0o600)
	// Where a file is given by the option, nothing else is looked at.
	if a := e.Find(context.Background(), Asked{Registry: "other.io", Repository: "x"}); a.Found != nil || !slices.Equal(a.Looked, []string{given}) {
		t.Errorf("another registry: %+v", a)
	}
	for _, step := range []struct {
		user string
		next func()
	}{
		{"given", func() { e.AuthFile = "" }},
		{"variable", func() { without("REGISTRY_AUTH_FILE") }},
		{"runtime", func() { remove("run/containers/auth.json") }},
		{"config", func() { remove(".config/containers/auth.json") }},
		{"helper-reg.io", func() { remove(".docker/config.json") }},
		{"helper-reg.io", func() { e.Helpers = nil }},
		{"$oauthtoken", func() { remove(".config/enroot/.credentials") }},
		{"apptainer", func() { without("APPTAINER_DOCKER_PASSWORD") }},
		{"own", func() { without("OCISHIM_REGISTRY_PASSWORD") }},
	} {
		a := e.Find(context.Background(), Asked{Registry: "reg.io", Repository: "x"})
		if a.Found == nil || a.Found.Username != step.user || len(a.Warnings) > 0 {
			t.Fatalf("%+v; want %s", a, step.user)
		}
		if text := fmt.Sprintf("%v %+v %#v", a.Found, *a.Found, *a.Found); strings.Contains(text, `"s"`) || !strings.Contains(text, step.user) {
			t.Errorf("as text: %s", text)
		}
		step.next()
	}
	a := e.Find(context.Background(), Asked{Registry: "reg.io", Repository: "x"})
	want := []string{
		filepath.Join(home, "run/containers/auth.json"), filepath.Join(home, ".config/containers/auth.json"),
		filepath.Join(home, ".docker/config.json"), filepath.Join(home, ".config/enroot/.credentials"),
		"APPTAINER_DOCKER_USERNAME", "OCISHIM_REGISTRY_USERNAME",
	}
	if a.Found != nil || !slices.Equal(a.Looked, want) {
		t.Errorf("%+v, want %q", a, want)
	}
}

func TestFind(t *testing.T) {
	for name, c := range map[string]struct {
		file  string // of .docker/config.json
		netrc string
		env   []string
		asked Asked
		want  string // USER:SECRET
		warns string
	}{
		"the longest key":         {file: auths("r.io=a:1", "r.io/x=b:2", "r.io/x/y=c:3", "r.io/x/yy=d:4"), asked: Asked{Registry: "r.io", Repository: "x/y"}, want: "c:3"},
		"a key above":             {file: auths("r.io=a:1", "r.io/x=b:2"), asked: Asked{Registry: "r.io", Repository: "x/z"}, want: "b:2"},
		"not a part of a word":    {file: auths("r.io/x=b:2", "io=c:3"), asked: Asked{Registry: "r.io", Repository: "xx"}},
		"docker hub's old key":    {file: auths("https://index.docker.io/v1/=a:1"), asked: Asked{Registry: "docker.io", Repository: "library/x"}, want: "a:1"},
		"a key with a scheme":     {file: auths("https://R.io/v2/=a:1"), asked: Asked{Registry: "r.io", Repository: "x"}, want: "a:1"},
		"another port":            {file: auths("r.io:5000=a:1"), asked: Asked{Registry: "r.io", Repository: "x"}},
		"a colon in the password": {file: auths("r.io=a:1:2"), asked: Asked{Registry: "r.io", Repository: "x"}, want: "a:1:2"},
		"identity token":          {file: `{"auths": {"r.io": {"identitytoken": "t"}}}`, asked: Asked{Registry: "r.io", Repository: "x"}, want: ":t"},
		"user by entry":           {file: auths("r.io/x=b:2", "r.io=a:1"), asked: Asked{Registry: "r.io", Repository: "x", User: "a"}, want: "a:1"},
		"user by netrc":           {file: auths("r.io=a:1"), netrc: "machine r.io login b password 2\nmachine r.io login c password 3\n", asked: Asked{Registry: "r.io", Repository: "x", User: "c"}, want: "c:3"},
		"user who is not there":   {file: auths("r.io=a:1"), asked: Asked{Registry: "r.io", Repository: "x", User: "z"}},
		"enroot's docker hub":     {netrc: "# comment machine\nmachine auth.docker.io login a\n  password 1\n", asked: Asked{Registry: "docker.io", Repository: "x"}, want: "a:1"},
		"a command":               {netrc: "machine r.io login a password $(cat /etc/passwd | head)\n", asked: Asked{Registry: "r.io", Repository: "x"}, warns: ":1: commands in $(...) are not run"},
		"after a command":         {netrc: "machine r.io login a password $(x -y z)\nmachine r.io login b password 2", asked: Asked{Registry: "r.io", Repository: "x"}, want: "b:2", warns: "ocishim image login r.io"},
		"a variable":              {netrc: "machine r.io login a password ${KEY}", env: []string{"KEY=k"}, asked: Asked{Registry: "r.io", Repository: "x"}, want: "a:k"},
		"a pair, for a mirror":    {env: []string{"APPTAINER_DOCKER_USERNAME=a", "APPTAINER_DOCKER_PASSWORD=p"}, asked: Asked{Registry: "r.io", Repository: "x", Mirror: true}},
		"not JSON":                {file: "{secret", asked: Asked{Registry: "r.io", Repository: "x"}, warns: "not JSON at byte 2"},
		"a wrong type":            {file: `{"auths": "secret"}`, asked: Asked{Registry: "r.io", Repository: "x"}, warns: "a string instead of"},
		"not base64":              {file: `{"auths": {"r.io": {"auth": "secret!"}}}`, asked: Asked{Registry: "r.io", Repository: "x"}, warns: "auth is not base64"},
		"a missing helper":        {file: `{"credsStore": "gone"}`, env: []string{"PATH=/nonexistent"}, asked: Asked{Registry: "r.io", Repository: "x"}, warns: "docker-credential-gone: it is not in PATH"},
		"a helper with a path":    {file: `{"credsStore": "../../x"}`, asked: Asked{Registry: "r.io", Repository: "x"}, warns: "its name contains a slash"},
		"no helper, by its entry": {file: `{"credsStore": "gone", "credHelpers": {"r.io": ""}}`, asked: Asked{Registry: "r.io", Repository: "x"}},
		"a helper by an old key":  {file: `{"credHelpers": {"https://index.docker.io/v1/": "gone"}}`, env: []string{"PATH=/nonexistent"}, asked: Asked{Registry: "docker.io", Repository: "x"}, warns: "docker-credential-gone: it is not in PATH"},
		"too large":               {file: strings.Repeat(" ", maxFile+1), asked: Asked{Registry: "r.io", Repository: "x"}, warns: "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			if c.file != "" {
				write(t, home, ".docker/config.json", c.file, 0o600)
			}
			if c.netrc != "" {
				write(t, home, ".config/enroot/.credentials", c.netrc, 0o600)
			}
			a := Environment{Home: home, Env: c.env}.Find(context.Background(), c.asked)
			got := ""
			if a.Found != nil {
				got = a.Found.Username + ":" + a.Found.Password + a.Found.IdentityToken
			}
			warnings := strings.Join(a.Warnings, "\n")
			if got != c.want || !strings.Contains(warnings, c.warns) || c.warns == "" && warnings != "" || strings.Contains(warnings, "secret") {
				t.Errorf("%q, warnings %q; want %q, %q", got, warnings, c.want, c.warns)
			}
		})
	}
}

func TestHelpers(t *testing.T) {
	home := t.TempDir()
	for name, script := range map[string]string{
		"none":  `echo "credentials not found in native keychain"; exit 1`,
		"fails": `echo "no session"; exit 1`,
		"token": `echo '{"Username": "<token>", "Secret": "t"}'`,
		"large": `yes x | head -c 200000`,
	} {
		write(t, home, "bin/docker-credential-"+name, "#!/bin/sh\n"+script+"\n", 0o755)
	}
	e := Environment{Home: home, Env: []string{"PATH=" + home + "/bin:/usr/bin:/bin"}}
	for name, want := range map[string]struct{ token, warns string }{
		"none": {}, "fails": {warns: "no session"}, "token": {token: "t"}, "large": {warns: "docker-credential-large"},
	} {
		write(t, home, ".docker/config.json", `{"credsStore": "`+name+`"}`, 0o600)
		a := e.Find(context.Background(), Asked{Registry: "r.io", Repository: "x"})
		token := ""
		if a.Found != nil {
			token = a.Found.IdentityToken
		}
		if warnings := strings.Join(a.Warnings, "\n"); token != want.token || !strings.Contains(warnings, want.warns) || want.warns == "" && warnings != "" {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func TestUnsafeFiles(t *testing.T) {
	home := t.TempDir()
	path := write(t, home, ".docker/config.json", auths("r.io=a:1"), 0o600)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	a := Environment{Home: home}.Find(context.Background(), Asked{Registry: "r.io", Repository: "x"})
	if a.Found == nil || len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], "others may read the credentials in "+path) {
		t.Errorf("%+v", a)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	a = Environment{Home: home}.Find(context.Background(), Asked{Registry: "r.io", Repository: "x"})
	if a.Found != nil || len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], "not a regular file") {
		t.Errorf("a fifo: %+v", a)
	}
}

func TestLogin(t *testing.T) {
	home := t.TempDir()
	e := Environment{Home: home}
	asked := Asked{Registry: "docker.io", Repository: "library/x"}
	real := write(t, home, "dotfiles/auth.json", `{"credHelpers": {"a": "b"}, "auths": {"https://index.docker.io/v1/": {"auth": "eDp5"}, "r.io": {"auth": "eDp5"}}}`, 0o644)
	if err := os.MkdirAll(filepath.Join(home, ".config/containers"), 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(home, ".config/containers/auth.json")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	path, err := e.Login("docker.io", "a", "s:e")
	if err != nil || path != real {
		t.Fatalf("%s, %v", path, err)
	}
	info, err := os.Stat(real)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced")
	}
	if a := e.Find(context.Background(), asked); a.Found == nil || a.Found.Username != "a" || a.Found.Password != "s:e" || len(a.Warnings) > 0 {
		t.Errorf("%+v", a)
	}
	data, _ := os.ReadFile(real)
	if !strings.Contains(string(data), "credHelpers") || strings.Contains(string(data), "index.docker.io") {
		t.Errorf("%s", data)
	}
	if _, err := e.Logout("docker.io"); err != nil {
		t.Error(err)
	}
	if a := e.Find(context.Background(), asked); a.Found != nil {
		t.Errorf("after logout: %+v", a)
	}
	if a := e.Find(context.Background(), Asked{Registry: "r.io", Repository: "x"}); a.Found == nil {
		t.Error("logout removed another registry's")
	}
	if _, err := e.Logout("docker.io"); !errors.Is(err, ErrNotLoggedIn) {
		t.Errorf("%v", err)
	}
	fresh := Environment{Home: filepath.Join(home, "new")}
	if path, err := fresh.Login("r.io", "a", "b"); err != nil || path != filepath.Join(home, "new/.config/containers/auth.json") {
		t.Errorf("%s, %v", path, err)
	}
	if left, _ := filepath.Glob(filepath.Join(home, "*/.auth-*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	write(t, home, "broken.json", "{", 0o600)
	if _, err := (Environment{AuthFile: filepath.Join(home, "broken.json")}).Login("r.io", "a", "b"); err == nil {
		t.Error("a file that cannot be parsed was replaced")
	}
}
