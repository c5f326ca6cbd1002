package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/klauspost/compress/gzip"
)

// apptainerSIF returns a file that github.com/apptainer/sif v2.25.0 made, with a definition file,
// an oci-config.json and a squashfs for amd64.
func apptainerSIF(t testing.TB) []byte {
	t.Helper()
	f, err := os.Open("testdata/apptainer.sif.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestReadSIF(t *testing.T) {
	data := apptainerSIF(t)
	s, err := ReadSIF(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if string(data[s.Offset:s.Offset+4]) != "hsqs" || s.Size != 4096 || s.Platform != amd64 {
		t.Errorf("%+v", s)
	}
	if s.Config == nil || !slices.Equal(s.Config.Env, []string{"A=b"}) || !slices.Equal(s.Config.Entrypoint, []string{"/e"}) || s.Config.WorkingDir != "/w" {
		t.Errorf("%+v", s.Config)
	}
	for name, change := range map[string]func([]byte) []byte{
		"cut in its header":  func(d []byte) []byte { return d[:100] },
		"cut in its objects": func(d []byte) []byte { return d[:200] },
		"no magic":           func(d []byte) []byte { d[32] = 'X'; return d },
		"another version":    func(d []byte) []byte { d[43] = '9'; return d },
		"many objects":       func(d []byte) []byte { return put(d, 88, 1<<60) },
		"objects nowhere":    func(d []byte) []byte { return put(d, 96, -1) },
		"objects far away":   func(d []byte) []byte { return put(d, 96, 1<<62) },
	} {
		broken := change(slices.Clone(data))
		if s, err := ReadSIF(bytes.NewReader(broken), int64(len(broken))); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

func put(d []byte, at int, value int64) []byte {
	binary.LittleEndian.PutUint64(d[at:], uint64(value))
	return d
}

// Whatever the bytes are, the result lies within the file and begins like a squashfs.
func FuzzReadSIF(f *testing.F) {
	f.Add(apptainerSIF(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ReadSIF(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) {
				t.Fatal(err)
			}
			return
		}
		if s.Offset < 0 || s.Size < 0 || s.Offset+s.Size > int64(len(data)) || !bytes.HasPrefix(data[s.Offset:], []byte("hsqs")) {
			t.Fatalf("%+v", s)
		}
	})
}
