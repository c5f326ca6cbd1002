package source

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/text"
)

// The format is SIF version 1 (github.com/apptainer/sif, pkg/sif). It is parsed here because
// that library allocates memory for the number of objects that the header claims.
const (
	sifMagic       = "SIF_MAGIC\x00"
	sifVersion     = "01\x00"
	maxSIFObjects  = 1024 // Apptainer allocates 48
	sifOCIConfig   = "oci-config.json"
	sifPartition   = 0x4004
	sifGenericJSON = 0x4006
	sifSquashfs    = 1
	sifEncrypted   = 5 // by dm-crypt; 6 is by gocryptfs
	sifGocryptfs   = 6
	sifPrimary     = 2 // the partition with the root file system
)

// A sifHeader is the first 128 bytes of a SIF file. It begins with the #! line, Launch.
type sifHeader struct {
	Launch                                  [32]byte
	Magic                                   [10]byte
	Version, Arch                           [3]byte
	ID                                      [16]byte
	CreatedAt, ModifiedAt                   int64
	Free, Total, Offset, Size, Data, Length int64
}

// A sifObject describes an object in the file.
type sifObject struct {
	Type                  uint32
	Used                  bool
	ID, Group, Link       uint32
	Offset, Size, Padded  int64
	CreatedAt, ModifiedAt int64
	UID, GID              int64
	Name                  [128]byte
	Extra                 [384]byte
}

// A SIF says where the root file system in a SIF file is, and what the file says about it.
type SIF struct {
	// Offset and Size locate the squashfs in the file, in bytes.
	Offset, Size int64

	// Platform is the platform of its programs.
	Platform image.Platform

	// Config is the configuration of the OCI image that the file was built from, or nil.
	// Apptainer itself runs a script in the file system: /.singularity.d/runscript.
	Config *image.Config
}

// ReadSIF finds the root file system in a SIF file of size bytes.
func ReadSIF(r io.ReaderAt, size int64) (SIF, error) {
	s, err := readSIF(r, size)
	if err != nil {
		return SIF{}, fmt.Errorf("read SIF file: %w", err)
	}
	return s, nil
}

func readSIF(r io.ReaderAt, size int64) (s SIF, err error) {
	var h sifHeader
	if err := binary.Read(io.NewSectionReader(r, 0, size), binary.LittleEndian, &h); err != nil {
		return s, fmt.Errorf("%w: its header is cut off", ErrMalformed)
	}
	switch {
	case string(h.Magic[:]) != sifMagic:
		return s, fmt.Errorf("%w: SIF_MAGIC is missing", ErrMalformed)
	case string(h.Version[:]) != sifVersion:
		return s, fmt.Errorf("%w: SIF version %s", ErrUnsupported, text.Printable(cString(h.Version[:])))
	case h.Total < 0 || h.Total > maxSIFObjects:
		return s, fmt.Errorf("%w: it claims to have %d objects", ErrMalformed, h.Total)
	case h.Offset < 0 || h.Offset > size:
		return s, fmt.Errorf("%w: its objects are at %d", ErrMalformed, h.Offset)
	}
	objects := make([]sifObject, h.Total)
	if err := binary.Read(io.NewSectionReader(r, h.Offset, size-h.Offset), binary.LittleEndian, objects); err != nil {
		return s, fmt.Errorf("%w: its list of objects is cut off", ErrMalformed)
	}
	found := false
	for _, o := range objects {
		if !o.Used || o.Type != sifPartition && o.Type != sifGenericJSON {
			continue
		}
		if o.Offset < 0 || o.Size < 0 || o.Offset > size || o.Size > size-o.Offset {
			return s, fmt.Errorf("%w: object %d extends past the end of the file", ErrMalformed, o.ID)
		}
		switch {
		case o.Type == sifPartition && binary.LittleEndian.Uint32(o.Extra[4:]) == sifPrimary:
			if found {
				return s, fmt.Errorf("%w: two root file systems", ErrMalformed)
			}
			if err := s.partition(o); err != nil {
				return s, err
			}
			found = true
		case o.Type == sifGenericJSON && cString(o.Name[:]) == sifOCIConfig && s.Config == nil:
			if err := s.config(io.NewSectionReader(r, o.Offset, o.Size)); err != nil {
				return s, err
			}
		}
	}
	if !found {
		return s, fmt.Errorf("%w: no root file system", ErrMalformed)
	}
	head := make([]byte, 4)
	if _, err := r.ReadAt(head, s.Offset); err != nil && !errors.Is(err, io.EOF) || string(head) != "hsqs" {
		return s, fmt.Errorf("%w: its root file system is not a squashfs", ErrMalformed)
	}
	return s, nil
}

// partition reads the kind and architecture of the root file system.
func (s *SIF) partition(o sifObject) error {
	switch kind := binary.LittleEndian.Uint32(o.Extra[0:]); kind {
	case sifSquashfs:
	case sifEncrypted, sifGocryptfs:
		return fmt.Errorf("%w: its root file system is encrypted", ErrUnsupported)
	default:
		return fmt.Errorf("%w: its root file system is of kind %d, not squashfs", ErrUnsupported, kind)
	}
	// The numbers are from sif/pkg/sif/arch.go.
	architectures := []string{"", "386", "amd64", "arm", "arm64", "ppc64", "ppc64le", "mips", "mipsle", "mips64", "mips64le", "s390x", "riscv64", "loong64"}
	code := cString(o.Extra[8:11])
	number := 0
	if _, err := fmt.Sscanf(code, "%02d", &number); err != nil || number <= 0 || number >= len(architectures) {
		return fmt.Errorf("%w: architecture %s", ErrUnsupported, text.Printable(code))
	}
	s.Offset, s.Size = o.Offset, o.Size
	s.Platform = image.Platform{OS: "linux", Architecture: architectures[number]}
	return nil
}

// config reads the configuration of the OCI image, which Apptainer keeps in the file since 1.0.
func (s *SIF) config(r *io.SectionReader) error {
	if r.Size() > maxDocument {
		return fmt.Errorf("%w: a configuration of %d bytes", ErrMalformed, r.Size())
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	// The object is a whole image configuration, or only its part "config".
	var whole struct {
		Config *image.Config `json:"config"`
	}
	if err := json.Unmarshal(data, &whole); err != nil {
		return fmt.Errorf("%w: its configuration cannot be parsed", ErrMalformed)
	}
	if s.Config = whole.Config; s.Config == nil {
		s.Config = &image.Config{}
		if err := json.Unmarshal(data, s.Config); err != nil {
			return fmt.Errorf("%w: its configuration cannot be parsed", ErrMalformed)
		}
	}
	return nil
}

// cString returns the text before the first NUL.
func cString(b []byte) string {
	before, _, _ := bytes.Cut(b, []byte{0})
	return string(before)
}
