package bundle

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestLoadMinimal(t *testing.T) {
	dir := makeBundle(t, minimal+" \n\t")
	b, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if b.ID != "" || b.Dir != dir || b.Rootfs != dir+"/rootfs" || len(b.Applied) != 0 || b.Spec.Root.Path != "rootfs" {
		t.Errorf("got %+v", b)
	}
	if err := b.Validate(); err != nil {
		t.Error(err)
	}
}

func TestLoadRelativeDir(t *testing.T) {
	dir := makeBundle(t, minimal)
	t.Chdir(filepath.Dir(dir))
	for _, arg := range []string{filepath.Base(dir), "./" + filepath.Base(dir) + "/"} {
		b, err := Load(arg)
		if err != nil {
			t.Fatal(err)
		}
		if b.Dir != dir || b.Rootfs != dir+"/rootfs" {
			t.Errorf("Load(%q): Dir %q, Rootfs %q", arg, b.Dir, b.Rootfs)
		}
	}
	t.Chdir(dir)
	if b, err := Load(""); err != nil || b.Dir != dir {
		t.Errorf("Load of the working directory: %+v, %v", b, err)
	}
}

func TestLoadIgnoresUnknownProperties(t *testing.T) {
	config := strings.Replace(minimal, `{`, `{"x-future":{"a":[1,{"b":null}]},`, 1)
	if _, err := Load(makeBundle(t, config)); err != nil {
		t.Error(err)
	}
}

// TestLoadPosition checks file, position and field for everything that can be wrong with the JSON
// itself. A ‸ in the config marks the position.
func TestLoadPosition(t *testing.T) {
	tests := map[string]struct{ config, field, reason string }{
		"empty file":           {`‸`, "", "unexpected end of JSON input"},
		"only space":           {"\n  \n‸", "", "unexpected end of JSON input"},
		"not json":             {"\n‸hello", "", "invalid character 'h' looking for beginning of value"},
		"null":                 {"\n ‸null", "", "expected object, got null"},
		"array":                {" ‸[]", "", "expected object, got array"},
		"string":               {`‸"x"`, "", "expected object, got string"},
		"trailing brace":       {"{}\n‸}", "", "invalid character '}' after top-level value"},
		"second value":         {"{}\n ‸{}", "", "invalid character '{' after top-level value"},
		"trailing NUL":         {"{}‸\x00", "", `invalid character '\x00' after top-level value`},
		"truncated object":     {"{\n\"process\": {\"args\": [\"a\", \"b‸", "process.args[1]", "unexpected end of JSON input"},
		"truncated after list": {`{"process": {"args": ["a"]‸`, "process", "unexpected end of JSON input"},
		"truncated name":       {`{"process": {"ar‸`, "process", "unexpected end of JSON input"},
		"truncated newline":    {"{\"root\": {\n‸", "root", "unexpected end of JSON input"},
		"missing comma":        {"{\"ociVersion\": \"1.0.0\"\n  ‸\"root\": {}}", "", "invalid character '\"' after object key:value pair"},
		"missing comma list":   {`{"mounts": [{}, {"options": ["a" ‸"b"]}]}`, "mounts[1].options[0]", "invalid character '\"' after array element"},
		"trailing comma":       {`{"process": {"args": ["a",‸]}}`, "process.args[1]", "invalid character ']' looking for beginning of value"},
		"missing colon":        {`{"process" ‸{}}`, "process", "invalid character '{' after object key"},
		"bare word":            {`{"process": {"terminal": ‸True}}`, "process.terminal", "invalid character 'T' looking for beginning of value"},
		"control character":    {"{\"hostname\": \"a‸\nb\"}", "hostname", "invalid character '\\n' in string literal"},
		"args is a number":     {"{\n  \"process\": {\n    \"args\": ‸12\n}}", "process.args", "expected array of strings, got number"},
		"args is a string":     {`{"process": {"args": ‸"sh -c"}}`, "process.args", "expected array of strings, got string"},
		"args is an object":    {`{"process": {"args": ‸{"a": []}}}`, "process.args", "expected array of strings, got object"},
		"args holds a number":  {`{"process": {"args": ["a", ‸5, "b"]}}`, "process.args[1]", "expected string, got number"},
		"env holds a list":     {`{"process": {"env": ["a", ‸["b"], []]}}`, "process.env[1]", "expected string, got array"},
		"mount is a string":    {"{\"mounts\": [{},\n‸\"/proc\"]}", "mounts[1]", "expected object, got string"},
		"mount options":        {`{"mounts": [{},{"options": ["ro", ‸true]}]}`, "mounts[1].options[1]", "expected string, got boolean"},
		"mounts is an object":  {`{"mounts": ‸{}}`, "mounts", "expected array of objects, got object"},
		"negative uid":         {`{"process": {"user": {"uid": ‸-1}}}`, "process.user.uid", "expected integer from 0 to 4294967295, got number -1"},
		"uid too large":        {`{"process": {"user": {"uid": ‸4294967296}}}`, "process.user.uid", "expected integer from 0 to 4294967295, got number 4294967296"},
		"fraction":             {`{"process": {"oomScoreAdj": ‸1.5}}`, "process.oomScoreAdj", "expected integer from -9223372036854775808 to 9223372036854775807, got number 1.5"},
		"rlimit too large":     {`{"process": {"rlimits": [{"soft": ‸1e999}]}}`, "process.rlimits[0].soft", "expected integer from 0 to 18446744073709551615, got number 1e999"},
		"after a huge number":  {`{"x": 1e999, "linux": {"sysctl": {"a.b": ‸1}}}`, "linux.sysctl.a.b", "expected string, got number"},
		"boolean":              {`{"root": {"readonly": ‸"yes"}}`, "root.readonly", "expected boolean, got string"},
		"column in characters": {`{"hostname": "żółć", "mounts": ‸1}`, "mounts", "expected array of objects, got number"},
		"first of two":         {`{"mounts": ‸1, "process": 2}`, "mounts", "expected array of objects, got number"},
		"escaped strings":      {`{"process": {"args": ["\"\\,[{", ‸7]}}`, "process.args[1]", "expected string, got number"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			before, after, _ := strings.Cut(test.config, "‸")
			lines := strings.Split(before, "\n")
			line, column := len(lines), len([]rune(lines[len(lines)-1]))+1
			checkPosition(t, before+after, line, column, test.field, test.reason)
		})
	}
}

func checkPosition(t *testing.T, config string, line, column int, field, reason string) {
	t.Helper()
	dir := makeBundle(t, config)
	_, err := Load(dir)
	var bad *ConfigError
	if !errors.As(err, &bad) {
		t.Fatalf("got %v, want a ConfigError", err)
	}
	if bad.File != dir+"/config.json" || bad.Line != line || bad.Column != column || bad.Field != field {
		t.Errorf("got %s line %d column %d field %q, want line %d column %d field %q",
			bad.File, bad.Line, bad.Column, bad.Field, line, column, field)
	}
	if bad.Err.Error() != reason {
		t.Errorf("reason %q, want %q", bad.Err, reason)
	}
	if !strings.HasPrefix(err.Error(), "read "+dir+"/config.json: line ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("message %q", err)
	}
}

func TestConfigErrorText(t *testing.T) {
	err := &ConfigError{File: "/b/config.json", Line: 12, Column: 7, Field: "process.args", Err: errors.New("expected array of strings, got number")}
	if want := "read /b/config.json: line 12 column 7: process.args: expected array of strings, got number"; err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	err = &ConfigError{File: "/b/config.json", Err: ErrNoConfig}
	if want := "read /b/config.json: no config.json"; err.Error() != want || !errors.Is(err, ErrNoConfig) {
		t.Errorf("got %q, want %q", err, want)
	}
}

// Names and numbers of a hostile file must not reach the terminal unescaped.
func TestLoadHostileText(t *testing.T) {
	huge := strings.Repeat("9", 1<<20)
	for _, config := range []string{
		`{"annotations": {"a\u001b[2Jb\nc": 1}}`,
		`{"process": {"user": {"uid": ` + huge + `}}}`,
		`{"annotations": {"` + huge + `": 1}}`,
		`{"root": {"path": "` + huge + `"}}`,
		`{"root": {"path": "a\u001b[2Jb\nc"}}`,
		`{"root": {"path": "/x\u0000"}}`,
		`{"root": {"path": "` + strings.Repeat("rootfs/../", 100_000) + `"}}`,
		strings.Repeat(`{"process":`, 5000) + `]`,
	} {
		_, err := Load(makeBundle(t, config))
		if err == nil {
			t.Fatalf("%.40s was accepted", config)
		}
		if text := err.Error(); len(text) > 1000 || strings.ContainsAny(text, "\x1b\n\x00") {
			t.Errorf("message of %d bytes: %.300q", len(text), text)
		}
	}
}

func TestLoadDeepNesting(t *testing.T) {
	for _, open := range []string{`[`, `{"a":`, `{"process":`} {
		config := `{"x":` + strings.Repeat(open, 1_000_000)
		_, err := Load(makeBundle(t, config))
		var bad *ConfigError
		if !errors.As(err, &bad) || bad.Line != 1 || bad.Column < 10_000 || !strings.Contains(err.Error(), "exceeded max depth") {
			t.Fatalf("nesting of %s: %v", open, err)
		}
		if !strings.HasPrefix(bad.Field, "x") || !strings.HasSuffix(bad.Field, "...") || len(bad.Field) > 300 {
			t.Errorf("field %q", bad.Field)
		}
	}
}

func TestLoadSyntaxErrorUnwraps(t *testing.T) {
	_, err := Load(makeBundle(t, "{"))
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		t.Errorf("%v hides the json.SyntaxError", err)
	}
}

func TestLoadFile(t *testing.T) {
	tests := map[string]struct {
		make func(t *testing.T, file string)
		want error
		text string
	}{
		"missing":   {func(*testing.T, string) {}, ErrNoConfig, "no config.json: no such file or directory"},
		"directory": {func(t *testing.T, file string) { try(t, os.Mkdir(file, 0o755)) }, ErrNotRegular, "not a regular file: it is a directory"},
		"fifo":      {func(t *testing.T, file string) { try(t, syscall.Mkfifo(file, 0o644)) }, ErrNotRegular, "not a regular file: it is a fifo"},
		"device":    {func(t *testing.T, file string) { try(t, os.Symlink("/dev/zero", file)) }, ErrNotRegular, "not a regular file: it is a device"},
		"socket": {func(t *testing.T, file string) {
			l, err := net.Listen("unix", file)
			try(t, err)
			t.Cleanup(func() { _ = l.Close() })
		}, ErrNotRegular, "not a regular file"},
		"dangling link": {func(t *testing.T, file string) { try(t, os.Symlink("nowhere", file)) }, ErrNoConfig, "no config.json"},
		"link loop":     {func(t *testing.T, file string) { try(t, os.Symlink("config.json", file)) }, syscall.ELOOP, "too many levels"},
		"100 MB": {func(t *testing.T, file string) {
			try(t, os.WriteFile(file, []byte(minimal), 0o644))
			try(t, os.Truncate(file, 100_000_000))
		}, ErrTooLarge, "file is too large: the limit is 16 MiB"},
		"one byte too many": {func(t *testing.T, file string) {
			try(t, os.WriteFile(file, []byte(minimal+strings.Repeat(" ", MaxConfigSize-len(minimal)+1)), 0o644))
		}, ErrTooLarge, "16 MiB"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if len(dir) > 90 { // sockaddr_un has room for 108 bytes
				dir = shortDir(t)
			}
			test.make(t, filepath.Join(dir, ConfigName))
			_, err := Load(dir)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) ||
				!strings.HasPrefix(err.Error(), "read "+dir+"/config.json: ") {
				t.Errorf("got %v, want %v with %q", err, test.want, test.text)
			}
			if strings.Count(err.Error(), dir) != 1 {
				t.Errorf("%q names the file twice", err)
			}
		})
	}
}

func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "b")
	try(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLoadLargestFile(t *testing.T) {
	dir := makeBundle(t, minimal+strings.Repeat(" ", MaxConfigSize-len(minimal)))
	if _, err := Load(dir); err != nil {
		t.Error(err)
	}
}

func TestLoadNoBundle(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(filepath.Join(dir, "nowhere"))
	if !errors.Is(err, ErrNoConfig) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "bundle directory does not exist") {
		t.Error(err)
	}
	try(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	_, err = Load(filepath.Join(dir, "file"))
	if !errors.Is(err, ErrNoConfig) || !strings.Contains(err.Error(), "the bundle is not a directory") {
		t.Error(err)
	}
}

func TestLoadPermission(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	dir := makeBundle(t, minimal)
	try(t, os.Chmod(filepath.Join(dir, ConfigName), 0))
	_, err := Load(dir)
	if want := "read " + dir + "/config.json: permission denied"; err == nil || err.Error() != want || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v, want %s", err, want)
	}
	dir = makeBundle(t, strings.Replace(minimal, `"rootfs"`, `"rootfs/closed/in"`, 1))
	try(t, os.Mkdir(filepath.Join(dir, "rootfs/closed"), 0))
	_, err = Load(dir)
	if want := "root.path: " + dir + "/rootfs/closed/in: permission denied"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLoadRootfs(t *testing.T) {
	dir := makeBundle(t, minimal)
	elsewhere := makeBundle(t, minimal)
	try(t, os.Symlink("rootfs", filepath.Join(dir, "link")))
	try(t, os.Symlink(elsewhere+"/rootfs", filepath.Join(dir, "far")))
	try(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	try(t, os.Symlink("/", filepath.Join(dir, "top")))
	try(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	tests := map[string]struct {
		root, rootfs string
		want         error
		text         string
	}{
		"relative":           {`{"path":"rootfs"}`, dir + "/rootfs", nil, ""},
		"absolute":           {`{"path":"` + elsewhere + `/rootfs/"}`, elsewhere + "/rootfs", nil, ""},
		"symlink":            {`{"path":"link"}`, dir + "/rootfs", nil, ""},
		"absolute symlink":   {`{"path":"` + dir + `/far"}`, elsewhere + "/rootfs", nil, ""},
		"dot dot of a link":  {`{"path":"far/../rootfs"}`, elsewhere + "/rootfs", nil, ""},
		"the bundle itself":  {`{"path":"."}`, dir, nil, ""},
		"missing section":    {`null`, "", nil, "root: missing"},
		"missing path":       {`{}`, "", nil, "root.path: missing"},
		"does not exist":     {`{"path":"nowhere"}`, "", ErrNoRootfs, "root.path: no root filesystem: " + dir + "/nowhere: no such file or directory"},
		"is a file":          {`{"path":"file"}`, "", ErrNoRootfs, "root.path: no root filesystem: " + dir + "/file is not a directory"},
		"below a file":       {`{"path":"file/x"}`, "", ErrNoRootfs, "root.path: no root filesystem"},
		"the host's":         {`{"path":"/"}`, "", nil, "root.path: / is the host's own root"},
		"the host's by link": {`{"path":"top"}`, "", nil, "root.path: " + dir + "/top is the host's own root"},
		"symlink to nowhere": {`{"path":"loop"}`, "", nil, "root.path: " + dir + "/loop: "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			writeConfig(t, dir, strings.Replace(minimal, `{"path":"rootfs"}`, test.root, 1))
			b, err := Load(dir)
			if test.text == "" {
				if err != nil || b.Rootfs != test.rootfs {
					t.Errorf("got %+v, %v, want %s", b, err, test.rootfs)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), "read "+dir+"/config.json: "+test.text) || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v with %q", err, test.want, test.text)
			}
		})
	}
}
