package runtime

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestEntryName(t *testing.T) {
	for id, want := range map[string]string{
		"web":                        "web",
		"n1.alice.5.4294967291.-1":   "n1.alice.5.4294967291.-1",
		"n1.alice@realm.5.0.0":       "n1.alice+40realm.5.0.0",
		"a+40b":                      "a+2b40b",
		`n1.DOMAIN\alice.5.0.0`:      "n1.DOMAIN+5calice.5.0.0",
		"ünï":                        "+c3+bcn+c3+af",
		"...":                        "...",
		strings.Repeat("x", 255):     strings.Repeat("x", 255),
		"-rf":                        "-rf",
		"a:b":                        "a+3ab",
		"c1.machine$.9.4294967292.0": "c1.machine+24.9.4294967292.0",
	} {
		if got, err := entryName(id); err != nil || got != want {
			t.Errorf("entryName(%q) = %q, %v, want %q", id, got, err, want)
		}
		if got := entryID(want); got != id {
			t.Errorf("entryID(%q) = %q, want %q", want, got, id)
		}
	}
}

func TestEntryNameRefuses(t *testing.T) {
	for _, id := range []string{
		"", ".", "..", "../etc", "/etc", "a/b", "a b", "a\nb", "a\x00b", "\x7f", "a\tb",
		strings.Repeat("x", 256), strings.Repeat("@", 86),
	} {
		if got, err := entryName(id); !errors.Is(err, ErrInvalidID) {
			t.Errorf("entryName(%q) = %q, %v, want ErrInvalidID", id, got, err)
		}
	}
}

// Two ids never share an entry, and an entry never leaves its root.
func FuzzEntryName(f *testing.F) {
	f.Add("n1.alice@realm.5.0.0", "n1.alice+40realm.5.0.0")
	f.Add("a+b", "a+2bb")
	f.Fuzz(func(t *testing.T, a, b string) {
		an, aerr := entryName(a)
		bn, berr := entryName(b)
		if aerr != nil || berr != nil {
			return
		}
		if a != b && an == bn {
			t.Errorf("%q and %q share the entry %q", a, b, an)
		}
		if strings.Contains(an, "/") || an == "." || an == ".." || strings.HasPrefix(an, newPrefix) && !strings.HasPrefix(a, newPrefix) {
			t.Errorf("%q has the entry %q", a, an)
		}
	})
}

func TestParseSignal(t *testing.T) {
	for text, want := range map[string]unix.Signal{
		"9": unix.SIGKILL, "KILL": unix.SIGKILL, "SIGKILL": unix.SIGKILL, "sigkill": unix.SIGKILL, "term": unix.SIGTERM,
		"1": unix.SIGHUP, "64": 64, "USR1": unix.SIGUSR1, "SIGWINCH": unix.SIGWINCH, "0": 0,
		"RTMIN": 34, "SIGRTMIN+3": 37, "rtmin+30": 64, "SIGRTMAX": 64, "RTMAX-1": 63, "sigrtmax-30": 34,
		"CLD": unix.SIGCHLD, "IOT": unix.SIGABRT, "POLL": unix.SIGIO, "SIGUNUSED": unix.SIGSYS,
	} {
		if got, err := ParseSignal(text); err != nil || got != want {
			t.Errorf("ParseSignal(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "65", "SIGSIGKILL", "SIG9", "RTMIN+31", "RTMAX-31", "RTMIN+", "RTMIN-1", "RTMIN++1", "RTMAX+1", "RTMIN+3x", "+", "NOPE", "SIG", "9x", " 9", "99999999999999999999"} {
		if got, err := ParseSignal(text); !errors.Is(err, ErrUnknownSignal) {
			t.Errorf("ParseSignal(%q) = %v, %v, want ErrUnknownSignal", text, got, err)
		}
	}
}

func TestDefaultAction(t *testing.T) {
	for sig, want := range map[unix.Signal]unix.Signal{
		unix.SIGTERM: unix.SIGKILL, unix.SIGUSR1: unix.SIGKILL, unix.SIGQUIT: unix.SIGKILL, 40: unix.SIGKILL,
		unix.SIGTSTP: unix.SIGSTOP, unix.SIGCONT: unix.SIGCONT, unix.SIGWINCH: unix.SIGWINCH, unix.SIGCHLD: unix.SIGCHLD,
	} {
		if got := defaultAction(sig); got != want {
			t.Errorf("defaultAction(%d) = %d, want %d", sig, got, want)
		}
	}
}
