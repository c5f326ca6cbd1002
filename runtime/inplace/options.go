package inplace

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
)

// mount is a mount in the terms of mount(2).
type mount struct {
	Target string `json:"target"`
	Source string `json:"source,omitempty"`
	Type   string `json:"type"` // "bind" for a bind mount
	// Flags are MS_* of mount(2); for a bind mount those that it adds to the flags of its source.
	Flags uintptr `json:"flags,omitempty"`
	// Propagation is set afterwards, in this order (MS_PRIVATE and similar).
	Propagation []uintptr `json:"propagation,omitempty"`
	Data        string    `json:"data,omitempty"`

	// Mount is the descriptor of what a bind mount shows, if that is a mount already, attached
	// nowhere.
	Mount int `json:"mount,omitempty"`
}

func (m mount) isBind() bool    { return m.Type == "bind" }
func (m mount) recursive() bool { return m.Flags&unix.MS_REC != 0 }

// option is the effect of a mount option of config.md on the flags.
type option struct {
	set, clear uintptr
}

// options are the options of mount(8) that are flags. The last of several that conflict counts.
func options() map[string]option {
	return map[string]option{
		"defaults": {}, "bind": {set: unix.MS_BIND}, "rbind": {set: unix.MS_BIND | unix.MS_REC},
		"ro": {set: unix.MS_RDONLY}, "rw": {clear: unix.MS_RDONLY},
		"nosuid": {set: unix.MS_NOSUID}, "suid": {clear: unix.MS_NOSUID},
		"nodev": {set: unix.MS_NODEV}, "dev": {clear: unix.MS_NODEV},
		"noexec": {set: unix.MS_NOEXEC}, "exec": {clear: unix.MS_NOEXEC},
		"sync": {set: unix.MS_SYNCHRONOUS}, "async": {clear: unix.MS_SYNCHRONOUS},
		"dirsync": {set: unix.MS_DIRSYNC}, "mand": {set: unix.MS_MANDLOCK}, "nomand": {clear: unix.MS_MANDLOCK},
		"noatime": {set: unix.MS_NOATIME}, "atime": {clear: unix.MS_NOATIME},
		"nodiratime": {set: unix.MS_NODIRATIME}, "diratime": {clear: unix.MS_NODIRATIME},
		"relatime": {set: unix.MS_RELATIME}, "norelatime": {clear: unix.MS_RELATIME},
		"strictatime": {set: unix.MS_STRICTATIME}, "nostrictatime": {clear: unix.MS_STRICTATIME},
		"nosymfollow": {set: unix.MS_NOSYMFOLLOW}, "symfollow": {clear: unix.MS_NOSYMFOLLOW},
	}
}

// propagations are options that need a call of their own (mount(2)).
func propagations() map[string]uintptr {
	return map[string]uintptr{
		"private": unix.MS_PRIVATE, "rprivate": unix.MS_PRIVATE | unix.MS_REC,
		"slave": unix.MS_SLAVE, "rslave": unix.MS_SLAVE | unix.MS_REC,
		"unbindable": unix.MS_UNBINDABLE, "runbindable": unix.MS_UNBINDABLE | unix.MS_REC,
	}
}

var (
	errMapping = errors.New("an idmapped mount needs privileges")
	errOption  = errors.New("option")
	errType    = errors.New("type")
)

// newMount converts a mount of the spec. The error names what this launcher does not support.
func newMount(m specs.Mount) (mount, error) {
	if len(m.UIDMappings)+len(m.GIDMappings) > 0 {
		return mount{}, errMapping
	}
	made := mount{Target: m.Destination, Source: m.Source, Type: m.Type}
	flags, propagation := options(), propagations()
	var data []string
	for _, word := range m.Options {
		if o, known := flags[word]; known {
			made.Flags = made.Flags&^o.clear | o.set
		} else if p, known := propagation[word]; known {
			made.Propagation = append(made.Propagation, p)
		} else if err := refuseOption(word); err != nil {
			return mount{}, err
		} else {
			data = append(data, word)
		}
	}
	if made.Flags&unix.MS_BIND != 0 || m.Type == "bind" || m.Type == bundle.SquashfsType {
		made.Type = "bind"
		if len(data) > 0 {
			return mount{}, fmt.Errorf("%w %s of a bind mount", errOption, data[0])
		}
		if made.Flags&^bindFlags != 0 {
			return mount{}, fmt.Errorf("%w of a bind mount that is not ro, nosuid, nodev or noexec", errOption)
		}
		return made, nil
	}
	made.Data = strings.Join(data, ",")
	switch m.Type {
	case "tmpfs", "proc", "devpts", "overlay":
		return made, nil
	}
	return mount{}, fmt.Errorf("%w %s", errType, m.Type)
}

// bindFlags are the flags that a bind mount can get.
const bindFlags = unix.MS_BIND | unix.MS_REC | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_RELATIME

// refuseOption returns an error for options that are neither flags nor options of the file system.
func refuseOption(word string) error {
	switch word {
	case "idmap", "ridmap":
		return errMapping
	case "shared", "rshared":
		return fmt.Errorf("%w %s", errOption, word)
	case "tmpcopyup", "copy-symlink":
		return fmt.Errorf("%w %s", errOption, word)
	}
	// rro and similar: the flag also applies to everything below.
	if _, flag := options()[strings.TrimPrefix(word, "r")]; flag {
		return fmt.Errorf("%w %s", errOption, word)
	}
	return nil
}
