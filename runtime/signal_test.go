package runtime

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

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
