package runtime

import (
	goruntime "runtime"
	"strconv"
	"strings"
	"testing"
)

// A question about a step reads only the records of that step, up to the bound: a user may
// have put thousands of others there, or huge ones.
func TestWithPrefixIsBounded(t *testing.T) {
	s := testStore(t)
	put := func(id, annotation string) {
		t.Helper()
		c, err := s.claim(Record{ID: id, Boot: "other", Annotations: map[string]string{"a": annotation}})
		if err != nil {
			t.Fatal(err)
		}
		c.entry.Unlock()
	}
	put("n1.alice.1.0.0", "")
	huge := strings.Repeat("x", 6<<20)
	for i := range 6 {
		put("n1.alice.2.0."+strconv.Itoa(i), huge)
	}
	var before, after goruntime.MemStats
	goruntime.ReadMemStats(&before)
	found, err := s.WithPrefix("n1.alice.1.0.")
	goruntime.ReadMemStats(&after)
	if err != nil || len(found) != 1 || found[0].ID != "n1.alice.1.0.0" {
		t.Errorf("the step's tasks: %v, %v", found, err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 2<<20 {
		t.Errorf("a question about one step took %d bytes, with another step's records beside it", got)
	}
	found, err = s.WithPrefix("n1.alice.2.0.")
	read := 0
	for _, c := range found {
		read += len(c.Annotations["a"])
	}
	if err != nil || len(found) != 6 || read > maxStepRecords {
		t.Errorf("a step of huge records: %d tasks, %d bytes read, %v", len(found), read, err)
	}
}
