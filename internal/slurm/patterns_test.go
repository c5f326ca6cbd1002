package slurm

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// rootsLine matches a setting of oci.conf that Slurm runs as root, in a shell, in every notation of
// our files: as in oci.conf itself, or as data of a program.
var rootsLine = regexp.MustCompile(`RunTime(?:Query|Kill|Delete)["'` + "`" + `]?[ \t]*(?:=|:|,)[ \t]*(.*)`)

// usersPattern matches a pattern whose text a user chooses.
var usersPattern = regexp.MustCompile(`%[breZ@]`)

// offending returns the lines of text that pass a user's text to root's shell. A line that ends in
// a backslash continues, as in Slurm's files.
func offending(text string) (found []string) {
	text = strings.ReplaceAll(text, "\\\n", "")
	for _, line := range rootsLine.FindAllStringSubmatch(text, -1) {
		if usersPattern.MatchString(strings.ReplaceAll(line[1], "%%", "")) {
			found = append(found, line[0])
		}
	}
	return found
}

func TestOffending(t *testing.T) {
	for text, want := range map[string]bool{
		`RunTimeQuery="ocishim state %n.%u.%j.%s.%t"`:             false,
		`RunTimeQuery="ocishim state --root /run/%U %n.%u"`:       false,
		`RunTimeKill="ocishim kill -a %n # 100%%b"`:               false,
		`RunTimeRun="exec ocishim run --bundle %b %n.%u"`:         false,
		"# never %b in RunTimeQuery":                              false,
		`RunTimeQuery="cd %b; ocishim state %n"`:                  true,
		`RunTimeKill = ocishim --root %Z kill %n`:                 true,
		`RunTimeDelete=crun delete '%r'`:                          true,
		`  "RunTimeDelete": "delete --bundle \"%b\" %n.%u",`:      true,
		"RunTimeQuery=\"ocishim state \\\n  %n --annotation %e\"": true,
		`RunTimeQuery="ocishim state %n -- %@"`:                   true,
		`RunTimeKill="kill %%%b"`:                                 true,
		`lines["x"] = "y"; add("RunTimeDelete", "rm -rf %m/%b")`:  true,
	} {
		if got := len(offending(text)) > 0; got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// No file of this repository, be it an example, document or test, shows a line that makes root run
// what a user writes.
func TestNoUsersPatternForRoot(t *testing.T) {
	const repo = "../.."
	settings := 0
	err := filepath.WalkDir(repo, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || path == filepath.Join(repo, "build") || path == filepath.Join(repo, "shared")):
			return fs.SkipDir
		case !entry.Type().IsRegular() || entry.Name() == "patterns_test.go":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		settings += len(rootsLine.FindAll(text, -1))
		for _, line := range offending(string(text)) {
			t.Errorf("%s: a user chooses what root's shell runs: %s", path, line)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if settings < 9 { // three in each of three files of oci.conf.d
		t.Errorf("only %d such settings found: have the files moved?", settings)
	}
}
