package main

import (
	"strings"
	"testing"
)

// events are go test's events for a test that passes, one that fails and one that is skipped.
const events = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"output","Package":"p","Test":"TestGood","Output":"    a_test.go:1: fine\n"}
{"Action":"output","Package":"p","Test":"TestGood","Output":"--- PASS: TestGood (1.50s)\n"}
{"Action":"pass","Package":"p","Test":"TestGood","Elapsed":1.5}
{"Action":"run","Package":"p","Test":"TestNot"}
{"Action":"output","Package":"p","Test":"TestNot","Output":"=== RUN   TestNot\n"}
{"Action":"output","Package":"p","Test":"TestNot","Output":"    a_test.go:2: no gcc here\n"}
{"Action":"output","Package":"p","Test":"TestNot","Output":"--- SKIP: TestNot (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestNot","Elapsed":0}
`

const failure = `{"Action":"run","Package":"p","Test":"TestBad"}
{"Action":"output","Package":"p","Test":"TestBad","Output":"    a_test.go:3: wrong\n"}
{"Action":"output","Package":"p","Test":"TestBad","Output":"--- FAIL: TestBad (0.10s)\n"}
{"Action":"fail","Package":"p","Test":"TestBad","Elapsed":0.1}
{"Action":"output","Package":"p","Output":"FAIL\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t1.6s\n"}
{"Action":"fail","Package":"p","Elapsed":1.6}
`

const success = `{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t1.6s\n"}
{"Action":"pass","Package":"p","Elapsed":1.6}
`

func TestTally(t *testing.T) {
	for name, test := range map[string]struct {
		in   string
		all  bool
		want string
		good bool
	}{
		"passes": {events + success, false, "ok  \tp\t1.6s\nskipped: p TestNot: a_test.go:2: no gcc here\n", true},
		"fails": {
			events + failure, false,
			"    a_test.go:3: wrong\n--- FAIL: TestBad (0.10s)\nFAIL\nFAIL\tp\t1.6s\nskipped: p TestNot: a_test.go:2: no gcc here\n", false,
		},
		"stopped": {
			events, false,
			"had not ended: p \nskipped: p TestNot: a_test.go:2: no gcc here\n", false,
		},
		"all of it": {
			`{"Action":"start","Package":"p"}` + "\n" + `{"Action":"run","Package":"p","Test":"T"}` + "\n" +
				`{"Action":"output","Package":"p","Test":"T","Output":"=== RUN   T\n"}` + "\n" + `{"Action":"pass","Package":"p","Test":"T","Elapsed":1}` + "\n" + success, true,
			"=== RUN   T\nPASS\nok  \tp\t1.6s\n", true,
		},
		"not built": {
			`{"ImportPath":"p","Action":"build-output","Output":"a.go:1: no\n"}` + "\n" + `{"ImportPath":"p","Action":"build-fail"}` + "\n", false,
			"a.go:1: no\n", false,
		},
		"go's own words": {"go: no such package\n", false, "go: no such package\n", false},
		"nothing":        {"", false, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			tally := newTally(&out, test.all)
			if err := tally.read(strings.NewReader(test.in)); err != nil {
				t.Fatal(err)
			}
			tally.close()
			if out.String() != test.want || tally.good() != test.good {
				t.Errorf("prints %q, want %q; good: %v", out.String(), test.want, tally.good())
			}
		})
	}
}

func TestNotesTimes(t *testing.T) {
	tally := newTally(new(strings.Builder), false)
	if err := tally.read(strings.NewReader(events + success)); err != nil {
		t.Fatal(err)
	}
	want := "     1.5 s  p TestGood\n     0.0 s  p TestNot\n     1.6 s  p \n"
	if got := strings.Join(tally.took, ""); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
